"""A log that is kept sees what others commit, and no other table than its own."""

# ruff: noqa: SLF001 - what is tried are parts of the log

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import deltalake
import pytest
from deltalake.transaction import AddAction

from engine.lake import book, commits, native
from engine.lake.log import Log
from tests.support.native_tables import SCHEMA, append, create, ids, rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return create(tmp_path / "table")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The versions at which logs were opened by the library."""
    found: list[int] = []
    real = Log._opened

    def watched(log: Log) -> Any:
        known = real(log)
        found.append(known.version)
        return known

    monkeypatch.setattr(Log, "_opened", watched)
    return found


def by(log: Log, seq: int, *ids: int) -> bool:
    assert native.fitting(log.path, SCHEMA.names, log) is log
    file = native.save(rows(*ids), log.path)
    return native.commit(log, [file], app_id="a", seq=seq, metadata="{}")


def test_a_log_is_opened_once_whoever_commits(path: Path, opened: list[int]) -> None:
    log = Log(path)
    assert by(log, 1, 1)
    deltalake.DeltaTable(str(path)).optimize.compact()
    assert by(log, 2, 2)
    deltalake.DeltaTable(str(path)).optimize.compact()
    assert by(log, 3, 3)
    assert opened == [0]
    assert log.now().version == commits.head(path) == 4
    assert ids(path) == [1, 2, 3]


def test_i2_it_commits_behind_what_others_have_committed(path: Path) -> None:
    log = Log(path)
    assert by(log, 1, 1)
    append(path, 2, 2)
    assert by(log, 2, 22)  # that seq is there: the read-back tells whose
    assert by(log, 3, 3)
    assert ids(path) == [1, 2, 3]
    assert commits.head(path) == 3


def test_i3_of_many_who_commit_at_once_each_has_a_number_of_its_own(path: Path) -> None:
    def work(name: str) -> None:
        log = Log(path)
        for seq in range(1, 13):
            while log.now() and not log.commit({}, [], {name: seq}):
                pass

    together = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for each in together:
        each.start()
    for each in together:
        each.join()
    assert commits.head(path) == 48
    seqs = [a["txn"] for v in range(1, 49) for a in commits.read(path, v) or [] if "txn" in a]
    for n in range(4):
        assert [txn["version"] for txn in seqs if txn["appId"] == f"w{n}"] == list(range(1, 13))


def test_i7_a_commit_is_there_whole_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log(path)
    log.now()

    def killed(*_words: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.link", killed)
    with pytest.raises(KeyboardInterrupt):
        by(log, 1, 1)
    assert commits.head(path) == 0
    monkeypatch.undo()
    (path / "_delta_log" / "_commit_left.json.tmp").write_text('{"add"')  # by one that was killed for good
    assert by(log, 1, 1)
    assert ids(path) == [1]


def test_what_it_commits_reads_as_what_the_library_commits(tmp_path: Path) -> None:
    """Names and kinds of all that a reader may look at; the library says more of itself."""
    ours, theirs = create(tmp_path / "ours"), create(tmp_path / "theirs")
    append(ours, 1, 7)
    file = native.save(rows(7), theirs)
    _, add = book.described(theirs, file)
    table = deltalake.DeltaTable(str(theirs))
    said = deltalake.CommitProperties(
        {"userMetadata": "{}"}, app_transactions=[deltalake.Transaction("a", 1)]
    )
    table.create_write_transaction([add], "append", table.schema(), commit_properties=said)

    def shape(path: Path, kind: str) -> dict[str, type]:
        (action,) = (a[kind] for a in commits.read(path, 1) or [] if kind in a)
        return {name: type(value) for name, value in action.items() if value is not None}

    assert shape(ours, "add") == shape(theirs, "add")
    assert shape(ours, "txn").items() <= (shape(theirs, "txn") | {"lastUpdated": int}).items()
    told = shape(theirs, "commitInfo")
    assert {
        name: kind for name, kind in shape(ours, "commitInfo").items() if name in told
    }.items() <= told.items()
    history = deltalake.DeltaTable(str(ours)).history(1)[0]
    assert (history["operation"], history["isBlindAppend"]) == ("WRITE", True)
    assert deltalake.DeltaTable(str(ours)).transaction_version("a") == 1


def test_it_sees_a_column_that_has_come(path: Path) -> None:
    log = Log(path)
    log.now()
    more = deltalake.Field("more", deltalake.schema.PrimitiveType("string"))
    deltalake.DeltaTable(str(path)).alter.add_columns([more])
    assert native.fitting(path, SCHEMA.names, log) is None
    assert native.fitting(path, [*SCHEMA.names, "more"], log) is log


def test_it_sees_a_property_that_has_come(path: Path) -> None:
    log = Log(path)
    assert native.fitting(path, SCHEMA.names, log) is log
    deltalake.DeltaTable(str(path)).alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    assert native.fitting(path, SCHEMA.names, log) is None


@pytest.mark.parametrize(("before", "after"), [(3, 1), (3, 3), (1, 3), (3, 6)])
def test_i3_a_table_that_was_made_anew_is_opened_anew(path: Path, before: int, after: int) -> None:
    """Fewer commits than are known, as many, more: of the second kind the library itself sees nothing."""
    log = Log(path)
    for seq in range(1, before + 1):
        assert by(log, seq, seq)
    log.now()
    shutil.rmtree(path)
    create(path)
    for seq in range(1, after + 1):
        append(path, seq, 100 + seq)
    known = log.now("a")
    assert known.version == known.seq("a") == after
    assert by(log, after + 1, 6)
    assert ids(path) == [6, *(100 + seq for seq in range(1, after + 1))]
    assert commits.head(path) == after + 1


def test_i3_a_log_that_was_cleaned_behind_it_is_read_anew(path: Path) -> None:
    log = Log(path)
    log.now()
    for seq in range(1, 9):
        append(path, seq, seq)
    for version in range(5):  # what lies before the checkpoint of version 5
        (path / "_delta_log" / f"{version:020d}.json").unlink()
    assert log.now().version == 8
    assert by(log, 9, 9)
    assert ids(path) == list(range(1, 10))
    assert commits.head(path) == 9


@pytest.mark.parametrize("text", ["{", '["add"]\n{"txn": 1}'])
def test_a_log_that_cannot_be_read_on_is_opened_by_the_library(
    path: Path, opened: list[int], text: str
) -> None:
    log = Log(path)
    log.now()
    (path / "_delta_log" / f"{1:020d}.json").write_text(text)
    with pytest.raises(deltalake.exceptions.DeltaError):
        log.now()
    assert opened == [0]


def test_checkpoints_come_as_often_as_the_table_says_and_take_what_is_old(tmp_path: Path) -> None:
    path = tmp_path / "table"
    said = {"delta.checkpointInterval": "3", "delta.logRetentionDuration": "interval 0 hours"}
    deltalake.DeltaTable.create(str(path), SCHEMA, configuration=said)
    log = Log(path)
    for seq in range(1, 8):
        assert by(log, seq, seq)
    folder = path / "_delta_log"
    assert {int(f.name[:20]) for f in folder.glob("*.checkpoint.parquet")} >= {6}
    assert json.loads((folder / "_last_checkpoint").read_text())["version"] == 6
    assert ids(path) == list(range(1, 8))


def test_a_checkpoint_that_fails_takes_nothing_from_its_commit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_table: deltalake.DeltaTable) -> None:
        raise deltalake.exceptions.DeltaError("no room")

    monkeypatch.setattr(deltalake.DeltaTable, "create_checkpoint", refuse)
    log = Log(path)
    for seq in range(1, 7):
        assert by(log, seq, seq)
    assert ids(path) == list(range(1, 7))


def test_what_the_library_knew_when_it_opened_the_table_is_asked_once(path: Path) -> None:
    append(path, 1, 1)
    log = Log(path)
    known = log.now("a", "b")
    assert (known.seq("a"), known.seq("b")) == (1, 0)
    append(path, 2, 2)
    assert log.now().seq("a") == 2
    assert log.commit({}, list[AddAction](), {"b": 7})
    assert (log.now().seq("a"), log.now().seq("b")) == (2, 7)


def cleaned(path: Path, before: int) -> None:
    """Leave a checkpoint, and nothing of the log before a version."""
    deltalake.DeltaTable(str(path)).create_checkpoint()
    for version in range(before):
        (path / "_delta_log" / f"{version:020d}.json").unlink(missing_ok=True)


def test_an_application_that_is_first_asked_for_when_the_log_was_cleaned_is_known(path: Path) -> None:
    log, late = Log(path), Log(path)
    assert late.commit({}, list[AddAction](), {"late": 4})
    assert by(log, 1, 1)
    for seq in range(2, 14):
        assert by(log, seq, seq)
    cleaned(path, 10)
    known = log.now("late", "never")
    assert (known.seq("late"), known.seq("never"), known.seq("a")) == (4, 0, 13)


def test_i3_a_number_that_is_free_because_the_log_was_cleaned_is_not_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, other = Log(path), Log(path)
    assert by(log, 1, 1)
    for seq in range(2, 20):
        assert by(other, seq, seq)
    real = Log._behind

    def meanwhile(mine: Log, version: int) -> Any:
        for number, actions in enumerate(real(mine, version)):
            yield actions
            if mine is log and number == 2:
                cleaned(path, 15)

    monkeypatch.setattr(Log, "_behind", meanwhile)
    assert log.now("a").seq("a") == 19
    assert by(log, 20, 20)
    assert ids(path) == list(range(1, 21))


def test_i3_nothing_is_committed_into_a_log_that_was_cleaned_after_the_look(path: Path) -> None:
    log, other = Log(path), Log(path)
    assert by(log, 1, 1)

    def long_pause() -> None:
        if commits.head(path) == 1:
            for seq in range(2, 20):
                assert by(other, seq, seq)
            cleaned(path, 15)

    file = native.save(rows(99), path)
    assert native.commit(log, [file], app_id="b", seq=1, metadata="{}", ready=long_pause)
    assert ids(path) == [*range(1, 20), 99]


def test_a_full_disk_leaves_no_file_in_the_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Path, _text: str, **_named: Any) -> None:
        file.write_bytes(b"{")
        raise OSError(28, "No space left on device")

    log = Log(path)
    log.now()
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        log.commit({}, list[AddAction](), {"a": 1})
    assert list((path / "_delta_log").glob("*.tmp")) == []
