"""What a row is made of: types, columns, relations, and how a schema may change.

Rule: the set of types is closed and each has exactly one Avro form and one Delta form; a source type
without a place here is refused by name, never approximated. Evolution is a pure function, old × new →
verdict. This room does not parse wire forms: a column carries a cell, which does.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, assert_never

from engine.names import avro_name


@dataclass(frozen=True, slots=True)
class Boolean:
    """True or false."""


@dataclass(frozen=True, slots=True)
class Int32:
    """A signed integer of 32 bits."""


@dataclass(frozen=True, slots=True)
class Int64:
    """A signed integer of 64 bits."""


@dataclass(frozen=True, slots=True)
class Float32:
    """An IEEE 754 single."""


@dataclass(frozen=True, slots=True)
class Float64:
    """An IEEE 754 double."""


@dataclass(frozen=True, slots=True)
class Decimal:
    """An exact decimal: ``precision`` digits in all (at most 38), ``scale`` of them after the point."""

    precision: int
    scale: int


@dataclass(frozen=True, slots=True)
class String:
    """Text in UTF-8."""


@dataclass(frozen=True, slots=True)
class Binary:
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Date:
    """A day of the proleptic Gregorian calendar, years 1 to 9999."""


@dataclass(frozen=True, slots=True)
class Timestamp:
    """An instant, in microseconds."""


@dataclass(frozen=True, slots=True)
class TimestampNtz:
    """A wall-clock date and time without a zone, in microseconds."""


Type = (
    Boolean | Int32 | Int64 | Float32 | Float64 | Decimal | String | Binary | Date | Timestamp | TimestampNtz
)


def avro(type_: Type) -> str | dict[str, Any]:
    """The Avro schema of a type.

    >>> avro(Decimal(10, 2))
    {'type': 'bytes', 'logicalType': 'decimal', 'precision': 10, 'scale': 2}
    """
    match type_:
        case Boolean():
            return "boolean"
        case Int32():
            return "int"
        case Int64():
            return "long"
        case Float32():
            return "float"
        case Float64():
            return "double"
        case Decimal(precision=p, scale=s):
            return {"type": "bytes", "logicalType": "decimal", "precision": p, "scale": s}
        case String():
            return "string"
        case Binary():
            return "bytes"
        case Date():
            return {"type": "int", "logicalType": "date"}
        case Timestamp():
            return {"type": "long", "logicalType": "timestamp-micros"}
        case TimestampNtz():
            return {"type": "long", "logicalType": "local-timestamp-micros"}
        case _:
            assert_never(type_)


def delta(type_: Type) -> str:
    """The type of the Delta column, as Spark SQL writes it.

    >>> delta(Decimal(10, 2)), delta(TimestampNtz())
    ('decimal(10,2)', 'timestamp_ntz')
    """
    match type_:
        case Boolean():
            return "boolean"
        case Int32():
            return "int"
        case Int64():
            return "bigint"
        case Float32():
            return "float"
        case Float64():
            return "double"
        case Decimal(precision=p, scale=s):
            return f"decimal({p},{s})"
        case String():
            return "string"
        case Binary():
            return "binary"
        case Date():
            return "date"
        case Timestamp():
            return "timestamp"
        case TimestampNtz():
            return "timestamp_ntz"
        case _:
            assert_never(type_)


PLAIN_TYPES: Final[Mapping[str, Type]] = {
    delta(each): each
    for each in (
        Boolean(), Int32(), Int64(), Float32(), Float64(), String(), Binary(), Date(), Timestamp(),
        TimestampNtz(),
    )
}  # fmt: skip
"""The types without numbers in them, by the text that Spark SQL writes."""
_DECIMAL: Final = re.compile(r"decimal\(([1-9][0-9]?), ?([0-9]{1,2})\)")
_DIGITS_MAX: Final = 38


def from_delta(text: str) -> Type:
    """The type that Spark SQL writes in this way: the inverse of ``delta``.

    Raises ValueError for a text that is none of ours.

    >>> from_delta("decimal(10, 2)"), from_delta("bigint")
    (Decimal(precision=10, scale=2), Int64())
    """
    found = _DECIMAL.fullmatch(text)
    if found and int(found[2]) <= int(found[1]) <= _DIGITS_MAX:
        return Decimal(int(found[1]), int(found[2]))
    if text not in PLAIN_TYPES:
        raise ValueError(f"no type of ours is written {text!r}")
    return PLAIN_TYPES[text]


def from_avro(schema: str | Mapping[str, Any] | Sequence[Any]) -> Type:
    """The type that an Avro schema (or its nullable union) stands for: the inverse of ``avro``.

    Raises ValueError for a schema that is none of ours.
    """
    if isinstance(schema, Mapping):
        match schema:
            case {"logicalType": "decimal", "precision": int(p)}:
                return Decimal(p, int(schema.get("scale", 0)))
            case {"logicalType": "date"}:
                return Date()
            case {"logicalType": "timestamp-micros"}:
                return Timestamp()
            case {"logicalType": "local-timestamp-micros"}:
                return TimestampNtz()
            case {"type": str(plain)} if "logicalType" not in schema:
                return from_avro(plain)
            case _:
                raise ValueError(f"no type of ours has the Avro schema {dict(schema)!r}")
    if not isinstance(schema, str):
        return from_avro(next(branch for branch in schema if branch != "null"))
    plain_types: dict[str, Type] = {
        "boolean": Boolean(),
        "int": Int32(),
        "long": Int64(),
        "float": Float32(),
        "double": Float64(),
        "string": String(),
        "bytes": Binary(),
    }
    if schema not in plain_types:
        raise ValueError(f"no type of ours has the Avro schema {schema!r}")
    return plain_types[schema]


class Unfit(ValueError):
    """A value has no place in its column's type (NaN in a decimal, infinity in a date)."""


