"""Rows of a copy taken as arrays: every type, odd values among plain ones, rows that are not whole."""

# ruff: noqa: SLF001 - who encodes a row is watched at the encoder's own doors

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.postgres import kinds, lanes, unpacking
from connectors.postgres.cells import column_cell, type_of
from engine import lanes as arrays
from engine.envelope import Encoder
from engine.errors import SourceUnreachable
from engine.schema import Boolean, Cell, Column, Identity, Relation, String
from engine.source import Packed
from tests.unit.test_envelope_columns import encoded, same
from tests.unit.test_postgres_cells import numeric
from tests.unit.test_postgres_snapshot import row

WIDTHS = {
    kinds.BOOL: 1, kinds.INT2: 2, kinds.INT4: 4, kinds.INT8: 8, kinds.OID: 4, kinds.FLOAT4: 4,
    kinds.FLOAT8: 8, kinds.DATE: 4, kinds.TIMESTAMP: 8, kinds.TIMESTAMPTZ: 8, kinds.MONEY: 8, kinds.UUID: 16,
}  # fmt: skip
TEXTS = (kinds.TEXT, kinds.VARCHAR, kinds.BPCHAR, kinds.JSON, kinds.JSONB, kinds.BYTEA)
AS_TEXT = {*WIDTHS} - {kinds.FLOAT4, kinds.FLOAT8}  # of those the server alone knows its texts
EDGES = (
    0, 1, -1, 63, 64, -64, -65, 2**27, 2**31 - 1, -(2**31), 2**53 - 1, 2**53, -(2**53) - 1, 2**54, 2**63 - 1,
    -(2**63), 252_455_616_000_000_000, 2_921_939, 5_373_484, -730_120,
)  # fmt: skip


def table(base: int, modifier: int = -1, *, text: bool = False, key: bool = True) -> Relation:
    """A key, and a column of a type."""
    made = []
    for name, kind, told in (("id", kinds.INT4, -1), ("v", base, modifier)):
        type_ = String() if text and name == "v" else type_of(kind, told)
        cell = column_cell(kinds.built_in(kind), type_, "binary")
        assert cell is not None
        made.append(Column(name, type_, name == "v", name, cell))
    return Relation(1, "public", "t", tuple(made), ("id",) if key else (), Identity.DEFAULT)


def packed(rel: Relation, base: int, values: Sequence[bytes | None]) -> Packed:
    raw = [row([struct.pack(">i", n), value]) for n, value in enumerate(values)]
    bases = (kinds.INT4, base)
    return Packed(raw, unpacking.unpacker(bases, "binary"), lanes=lanes.reader(rel, bases, least=1))


def wires(base: int) -> st.SearchStrategy[bytes | None]:
    """Values as a server may send them, and as none does."""
    width = WIDTHS.get(base)
    if width is None:
        return st.none() | st.binary(max_size=300) | st.binary(max_size=30).map(lambda v: b"\1" + v)
    edges = st.sampled_from(EDGES).map(lambda n: struct.pack(">q", n)[-width:] if width < 9 else bytes(width))
    return st.none() | st.binary(min_size=width, max_size=width) | edges | st.binary(max_size=20)


@pytest.mark.parametrize("base", [*WIDTHS, *TEXTS])
@given(st.data())
@settings(max_examples=60)
def test_i5_what_a_type_sends_becomes_what_its_cell_makes_of_it(base: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(wires(base), min_size=1, max_size=9))
    text = data.draw(st.booleans()) if base in AS_TEXT else False
    rel = table(base, text=text, key=data.draw(st.booleans()))
    same(rel, packed(rel, base, values), 4)


DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=6)


@given(
    st.lists(st.none() | DECIMALS | st.decimals(-999, 999, places=2), min_size=1, max_size=9),
    st.integers(1, 38),
    st.integers(0, 12),
)
@settings(max_examples=300)
def test_numerics_are_each_exact_or_have_no_place(values: list[Any], precision: int, scale: int) -> None:
    rel = table(kinds.NUMERIC, (precision << 16 | min(scale, precision)) + 4)
    sent = [None if v is None else numeric(v, 6) for v in values]
    same(rel, packed(rel, kinds.NUMERIC, sent), 1)


SPECIAL = st.sampled_from([0xC000, 0xD000, 0xF000, 0x4000, 0, 1])


@given(
    st.lists(st.tuples(st.integers(-40, 40), SPECIAL, st.lists(st.integers(0, 9999), max_size=6)), min_size=1)
)
@example([(30, 0, [])])
@example([(4, 0, [1]), (-30, 0, [7])])
def test_numerics_of_any_weight_and_sign_are_what_the_cell_makes_of_them(
    told: list[tuple[int, int, list[int]]],
) -> None:
    rel = table(kinds.NUMERIC, (38 << 16 | 4) + 4)
    sent = [
        struct.pack(f">hhHH{len(groups)}H", len(groups), weight, sign, 0, *groups)
        for weight, sign, groups in told
    ]
    same(rel, packed(rel, kinds.NUMERIC, sent), 1)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 63, 64, 127, 128, 129, 136, 137, 8191, 8192, 70_000])
def test_texts_of_any_length_stand_beside_each_other(length: int) -> None:
    rel = table(kinds.TEXT)
    values = [b"a", b"x" * length, None, b"", bytes(range(256))[: length % 256], b"y" * (length + 1), b"z"]
    same(rel, packed(rel, kinds.TEXT, values), 4)


