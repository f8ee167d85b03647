"""Lots as the records that they are: what a test compares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from connectors.files.records import Lot, Refused

Fields = tuple[bytes | None, ...]


@dataclass(frozen=True)
class Framed:
    """One record: its number, its type, its fields, and its problem with the bytes it had."""

    number: int
    kind: str
    fields: Fields
    problem: tuple[str, bytes] | None = None


def framed(lots: Iterable[Lot]) -> list[Framed]:
    """Every record, after a look at what each lot promises."""
    seen: list[Framed] = []
    for lot in lots:
        columns = lot.columns()
        assert all(len(column) == lot.count for column in columns)
        asked = [*range(len(columns))][::-2]
        assert [list(column) for column in lot.only(asked)] == [list(columns[place]) for place in asked]
        assert all(0 <= place < lot.count for place in lot.problems)
        for place, fields in enumerate(zip(*columns, strict=True)):
            problem = lot.problems.get(place)
            assert problem is None or set(fields) == {None}
            kept = (problem.code, problem.raw) if problem else None
            seen.append(Framed(lot.first + place, lot.kind, fields, kept))
    numbers = [one.number for one in seen]
    assert numbers == sorted(set(numbers))
    return seen


def told(lots: Iterable[Lot]) -> list[Framed] | str:
    """Every record, or the code for which the file is refused."""
    try:
        return framed(lots)
    except Refused as no:
        return no.code


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The same bytes in chunks."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]
