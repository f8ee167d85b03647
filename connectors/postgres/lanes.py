"""The rows of a binary copy as lanes: fields found, read and encoded a column at a time.

Rule: each way gives what the cell of its type gives, or calls the row odd, and it then goes the way of any
row. So does a run whose rows are not whole: there somebody says which one is not, and how. A type without a
way of its own is encoded value by value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from connectors.postgres import dates
from connectors.postgres.cells import cell_of
from connectors.postgres.kinds import (
    BOOL,
    BPCHAR,
    BYTEA,
    DATE,
    FLOAT4,
    FLOAT8,
    INT2,
    INT4,
    INT8,
    JSON,
    JSONB,
    MONEY,
    NUMERIC,
    OID,
    TEXT,
    TIMESTAMP,
    TIMESTAMPTZ,
    VARCHAR,
)
from engine.lanes import (
    WORD,
    Counts,
    Flags,
    Lane,
    Pieces,
    Words,
    Words64,
    decimals,
    either,
    padded,
    sized,
    varints,
    view,
)
from engine.schema import BAD, Cell, Column, Decimal, Relation, String

Lanes = Callable[[Sequence[bytes]], Sequence[Lane]]

_RUN_BYTES_MAX: Final = 4 << 20  # of more, rows are few and large, and each is taken alone
_ROWS_MIN: Final = 200  # what is done once for a column is dearer than the values of fewer
_GROUPS: Final = 4  # of four digits: what one word holds
_DIGITS: Final = 18
_TENS: Final[Counts] = np.array([10**n for n in range(_DIGITS + 1)], np.int64)
_POSITIVE, _NEGATIVE = 0, 0x4000


class Fields(NamedTuple):
    """One column of many rows: where its values lie in a buffer, how long they are, and which are NULL."""

    data: bytes
    at: Counts
    size: Counts
    null: Flags | None

    def read(self, kind: str, at: int = 0) -> Any:
        """A number out of each value; of NULL, and of a value that is too short, any."""
        return view(self.data, kind)[self.at + at if at else self.at]


Way = Callable[[Fields], Lane]


def reader(relation: Relation, bases: Sequence[int], least: int = _ROWS_MIN) -> Lanes:
    """What makes lanes of at least so many rows whose columns have these base types.

    It raises LookupError or ValueError for rows that are fewer, not whole, or too large together.
    """
    ways = [_way(column, base) for column, base in zip(relation.columns, bases, strict=True)]

    def lanes(raw: Sequence[bytes]) -> Sequence[Lane]:
        if len(raw) < least:
            raise ValueError("rows that are too few for it")
        return [way(fields) for way, fields in zip(ways, _fields(raw, len(ways)), strict=True)]

    return lanes


def _fields(raw: Sequence[bytes], width: int) -> list[Fields]:
    lengths = np.fromiter(map(len, raw), np.int64, len(raw))
    stop = lengths.cumsum()
    if int(stop[-1]) > _RUN_BYTES_MAX:
        raise ValueError("rows that are too large to be taken together")
    data = padded(raw)
    at, size_at = stop - lengths, view(data, ">i4")
    if (view(data, ">i2")[at] != width).any():
        raise ValueError("rows of another width")
    at, found = at + 2, []
    for _ in range(width):
        size, null = size_at[at].astype(np.int64), None
        if (least := int(size.min())) < 0:
            if least < -1:
                raise ValueError("a length that is none")
            null = size < 0
            size = np.where(null, 0, size)
        at = at + 4
        found.append(Fields(data, at, size, null))
        at = at + size
    if (at != stop).any():
        raise ValueError("rows that are not whole")
    return found


def _way(column: Column, base: int) -> Way:
    type_ = column.type
    if column.cell is cell_of(TEXT, String(), "binary"):
        return _text
    way = _numeric(type_) if isinstance(type_, Decimal) and base == NUMERIC else _WAYS.get(base)
    if way is None or column.cell is not cell_of(base, type_, "binary"):
        return _each(column.cell)
    return way


def _each(cell: Cell) -> Way:
    """Value by value, as the cell encodes them."""

    def way(fields: Fields) -> Lane:
        data, count = fields.data, len(fields.at)
        made, odd = [b""] * count, np.zeros(count, np.bool_)
        rows = range(count) if fields.null is None else np.flatnonzero(~fields.null).tolist()
        starts, stops = fields.at.tolist(), (fields.at + fields.size).tolist()
        for row in rows:
            try:
                made[row] = cell.encode(data[starts[row] : stops[row]])
            except BAD:
                odd[row] = True
        size = np.fromiter(map(len, made), np.int64, count)
        return Lane((Pieces(padded(made), size.cumsum() - size, size),), fields.null, odd)

    return way


def _there(fields: Fields, flags: Flags) -> Flags | None:
    """The flags of the values that are not NULL."""
    if not flags.any():
        return None
    return flags if fields.null is None else flags & ~fields.null


def _unlike(fields: Fields, size: int) -> Flags | None:
    """Where a value has another length than its type."""
    return _there(fields, fields.size != size)


def _integer(kind: str, added: int = 0, least: int | None = None, most: int | None = None) -> Way:
    """Integers that ``added`` is added to, between two limits."""
    width = np.dtype(kind).itemsize

    def way(fields: Fields) -> Lane:
        numbers = fields.read(kind).astype(np.int64)
        odd = _unlike(fields, width)
        if least is not None and most is not None:
            low, high = least - added, most - added
            if int(numbers.min()) < low or int(numbers.max()) > high:
                odd = either(odd, _there(fields, (numbers < low) | (numbers > high)))
        lane = varints(numbers + added if added else numbers, fields.null)
        return Lane(lane.parts, fields.null, either(lane.odd, odd))

    return way


def _real(kind: str) -> Way:
    """Floats: their bytes the other way round."""
    width = np.dtype(kind).itemsize

    def way(fields: Fields) -> Lane:
        word: Words64 = fields.read(kind).astype(np.uint64)
        return Lane((Words(word, width),), fields.null, _unlike(fields, width))

    return way


def _boolean(fields: Fields) -> Lane:
    word: Words64 = fields.read(">u1").astype(np.uint64)
    return Lane((Words(word, 1),), fields.null, either(_unlike(fields, 1), _there(fields, word > 1)))


def _text(fields: Fields) -> Lane:
    return sized(Pieces(fields.data, fields.at, fields.size), fields.null)


def _versioned(fields: Fields) -> Lane:
    """jsonb: a version, and the text behind it."""
    odd = _there(fields, (fields.size < 1) | (fields.read(">u1") != 1))
    lane = sized(Pieces(fields.data, fields.at + 1, np.maximum(fields.size - 1, 0)), fields.null)
    return Lane(lane.parts, lane.null, either(lane.odd, odd))


def _money(fields: Fields) -> Lane:
    lane = decimals(fields.read(">i8").astype(np.int64), fields.null)
    return Lane(lane.parts, lane.null, either(lane.odd, _unlike(fields, WORD)))


def _numeric(type_: Decimal) -> Way:
    """Numerics of at most four groups of four digits, none beyond the scale."""
    limit, scale = 10 ** min(type_.precision, _DIGITS), type_.scale

    def way(fields: Fields) -> Lane:
        head: Words64 = fields.read(">u8").astype(np.uint64)
        if fields.null is not None:
            head = np.where(fields.null, np.uint64(0), head)
        count = (head >> np.uint64(48)).astype(np.int64)
        weight = (head >> np.uint64(32)).astype(np.uint16).view(np.int16).astype(np.int64)
        sign = (head >> np.uint64(16)).astype(np.uint16)
        odd = (count > _GROUPS) | (sign & ~np.uint16(_NEGATIVE) != _POSITIVE)
        odd |= _unsized(fields, count)
        number = _digits(fields, np.minimum(count, _GROUPS))
        tens = (weight - (_GROUPS - 1)) * 4 + scale  # how many of them the number is to be multiplied with
        if int(tens.max()) <= 0:
            part = _TENS[np.minimum(-tens, _DIGITS)]
            unscaled = number // part
            odd |= (unscaled * part != number) | (unscaled >= limit)
        else:
            above, below = _TENS[np.clip(tens, 0, _DIGITS)], _TENS[np.clip(-tens, 0, _DIGITS)]
            unscaled = number // below
            odd |= (unscaled * below != number) | (unscaled >= limit // above) | (tens > _DIGITS)
            unscaled = np.where(odd, 0, unscaled) * above
        if (negative := sign != _POSITIVE).any():
            unscaled = np.where(negative, -unscaled, unscaled)
        lane = decimals(unscaled, fields.null)
        return Lane(lane.parts, lane.null, either(lane.odd, odd))

    return way


def _unsized(fields: Fields, count: Counts) -> Flags:
    """Where a value has not the length of its digits."""
    wrong: Flags = fields.size != (count << 1) + 8
    return wrong if fields.null is None else wrong & ~fields.null


def _digits(fields: Fields, count: Counts) -> Counts:
    """The number that the first four groups are, those that a value does not have being 0."""
    missing = ((_GROUPS - count) << 4).astype(np.uint64)
    word: Words64 = fields.read(">u8", 8).astype(np.uint64) >> np.minimum(missing, np.uint64(63)) << missing
    if not int(count.min()):
        word = np.where(count == 0, np.uint64(0), word)
    number = (word >> np.uint64(48)).astype(np.int64)
    for shift in (32, 16, 0):
        number = number * 10_000 + (word >> np.uint64(shift) & np.uint64(0xFFFF)).astype(np.int64)
    return number


_STAMP: Final = _integer(">i8", dates.EPOCH_US, dates.FIRST_US, dates.LAST_US)
_WAYS: Final[Mapping[int, Way]] = {
    BOOL: _boolean,
    INT2: _integer(">i2"),
    INT4: _integer(">i4"),
    INT8: _integer(">i8"),
    OID: _integer(">u4"),
    FLOAT4: _real(">u4"),
    FLOAT8: _real(">u8"),
    TEXT: _text,
    VARCHAR: _text,
    BPCHAR: _text,
    JSON: _text,
    JSONB: _versioned,
    BYTEA: _text,
    MONEY: _money,
    DATE: _integer(">i4", dates.EPOCH_DAYS, dates.FIRST_DAY, dates.LAST_DAY),
    TIMESTAMP: _STAMP,
    TIMESTAMPTZ: _STAMP,
}
