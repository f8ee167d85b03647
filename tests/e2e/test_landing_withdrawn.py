"""Rows that their source took back: none of them stays, in whatever order records and withdrawals come."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from engine import ledger
from engine.errors import GapAhead, LakeUnreachable
from engine.lake import book
from engine.lake.desk import Gap
from engine.state import State
from tests.support.avro_records import Field
from tests.support.landing import Landing, Table
from tests.support.oracles import same_state
from tests.support.oracles_lake import table_rows
from tests.support.oracles_log import ledger_balances

pytestmark = [pytest.mark.spark, pytest.mark.stack, pytest.mark.timeout(1200)]

FIELDS = [Field("id", "long", nullable=False), Field("name", "string")]
OTHER, OLD, THIRD, NEW = 8, 16, 24, 32  # the majors of four files; the last takes the place of the second
MODES = [("scd1", "hard"), ("scd1", "soft"), ("append", "hard")]


def file(table: Table, major: int, ids: list[int], name: str) -> None:
    """The records of one file; a key has its partition."""
    table.maker.begin(major)
    for n in ids:
        table.change("c", {"id": n, "name": name}, partition=n % table.flow.topic.partitions)


def withdraw(table: Table, old: int, new: int) -> None:
    """What a file says at its end of the one whose place it takes."""
    position = (table.maker.era, old, 0)
    table.change("w", position=position, strand=f"supersedes.{new}", tx=f"{new}:{old}")


def four(table: Table) -> None:
    """Of the second file 1 and 2 come again, 3 and 5 do not, and 4 came from a third meanwhile."""
    file(table, OTHER, [0, 1, 5, 6], "other")
    file(table, OLD, [1, 2, 3, 4, 5], "old")
    file(table, THIRD, [4], "third")
    file(table, NEW, [1, 2], "new")
    withdraw(table, OLD, NEW)


NOW = {0: "other", 1: "new", 2: "new", 4: "third", 6: "other"}
JOURNAL = [(0, "other"), (1, "new"), (1, "other"), (2, "new"), (4, "third"), (5, "other"), (6, "other")]


def is_right(table: Table) -> None:
    rows = [r for r in table.rows() if not r.get("_deleted")]
    found = sorted((r["id"], r["name"]) for r in rows)
    assert found == (JOURNAL if table.flow.sink.mode == "append" else sorted(NOW.items()))
    gone = {r["id"]: (r["_op"], r["name"]) for r in table.rows() if r.get("_deleted")}
    soft = table.flow.sink.deletes == "soft"
    assert gone == ({3: ("w", "old"), 5: ("w", "old")} if soft else {})
    assert ledger_balances([asdict(e) for e in table.entries()]) == []
    assert table.quarantined() == []


def a_table(landing: Landing, mode: str, deletes: str, **more: Any) -> Table:
    given: dict[str, Any] = {"mode": mode, "deletes": deletes, "fields": FIELDS, "partitions": 2}
    return landing.table(**(given | more))


@pytest.mark.parametrize(("mode", "deletes"), MODES)
@pytest.mark.parametrize("first", ["lands", "waits"])
def test_of_a_file_and_the_one_that_takes_its_place_only_the_rows_of_the_new_one_stay(
    landing: Landing, mode: str, deletes: str, first: str
) -> None:
    table = a_table(landing, mode, deletes)
    file(table, OTHER, [0, 1, 5, 6], "other")
    file(table, OLD, [1, 2, 3, 4, 5], "old")
    if first == "lands":
        landing.land()
        assert {r["id"] for r in table.rows() if r["name"] == "old"} == {1, 2, 3, 4, 5}
    file(table, THIRD, [4], "third")
    file(table, NEW, [1, 2], "new")
    withdraw(table, OLD, NEW)
    landing.land()
    is_right(table)
    # a worker that was replaced still sends what it had: all of it is late
    file(table, OTHER, [0, 1, 5, 6], "other")
    file(table, OLD, [1, 2, 3, 4, 5], "old")
    withdraw(table, OLD, NEW)
    landing.land()
    is_right(table)


@pytest.mark.parametrize(("mode", "deletes"), MODES)
def test_a_row_of_a_withdrawn_file_that_comes_behind_its_withdrawal_is_none(
    landing: Landing, mode: str, deletes: str
) -> None:
    """The partitions of a topic do not land together: that of the withdrawal may be far ahead."""
    table = a_table(landing, mode, deletes)
    file(table, OTHER, [7], "other")
    file(table, NEW, [2], "new")
    withdraw(table, OLD, NEW)
    landing.land()
    file(table, OLD, [1, 3, 5, 7], "old")
    landing.land()
    found = {r["id"]: r["name"] for r in table.rows() if not r.get("_deleted")}
    assert found == ({7: "other", 2: "new"} if mode == "append" else {2: "new"})
    late = table.entries()[-1].late
    assert late == (4 if mode == "append" else 0)
    file(table, OTHER, [1], "older than what was withdrawn")
    file(table, NEW, [3], "new")
    landing.land()
    found = {r["id"]: r["name"] for r in table.rows() if not r.get("_deleted")}
    assert found[3] == "new"
    assert 1 not in found
    assert ledger_balances([asdict(e) for e in table.entries()]) == []


def test_i2_what_a_withdrawn_row_had_replaced_does_not_come_back_when_it_is_sent_again(
    landing: Landing,
) -> None:
    """A writer that starts again sends what the table has had; the row above it is gone with its file."""
    table = a_table(landing, "scd1", "hard")
    file(table, OTHER, [3], "other")
    file(table, OLD, [3], "old")
    landing.land()
    file(table, NEW, [2], "new")
    withdraw(table, OLD, NEW)
    landing.land()
    table.maker.writer = 2
    file(table, OTHER, [3], "other")
    landing.land()
    assert {r["id"] for r in table.rows()} == {2}
    assert ledger_balances([asdict(e) for e in table.entries()]) == []


@pytest.mark.parametrize("mode", ["scd1", "append"])
def test_a_withdrawal_behind_a_gap_waits_with_the_rows_that_it_follows(landing: Landing, mode: str) -> None:
    table = a_table(landing, mode, "hard")
    file(table, OLD, [1, 3], "old")
    landing.gaps[table.flow.name] = Gap(1, NEW, "a file is gone")
    file(table, NEW, [1], "new")
    withdraw(table, OLD, NEW)  # in the other partition than the rows
    state = landing.land()[table.flow.name]
    assert (state.state, state.code) == (State.STOPPED, GapAhead.code)
    assert {(r["id"], r["name"]) for r in table.rows()} == {(1, "old"), (3, "old")}
    landing.gaps.clear()
    landing.land()
    assert {(r["id"], r["name"]) for r in table.rows()} == {(1, "new")}


@pytest.mark.parametrize(("mode", "deletes"), MODES)
@pytest.mark.parametrize("rows_per_commit", [3])
def test_the_topic_read_again_from_its_beginning_gives_the_same_table(
    landing: Landing, tmp_path: Path, mode: str, deletes: str, rows_per_commit: int
) -> None:
    table = a_table(landing, mode, deletes)
    four(table)
    landing.land()
    is_right(table)
    other = Landing(landing.spark, landing.kafka, tmp_path / "again", landing.prefix, landing.schemas)
    again = a_table(other, mode, deletes, rows_per_commit=rows_per_commit, create=False)
    other.land()
    is_right(again)
    assert same_state(table.rows(), again.rows(), ["_landed_at"]) == []


def test_a_chain_of_files_leaves_the_rows_of_the_last(landing: Landing) -> None:
    for table in (a_table(landing, "scd1", "hard"), a_table(landing, "append", "hard", name="log")):
        for major, ids in ((8, [1, 2, 3]), (16, [2, 3, 4]), (24, [4, 5])):
            file(table, major, ids, f"of {major}")
            if major > 8:
                withdraw(table, major - 8, major)
        landing.land()
        assert sorted((r["id"], r["name"]) for r in table.rows()) == [(4, "of 24"), (5, "of 24")]


@pytest.mark.parametrize(("mode", "deletes"), MODES)
@pytest.mark.parametrize("point", ["landing.after-table"])
def test_i7_a_batch_with_a_withdrawal_is_completed_as_it_began(
    landing: Landing, mode: str, deletes: str, point: str
) -> None:
    once, twice = (a_table(landing, mode, deletes, name=name) for name in ("once", "twice"))
    for table in (once, twice):
        file(table, OTHER, [0, 1, 5, 6], "other")
        file(table, OLD, [1, 2, 3, 4, 5], "old")
    landing.land()
    for table in (once, twice):
        file(table, THIRD, [4], "third")
        file(table, NEW, [1, 2], "new")
        withdraw(table, OLD, NEW)
        file(table, OLD, [3], "old")  # sent once more by a worker that was replaced
    broken: list[str] = []

    def fails(now: str) -> None:
        if now == f"{point}:{twice.flow.name}" and not broken:
            broken.append(now)
            raise LakeUnreachable("no answer")

    landing.at = fails
    landing.land()
    assert len(broken) == 1
    for table in (once, twice):
        is_right(table)
    assert [e.state for e in twice.entries()] == ["landed", "completed"]
    assert [ledger.terms(e) for e in twice.entries()] == [ledger.terms(e) for e in once.entries()]


def test_tombstones_of_a_table_from_before_there_were_withdrawals_take_them_in(landing: Landing) -> None:
    table = a_table(landing, "scd1", "hard", partitions=1)
    file(table, OTHER, [0, 1], "other")
    landing.land()
    stones = book.tombstones_path(table.lake, table.flow.sink.table)
    at = "named_struct('era', 1L, 'major', {}L, 'minor', 0L) AS _position, now() AS _landed_at"
    landing.spark.sql(
        f"SELECT cast(NULL AS bigint) AS id, {at.format(4)} UNION ALL SELECT 9L AS id, {at.format(12)}"
    ).write.format("delta").save(str(stones))
    file(table, 2, [7], "below the floor")
    file(table, 10, [9], "before its delete")
    file(table, OLD, [3], "old")
    file(table, NEW, [2], "new")
    withdraw(table, OLD, NEW)
    table.maker.writer = 2
    landing.land()
    assert {r["id"] for r in table.rows()} == {0, 1, 2}, "7 lies below the floor, 9 before its delete"
    kept = {(r["id"], r["_position"]["major"], r["_op"]) for r in table_rows(stones)}
    assert kept == {(None, 4, None), (9, 12, None), (None, OLD, "w"), (3, OLD, "x")}


def test_a_landing_that_does_not_know_an_op_deletes_nothing_by_it(landing: Landing) -> None:
    """What one of before withdrawals does with their record: it waits in quarantine, by name."""
    table = a_table(landing, "scd1", "hard", partitions=1)
    file(table, OLD, [3], "old")
    table.change("q", position=(1, OLD, 0))
    landing.land()
    assert {r["id"] for r in table.rows()} == {3}
    assert [h["reason"] for h in table.quarantined()] == ["op-unknown"]
