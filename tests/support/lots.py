"""Lots as tests want to see them: records one by one, whatever lots they came in."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from connectors.files.records import Lot, Text


class Record(NamedTuple):
    """One record of a file: its fields, or the code of its problem."""

    number: int
    kind: str
    row: tuple[Text, ...]
    code: str = ""
    raw: bytes = b""


def records(lots: Iterable[Lot]) -> list[Record]:
    """The records of lots, which have to keep their promises: widths, lengths and problems."""
    found: list[Record] = []
    for lot in lots:
        assert lot.count > 0
        rows = list(zip(*lot.columns(), strict=True))
        assert len(rows) == lot.count
        assert lot.problems.keys() <= set(range(lot.count))
        for place, row in enumerate(rows):
            problem = lot.problems.get(place)
            if problem is not None:
                assert set(row) == {None}
            one = (problem.code, problem.raw) if problem else ("", b"")
            found.append(Record(lot.first + place, lot.kind, row, *one))
    return found


def cut(content: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """A content in pieces of so many bytes, again and again."""
    at = 0
    for size in itertools.cycle(sizes):
        if at >= len(content):
            return
        yield content[at : at + size]
        at += size


def whole_characters(content: str, sizes: Sequence[int]) -> Iterator[bytes]:
    """A text in pieces of so many characters: what a decoder hands on."""
    at = 0
    for size in itertools.cycle(sizes):
        if at >= len(content):
            return
        yield content[at : at + size].encode()
        at += size
