"""Records of a topic made by hand: the envelope in fastavro, without the capture.

Rule: this is a second, independent writing of the envelope's contract, so that the landing is tested
against the contract and not against our own encoder. Positions count up by themselves.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import fastavro

from engine.names import namespace
from engine.source import STREAM, snapshot_strand

MAGIC: Final = b"\x00"

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a hand-made table: its Avro schema and what travels with it."""

    name: str
    avro: Any
    default: str | None = None
    declared: str = ""
    nullable: bool = True
    avro_name: str = ""


def decimal(precision: int, scale: int) -> Schema:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def logical(plain: str, name: str) -> Schema:
    return {"type": plain, "logicalType": name}


TIMESTAMP: Final = logical("long", "timestamp-micros")
DATE: Final = logical("int", "date")


def envelope(topic: str, fields: Sequence[Field], key: Sequence[str], *, table: str = "parcel") -> Schema:
    """The Avro schema of a topic's values, as the contract between the parts writes it."""
    row = {
        "type": "record",
        "name": "Row",
        "fields": [
            {
                "name": f.avro_name or f.name,
                "type": ["null", f.avro],
                "default": None,
                "ecluse": {
                    "name": f.name,
                    "declared": f.declared,
                    "nullable": f.nullable,
                    "default": f.default,
                },
            }
            for f in fields
        ],
    }
    longs = ["null", "long"]
    source = _record(
        "Source", version="string", connector="string", name="string", ts_ms="long", ts_us="long",
        snapshot="string", db="string", schema="string", table="string", txId=longs, lsn=longs,
        strand="string",
    )  # fmt: skip
    transaction = _record("Transaction", id="string", total_order=longs, data_collection_order=longs)
    attempt = _record("Attempt", run="long", range="string", attempt="long")
    position = _record("Position", era="long", major="long", minor="long")
    stub = _record("Stub", bytes="long", sha256="string")
    return {
        **_record(
            "Envelope", source=source, writer="long", ts_ms="long", transaction=["null", transaction],
            attempt=["null", attempt], position=position, op="string", before=["null", row],
            after=["null", "Row"], unchanged={"type": "array", "items": "string"},
            unfit={"type": "map", "values": "string"}, stub=["null", stub],
        ),
        "namespace": namespace(topic),
        "ecluse": {
            "version": 1, "schema": "public", "table": table, "key": list(key), "identity": "default",
        },
    }  # fmt: skip


def _record(name: str, /, **fields: Any) -> Schema:
    return {"type": "record", "name": name, "fields": [{"name": n, "type": t} for n, t in fields.items()]}


@dataclass
class Schemas:
    """A registry in memory: ids from 1 on, in the order of registration."""

    texts: dict[int, str] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)

    def add(self, schema: Schema) -> int:
        """Register a schema and give its id."""
        number = len(self.texts) + 1
        self.texts[number] = json.dumps(schema)
        return number

    def schema(self, schema_id: int) -> str | None:
        """What the landing asks of a registry."""
        self.asked.append(schema_id)
        return self.texts.get(schema_id)

    def ask(self, schema_ids: Collection[int]) -> None:
        """Nothing here takes time."""


@dataclass
class Maker:
    """Makes the record values of one table, one position after the other."""

    schema: Schema
    schema_id: int
    writer: int = 1
    era: int = 1
    major: int = 0
    minor: int = 0
    committed_us: int = 1_700_000_000_000_000
    parsed: Any = None

    def begin(self, major: int | None = None) -> None:
        """Start the next transaction."""
        self.major = self.major + 8 if major is None else major
        self.minor = 0

    def value(
        self,
        op: str,
        after: Mapping[str, Any] | None = None,
        before: Mapping[str, Any] | None = None,
        *,
        unchanged: Sequence[str] = (),
        unfit: Mapping[str, str] | None = None,
        stub: Mapping[str, Any] | None = None,
        position: tuple[int, int, int] | None = None,
        part: str | None = None,
        early: bool = False,
        strand: str = STREAM,
        tx: str | None = None,
    ) -> bytes:
        """One record value in the wire format; rows are given by the Avro names of their fields.

        With ``part`` it is a row of that part of a snapshot.
        """
        if position is None:
            position = (self.era, self.major, self.minor)
            self.minor += 2
        era, major, minor = position
        record = {
            "source": {
                "version": "ecluse/1", "connector": "postgres", "name": "test.shop",
                "ts_ms": self.committed_us // 1000, "ts_us": self.committed_us,
                "snapshot": "early" if early else "false", "db": "shop", "schema": "public",
                "table": "parcel", "txId": major, "lsn": major,
                "strand": strand if part is None else snapshot_strand(0, part),
            },
            "writer": self.writer,
            "ts_ms": self.committed_us // 1000,
            "transaction": {"id": tx or f"tx{major}", "total_order": None, "data_collection_order": None}
            if part is None
            else None,
            "attempt": None if part is None else {"run": 0, "range": part, "attempt": self.writer},
            "position": {"era": era, "major": major, "minor": minor},
            "op": op,
            "before": before,
            "after": after,
            "unchanged": list(unchanged),
            "unfit": dict(unfit or {}),
            "stub": stub,
        }  # fmt: skip
        return self.encode(record)

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """Any record of the schema, framed."""
        if self.parsed is None:
            self.parsed = fastavro.parse_schema(self.schema)
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self.parsed, record)
        return MAGIC + struct.pack(">I", self.schema_id) + out.getvalue()
