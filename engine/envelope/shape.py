"""The Avro schemas of a table's records.

Avro resolves fields by name, so their order is ours: what is constant in a run of rows comes first, up to
``position.minor``, and is encoded once per run. The names of Debezium's envelope keep their meaning; the
original names of columns travel in the property ``ecluse`` of the record and of each field.
"""

from __future__ import annotations

from typing import Any, Final

from engine.names import namespace
from engine.schema import Column, Relation, avro, field_name

Schema = dict[str, Any]

EARLY: Final = "early"
"""``source.snapshot`` of a change whose row a snapshot is yet to read, and that leaves values out."""


def value_schema(relation: Relation, topic: str) -> Schema:
    """The Avro schema of a table's record values."""
    row: Schema = {"type": "record", "name": "Row", "fields": [_row_field(c) for c in relation.columns]}
    longs = ["null", "long"]
    source = _record(
        "Source",
        ("version", "string"), ("connector", "string"), ("name", "string"), ("ts_ms", "long"),
        ("ts_us", "long"), ("snapshot", "string"), ("db", "string"), ("schema", "string"),
        ("table", "string"), ("txId", longs), ("lsn", longs), ("strand", "string"),
    )  # fmt: skip
    transaction = _record(
        "Transaction", ("id", "string"), ("total_order", longs), ("data_collection_order", longs)
    )
    attempt = _record("Attempt", ("run", "long"), ("range", "string"), ("attempt", "long"))
    position = _record("Position", ("era", "long"), ("major", "long"), ("minor", "long"))
    stub = _record("Stub", ("bytes", "long"), ("sha256", "string"))
    envelope = _record(
        "Envelope",
        ("source", source),
        ("writer", "long"),
        ("ts_ms", "long"),
        ("transaction", ["null", transaction]),
        ("attempt", ["null", attempt]),
        ("position", position),
        ("op", "string"),
        ("before", ["null", row]),
        ("after", ["null", "Row"]),
    )
    envelope["fields"] += [
        {"name": "unchanged", "type": {"type": "array", "items": "string"}, "default": []},
        {"name": "unfit", "type": {"type": "map", "values": "string"}, "default": {}},
        {"name": "stub", "type": ["null", stub], "default": None},
    ]
    return envelope | {"namespace": namespace(topic), "ecluse": _origin(relation)}


def key_schema(relation: Relation, topic: str) -> Schema | None:
    """The Avro schema of a table's record keys; None for a table without a key."""
    if not relation.key:
        return None
    columns = (c for c in relation.columns if c.name in relation.key)
    fields = [{"name": field_name(c), "type": avro(c.type), "ecluse": _column(c)} for c in columns]
    key: Schema = {"type": "record", "name": "Key", "fields": fields}
    return key | {"namespace": namespace(topic), "ecluse": _origin(relation)}


def _record(name: str, *fields: tuple[str, Any]) -> Schema:
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields]}


def _row_field(column: Column) -> Schema:
    type_ = ["null", avro(column.type)]
    return {"name": field_name(column), "type": type_, "default": None, "ecluse": _column(column)}


def _column(column: Column) -> Schema:
    return {
        "name": column.name,
        "declared": column.declared,
        "nullable": column.nullable,
        "default": column.default,
    }


def _origin(relation: Relation) -> Schema:
    return {
        "version": 1,
        "schema": relation.schema,
        "table": relation.table,
        "key": list(relation.key),
        "identity": relation.identity.value,
    }
