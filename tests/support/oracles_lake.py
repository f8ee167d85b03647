"""Reads the lake as a stranger would: with deltalake, without Spark and without the engine.

Rule: what it gives is what a user's own reader would see; engine columns keep their names.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

from tests.support.workload import Change, Row

ENGINE: Final = "_"
"""What the names of engine columns begin with."""


def table_rows(path: Path) -> list[Row]:
    """Every row of a table, deletion vectors applied; an absent table has none."""
    if not (path / "_delta_log").is_dir():
        return []
    # the query engine applies deletion vectors; DeltaTable.to_pyarrow_table refuses them
    found = QueryBuilder().register("t", DeltaTable(str(path))).execute("select * from t").read_all()
    rows: list[Row] = pa.table(found).to_pylist()
    return rows


def versions(path: Path, key: str = "id") -> list[dict[Any, Row]]:
    """The rows by key in every version of a table that can still be read, the oldest first."""
    newest = DeltaTable(str(path))
    numbers = sorted(entry["version"] for entry in newest.history())
    found = []
    for number in numbers:
        at = DeltaTable(str(path), version=number)
        if key in {field.name for field in at.schema().fields}:
            read = QueryBuilder().register("t", at).execute("select * from t").read_all()
            found.append({row[key]: row for row in pa.table(read).to_pylist()})
    return found


def user_rows(rows: Iterable[Row], key: str = "id") -> dict[Any, Row]:
    """Rows by key, without the engine's columns; a key that stands twice is an error."""
    found: dict[Any, Row] = {}
    for row in rows:
        if row[key] in found:
            raise AssertionError(f"key {row[key]} stands twice")
        found[row[key]] = {name: value for name, value in row.items() if not name.startswith(ENGINE)}
    return found


def table_changes(path: Path, key: str = "id") -> list[Change]:
    """The rows of an append table as changes, in the order of their positions."""
    found = []
    for row in table_rows(path):
        place = row["_position"]
        unchanged = frozenset(row["_unchanged"] or ())
        user = {n: v for n, v in row.items() if not n.startswith(ENGINE) and n not in unchanged}
        found.append(
            Change(
                position=(place["era"], place["major"], place["minor"]),
                op=row["_op"],
                key=user.get(key),
                row=user,
                strand=row["_strand"],
                unchanged=unchanged,
            )
        )
    return sorted(found, key=lambda c: c.position)
