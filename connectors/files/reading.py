"""The two passes over a staged file: the first decides about it as a whole, the second gives its rows.

Rule: nothing of a file is given before all of it has been framed, decoded and held against its controls. Both
passes read the same copy by the same declaration, so they see the same records.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, BinaryIO, Final

from connectors.files.containers import content
from connectors.files.controlled import Control, Totals, held
from connectors.files.delimited import delimited_lots
from connectors.files.encodings import utf8
from connectors.files.feeds import Feed
from connectors.files.fixed import fixed_lots
from connectors.files.jsons import read_document, read_lines
from connectors.files.records import DETAIL, Limits, Lot, Problem, Text
from connectors.files.xmls import read_xml
from engine.schema import Binary, Cell, Column, Identity, Int64, Relation, String
from engine.source import Field, Packed, Row
from engine.varint import FOLLOWED, LAST, SIZES, long

FILE, RECORD, PROBLEM, RAW = "_file", "_record", "_problem", "_raw"
EMPTY_KEY: Final = "key.empty"

_TEXT: Final = Cell(
    "text", lambda v: SIZES[len(v)] + v, lambda v: v.decode(errors="replace"), "SIZES[len(v)] + v",
    {"SIZES": SIZES},
)  # fmt: skip
_RAW: Final = Cell("raw", _TEXT.encode, bytes.hex, _TEXT.inline, _TEXT.scope)


def _encoded(fields: Sequence[bytes]) -> Sequence[bytes]:
    b"".join(fields)  # raises for what is no value
    return fields


_NUMBER: Final = Cell("number", lambda v: b"" + v, bytes.hex, "v + NOTHING", {"NOTHING": b""}, _encoded)


def kinds(feed: Feed) -> Mapping[str, Sequence[str]]:
    """The columns of each kind of record that a feed's format gives."""
    if feed.delimited is not None:
        return {name: kind.columns for name, kind in feed.delimited.kinds.items() if kind.role != "ignored"}
    if feed.fixed_width is not None:
        records = feed.fixed_width.records.items()
        return {name: [one.name for one in kind.fields] for name, kind in records if kind.role != "ignored"}
    declared = feed.json_lines or feed.json_document or feed.xml
    return {} if declared is None else declared.kinds


def details(feed: Feed) -> Mapping[str, Sequence[str]]:
    """Those of its kinds of records whose records are rows."""
    layout = feed.delimited.kinds if feed.delimited is not None else None
    records = feed.fixed_width.records if feed.fixed_width is not None else layout
    roles = {DETAIL: DETAIL} if records is None else {name: kind.role for name, kind in records.items()}
    return {name: columns for name, columns in kinds(feed).items() if roles.get(name) == DETAIL}


def relation(number: int, schema: str, table: str, feed: Feed) -> Relation:
    """The relation of a feed's records: all text, and where each record stood."""
    names = dict.fromkeys(name for columns in details(feed).values() for name in columns)
    return Relation(
        number,
        schema,
        table,
        (
            *(Column(name, String(), nullable=True, declared="text", cell=_TEXT) for name in names),
            Column(FILE, String(), nullable=False, declared="text", cell=_TEXT),
            Column(RECORD, Int64(), nullable=False, declared="bigint", cell=_NUMBER),
            Column(PROBLEM, String(), nullable=True, declared="text", cell=_TEXT),
            Column(RAW, Binary(), nullable=True, declared="bytea", cell=_RAW),
        ),
        tuple(name for name in names if name in feed.keys),
        Identity.DEFAULT,
    )


def limits(feed: Feed) -> Limits:
    """What a file of the feed may cost."""
    return Limits(content=feed.content_max_bytes, record=feed.record_max_bytes, field=feed.record_max_bytes)


def lots(file: BinaryIO, feed: Feed) -> Iterator[Lot]:
    """The records of a staged file; raises Refused."""
    bounds = limits(feed)
    chunks = utf8(content(file, feed.container, bounds), feed.encoding)
    if feed.delimited is not None:
        return delimited_lots(chunks, feed.delimited, bounds)
    if feed.fixed_width is not None:
        return fixed_lots(chunks, feed.fixed_width, bounds, encoding=feed.encoding)
    if feed.json_lines is not None:
        return read_lines(chunks, feed.json_lines, bounds)
    if feed.json_document is not None:
        return read_document(chunks, feed.json_document, bounds)
    assert feed.xml is not None  # noqa: S101 - exactly one format is declared
    return read_xml(chunks, feed.xml, encoding=feed.encoding, limits=bounds)


