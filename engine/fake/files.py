"""A whole made-up file: good, or broken as it was ordered.

Rule: a share is a chance per record, and of a file per file; a record has one defect at most. What was
broken, and where, comes back with the bytes. The file is made in memory: it is for trying, not for load.
"""

from __future__ import annotations

import codecs
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal as Exact
from decimal import InvalidOperation
from typing import Final

from engine.fake.contract import Field, Row, number
from engine.fake.defects import OF_FILES, OF_RECORDS, OF_ROWS, Defect, broken, candidates
from engine.fake.layouts import Layout, wrong_bytes
from engine.fake.values import LOCALES, Values

_DAY: Final = datetime(2026, 11, 2, 18, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted: so many rows, from a seed, with a share of each kind of defect."""

    rows: int = 100
    seed: int = 1
    shares: Mapping[Defect, float] = field(default_factory=dict)
    today: datetime = _DAY
    locales: Sequence[str] = LOCALES


@dataclass(frozen=True, slots=True)
class Made:
    """A file, and what is wrong with it.

    ``broken`` names the defect of each row that has one, by its number from 1; ``file`` those of the whole.
    """

    content: bytes
    rows: int
    broken: Mapping[int, Defect]
    file: frozenset[Defect]

    @property
    def counts(self) -> Mapping[Defect, int]:
        """How many rows have each defect."""
        return Counter(self.broken.values())


def make(fields: Sequence[Field], layout: Layout, order: Order) -> Made:
    """A file of a contract.

    Raises ValueError for a defect that it has no place for, and Unusable where Faker is not installed.
    """
    _possible(fields, layout, order)
    values = Values(
        fields, seed=order.seed, today=order.today, encoding=_encoding(layout), locales=order.locales
    )
    chance, found = values.chance, dict[int, Defect]()
    records: list[bytes] = []
    sums = {one.name: Exact(0) for one in fields if one.number}
    good: Row | None = None
    for n in range(1, order.rows + 1):
        row, defect = values.row(), _drawn(order.shares, chance.random())
        if defect is Defect.DUPLICATE and good is None:
            defect = None
        if defect in OF_ROWS:
            row = broken(defect, row, good or row, fields, chance)
        if defect is None:
            good = row
        else:
            found[n] = defect
        records.append(_record(layout, row, fields, defect))
        _add(sums, row, fields)
    of_file = frozenset(one for one in OF_FILES if chance.random() < order.shares.get(one, 0.0))
    if Defect.TRUNCATED in of_file:
        _cut(records, chance)
    first, last = _ends(layout, fields, order.rows, sums, of_file)
    return Made(first + b"".join(records) + last, order.rows, found, of_file)


def _cut(records: list[bytes], chance: random.Random) -> None:
    """End in the middle of a record of the second half."""
    last = chance.randrange(len(records) // 2, len(records))
    records[last:] = [records[last][: len(records[last]) // 2]]


def _possible(fields: Sequence[Field], layout: Layout, order: Order) -> None:
    for defect, share in order.shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{defect.value}: a share is from 0 to 1, not {share}")
        if defect in OF_ROWS and not candidates(defect, fields):
            raise ValueError(f"{defect.value}: no column of the contract can have it")
        if defect is Defect.ENCODING and wrong_bytes(_encoding(layout)) is None:
            raise ValueError(f"encoding: every byte is a character of {layout.encoding}")
        if defect is Defect.TRUNCATED and not order.rows:
            raise ValueError("truncated: the file has no record that could be cut")
        if defect is Defect.TRAILER and "{count" not in layout.trailer:
            raise ValueError("trailer: the layout has no trailer that counts")
    if sum(order.shares.get(one, 0.0) for one in (*OF_ROWS, *OF_RECORDS)) > 1:
        raise ValueError("the shares of defects of records are more than 1 in all")


def _drawn(shares: Mapping[Defect, float], drawn: float) -> Defect | None:
    for one in (*OF_ROWS, *OF_RECORDS):
        drawn -= shares.get(one, 0.0)
        if drawn < 0:
            return one
    return None


def _record(layout: Layout, row: Row, fields: Sequence[Field], defect: Defect | None) -> bytes:
    text = layout.ragged(row, fields) if defect is Defect.RAGGED else layout.record(row, fields)
    content = text.encode(_encoding(layout))
    if defect is Defect.ENCODING:
        unit = len("x".encode(_encoding(layout)))
        middle = len(content) // unit // 2 * unit
        return content[:middle] + (wrong_bytes(_encoding(layout)) or b"") + content[middle:]
    return content


def _add(sums: dict[str, Exact], row: Row, fields: Sequence[Field]) -> None:
    for value, of in zip(row, fields, strict=True):
        if of.number and value is not None:
            plain = value.replace(of.formats.thousands, "") if of.formats.thousands else value
            try:
                sums[of.name] += Exact(plain.replace(of.formats.decimal, "."))
            except InvalidOperation:
                continue  # a number that is none is in no sum


def _ends(
    layout: Layout, fields: Sequence[Field], rows: int, sums: Mapping[str, Exact], of_file: frozenset[Defect]
) -> tuple[bytes, bytes]:
    """What stands before the records, and behind them."""
    written = {one.name: number(sums[one.name], one.formats) for one in fields if one.number}
    header = layout.opening(fields) + layout.header.format(count=rows, sums=written)
    if Defect.TRUNCATED in of_file:
        trailer = ""
    else:
        told = rows + (Defect.TRAILER in of_file)
        trailer = layout.trailer.format(count=told, sums=written) + layout.closing()
    return header.encode(_encoding(layout)), trailer.encode(_encoding(layout))


def _encoding(layout: Layout) -> str:
    return codecs.lookup(layout.encoding).name
