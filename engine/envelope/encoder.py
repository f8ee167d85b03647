"""Rows of one relation to records: the generated encoders, and the careful one behind them.

Rule: every row becomes records, whatever its values are. The careful encoder notes columns that the
source did not send in ``unchanged``, values without a place in their type in ``unfit`` (of the new row,
and of the key where there is no new row), and puts a stub in the place of a row that is too large (I5).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engine.envelope import columns
from engine.envelope.decoder import header
from engine.envelope.fast import NULL, SOME, Frame, generate
from engine.envelope.shape import EARLY
from engine.errors import ContractBroken
from engine.names import partition
from engine.schema import BAD, Column, Relation
from engine.source import UNCHANGED, Field, Packed, Row, Rows, snapshot_of
from engine.varint import FOLLOWED, LAST, long, sized

_VERSION: Final = "ecluse/1"
_MINORS: Final = tuple(long(2 * i) for i in range(1 << 14))

_STREAMED: Final = sized(b"false")  # Debezium's words for whether a snapshot read the row
_READ: Final = sized(b"true")
_EARLY: Final = sized(EARLY.encode())

Image = Sequence[Field]


Record = tuple[str, bytes | None, bytes | None, int]
"""One record: topic, value, key and partition, as the client takes them; without a value it ends its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What the records of one table have in common, whatever their schema."""

    topic: str
    partitions: int
    row_bytes_max: int
    connector: str
    name: str  # project.connection
    database: str
    writer: int


Tally = tuple[int, int, int, int, int]
"""What one call of an encoder made: bytes, and rows created, updated, deleted and read the plain way."""


class Encoder:
    """Rows of one relation to records, for one pair of schema ids."""

    def __init__(self, relation: Relation, address: Address, *, key_id: int | None, value_id: int) -> None:
        self.relation = relation
        self._address = address
        self._key_at = [n for n, c in enumerate(relation.columns) if c.name in relation.key]
        self._key_head = b"" if key_id is None else header(key_id)
        self._head = header(value_id) + _texts(_VERSION, address.connector, address.name)
        self._place = _texts(address.database, relation.schema, relation.table)
        self._writer = long(address.writer)
        self._framed_of = -1
        self._framed_at = b""
        self._frame = Frame(address.topic, address.partitions, self._key_head, address.row_bytes_max)
        self._fast = generate(relation, self._frame)
        self._by_columns: dict[str, columns.ByColumns] = {}  # most tables are not read when they are opened
        self._prefix_of: tuple[object, ...] = ()
        self._prefix = b""

    def encode(self, run: Rows, framed_ms: int, out: list[Record]) -> Tally:
        """Append the run's records to ``out``, in their order."""
        rows, prefix = run.rows, self._framed(run, framed_ms)
        first, count = run.first_minor >> 1, len(rows)
        if isinstance(rows, Packed) and rows.to_lanes and self.relation.columns:
            if (size := self._in_arrays(rows, first, prefix, out)) is not None:
                return (size, 0, 0, 0, count) if rows.op == "r" else (size, count, 0, 0, 0)
        elif isinstance(rows, Packed) and self.relation.columns:
            by_columns = self._by_columns.get(rows.op)
            if by_columns is None:
                by_columns = columns.generate(self.relation, self._frame, rows.op)
                self._by_columns[rows.op] = by_columns
            fields, read = rows.columns(), rows.op == "r"
            try:
                size = by_columns(fields, *_alike(first, count), prefix, out)
            except BAD:
                pass  # some of them are not plain: one by one
            else:
                return (size, 0, 0, 0, count) if read else (size, count, 0, 0, 0)
        minors: Sequence[bytes] = _MINORS[first : first + count]
        if len(minors) < count:
            minors = _minors(first, count)
        return self._fast(rows, minors, prefix, out, self._careful)

    def _in_arrays(self, rows: Packed, first: int, prefix: bytes, out: list[Record]) -> int | None:
        """The bytes of the rows' records, the odd ones among them as rows; None where all have to go so."""
        try:
            lanes = rows.lanes() or ()
        except BAD:
            return None
        from engine.envelope import arrays  # 20 MB, for whoever reads tables

        head = arrays.Head(prefix, range(2 * first, 2 * (first + len(rows)), 2), rows.op)
        found = arrays.encode(self.relation, self._frame, lanes, head)
        if found is None:
            return None
        made, size, left = found
        if left:
            alone: list[Record] = []
            minors = [long(head.minors[at]) for at in left]
            size += self._fast([rows[at] for at in left], minors, prefix, alone, self._careful)[0]
            for at, record in zip(left, alone, strict=True):
                made[at] = record
        out += made
        return size

    def _framed(self, run: Rows, framed_ms: int) -> bytes:
        """Everything before ``minor``: the same for all runs of this relation in a transaction."""
        of = (run.major, run.tx, run.strand, run.era, run.committed_us, run.early, framed_ms)
        if of != self._prefix_of:
            if framed_ms != self._framed_of:
                self._framed_of, self._framed_at = framed_ms, self._writer + long(framed_ms)
            major, read = long(run.major), snapshot_of(run.strand)
            self._prefix = b"".join((
                self._head, long(run.committed_us // 1000), long(run.committed_us),
                _EARLY if run.early else _STREAMED if read is None else _READ, self._place,
                SOME + long(run.tx) if read is None else NULL, SOME, major, sized(run.strand.encode()),
                self._framed_at, self._origin(run, read), long(run.era), major,
            ))  # fmt: skip
            self._prefix_of = of
        return self._prefix

    def _origin(self, run: Rows, read: tuple[int, str] | None) -> bytes:
        """From the time of framing to the position: the transaction, or the attempt of a snapshot's part.

        A part that is read again is read by another writer, so the writer's epoch numbers the attempts.
        """
        if read is None:
            return SOME + sized(b"%d:%d" % (run.tx, run.major)) + NULL * 3
        number, part = read
        return NULL + SOME + long(number) + sized(part.encode()) + self._writer

    def _careful(self, row: Row, minor: bytes, prefix: bytes, out: list[Record]) -> int:
        """Encode a row of any kind, field by field; gives the bytes made."""
        op, before, after = row
        _keep_shape(row)
        if op != "k":
            return self._one(row, prefix + minor, out)
        size = self._one(("d", before, None), prefix + minor, out)
        # A minor is even and zigzag doubles it again, so bit 1 of its first byte is free: setting it adds 1.
        odd = bytes((minor[0] | 2,)) + minor[1:]
        return size + self._one(("c", None, after), prefix + odd, out)

    def _one(self, row: Row, prefix: bytes, out: list[Record]) -> int:
        op, before, after = row
        unchanged: list[str] = []
        unfit: dict[str, str] = {}
        old = self._fields(before, [], unfit)
        if after is not None:
            unfit.clear()  # the old image is evidence, not data
        elif unfit:
            unfit = {name: text for name, text in unfit.items() if name in self.relation.key}
        new = self._fields(after, unchanged, unfit)
        parts = [prefix, sized(op.encode()), _image(old), _image(new), _array(unchanged), _map(unfit), NULL]
        size = sum(map(len, parts))
        if size > self._address.row_bytes_max:
            digest = hashlib.sha256(parts[2])
            digest.update(parts[3])
            stub = SOME + long(size) + _texts(digest.hexdigest())
            parts = [*parts[:2], NULL, NULL, _array(unchanged), NULL, stub]
        value = b"".join(parts)
        key, place = self._key_of(old if new is None else new)
        out.append((self._address.topic, value, key, place))
        return len(value)

    def _fields(
        self, image: Image | None, unchanged: list[str], unfit: dict[str, str]
    ) -> list[bytes | None] | None:
        """The Avro bytes of an image's values, None where there is none."""
        if image is None:
            return None
        columns = self.relation.columns
        if len(image) != len(columns):
            raise ContractBroken(
                f"{len(image)} fields for {len(columns)} columns",
                where=self.relation.name,
            )
        found: list[bytes | None] = []
        for column, field in zip(columns, image, strict=True):
            value = None
            if field is UNCHANGED:
                unchanged.append(column.name)
            elif field is not None:
                try:
                    value = column.cell.encode(field)
                except BAD:
                    unfit[column.name] = _shown(column, field)
            found.append(value)
        return found

    def _key_of(self, fields: list[bytes | None] | None) -> tuple[bytes | None, int]:
        """The record key and its partition; without a whole key (or a row) it is null, in partition 0."""
        if fields is None:
            return None, 0
        if not self._key_at:
            return None, partition(_image(fields), self._address.partitions)
        parts = [part for n in self._key_at if (part := fields[n]) is not None]
        if len(parts) < len(self._key_at):
            return None, 0
        body = b"".join(parts)
        return self._key_head + body, partition(body, self._address.partitions)


def _alike(first: int, count: int) -> tuple[Sequence[bytes], bytes]:
    """``_minors`` in two parts, of which the second is the same in all of them.

    >>> lows, end = _alike(5000, 2)
    >>> [low + end for low in lows] == _minors(5000, 2), len(end)
    (True, 1)
    """
    high, low = divmod(4 * first, len(FOLLOWED))
    if high >= len(LAST) or low + 4 * count > len(FOLLOWED):
        return _minors(first, count), b""
    lows, end = (FOLLOWED, LAST[high]) if high else (LAST, b"")
    return lows[low : low + 4 * count : 4], end


def _minors(first: int, count: int) -> list[bytes]:
    """``long(2 * n)`` for so many numbers from the first on: neighbours share all but two bytes.

    >>> _minors(4095, 2) == [long(8190), long(8192)], _minors(1 << 27, 1) == [long(1 << 28)]
    (True, True)
    """
    made: list[bytes] = []
    while len(made) < count:
        high, low = divmod(4 * (first + len(made)), len(FOLLOWED))
        if high >= len(LAST):
            return [long(2 * n) for n in range(first, first + count)]
        lows, end = (FOLLOWED, LAST[high]) if high else (LAST, b"")
        made += [at + end for at in lows[low : low + 4 * (count - len(made)) : 4]]
    return made


_SHAPES: Final[Mapping[str, tuple[tuple[bool, bool], ...]]] = {
    # op → which of (before, after) it has
    "c": ((False, True),),
    "r": ((False, True),),
    "u": ((False, True), (True, True)),
    "d": ((True, False),),
    "k": ((True, True),),
    "t": ((False, False),),
    "f": ((False, False),),
    "w": ((False, False),),
}


def _keep_shape(row: Row) -> None:
    op, before, after = row
    if (before is not None, after is not None) not in _SHAPES.get(op, ()):
        raise ContractBroken(
            f"a row with op {op!r}, before {before is not None} and after {after is not None}",
            hint="ops and their images: engine/source.py, Row",
        )


def _shown(column: Column, field: bytes) -> str:
    """The source's own text of a value; its bytes where even that fails."""
    try:
        return column.cell.text(field)
    except BAD:
        return f"\\x{field.hex()}"


def _image(fields: list[bytes | None] | None) -> bytes:
    if fields is None:
        return NULL
    return SOME + b"".join([NULL if f is None else SOME + f for f in fields])


def _texts(*texts: str) -> bytes:
    return b"".join(sized(text.encode()) for text in texts)


def _array(items: Sequence[str]) -> bytes:
    return long(len(items)) + _texts(*items) + NULL if items else NULL


def _map(items: Mapping[str, str]) -> bytes:
    if not items:
        return NULL
    return long(len(items)) + b"".join(_texts(name, text) for name, text in items.items()) + NULL
