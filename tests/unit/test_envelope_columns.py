"""Rows that a snapshot read, encoded column by column: the same records as row by row, byte for byte."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.postgres import kinds, lanes, unpacking
from connectors.postgres.cells import Form, cell_of, column_cell, type_of
from engine.envelope import Encoder, Record, columns
from engine.errors import ContractBroken, SourceUnreachable
from engine.schema import Boolean, Cell, Column, Identity, Int64, Relation
from engine.source import Packed, Row, Rows, snapshot_strand
from engine.varint import long
from tests.support.cells import column, relation
from tests.unit.test_envelope import address, images, tables, wire
from tests.unit.test_postgres_cells import numeric
from tests.unit.test_postgres_snapshot import row

Partitions = list[list[tuple[bytes | None, bytes]]]

AMOUNT = (10 << 16 | 2) + 4
PARCEL = (
    ("id", kinds.INT8, -1, False),
    ("customer", kinds.INT4, -1, False),
    ("size", kinds.INT2, -1, True),
    ("price", kinds.NUMERIC, AMOUNT, True),
    ("at", kinds.TIMESTAMPTZ, -1, True),
    ("day", kinds.DATE, -1, False),
    ("express", kinds.BOOL, -1, True),
    ("status", kinds.TEXT, -1, False),
    ("note", kinds.TEXT, -1, True),
    ("ratio", kinds.FLOAT8, -1, True),
    ("mark", kinds.UUID, -1, True),
)


def parcel(key: tuple[str, ...] = ("id",), form: Form = "binary") -> Relation:
    made = []
    for name, base, modifier, nullable in PARCEL:
        cell = column_cell(kinds.built_in(base), type_of(base, modifier), form)
        assert cell is not None
        made.append(Column(name, type_of(base, modifier), nullable, name, cell))
    return Relation(1, "public", "parcel", tuple(made), key, Identity.DEFAULT)


BASES = tuple(base for _, base, _, _ in PARCEL)


def big(letter: str, numbers: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    return numbers.map(lambda n: struct.pack(f">{letter}", n))


def magnitudes(bits: int) -> st.SearchStrategy[int]:
    """Numbers of every size: most of those that hypothesis draws are large."""
    return st.integers(0, bits - 1).flatmap(lambda n: st.integers(-(1 << n), (1 << n) - 1))


FIELDS: dict[int, st.SearchStrategy[bytes]] = {
    kinds.INT8: big("q", magnitudes(63)),
    kinds.INT4: big("i", magnitudes(31)),
    kinds.INT2: big("h", magnitudes(15)),
    kinds.NUMERIC: st.decimals(-99999999, 99999999, places=2).map(lambda n: numeric(n, 2)),
    kinds.TIMESTAMPTZ: big("q", st.integers(-(10**15), 10**15)),
    kinds.DATE: big("i", st.integers(-10_000, 20_000)),
    kinds.BOOL: st.sampled_from([b"\0", b"\1"]),
    kinds.TEXT: st.text(max_size=70).map(str.encode),
    kinds.FLOAT8: st.binary(min_size=8, max_size=8),
    kinds.UUID: st.binary(min_size=16, max_size=16),
}
UNFIT = {kinds.NUMERIC: struct.pack(">hhHH", 0, 0, 0xC000, 0), kinds.DATE: struct.pack(">i", 2**31 - 1)}


@st.composite
def parcels(draw: st.DrawFn) -> list[bytes]:
    """Rows as a copy brings them; in some a value without a place, or a NULL where none is declared."""
    odd = draw(st.sampled_from([0, 0, 0, 1]))
    rows = []
    for _ in range(draw(st.integers(1, 12))):
        fields: list[bytes | None] = []
        for name, base, _, nullable in PARCEL:
            one: st.SearchStrategy[bytes | None] = FIELDS[base]
            if nullable or (odd and name != "id"):
                one = one | st.none()
            if odd and base in UNFIT:
                one = one | st.just(UNFIT[base])
            fields.append(draw(one))
        rows.append(row(fields))
    return rows


def encoded(
    rel: Relation, rows: Sequence[Row], partitions: int, first_minor: int = 0, row_bytes_max: int = 1 << 20
) -> tuple[Partitions, int, int]:
    """The records by partition, their bytes, and how many rows were said to be read."""
    run = Rows(rel, snapshot_strand(0, "3"), 1, 7_000_000_001, first_minor, 1_795_268_280_787_123, 0, rows)
    to = address(partitions, row_bytes_max)
    encoder = Encoder(rel, to, key_id=11 if rel.key else None, value_id=12)
    out: list[Record] = []
    size, *others, read = encoder.encode(run, 1_795_268_290_000, out)
    assert others == [0, 0, 0]
    found: Partitions = [[] for _ in range(partitions)]
    for topic, value, key, place in out:
        assert topic == to.topic
        found[place].append((key, value or b""))
    return found, size, read


def same(rel: Relation, packed: Packed, partitions: int, first_minor: int = 0, limit: int = 1 << 20) -> None:
    together, size, read = encoded(rel, packed, partitions, first_minor, limit)
    one_by_one, size_too, read_too = encoded(rel, list(packed), partitions, first_minor, limit)
    assert together == one_by_one
    assert size == size_too == sum(len(value) for records in together for _, value in records)
    assert read in (len(packed), read_too)


@settings(max_examples=200)
@given(
    parcels(),
    st.sampled_from([("id",), ("status", "id"), ("day", "customer"), ()]),
    st.sampled_from([1, 4]),
    st.integers(0, 1 << 17).map(lambda n: 2 * n),
)
def test_rows_of_a_copy_become_the_same_records_by_columns_and_by_rows(
    raw: list[bytes], key: tuple[str, ...], partitions: int, first_minor: int
) -> None:
    unpack = unpacking.unpacker(BASES, "binary")
    same(parcel(key), Packed(raw, unpack), partitions, first_minor)
    same(
        parcel(key),
        Packed(raw, unpack, lanes=lanes.reader(parcel(key), BASES, least=1)),
        partitions,
        first_minor,
    )


@given(st.data(), tables(), st.sampled_from([1, 4]))
def test_rows_of_any_cells_become_the_same_records(
    data: st.DataObject, rel: Relation, partitions: int
) -> None:
    """Cells without a way of their own for many values; values that were not sent, and that have no place."""
    types = [c.type for c in rel.columns]
    rows = data.draw(st.lists(images(rel), min_size=1, max_size=6))
    fields = [[wire(v, t) for v, t in zip(image, types, strict=True)] for image in rows]
    packed = Packed([b""] * len(rows), lambda _: list(zip(*fields, strict=True)))
    same(rel, packed, partitions)


def test_plain_rows_are_encoded_by_columns_and_one_that_is_not_plain_sends_all_of_them_the_other_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gave: list[int] = []
    generate = columns.generate

    def watched(*words: Any) -> Any:
        encode = generate(*words)

        def by_columns(*given: Any) -> int:
            size = encode(*given)
            gave.append(len(given[1]))
            return size

        return by_columns

    monkeypatch.setattr(columns, "generate", watched)
    plain = [row([struct.pack(">q", n), b"\1"]) for n in range(3)]
    made = [
        Column(name, type_of(base, -1), nullable=False, declared="", cell=cell_of(base, type_, "binary"))
        for name, base, type_ in (("id", kinds.INT8, Int64()), ("flag", kinds.BOOL, Boolean()))
    ]
    rel = relation(*made)
    unpack = unpacking.unpacker((kinds.INT8, kinds.BOOL), "binary")
    for raw, by_columns in (
        (plain, [3]),
        ([*plain, row([bytes(8), b"\7"])], []),
        ([*plain, row([bytes(8), None])], []),
    ):
        gave.clear()
        same(rel, Packed(raw, unpack), 1)
        assert gave == by_columns


def test_a_row_above_the_limit_is_a_stub_among_the_others() -> None:
    note = [b"x", b"y" * 900, None]
    raw = [row([struct.pack(">q", n), text]) for n, text in enumerate(note)]
    text = column_cell(kinds.built_in(kinds.TEXT), type_of(kinds.TEXT, -1), "binary")
    assert text is not None
    made = (
        Column("id", Int64(), nullable=False, declared="", cell=cell_of(kinds.INT8, Int64(), "binary")),
        Column("note", type_of(kinds.TEXT, -1), nullable=True, declared="", cell=text),
    )
    packed = Packed(raw, unpacking.unpacker((kinds.INT8, kinds.TEXT), "binary"))
    same(relation(*made), packed, 1, limit=500)
    (records,), _, _ = encoded(relation(*made), packed, 1, row_bytes_max=500)
    assert [len(value) < 400 for _, value in records] == [True, True, True]


def test_a_text_that_is_empty_is_none_of_the_nulls_beside_it() -> None:
    cell = column_cell(kinds.built_in(kinds.TEXT), type_of(kinds.TEXT, -1), "binary")
    assert cell is not None
    made = (
        Column("id", Int64(), nullable=False, declared="", cell=cell_of(kinds.INT8, Int64(), "binary")),
        Column("note", type_of(kinds.TEXT, -1), nullable=True, declared="", cell=cell),
    )
    unpack = unpacking.unpacker((kinds.INT8, kinds.TEXT), "binary")
    for notes in ([b"", None, b"a", b"", None], [None, b""], [b"", b"a"], [None, b"a" * 9000, b""]):
        raw = [row([struct.pack(">q", n), note]) for n, note in enumerate(notes)]
        same(relation(*made), Packed(raw, unpack), 1)


def test_rows_of_a_copy_as_text_become_the_same_records() -> None:
    lines = [
        "1;5;\\N;1.50;2026-11-21 06:00:00.5+00;2026-11-21;t;a\\tb;\\N;0.25;\\N\n",
        f"2;6;3;-0.01;1999-01-01 00:00:00+00;1999-01-01;f;c;d;-1;{uuid.UUID(int=7)}\n",
    ]
    raw = [line.replace(";", "\t").encode() for line in lines]
    same(parcel(form="text"), Packed(raw, unpacking.unpacker(BASES, "text")), 4)


def test_packed_rows_are_rows_like_any_others() -> None:
    raw = [row([struct.pack(">h", n), b"v%d" % n]) for n in range(4)]
    packed = Packed(raw, unpacking.unpacker((kinds.INT2, kinds.TEXT), "binary"))
    rows = [("r", None, (struct.pack(">h", n), b"v%d" % n)) for n in range(4)]
    assert list(packed) == rows
    assert (len(packed), packed[-1], list(packed[1:3])) == (4, rows[-1], rows[1:3])
    with pytest.raises(IndexError):
        packed[4]


def test_rows_without_columns_are_counted_and_looked_at() -> None:
    unpack = unpacking.unpacker((), "binary")
    rel = Relation(1, "public", "parcel", (), (), Identity.DEFAULT)
    assert list(Packed([row([])] * 2, unpack)) == [("r", None, ())] * 2
    same(rel, Packed([row([])] * 2, unpack), 1)
    with pytest.raises(SourceUnreachable):
        Packed([row([]), row([b"x"])], unpack).columns()


def test_i5_a_cell_that_leaves_a_value_out_loses_no_row() -> None:
    for many in (lambda v: [f + b"" for f in v][1:], lambda v: [f + b"" for f in (*v, v[0])]):
        cell = Cell("short", lambda v: v, str, "v + empty", {"empty": b""}, many=many)
        for nullable in (True, False):
            odd = Column("odd", Boolean(), nullable=nullable, declared="bool", cell=cell)
            rel = relation(column("id", Int64(), nullable=False), odd)
            fields = [[long(n) for n in range(3)], [b"\x01"] * 3]
            same(rel, Packed([b""] * 3, lambda _, fields=fields: fields), 1)  # type: ignore[misc]


def test_a_cell_that_takes_null_among_many_for_a_value_is_refused() -> None:
    cell = Cell("lenient", bytes, str, "v + empty", {"empty": b""}, many=lambda v: [b"\x01"] * len(v))
    rel = relation(
        column("id", Int64(), nullable=False),
        Column("flag", Boolean(), nullable=True, declared="bool", cell=cell),
    )
    with pytest.raises(ContractBroken, match="lenient takes"):
        encoded(rel, Packed([], lambda _: []), 1)
