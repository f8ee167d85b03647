"""Cells of PostgreSQL's types: binary and text give the same bytes, and those are Avro's own."""

from __future__ import annotations

import io
import struct
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as Exact
from typing import Any

import fastavro
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.postgres import kinds, numerics
from connectors.postgres.cells import Form, cell_of, type_of
from engine.schema import Cell, Decimal, String, Type, Unfit, avro

INT8 = st.integers(-(2**63), 2**63 - 1)
INT4 = st.integers(-(2**31), 2**31 - 1)
INT2 = st.integers(-(2**15), 2**15 - 1)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
STAMP = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999))  # noqa: DTZ001
EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001


def typed(base: int, modifier: int = -1) -> Type:
    return type_of(base, modifier)


def reference(type_: Type, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(avro(type_)), value)
    return out.getvalue()


def inline(cell: Cell, v: bytes) -> bytes:
    found: bytes = eval(cell.inline, {**cell.scope, "v": v})  # noqa: S307
    return found


def both(base: int, type_: Type, binary: bytes, text: str, value: Any) -> None:
    expected = reference(type_, value)
    wires: list[tuple[Form, bytes]] = [("binary", binary), ("text", text.encode())]
    for form, wire in wires:
        cell = cell_of(base, type_, form)
        assert cell.encode(wire) == expected, form
        try:
            assert inline(cell, wire) == expected, form
        except (LookupError, ValueError):
            assert cell.name.startswith("timestamp"), "only unusual years may need the careful way"
    assert cell_of(base, type_, "text").text(text.encode()) == text


def numeric(value: Exact, scale: int) -> bytes:
    """The binary form, as numeric_send writes it."""
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    whole = int("".join(map(str, digits))) * 10 ** (exponent + scale) if exponent >= -scale else 0
    padded = whole * 10 ** (-scale % 4)
    groups: list[int] = []
    while padded:
        padded, group = divmod(padded, 10000)
        groups.insert(0, group)
    weight = len(groups) - 1 - (scale + 3) // 4
    while groups and not groups[-1]:
        groups.pop()
    head = struct.pack(">hhHH", len(groups), weight if groups else 0, 0x4000 if sign and groups else 0, scale)
    return head + b"".join(struct.pack(">H", group) for group in groups)


@given(INT8)
def test_bigint(n: int) -> None:
    both(kinds.INT8, typed(kinds.INT8), struct.pack(">q", n), str(n), n)


@given(INT4)
def test_integer(n: int) -> None:
    both(kinds.INT4, typed(kinds.INT4), struct.pack(">i", n), str(n), n)


@given(INT2)
def test_smallint(n: int) -> None:
    both(kinds.INT2, typed(kinds.INT2), struct.pack(">h", n), str(n), n)


@given(st.booleans())
def test_boolean(value: bool) -> None:  # noqa: FBT001
    both(kinds.BOOL, typed(kinds.BOOL), bytes([value]), "t" if value else "f", value)


@given(TEXT)
@example("x" * 8191)
@example("x" * 8192)
def test_text(value: str) -> None:
    for base in (kinds.TEXT, kinds.VARCHAR, kinds.BPCHAR, kinds.JSON):
        both(base, typed(base), value.encode(), value, value)


@given(st.binary())
def test_bytea(value: bytes) -> None:
    both(kinds.BYTEA, typed(kinds.BYTEA), value, f"\\x{value.hex()}", value)


@given(st.uuids())
def test_uuid(value: uuid.UUID) -> None:
    both(kinds.UUID, typed(kinds.UUID), value.bytes, str(value), str(value))


@given(st.floats())
@example(-0.0)
@example(5e-324)
def test_double(value: float) -> None:
    text = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(repr(value), repr(value))
    wire = struct.pack(">d", float("nan") if value != value else value)  # noqa: PLR0124
    both(kinds.FLOAT8, typed(kinds.FLOAT8), wire, text, float("nan") if value != value else value)  # noqa: PLR0124


@given(st.floats(width=32, allow_nan=False))
def test_real(value: float) -> None:
    text = {"inf": "Infinity", "-inf": "-Infinity"}.get(repr(value), repr(value))
    both(kinds.FLOAT4, typed(kinds.FLOAT4), struct.pack(">f", value), text, value)


@given(st.dates())
@example(date(1, 1, 1))
@example(date(9999, 12, 31))
def test_date(value: date) -> None:
    days = (value - EPOCH.date()).days
    both(kinds.DATE, typed(kinds.DATE), struct.pack(">i", days), value.isoformat(), value)
    assert cell_of(kinds.DATE, typed(kinds.DATE), "binary").text(struct.pack(">i", days)) == value.isoformat()


def stamp_text(value: datetime) -> str:
    return value.isoformat(sep=" ").rstrip("0") if value.microsecond else value.isoformat(sep=" ")


