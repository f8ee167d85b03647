"""From a record's bytes to what a person reads: for watching and for the quarantine, not for landing.

Rule: the writer's schema decides, and bytes after the record are an error.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import fastavro

_HEADER: Final = struct.Struct(">BI")  # the Confluent wire format: a zero byte and the schema's id


def header(id_: int) -> bytes:
    r"""The five bytes before a body that a schema id wrote.

    >>> header(7)
    b'\x00\x00\x00\x00\x07'
    """
    return _HEADER.pack(0, id_)


def schema_id(data: bytes) -> int:
    r"""The schema id that a record was written with; ValueError for bytes of another wire format.

    >>> schema_id(b"\x00\x00\x00\x00\x07...")
    7
    """
    if len(data) < _HEADER.size or data[0] != 0:
        raise ValueError("not in the Confluent wire format")
    return int(_HEADER.unpack_from(data)[1])


def decode(data: bytes, schema: str) -> Mapping[str, Any]:
    """The record behind a wire-format value or key; ``schema`` is the writer's, as JSON text.

    Raises ValueError when the bytes are not one whole record of that schema.
    """
    schema_id(data)
    body = io.BytesIO(data[_HEADER.size :])
    try:
        found: Mapping[str, Any] = fastavro.schemaless_reader(body, _parsed(schema), None)
    except (EOFError, IndexError, KeyError, OverflowError, UnicodeDecodeError, struct.error) as error:
        raise ValueError(f"does not decode: {error}") from error
    if body.read(1):
        raise ValueError("bytes after the record")
    return found


def leading(data: bytes, schema: str, field: str) -> Any:
    """One field of the record behind a wire-format value, without looking at what comes after it.

    It costs what comes before: the fields of an envelope that say who wrote it are its first. Raises
    ValueError when the bytes are not those of a record of that schema up to there.
    """
    schema_id(data)
    try:
        begun = fastavro.schemaless_reader(io.BytesIO(data[_HEADER.size :]), _parsed(schema, field), None)
    except (EOFError, IndexError, KeyError, OverflowError, UnicodeDecodeError, struct.error) as error:
        raise ValueError(f"does not decode: {error}") from error
    return begun[field]


@lru_cache(maxsize=256)
def _parsed(schema: str, last: str = "") -> Any:
    """A schema, up to its field ``last`` if one is named."""
    import json

    whole = json.loads(schema)
    if last:
        names = [field["name"] for field in whole["fields"]]
        if last not in names:
            raise ValueError(f"has no {last}")
        whole["fields"] = whole["fields"][: names.index(last) + 1]
    return fastavro.parse_schema(whole)
