"""A handle that is kept sees what others commit, and no other table than its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import deltalake
import pytest

from engine.lake import commits, native
from engine.lake.handle import Handle
from tests.support.native_tables import SCHEMA, append, create, ids, rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return create(tmp_path / "table")


def by(handle: Handle, path: Path, seq: int, *ids: int) -> bool:
    table = native.fitting(path, SCHEMA.names, handle)
    assert table is not None
    return native.commit(table, path, [native.save(rows(*ids), path)], app_id="a", seq=seq, metadata="{}")


def test_it_is_the_same_object_that_has_read_on(path: Path) -> None:
    handle = Handle(path)
    first = handle.table()
    append(path, 1, 7)
    assert handle.table() is first
    assert (first.version(), first.transaction_version("a")) == (1, 1)


def test_i2_it_commits_behind_what_others_have_committed(path: Path) -> None:
    handle = Handle(path)
    assert by(handle, path, 1, 1)
    append(path, 2, 2)
    assert by(handle, path, 2, 22)  # that seq is there: the read-back tells whose
    assert by(handle, path, 3, 3)
    assert ids(path) == [1, 2, 3]
    assert commits.head(path) == 3


def test_it_sees_a_column_that_has_come(path: Path) -> None:
    handle = Handle(path)
    handle.table()
    more = deltalake.Field("more", deltalake.schema.PrimitiveType("string"))
    deltalake.DeltaTable(str(path)).alter.add_columns([more])
    assert native.fitting(path, SCHEMA.names, handle) is None
    assert native.fitting(path, [*SCHEMA.names, "more"], handle) is not None


@pytest.mark.parametrize(("before", "after"), [(3, 1), (3, 3), (1, 3), (3, 6)])
def test_i3_a_table_that_was_made_anew_is_opened_anew(path: Path, before: int, after: int) -> None:
    """Fewer commits than are known, as many, more: of the second kind the library itself sees nothing."""
    handle = Handle(path)
    for seq in range(1, before + 1):
        assert by(handle, path, seq, seq)
    handle.table()
    shutil.rmtree(path)
    create(path)
    for seq in range(1, after + 1):
        append(path, seq, 100 + seq)
    held = handle.table()
    assert held.version() == held.transaction_version("a") == after
    assert sorted(held.file_uris()) == sorted(deltalake.DeltaTable(str(path)).file_uris())
    assert by(handle, path, after + 1, 6)
    assert ids(path) == [6, *(100 + seq for seq in range(1, after + 1))]
    assert commits.head(path) == after + 1


def test_i3_a_log_that_was_cleaned_behind_it_is_read_anew(path: Path) -> None:
    handle = Handle(path)
    handle.table()
    for seq in range(1, 9):
        append(path, seq, seq)
    for version in range(5):  # what lies before the checkpoint of version 4
        (path / "_delta_log" / f"{version:020d}.json").unlink()
    assert handle.table().version() == 8
    assert by(handle, path, 9, 9)
    assert ids(path) == list(range(1, 10))
    assert commits.head(path) == 9


def test_a_log_that_cannot_be_read_on_is_read_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = Handle(path)
    first = handle.table()

    def refuse(_table: deltalake.DeltaTable) -> None:
        raise deltalake.exceptions.DeltaError("damaged")

    monkeypatch.setattr(deltalake.DeltaTable, "update_incremental", refuse)
    assert handle.table() is not first