@given(STAMP)
@example(datetime(1970, 1, 1))  # noqa: DTZ001
@example(datetime(1969, 12, 31, 23, 59, 59, 999999))  # noqa: DTZ001
@example(datetime(1970, 1, 26))  # noqa: DTZ001
@example(datetime(3111, 9, 17))  # noqa: DTZ001
def test_timestamp_with_and_without_zone(value: datetime) -> None:
    wire = struct.pack(">q", (value - EPOCH) // timedelta(microseconds=1))
    text = stamp_text(value)
    type_ = typed(kinds.TIMESTAMP)
    both(kinds.TIMESTAMP, type_, wire, text, value)
    assert cell_of(kinds.TIMESTAMP, type_, "binary").text(wire) == text
    zoned = typed(kinds.TIMESTAMPTZ)
    both(kinds.TIMESTAMPTZ, zoned, wire, f"{text}+00", value.replace(tzinfo=UTC))
    assert cell_of(kinds.TIMESTAMPTZ, zoned, "binary").text(wire) == f"{text}+00"


def test_the_usual_years_of_a_timestamp_take_the_fast_way() -> None:
    cell = cell_of(kinds.TIMESTAMPTZ, typed(kinds.TIMESTAMPTZ), "binary")
    for year in (1971, 2000, 2026, 3000):
        wire = struct.pack(">q", (datetime(year, 5, 6) - EPOCH) // timedelta(microseconds=1))  # noqa: DTZ001
        assert inline(cell, wire) == cell.encode(wire)


@given(st.data(), st.integers(1, 38), st.integers(0, 38))
def test_numeric(data: st.DataObject, precision: int, scale: int) -> None:
    scale = min(scale, precision)
    unscaled = data.draw(st.integers(-(10**precision) + 1, 10**precision - 1))
    value = Exact(unscaled).scaleb(-scale, context=numerics_context())
    type_ = typed(kinds.NUMERIC, (precision << 16 | scale) + 4)
    assert type_ == Decimal(precision, scale)
    wire = numeric(value, scale)
    text = f"{value:f}" if unscaled else f"{0:.{scale}f}"
    both(kinds.NUMERIC, type_, wire, text, value)
    assert cell_of(kinds.NUMERIC, type_, "binary").text(wire) == text


def numerics_context() -> Any:
    from decimal import Context

    return Context(prec=80)


def test_a_numeric_that_no_decimal_holds_is_text() -> None:
    for modifier in (-1, (39 << 16 | 2) + 4, (3 << 16 | 5) + 4, (5 << 16 | (-3 & 0x7FF)) + 4):
        assert typed(kinds.NUMERIC, modifier) == String(), "no bounds, too wide, a scale beyond the precision"


NAN, INFINITY = struct.pack(">hhHH", 0, 0, 0xC000, 0), struct.pack(">hhHH", 0, 0, 0xD000, 0)


@pytest.mark.parametrize(
    ("base", "wire", "text"),
    [
        (kinds.NUMERIC, NAN, "NaN"),
        (kinds.NUMERIC, INFINITY, "Infinity"),
        (kinds.NUMERIC, struct.pack(">hhHH", 0, 0, 0xF000, 0), "-Infinity"),
        (kinds.DATE, struct.pack(">i", 2**31 - 1), "infinity"),
        (kinds.DATE, struct.pack(">i", -(2**31)), "-infinity"),
        (kinds.DATE, struct.pack(">i", -746117), "0044-03-15 BC"),
        (kinds.DATE, struct.pack(">i", 2921940), "10000-01-01"),
        (kinds.TIMESTAMP, struct.pack(">q", 2**63 - 1), "infinity"),
        (kinds.TIMESTAMP, struct.pack(">q", -(2**63)), "-infinity"),
        (kinds.TIMESTAMPTZ, struct.pack(">q", 2921940 * 86400 * 10**6 + 1), "10000-01-01 00:00:00.000001+00"),
    ],
)
def test_a_value_without_a_place_keeps_its_text_in_both_forms(base: int, wire: bytes, text: str) -> None:
    type_ = typed(base, (10 << 16 | 2) + 4)
    binary, plain = cell_of(base, type_, "binary"), cell_of(base, type_, "text")
    assert binary.text(wire) == plain.text(text.encode()) == text
    with pytest.raises(Unfit):
        binary.encode(wire)
    with pytest.raises(Unfit):
        plain.encode(text.encode())
    with pytest.raises((Unfit, LookupError)):
        inline(binary, wire)


def test_a_numeric_is_never_rounded() -> None:
    encode = numerics.from_binary(10, 2)
    with pytest.raises(Unfit):
        encode(numeric(Exact("1.005"), 3))
    with pytest.raises(Unfit):
        encode(numeric(Exact("100000000.00"), 2))
    with pytest.raises(Unfit):
        encode(struct.pack(">hhHHH", 1, 30000, 0, 0, 1))
    with pytest.raises(Unfit):
        numerics.from_text(10, 2)(b"1.005")


def test_cells_of_one_name_share_their_names_meaning() -> None:
    meanings: dict[str, object] = {}
    for base in (kinds.INT8, kinds.TEXT, kinds.TIMESTAMP, kinds.TIMESTAMPTZ, kinds.BYTEA, kinds.DATE):
        forms: tuple[Form, ...] = ("binary", "text")
        for form in forms:
            for name, value in cell_of(base, typed(base), form).scope.items():
                assert meanings.setdefault(name, value) is value


def test_unique_values_do_not_fill_the_memory() -> None:
    cell = cell_of(kinds.NUMERIC, Decimal(12, 0), "text")
    memo = cell.scope[cell.name]
    for n in range(200_000):
        assert memo[str(n).encode()] == cell.encode(str(n).encode())
    assert len(memo) <= 8192
