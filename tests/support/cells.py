"""Cells for tests: a field's wire form is its own Avro encoding, so any type can be framed from values.

``NAN`` stands for a value that has no place in any type.
"""

from __future__ import annotations

import io
from typing import Any, Final

import fastavro

from engine.schema import Cell, Column, Identity, Relation, Type, Unfit, avro

NAN: Final = b"unfit:NaN"


def _encode(field: bytes) -> bytes:
    if bytes(field).startswith(b"unfit:"):
        raise Unfit(field.decode())
    return field


def _text(field: bytes) -> str:
    return field.removeprefix(b"unfit:").decode(errors="replace")


def _inline(field: bytes) -> bytes:
    if field.startswith(b"unfit:"):
        raise ValueError
    return field


CELL: Final = Cell("avro", _encode, _text, "checked(v) + empty", {"checked": _inline, "empty": b""})


def column(name: str, type_: Type, *, nullable: bool = True, default: str | None = None) -> Column:
    return Column(name, type_, nullable, type(type_).__name__.lower(), CELL, default)


def relation(*columns: Column, key: tuple[str, ...] = ("id",), table: str = "parcel") -> Relation:
    return Relation(16384, "public", table, columns, key, Identity.DEFAULT)


def field(type_: Type, value: Any) -> bytes:
    """The wire form of a value."""
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(avro(type_)), value)
    return body.getvalue()