BAD: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error)
"""What a cell may raise for a field that it cannot encode."""


@dataclass(frozen=True, slots=True)
class Cell:
    """How a field's wire form (bytes, never NULL) becomes Avro bytes.

    ``encode`` returns the Avro encoding of the value alone (no union index); it raises ``Unfit`` for a
    value without a place in the type. ``inline`` is the same as one Python expression over ``v`` (the
    field) and the names in ``scope``: the generated row encoder strings these together, and any
    exception in it sends the row to the careful encoder, which calls ``encode`` field by field.
    ``many`` is the same for the fields of many rows, where that takes less than ``inline`` for each.
    ``text`` gives the source's own text of a field: what a rejected value is shown as.
    """

    name: str
    encode: Callable[[bytes], bytes]
    text: Callable[[bytes], str]
    inline: str = ""
    scope: Mapping[str, Any] = field(default_factory=dict, compare=False)
    many: Callable[[Sequence[bytes]], Sequence[bytes]] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    ``declared`` is the source's own type text; ``default`` the constant that existing rows got when the
    column was added, as the source writes it (None: there is none).
    """

    name: str
    type: Type
    nullable: bool
    declared: str
    cell: Cell
    default: str | None = None


class Identity(StrEnum):
    """Which columns of the old row an update or delete carries (PostgreSQL's replica identity)."""

    DEFAULT = "default"
    INDEX = "index"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as its source describes it now.

    ``key`` names the columns of the record key, in the relation's order; empty: no key, append only.
    Two relations of one table differ as soon as anything in them differs: encoders are cached by value.
    """

    id: int
    schema: str
    table: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    identity: Identity

    @property
    def name(self) -> str:
        """Schema and table."""
        return f"{self.schema}.{self.table}"


class Change(StrEnum):
    """The kinds of schema change that a flow has a policy for."""

    ADD_COLUMN = "add_column"
    DROP_COLUMN = "drop_column"
    WIDEN_TYPE = "widen_type"
    ALTER_TYPE = "alter_type"
    CHANGE_KEY = "change_key"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between two schemas of a table: the column, and its type before and after."""

    kind: Change
    column: str
    before: Type | None
    after: Type | None


def widens(old: Type, new: Type) -> bool:
    """Whether every value of ``old`` is exactly a value of ``new``, in Avro and in Delta.

    >>> widens(Int32(), Int64()), widens(Int64(), Int32()), widens(Decimal(8, 2), Decimal(10, 2))
    (True, False, True)
    """
    match (old, new):
        case (Int32(), Int64()) | (Float32(), Float64()):
            return True
        case (Decimal(precision=p, scale=s), Decimal(precision=p2, scale=s2)):
            return s2 == s and p2 >= p
        case _:
            return False


Shape = Mapping[str, Type]
"""Column names and types, in the order of the table."""


def evolve(old: Shape, new: Shape, old_key: Sequence[str], new_key: Sequence[str]) -> tuple[Difference, ...]:
    """What changed from one schema of a table to the next; empty when nothing a table can see did.

    >>> [d.kind.value for d in evolve({"a": Int32()}, {"a": Int64(), "b": String()}, ["a"], ["a"])]
    ['widen_type', 'add_column']
    """
    found: list[Difference] = []
    for name, before in old.items():
        after = new.get(name)
        if after is None:
            found.append(Difference(Change.DROP_COLUMN, name, before, None))
        elif after != before:
            kind = Change.WIDEN_TYPE if widens(before, after) else Change.ALTER_TYPE
            found.append(Difference(kind, name, before, after))
    found += [Difference(Change.ADD_COLUMN, n, None, t) for n, t in new.items() if n not in old]
    if tuple(old_key) != tuple(new_key):
        found.append(Difference(Change.CHANGE_KEY, ",".join(new_key), None, None))
    return tuple(found)


def field_name(column: Column) -> str:
    """The Avro name of a column's field."""
    return avro_name(column.name)


ENGINE_COLUMNS: Final = (
    "_op",
    "_position",
    "_tx",
    "_committed_at",
    "_landed_at",
    "_unchanged",
    "_strand",
    "_attempt",
    "_deleted",
)
"""Columns that the landing adds to a table; a source column of such a name is refused."""