@dataclass(frozen=True, slots=True)
class Judged:
    """What the first pass found: ``records`` are rows, ``problems`` those of them that are not fit.

    ``controls`` are those that held: about what, where the file says it, and what both sides are.
    """

    totals: Totals
    records: int
    problems: int
    controls: Sequence[tuple[str, str, str]] = ()

    def said(self) -> Mapping[str, Any]:
        """The totals as plain data."""
        told: dict[str, Any] = {"counts": dict(self.totals.counts)}
        if self.totals.sums:
            told["sums"] = {name: f"{sum_:f}" for name, sum_ in self.totals.sums.items()}
        if self.totals.day is not None:
            told["day"] = self.totals.day.isoformat()
        if self.controls:
            told["controls"] = [list(one) for one in self.controls]
        return told


def judge(
    file: BinaryIO, feed: Feed, *, name: str, today: date, last: int | None
) -> Generator[None, None, Judged]:
    """The first pass, lot by lot. Raises Refused."""
    control = Control(feed.controls, kinds(feed), name=name, today=today, last=last)
    rows = details(feed)
    records = problems = 0
    for lot in lots(file, feed):
        control.add(lot)
        if lot.kind in rows:
            records += lot.count
            problems += len(lot.problems) + len(_without_key(lot, rows[lot.kind], feed))
        yield
    totals = control.totals()
    return Judged(totals, records, problems, held(totals, feed.controls))


def _without_key(lot: Lot, columns: Sequence[str], feed: Feed) -> Sequence[int]:
    """The places of records that are fit, but lack a part of their key."""
    asked = [columns.index(name) for name in feed.keys if name in columns]
    if len(asked) < len(feed.keys):
        return [place for place in range(lot.count) if place not in lot.problems]
    found: set[int] = set()
    for column in lot.only(asked) if asked else ():
        if None in column or b"" in column:
            found.update(place for place, text in enumerate(column) if not text)
    return sorted(found - lot.problems.keys())


def rows(file: BinaryIO, feed: Feed, shape: Relation, name: str) -> Iterator[tuple[int, Sequence[Row]]]:
    """The second pass: the number of the first record of each run, and its rows."""
    taken, text = details(feed), name.encode()
    wanted = [column.name for column in shape.columns[:-4]]
    for lot in lots(file, feed):
        if lot.kind in taken:
            columns = taken[lot.kind]
            run = _Run(lot, [columns.index(one) if one in columns else None for one in wanted], text)
            run.set_aside(_without_key(lot, columns, feed), wanted)
            yield lot.first, Packed(range(lot.count), run.unpack, "c")


class _Run:
    """The rows of one lot."""

    def __init__(self, lot: Lot, places: Sequence[int | None], name: bytes) -> None:
        self._lot, self._places, self._name = lot, places, name
        self._problems: dict[int, Problem] = dict(lot.problems)
        self._keyless: Sequence[int] = ()

    def set_aside(self, keyless: Sequence[int], names: Sequence[str]) -> None:
        """Make problems of the records that lack a part of their key."""
        self._keyless = keyless
        fields = self._fields() if keyless else []
        for place in keyless:
            said = {name: _said(column[place]) for name, column in zip(names, fields, strict=True)}
            raw = json.dumps(said, ensure_ascii=False).encode()
            self._problems[place] = Problem(EMPTY_KEY, "a column of the key is empty", raw)

    def unpack(self, places: Sequence[int]) -> Sequence[Sequence[Field]]:
        """The columns of some of the rows: all of them, as a rule."""
        count = self._lot.count
        columns: list[Sequence[Field]] = [*self._fields()]
        if self._keyless:
            columns = [[*column] for column in columns]
            for place in self._keyless:
                for column in columns:
                    column[place] = None  # type: ignore[index]
        columns += [[self._name] * count, record_numbers(self._lot.first, count)]
        said, raw = list[Text]([None] * count), list[Text]([None] * count)
        for place, problem in self._problems.items():
            said[place] = f"{problem.code}: {problem.what}".encode("utf-8", "backslashreplace")
            raw[place] = problem.raw
        columns += [said, raw]
        if len(places) == count:
            return columns
        return [[column[place] for place in places] for column in columns]

    def _fields(self) -> Sequence[Sequence[Text]]:
        columns, nothing = self._lot.columns(), [None] * self._lot.count
        return [nothing if place is None else columns[place] for place in self._places]


def _said(text: Text) -> str | None:
    return None if text is None else text.decode(errors="replace")


def record_numbers(first: int, count: int) -> Sequence[bytes]:
    """``long(n)`` for so many numbers from the first on: neighbours share all but two bytes.

    >>> record_numbers(8191, 2) == [long(8191), long(8192)], record_numbers(1 << 28, 1) == [long(1 << 28)]
    (True, True)
    """
    made: list[bytes] = []
    while len(made) < count:
        high, low = divmod(2 * (first + len(made)), len(FOLLOWED))
        if high >= len(LAST):
            return [long(n) for n in range(first, first + count)]
        lows, end = (FOLLOWED, LAST[high]) if high else (LAST, b"")
        made += [at + end for at in lows[low : low + 2 * (count - len(made)) : 2]]
    return made
