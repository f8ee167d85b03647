"""Small files of plain appends become one, whoever commits beside it, and what nobody needs any more goes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

from engine.lake import commits, native, parquet
from engine.lake.log import Log
from tests.support.native_tables import SCHEMA, append, create, ids, unanswered


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return create(tmp_path / "table")


def files(path: Path) -> int:
    return len(deltalake.DeltaTable(str(path)).file_uris())


def filled(path: Path, batches: int = 4) -> Path:
    for seq in range(1, batches + 1):
        append(path, seq, 2 * seq, 2 * seq + 1)
    return path


def test_small_files_become_one_with_the_same_rows_and_the_seq_goes_on(path: Path) -> None:
    before = rows_of(filled(path))
    assert native.compact(path, SCHEMA.names)
    assert files(path) == 1
    assert rows_of(path) == before
    actions = commits.read(path, commits.head(path)) or []
    kinds = [a[kind]["dataChange"] for a in actions for kind in ("add", "remove") if kind in a]
    assert kinds == [False] * 5  # no reader of changes takes them for new
    assert append(path, 5, 99)
    assert ids(path) == [*range(2, 10), 99]


def rows_of(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = deltalake.DeltaTable(str(path)).to_pyarrow_table().to_pylist()
    return sorted(found, key=lambda row: row["id"])


@pytest.mark.parametrize("between", ["compact", "append", "optimize"])
def test_i2_whatever_is_committed_in_between_no_row_stands_twice(
    path: Path, monkeypatch: pytest.MonkeyPatch, between: str
) -> None:
    filled(path)
    made = parquet.save

    def meanwhile(found: pa.Table, table: Path) -> str:
        monkeypatch.setattr(parquet, "save", made)
        match between:
            case "compact":
                native.compact(path, SCHEMA.names)
            case "append":
                append(path, 5, 99)
            case _:
                deltalake.DeltaTable(str(path)).optimize.compact()
        return made(found, table)

    monkeypatch.setattr(parquet, "save", meanwhile)
    assert native.compact(path, SCHEMA.names)  # it is not Spark's to do: it is done another time
    assert ids(path) == [*range(2, 10), *([99] if between == "append" else [])]
    assert files(path) == (5 if between == "append" else 1)
    kept = len(list(path.glob("*.parquet")))
    assert kept == 6  # the file of the one that was refused is nobody's, and VACUUM's


def test_i2_files_are_rewritten_as_they_were_at_the_version_that_is_committed_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(path)
    look = Log.now

    def and_then_another(log: Log) -> Any:
        known = look(log)
        monkeypatch.undo()
        deltalake.DeltaTable(str(path)).optimize.compact()
        return known

    monkeypatch.setattr(Log, "now", and_then_another)
    native.compact(path, SCHEMA.names)
    assert ids(path) == list(range(2, 10))


def test_i7_rows_of_a_rewriting_whose_answer_was_lost_stay(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(path)
    unanswered(monkeypatch)
    assert native.compact(path, SCHEMA.names)
    assert files(path) == 1
    assert ids(path) == list(range(2, 10))


def test_a_file_from_before_a_column_came_has_no_value_in_it(path: Path) -> None:
    filled(path)
    table = deltalake.DeltaTable(str(path))
    table.alter.add_columns([deltalake.Field("more", deltalake.schema.PrimitiveType("string"))])
    names = [*SCHEMA.names, "more"]
    assert native.compact(path, names)
    assert {row["more"] for row in rows_of(path)} == {None}


def test_rows_that_a_log_and_its_files_count_differently_are_not_rewritten(path: Path) -> None:
    filled(path, 3)
    log = path / "_delta_log" / f"{3:020d}.json"
    log.write_text(log.read_text().replace('\\"numRecords\\": 2', '\\"numRecords\\": 3'))
    assert not native.compact(path, SCHEMA.names)
    assert files(path) == 3


def test_only_as_much_as_memory_holds_is_rewritten_and_else_it_is_sparks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(path)
    size = max(file.stat().st_size for file in path.glob("*.parquet"))
    monkeypatch.setattr(native, "SMALL_BYTES", 2 * size)
    assert native.compact(path, SCHEMA.names)
    assert files(path) == 3
    monkeypatch.setattr(native, "_LEFT_MAX", 1)
    assert not native.compact(path, SCHEMA.names)
    monkeypatch.setattr(native, "SMALL_BYTES", size // 2)
    assert not native.compact(path, SCHEMA.names)
    assert ids(path) == list(range(2, 10))


def test_what_no_version_needs_goes_after_the_tables_own_time(path: Path) -> None:
    old, new = filled(path) / "part-old.parquet", path / "part-new.parquet"
    for orphan in (old, new):
        orphan.write_bytes(b"")
    os.utime(old, (0, 0))
    native.remove(path)
    assert not old.exists()
    assert new.exists()
    assert ids(path) == list(range(2, 10))
