"""From a PostgreSQL type and its wire form to our type and the cell that encodes it.

Rule: the list is closed and fixed for ever; a type that is not here is text, as the server writes it. The
binary and the text form of one type are two cells with equal output. A value without a place in the type
(NaN, infinity, a year beyond 9999) raises ``Unfit``. This room does not know where a type's name and modifier
come from (``catalog``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from struct import Struct
from typing import Any, Final, Literal

from connectors.postgres import dates, numerics, texts
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
    UUID,
    VARCHAR,
    Kind,
)
from engine.schema import (
    Binary,
    Boolean,
    Cell,
    Date,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    Timestamp,
    TimestampNtz,
    Type,
)
from engine.varint import FOLLOWED, LAST, LENGTHS, SIZES, long, sized

Form = Literal["binary", "text"]
"""How a capture asks the server for values; one form for all its columns."""

_DECIMAL_DIGITS: Final = 38
_SIMPLE: Final[dict[int, Type]] = {
    BOOL: Boolean(),
    INT2: Int32(),
    INT4: Int32(),
    INT8: Int64(),
    FLOAT4: Float32(),
    FLOAT8: Float64(),
    TEXT: String(),
    VARCHAR: String(),
    BPCHAR: String(),
    UUID: String(),
    JSON: String(),
    JSONB: String(),
    BYTEA: Binary(),
    DATE: Date(),
    TIMESTAMP: TimestampNtz(),
    TIMESTAMPTZ: Timestamp(),
    OID: Int64(),
    MONEY: Decimal(19, 2),
}
_TEXTS: Final = frozenset(base for base, type_ in _SIMPLE.items() if isinstance(type_, String))
_CACHED: Final = 8192
_PATIENCE: Final = 8 * _CACHED
_SHORT: Final = 1 << 27  # the first number whose varint has five bytes
_SHORTEST: Final = len(LENGTHS)

_unpack_h: Final = Struct(">h").unpack
_unpack_i: Final = Struct(">i").unpack
_unpack_q: Final = Struct(">q").unpack
_unpack_f: Final = Struct(">f").unpack
_unpack_d: Final = Struct(">d").unpack
_pack_f: Final = Struct("<f").pack
_pack_d: Final = Struct("<d").pack


class Memo(dict[bytes, bytes]):
    """What a field becomes, remembered; bounded, and begun anew now and then.

    Where values are unique they mostly pass through: remembering costs more than encoding.
    """

    def __init__(self, encode: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self._encode = encode
        self._patience = _PATIENCE

    def __missing__(self, v: bytes) -> bytes:
        made = self._encode(v)
        if len(self) < _CACHED:
            self[v] = made
        else:
            self._patience -= 1
            if not self._patience:
                self.clear()
                self._patience = _PATIENCE
        return made


def type_of(base: int, modifier: int) -> Type:
    """Our type for a base type and its modifier: text, where no other type of ours holds all its values.

    >>> type_of(NUMERIC, (10 << 16 | 2) + 4), type_of(NUMERIC, -1)
    (Decimal(precision=10, scale=2), String())
    """
    if base != NUMERIC or modifier < 4:  # noqa: PLR2004 - the modifier counts a header of four bytes
        return _SIMPLE.get(base, String())
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF
    # from version 15 on, eleven bits hold the scale, and it may be negative or beyond the precision
    return Decimal(precision, scale) if scale <= precision <= _DECIMAL_DIGITS else String()


@cache
def cell_of(base: int, type_: Type, form: Form) -> Cell:
    """The cell of a type that is ours in a wire form; the same object for the same question."""
    if base == MONEY:
        return _MONEY[form]
    if isinstance(type_, Decimal):
        return _decimal(type_, form)
    binary, text = _CELLS[base]
    return binary if form == "binary" else text


@cache
def column_cell(kind: Kind, type_: Type, form: Form) -> Cell | None:
    """The cell of a column that lands as a type, which may be text whatever its kind is.

    None: its binary form is not read here, and the server has to write it as text.
    """
    if not isinstance(type_, String) or kind.oid in _TEXTS:
        return cell_of(kind.oid, type_, form)
    return _TEXT if form == "text" else _written(kind)


def _written(kind: Kind) -> Cell | None:
    """The cell of what has no type of ours: the text that the server would write."""
    text = texts.reading(kind)
    if text is None or text is texts.plain:
        return _TEXT if text else None

    def encode(v: bytes) -> bytes:
        return sized(text(v).encode())

    return Cell(f"text_of_{kind.name}", encode, text)


def _decimal(type_: Decimal, form: Form) -> Cell:
    if form == "binary":
        encode, text = numerics.from_binary(type_.precision, type_.scale), numerics.text_of_binary
    else:
        encode, text = numerics.from_text(type_.precision, type_.scale), texts.plain
    return _remembered(f"numeric_{type_.precision}_{type_.scale}_{form}", encode, text)


def _remembered(name: str, encode: Callable[[bytes], bytes], text: Callable[[bytes], str]) -> Cell:
    return Cell(name, encode, text, inline=f"{name}[v]", scope={name: Memo(encode)})


def _called(name: str, encode: Callable[[bytes], bytes], text: Callable[[bytes], str]) -> Cell:
    return Cell(name, encode, text, inline=f"{name}(v)", scope={name: encode})


_SIZED: Final = "SIZES[len(v)] + v"


def _as_is(name: str) -> Cell:
    return Cell(name, sized, texts.plain, inline=_SIZED, scope={"SIZES": SIZES})


def _integer(
    name: str, unpack: str, unpacked: Callable[[bytes], Any], encode: Callable[[bytes], bytes]
) -> Cell:
    # ``long`` of what is below 28 bits without the call
    inline = (
        f"(LAST[_z] if (_z := (_n := {unpack}(v)[0]) << 1 ^ _n >> 63) < 16384"
        " else FOLLOWED[_z & 16383] + LAST[_z >> 14] if _z < 268435456 else long(_n))"
    )
    scope = {"LAST": LAST, "FOLLOWED": FOLLOWED, "long": long, unpack: unpacked}

    return Cell(name, encode, texts.integer, inline=inline, scope=scope)


def _stamp(name: str, text: Callable[[bytes], str]) -> Cell:
    # The usual years in one expression: 28 bits and 28 bits; what lies outside raises in STAMP_TOP.
    inline = (
        "FOLLOWED[(_low := (_z := unpack_q(v)[0] + unpack_epoch << 1) & 268435455) & 16383]"
        " + FOLLOWED[_low >> 14] + FOLLOWED[(_z := _z >> 28) & 16383] + STAMP_TOP[_z >> 14]"
    )
    scope = {
        "FOLLOWED": FOLLOWED,
        "STAMP_TOP": dates.STAMP_TOP,
        "unpack_q": _unpack_q,
        "unpack_epoch": dates.EPOCH_US,
    }
    return Cell(name, dates.stamp_from_binary, text, inline=inline, scope=scope)


def _bool_from_binary(v: bytes) -> bytes:
    return {b"\x00": b"\x00", b"\x01": b"\x01"}[v]


def _bool_from_text(v: bytes) -> bytes:
    return {b"f": b"\x00", b"t": b"\x01"}[v]


def _int2_from_binary(v: bytes) -> bytes:
    return long(_unpack_h(v)[0])


def _int4_from_binary(v: bytes) -> bytes:
    return long(_unpack_i(v)[0])


def _int8_from_binary(v: bytes) -> bytes:
    return long(_unpack_q(v)[0])


def _oid_from_binary(v: bytes) -> bytes:
    return long(int.from_bytes(v, "big"))


def _int_from_text(v: bytes) -> bytes:
    return long(int(v))


def _reversed(v: bytes) -> bytes:
    return v[::-1]


def _float4_from_text(v: bytes) -> bytes:
    return _pack_f(float(v))


def _float8_from_text(v: bytes) -> bytes:
    return _pack_d(float(v))


def _float_shown(value: float, digits: int) -> str:
    if value != value:  # noqa: PLR0124 - NaN alone differs from itself
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return f"{value:.{digits}g}"


def _float4_text(v: bytes) -> str:
    return _float_shown(_unpack_f(v)[0], 9)


def _float8_text(v: bytes) -> str:
    return _float_shown(_unpack_d(v)[0], 17)


def _uuid_from_binary(v: bytes) -> bytes:
    return sized(texts.uuid(v).encode())


def _bytea_from_text(v: bytes) -> bytes:
    if v[:2] != b"\\x":
        raise ValueError("bytea_output is not hex")
    return sized(bytes.fromhex(v[2:].decode()))


def _jsonb_from_binary(v: bytes) -> bytes:
    if v[:1] != b"\x01":
        raise ValueError("a jsonb version that is not 1")
    return sized(v[1:])


def _money_from_binary(v: bytes) -> bytes:
    return numerics.packed(_unpack_q(v)[0])


def _money_from_text(v: bytes) -> bytes:
    # as the locale C writes it: -$1,234.56
    digits = v.replace(b"$", b"").replace(b",", b"")
    if digits[-3:-2] != b".":
        raise ValueError("lc_monetary is not C")
    return numerics.packed(int(digits.replace(b".", b"")))


_FLOAT: Final = "v[::-1]"
_TEXT: Final = _as_is("text")
_STRING: Final = (_TEXT, _TEXT)
_MONEY: Final[dict[Form, Cell]] = {
    "binary": _called("money_binary", _money_from_binary, texts.money),
    "text": _called("money_text", _money_from_text, texts.plain),
}
_INT_TEXT: Final = _called("int_text", _int_from_text, texts.plain)
_CELLS: Final[dict[int, tuple[Cell, Cell]]] = {
    BOOL: (
        _remembered("bool_binary", _bool_from_binary, texts.boolean),
        _remembered("bool_text", _bool_from_text, texts.plain),
    ),
    INT2: (_remembered("int2_binary", _int2_from_binary, texts.integer), _INT_TEXT),
    INT4: (
        _integer("int4_binary", "unpack_i", _unpack_i, _int4_from_binary),
        _INT_TEXT,
    ),
    INT8: (
        _integer("int8_binary", "unpack_q", _unpack_q, _int8_from_binary),
        _INT_TEXT,
    ),
    OID: (_called("oid_binary", _oid_from_binary, texts.natural), _INT_TEXT),
    FLOAT4: (
        Cell("float4_binary", _reversed, _float4_text, inline=_FLOAT),
        _called("float4_text", _float4_from_text, texts.plain),
    ),
    FLOAT8: (
        Cell("float8_binary", _reversed, _float8_text, inline=_FLOAT),
        _called("float8_text", _float8_from_text, texts.plain),
    ),
    TEXT: _STRING,
    VARCHAR: _STRING,
    BPCHAR: _STRING,
    JSON: _STRING,
    JSONB: (_called("jsonb_binary", _jsonb_from_binary, texts.versioned), _STRING[1]),
    UUID: (_called("uuid_binary", _uuid_from_binary, texts.uuid), _STRING[1]),
    BYTEA: (
        Cell("bytea_binary", sized, texts.bytea, inline=_SIZED, scope={"SIZES": SIZES}),
        _called("bytea_text", _bytea_from_text, texts.plain),
    ),
    DATE: (
        _remembered("date_binary", dates.date_from_binary, dates.date_text),
        _remembered("date_text", dates.date_from_text, texts.plain),
    ),
    TIMESTAMP: (
        _stamp("timestamp_binary", dates.timestamp_text),
        _called("timestamp_text", dates.timestamp_from_text, texts.plain),
    ),
    TIMESTAMPTZ: (
        _stamp("timestamptz_binary", dates.timestamptz_text),
        _called("timestamptz_text", dates.timestamptz_from_text, texts.plain),
    ),
}
