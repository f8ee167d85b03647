"""Where a flow stands when its table's log is not whole any more; without Spark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from engine import names
from engine.errors import HistoryLost, TableReplaced
from engine.lake import batch, book, recover, table
from engine.lake.batch import Batch, Seen, Water
from engine.lake.book import Book
from engine.lake.evolve import Target
from engine.ledger import Entry
from engine.schema import Int64
from tests.unit.test_lake_plans import FLOW, a_batch

APP = names.app_id(FLOW.name, recover.EPOCH)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    said = {
        "ecluse.flow": FLOW.name,
        "ecluse.sink": table.sink_text(FLOW),
        "ecluse.target": table._text(Target({"id": Int64()}, ("id",))),  # noqa: SLF001
    }
    monkeypatch.setattr(book, "properties", lambda _: said)  # only Spark writes properties of others
    found = Book(tmp_path)
    found.open()
    return SimpleNamespace(root=tmp_path, book=found, driver="me", session=None)


def land(root: Path, made: Batch) -> None:
    """A commit as the landing makes it."""
    write_deltalake(
        str(book.table_path(root, FLOW.sink.table)),
        pa.table({"id": [made.seq]}),
        mode="append",
        commit_properties=CommitProperties(
            custom_metadata={"userMetadata": made.metadata()}, app_transactions=[Transaction(APP, made.seq)]
        ),
    )


def forget(root: Path) -> None:
    """A maintenance commit, and a log that is cleaned up to it."""
    path = book.table_path(root, FLOW.sink.table)
    write_deltalake(str(path), pa.table({"id": [0]}), mode="append")
    delta = DeltaTable(str(path))
    delta.create_checkpoint()
    for version in range(delta.version()):
        (path / "_delta_log" / f"{version:020d}.json").unlink()


def made(seq: int) -> Batch:
    span = {0: (seq * 5, seq * 5 + 5)}
    aside = {7: "schema-blocked:why"}
    return a_batch(app_id=APP, seq=seq, span=span, next={0: seq * 5 + 5, 1: 7}, doubt=(1, 2, 2), aside=aside)


def booked(done: Batch) -> Entry:
    seen = Seen(read=5, bad=0, waters={0: Water(2, (1, 16, 4))})
    return batch.entry(done, seen, version=1, landed=5, quarantined=0, now_us=1)


def test_a_log_that_was_cleaned_away_leaves_the_ledger_to_say_where_a_flow_stands_i2(desk: Any) -> None:
    for seq in (1, 2):
        land(desk.root, made(seq))
        desk.book.add(booked(made(seq)))
    forget(desk.root)
    standing, open_ = recover.stand(desk, FLOW)
    assert open_ is None
    assert (standing.seq, standing.version, standing.topic_id) == (2, 2, "t")
    assert standing.offsets == {0: 15, 1: 7}  # the partition that the last batch did not touch, too
    assert standing.waters == {0: Water(2, (1, 16, 4))}
    assert standing.doubt == (1, 2, 2)
    assert standing.aside == {7: "schema-blocked:why"}


def test_a_log_that_was_cleaned_away_without_an_entry_is_a_named_stop_and_never_earliest_i2(
    desk: Any,
) -> None:
    land(desk.root, made(1))
    land(desk.root, made(2))
    desk.book.add(booked(made(1)))
    forget(desk.root)
    with pytest.raises(HistoryLost, match="seq 2 was cleaned away"):
        recover.stand(desk, FLOW)


def test_a_commit_without_its_entry_is_the_batch_to_be_completed(desk: Any) -> None:
    land(desk.root, made(1))
    desk.book.add(booked(made(1)))
    land(desk.root, made(2))
    standing, open_ = recover.stand(desk, FLOW)
    assert open_ is not None
    assert (open_.seq, standing.offsets) == (2, {0: 15, 1: 7})
    assert standing.aside == {7: "schema-blocked:why"}


def test_entries_that_were_lost_are_booked_again_and_looked_for_once_per_start(desk: Any) -> None:
    for seq in range(1, 7):
        land(desk.root, made(seq))
        if seq in (3, 6):
            desk.book.add(booked(made(seq)))
    recover.stand(desk, FLOW)
    assert desk.book.missing(APP, 6) == []
    found = Book(desk.root)
    assert found.missing(APP, 6) == []
    states = {seq: found.entry(APP, seq) for seq in range(1, 7)}
    assert {seq: e.state for seq, e in states.items() if e} == {
        1: "rebooked", 2: "rebooked", 3: "landed", 4: "rebooked", 5: "rebooked", 6: "landed",
    }  # fmt: skip


def test_missing_entries_are_ranges_however_many_there_are(desk: Any) -> None:
    for seq in (3, 4, 8):
        desk.book.add(replace(booked(made(seq)), state="rebooked"))
    assert desk.book.missing(APP, 12) == [range(1, 3), range(5, 8), range(9, 12)]


def test_a_ledger_that_knows_a_table_which_is_gone_refuses_another(desk: Any) -> None:
    desk.book.add(booked(made(1)))
    with pytest.raises(TableReplaced, match="1 batches"):
        recover.stand(desk, FLOW)


def test_the_ledger_does_not_grow_files_for_ever(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "_COMPACT_AFTER", 3)
    monkeypatch.setattr(book, "_CLEAN_AFTER", 1)
    monkeypatch.setattr(book, "_KEEP_HOURS", 0)
    for seq in range(1, 10):
        desk.book.add(booked(made(seq)))
    path = book.ledger_path(desk.root)
    assert len(list(path.glob("*.parquet"))) == 1
    assert (
        DeltaTable(str(path)).metadata().configuration["delta.logRetentionDuration"] == "interval 5 minutes"
    )
    assert Book(desk.root).missing(APP, 10) == []
