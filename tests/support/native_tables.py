"""Tables that the native append writes to, and what stands in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

from engine.lake import native
from engine.lake.log import Log

POSITION = pa.struct([("era", pa.int64()), ("major", pa.int64())])
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("small", pa.int16()),
        ("name", pa.string()),
        ("weight", pa.decimal128(10, 3)),
        ("at", pa.timestamp("us", tz="UTC")),
        ("local", pa.timestamp("us")),
        ("day", pa.date32()),
        ("ratio", pa.float64()),
        ("_position", POSITION),
        ("tags", pa.list_(pa.string())),
    ]
)
AT = datetime(2026, 11, 22, 15, 30, 0, 123_456, tzinfo=UTC)


def rows(*ids: int, schema: pa.Schema = SCHEMA, **more: Any) -> pa.Table:
    """A row for each id, all other values the same."""
    row = {
        "small": 3, "name": "n", "weight": Decimal("1.500"), "at": AT, "local": AT.replace(tzinfo=None),
        "day": date(2026, 11, 22), "ratio": 0.5, "tags": ["a"],
    }  # fmt: skip
    found = [{**row, "id": n, "_position": {"era": 0, "major": n}, **more} for n in ids]
    return pa.Table.from_pylist([{k: v for k, v in r.items() if k in schema.names} for r in found], schema)


def create(path: Path) -> Path:
    """An empty table whose log gets a checkpoint every five commits."""
    deltalake.DeltaTable.create(str(path), SCHEMA, configuration={"delta.checkpointInterval": "5"})
    return path


def nothing() -> None:
    """Between comparison and commit nothing happens."""


def append(
    path: Path, seq: int, *ids: int, ready: Callable[[], None] = nothing, driver: str = "d", **more: Any
) -> bool:
    """One native commit of rows with these ids; whether it is done (no: the table is Spark's)."""
    table = native.fitting(path, SCHEMA.names)
    assert table is not None
    said = json.dumps({"ecluse": 1, "writer": driver})
    found = more.pop("found", None) or rows(*ids, **more)
    file = native.save(found, path)
    return native.commit(table, [file], app_id="a", seq=seq, metadata=said, ready=ready)


def ids(path: Path) -> list[int]:
    """The ids of all rows that a reader sees."""
    return sorted(deltalake.DeltaTable(str(path)).to_pyarrow_table().column("id").to_pylist())


def unanswered(patch: pytest.MonkeyPatch) -> None:
    """Commits that are made, and answered as if they were not."""
    real = Log._put  # noqa: SLF001

    def put(log: Log, version: int, text: str) -> bool:
        return real(log, version, text) and False

    patch.setattr(Log, "_put", put)
