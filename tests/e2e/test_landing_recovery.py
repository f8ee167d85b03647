"""What a landing finds when it comes back: a lost ledger, another table in its place, a second driver."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

import pytest
from deltalake import DeltaTable

from engine import ledger, names
from engine.errors import LakeUnreachable, LandingFenced, TableReplaced
from engine.lake import book
from engine.lake import table as lake_table
from engine.state import State
from tests.support.avro_records import Field
from tests.support.landing import Landing, Table
from tests.support.oracles import same_state

pytestmark = [pytest.mark.spark, pytest.mark.stack, pytest.mark.timeout(1200)]

FIELDS = [Field("id", "long", nullable=False), Field("name", "string")]
BAD = b"\x00\x00\x00\x00\x01junk"


def fill(table: Table, first: int, count: int) -> None:
    """Rows, and a bad record after each tenth."""
    table.maker.begin()
    for n in range(first, first + count):
        table.change("c", {"id": n, "name": f"n{n}"})
        if n % 10 == 9:
            table.send(BAD)


def assert_exact(table: Table, count: int) -> None:
    assert sorted(r["id"] for r in table.rows()) == list(range(count))
    held = [(h["partition"], h["offset"]) for h in table.quarantined()]
    assert len(held) == len(set(held)) == count // 10
    entries = table.entries()
    assert [e.seq for e in entries] == list(range(1, len(entries) + 1))
    assert sum(e.read or 0 for e in entries) == count + count // 10
    assert sum(e.quarantined or 0 for e in entries) == count // 10


@pytest.mark.parametrize("mode", ["append", "scd1"])
def test_i2_a_run_in_which_every_batch_is_done_twice_comes_to_the_same_state(
    landing: Landing, mode: str
) -> None:
    once, twice = (
        landing.table(name, fields=FIELDS, mode=mode, rows_per_commit=11) for name in ("once", "twice")
    )
    for table in (once, twice):
        fill(table, 0, 20)
        table.change("u", {"id": 3, "name": "again"})
        table.change("d", {"id": 4, "name": None})
    broken: list[str] = []

    def fails(point: str) -> None:
        if point == f"landing.after-table:{twice.flow.name}":
            broken.append(point)
            raise LakeUnreachable("no answer")

    landing.at = fails
    landing.land()
    first, second = once.entries(), twice.entries()
    assert len(second) == len(broken) > 1
    assert {e.state for e in first} == {"landed"}
    assert {e.state for e in second} == {"completed"}
    assert [ledger.terms(e) for e in second] == [ledger.terms(e) for e in first]
    assert same_state(once.rows(), twice.rows(), ["_landed_at"]) == []  # O9
    held = [sorted((h["offset"], h["value"]) for h in t.quarantined()) for t in (once, twice)]
    assert held[0] == held[1] != []


def test_a_ledger_that_was_lost_is_booked_again_from_the_tables_commits(landing: Landing) -> None:
    table = landing.table(fields=FIELDS, rows_per_commit=10)
    fill(table, 0, 29)
    landing.land()
    before = table.entries()
    shutil.rmtree(book.ledger_path(landing.lake))
    fill(table, 29, 1)
    landing.land()
    found = table.entries()
    assert [e.seq for e in found] == [e.seq for e in before] + [len(before) + 1]
    assert [e.landed for e in found[: len(before)]] == [e.landed for e in before]
    assert found[len(before) - 1].state == "completed"
    assert {e.state for e in found[: len(before) - 1]} == {"rebooked"}


def test_i7_a_batch_is_completed_when_its_quarantines_commit_was_cleaned_away(
    landing: Landing, spark: Any
) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 20)
    cleaned: list[str] = []

    def days_pass(point: str) -> None:
        if point == f"landing.before-ledger:{table.flow.name}" and not cleaned:
            path = book.quarantine_path(landing.lake)
            spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('a' = 'b')")
            DeltaTable(str(path)).create_checkpoint()
            *older, _ = sorted((path / "_delta_log").glob("[0-9]*.json"))
            cleaned.extend(commit.name for commit in older)
            for commit in older:
                commit.unlink()
            raise LakeUnreachable("no answer")

    landing.at = days_pass
    landing.land()
    assert len(cleaned) > 1
    assert [e.state for e in table.entries()] == ["completed"]
    assert_exact(table, 20)


def test_a_table_that_was_put_in_our_tables_place_is_refused(landing: Landing) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 3)
    landing.land()
    shutil.rmtree(table.path)
    state = landing.land()[table.flow.name]
    assert (state.state, state.code) == (State.STOPPED, TableReplaced.code)
    assert not table.path.exists()


def test_i5_a_table_is_never_written_in_another_way_than_it_was_made_for(landing: Landing) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 3)
    landing.land()
    table.flow = replace(table.flow, sink=replace(table.flow.sink, mode="scd1"))
    fill(table, 0, 3)
    state = landing.land()[table.flow.name]
    assert (state.state, state.code) == (State.STOPPED, TableReplaced.code)
    assert "append hard auto" in state.what
    assert sorted(r["id"] for r in table.rows()) == [0, 1, 2]


def test_a_second_driver_is_fenced_and_nothing_is_lost_or_doubled(landing: Landing) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 5)
    landing.land()

    def another_driver_first(point: str) -> None:
        if point == "landing.before-batch":
            landing.at = lambda _point: None
            landing.land()
            fill(table, 8, 2)

    fill(table, 5, 3)
    landing.at = another_driver_first
    state = landing.land()[table.flow.name]
    assert (state.state, state.code) == (State.STOPPED, LandingFenced.code)
    landing.at = lambda _point: None
    landing.land()
    assert_exact(table, 10)


def test_i4_a_quarantine_of_other_offsets_is_never_counted_as_this_batchs(
    landing: Landing, spark: Any
) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 10)
    path, app_id = book.quarantine_path(landing.lake), names.app_id(table.flow.name, 1)

    def another_driver_first(point: str) -> None:
        if point == f"landing.after-table:{table.flow.name}":
            nothing = spark.read.format("delta").load(str(path)).limit(0)
            said = json.dumps({"offsets": {"0": [0, 1]}})
            lake_table.append(nothing, path, app_id=app_id, seq=1, metadata=said)

    landing.at = another_driver_first
    state = landing.land()[table.flow.name]
    assert (state.state, state.code) == (State.STOPPED, LandingFenced.code)
    assert table.entries() == []


def test_maintenance_between_batches_changes_nothing(landing: Landing, spark: Any) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 5)
    landing.land()
    spark.sql(f"OPTIMIZE delta.`{table.path}`")
    spark.sql(f"ALTER TABLE delta.`{table.path}` SET TBLPROPERTIES ('a' = 'b')")
    fill(table, 5, 5)
    landing.land()
    assert_exact(table, 10)
    log = sorted((table.path / "_delta_log").glob("*.json"))
    said = [json.loads(line) for f in log for line in f.read_text(encoding="utf-8").splitlines()]
    assert [a["txn"]["version"] for a in said if "txn" in a] == [1, 2]