def watched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows went the way of any row."""
    alone: list[int] = []
    made = Encoder.__init__

    def init(encoder: Encoder, *words: Any, **named: Any) -> None:
        made(encoder, *words, **named)
        fast = encoder._fast

        def count(rows: Any, *more: Any) -> Any:
            alone.append(len(rows))
            return fast(rows, *more)

        encoder._fast = count

    monkeypatch.setattr(Encoder, "__init__", init)
    return alone


PLAIN = [b"\1", b"\0", None, b"\1"] * 10


@pytest.mark.parametrize(
    ("values", "by_rows"),
    [(PLAIN, []), ([*PLAIN, b"\2", *PLAIN, b""], [2]), ([*PLAIN, *[b"\2"] * 10], [50])],
)
def test_what_is_odd_goes_the_way_of_any_row_and_all_rows_where_many_are(
    monkeypatch: pytest.MonkeyPatch, values: list[bytes | None], by_rows: list[int]
) -> None:
    rel = table(kinds.BOOL)
    same(rel, packed(rel, kinds.BOOL, values), 2)
    alone = watched(monkeypatch)
    encoded(rel, packed(rel, kinds.BOOL, values), 2)
    assert alone == by_rows


@pytest.mark.parametrize("base", [kinds.INT8, kinds.MONEY])
def test_numbers_of_64_bits_are_no_odd_ones(monkeypatch: pytest.MonkeyPatch, base: int) -> None:
    rel = table(base)
    alone = watched(monkeypatch)
    values = [struct.pack(">q", (n * 0x9E37_79B9_7F4A_7C15 & 2**64 - 1) - 2**63 or 1) for n in range(1, 300)]
    encoded(rel, packed(rel, base, values), 2)
    assert alone == []


def test_a_few_rows_are_taken_one_by_one() -> None:
    rel = table(kinds.BOOL)
    few = [row([struct.pack(">i", n), b"\1"]) for n in range(199)]
    read = lanes.reader(rel, (kinds.INT4, kinds.BOOL))
    with pytest.raises(ValueError, match="too few"):
        read(few)
    assert len(read([*few, few[0]])) == 2


def test_rows_that_are_large_together_are_taken_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "_RUN_BYTES_MAX", 1000)
    rel = table(kinds.TEXT)
    many = packed(rel, kinds.TEXT, [b"x" * 500] * 3)
    with pytest.raises(ValueError, match="too large"):
        many.lanes()
    same(rel, many, 2)


@given(st.data())
def test_rows_that_are_not_whole_are_none(data: st.DataObject) -> None:
    rel = table(kinds.TEXT)
    whole = [row([struct.pack(">i", n), b"x" * n]) for n in range(4)]
    at = data.draw(st.integers(0, 3))
    broken = data.draw(
        st.sampled_from([whole[at][:-1], whole[at] + b"\0", b"", b"\0", struct.pack(">h", 3) + whole[at][2:]])
        | st.integers(-(2**31), 2**31 - 1)
        .filter(lambda n: n not in (-1, 4))
        .map(lambda n: whole[at][:2] + struct.pack(">i", n) + whole[at][6:])
    )
    raw = [*whole[:at], broken, *whole[at + 1 :]]
    bases = (kinds.INT4, kinds.TEXT)
    read = Packed(raw, unpacking.unpacker(bases, "binary"), lanes=lanes.reader(rel, bases, least=1))
    if len(broken) == len(whole[at]) or not broken:
        try:
            made = read.lanes()
        except (LookupError, ValueError):
            made = None
        if made is not None:
            same(rel, read, 1)
            return
    with pytest.raises((SourceUnreachable, struct.error)):
        encoded(rel, read, 1)


def test_a_cell_without_a_way_of_its_own_is_asked_value_by_value() -> None:
    def encode(v: bytes) -> bytes:
        if v == b"no":
            raise ValueError
        return bytes((2 * len(v),)) + v.upper()

    cell = Cell("loud", encode, bytes.decode, "loud(v)", {"loud": encode})
    rel = table(kinds.TEXT)
    loud = Column("v", Boolean(), nullable=True, declared="loud", cell=cell)
    rel = Relation(1, "public", "t", (rel.columns[0], loud), ("id",), Identity.DEFAULT)
    same(rel, packed(rel, 99_999, [b"ab", None, b"no", b"", b"xyz"]), 2)


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.sampled_from(EDGES), min_size=1, max_size=20))
@example([n for bits in range(63) for n in (2**bits - 1, 2**bits, -(2**bits), -(2**bits) - 1)])
def test_every_number_is_a_varint_and_a_decimal(numbers: list[int]) -> None:
    from connectors.postgres.numerics import packed as decimal
    from engine.varint import long

    for bits in (64, 56, 50, 33):
        some = [n for n in numbers if -(1 << bits - 1) < n < 1 << bits - 1] or [0]
        for make, means in ((arrays.varints, long), (arrays.decimals, decimal)):
            lane = make(np.array(some, np.int64))
            assert lane.odd is None
            assert arrays.joined(len(some), lane.parts) == [means(n) for n in some]
    assert arrays.joined(1, arrays.varints(np.array([-(2**63)])).parts) == [long(-(2**63))]
    least = arrays.decimals(np.array([-(2**63), 7]))
    assert least.odd is not None
    assert least.odd.tolist() == [True, False]
