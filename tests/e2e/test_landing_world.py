"""The landing and a world that misbehaves: each trouble a named stop of one flow, with the way out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from engine.errors import (
    GapAhead,
    LakeUnreachable,
    LedgerDisagrees,
    OffsetsGone,
    RegistryUnreachable,
    RowTooLarge,
    TopicReplaced,
)
from engine.lake import book, commits, maintain
from engine.lake.desk import Gap
from engine.state import State
from tests.support.avro_records import Field, Schemas
from tests.support.landing import POLICY, Landing, Table
from tests.support.oracles_lake import table_rows
from tests.support.waits import wait_until

pytestmark = [pytest.mark.spark, pytest.mark.stack]

FIELDS = [Field("id", "int", nullable=False), Field("name", "string")]


def fill(table: Table, first: int, count: int, **more: Any) -> None:
    table.maker.begin()
    for n in range(first, first + count):
        table.change("c", {"id": n, "name": f"n{n}", **more})


def ids(table: Table) -> list[int]:
    return sorted(r["id"] for r in table.rows())


def code(landing: Landing, table: Table) -> str:
    state = landing.land()[table.flow.name]
    assert state.state in {State.STOPPED, State.PARKED}
    assert state.hint
    return state.code


def test_a_topic_made_again_stops_its_flow_and_no_other(landing: Landing) -> None:
    table, other = landing.table(fields=FIELDS), landing.table("other", fields=FIELDS)
    fill(table, 0, 3)
    fill(other, 0, 3)
    landing.land()
    landing.drop(table.topic)
    landing.create(table.topic)
    fill(table, 3, 5)
    fill(other, 3, 1)
    assert code(landing, table) == TopicReplaced.code
    assert ids(table) == [0, 1, 2]
    assert ids(other) == [0, 1, 2, 3]
    book.accept(landing.lake, table.state(), by="anna", at="now")
    landing.land()
    assert ids(table) == list(range(8))


def again_when(landing: Landing, table: Table, point: str, first: int, count: int) -> None:
    """Make the topic again, with other records, when a batch is at that point."""

    def hook(reached: str) -> None:
        if reached == point:
            landing.at = lambda _point: None
            landing.drop(table.topic)
            landing.create(table.topic)
            fill(table, first, count)

    landing.at = hook


@pytest.mark.parametrize("mode", ["append", "scd1"])
def test_i2_a_topic_made_again_in_the_middle_of_a_batch_loses_and_doubles_nothing(
    landing: Landing, mode: str
) -> None:
    table = landing.table(fields=FIELDS, mode=mode)
    fill(table, 0, 2)
    landing.land()
    fill(table, 2, 2)
    again_when(landing, table, "landing.before-batch", 10, 5)
    assert code(landing, table) == TopicReplaced.code
    book.accept(landing.lake, table.state(), by="anna", at="now")
    landing.land()
    assert set(ids(table)) - {2, 3} == {0, 1, 10, 11, 12, 13, 14}
    assert len(ids(table)) == len(set(ids(table)))
    uncounted = table.entries()[1]
    assert (uncounted.state, uncounted.read) == ("rebooked", None)
    assert any("anna accepted landing.topic-replaced" in reason for reason in uncounted.reasons)
    fill(table, 15, 1)
    landing.land()
    assert 15 in ids(table)


def test_a_batch_whose_records_are_gone_before_it_was_counted_is_booked_by_an_answer(
    landing: Landing,
) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 2)
    landing.land()
    fill(table, 2, 3)

    def forget(reached: str) -> None:
        if reached.startswith("landing.after-table"):
            landing.at = lambda _point: None
            admin = AdminClient({"bootstrap.servers": landing.kafka})
            for done in admin.delete_records([TopicPartition(table.topic, 0, 4)]).values():
                done.result(30)
            raise LakeUnreachable("the process died")

    landing.at = forget
    assert code(landing, table) == OffsetsGone.code
    assert "offsets [2, 4), which batch 2 has landed" in table.state().what
    book.accept(landing.lake, table.state(), by="anna", at="now")
    fill(table, 5, 1)
    landing.land()
    assert ids(table) == [0, 1, 2, 3, 4, 5]
    assert [(e.state, e.read) for e in table.entries()] == [("landed", 2), ("rebooked", None), ("landed", 1)]
    assert "not counted" in table.entries()[1].reasons[0]


def test_retention_that_ran_past_us_stops_with_the_exact_range(landing: Landing) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 3)
    landing.land()
    fill(table, 3, 4)
    admin = AdminClient({"bootstrap.servers": landing.kafka})
    for done in admin.delete_records([TopicPartition(table.topic, 0, 5)]).values():
        done.result(30)
    assert code(landing, table) == OffsetsGone.code
    assert "offsets [3, 5)" in table.state().what
    book.accept(landing.lake, table.state(), by="anna", at="now")
    for done in admin.delete_records([TopicPartition(table.topic, 0, 6)]).values():
        done.result(30)
    assert code(landing, table) == OffsetsGone.code  # the answer was for less
    book.accept(landing.lake, table.state(), by="anna", at="now")
    landing.land()
    assert ids(table) == [0, 1, 2, 6]
    (reason,) = table.entries()[-1].reasons
    assert "anna accepted landing.offsets-gone" in reason
    assert "[3, 6)" in reason
    assert table.state().accepted == ()


def test_a_gap_that_the_capture_found_stops_at_the_first_position_in_doubt(landing: Landing) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 2)
    fill(table, 2, 2)
    landing.gaps[table.flow.name] = Gap(1, 24, "the table was rewritten")
    assert code(landing, table) == GapAhead.code
    assert ids(table) == [0, 1]
    assert table.state().first_unapplied == {"0": 2}
    landing.gaps.clear()
    landing.land()
    assert ids(table) == [0, 1, 2, 3]


def test_live_a_gap_stops_a_flow_that_no_row_will_ever_come_for(landing: Landing) -> None:
    table, other = landing.table(fields=FIELDS), landing.table("other", fields=FIELDS)
    fill(table, 0, 2)
    with landing.live():
        wait_until(table.entries, "the first batch")
        landing.gaps[table.flow.name] = Gap(1, 32, "the table left the publication")
        wait_until(lambda: table.state().code == GapAhead.code, "the stop")
        fill(table, 2, 1)  # sent before the gap was found, seen after it
        wait_until(lambda: ids(table) == [0, 1, 2], "what comes before the gap")
        fill(other, 0, 1)
        wait_until(other.entries, "the other flow")
        wait_until(lambda: table.state().code == GapAhead.code, "the stop again")
        landing.gaps.clear()
        wait_until(lambda: table.state().state is State.STREAMING, "the answer")


def test_an_accepted_stub_is_quarantined_and_the_flow_goes_on(landing: Landing) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 1)
    table.send(table.maker.value("c", stub={"bytes": 99, "sha256": "x"}))
    fill(table, 1, 1)
    assert code(landing, table) == RowTooLarge.code
    book.accept(landing.lake, table.state(), by="anna", at="now")
    landing.land()
    assert ids(table) == [0, 1]
    assert [h["reason"] for h in table.quarantined()] == ["row-too-large"]


@dataclass
class Unreachable(Schemas):
    down: bool = True

    def schema(self, schema_id: int) -> str | None:
        if self.down:
            raise RegistryUnreachable("no answer")
        return super().schema(schema_id)


def test_a_registry_that_does_not_answer_parks_and_never_quarantines(landing: Landing) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 2)
    registry = Unreachable(landing.schemas.texts)
    assert landing.land(schemas=registry)[table.flow.name].code == RegistryUnreachable.code
    assert table.state().state is State.PARKED
    assert not table.quarantined()
    landing.land()
    assert ids(table) == [0, 1]


def test_a_counter_that_is_wrong_stops_the_flow_before_it_is_booked(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 2)
    landing.land()
    fill(table, 2, 2)
    whole = commits.ours

    def one_less(*given: Any) -> Any:
        commit = whole(*given)
        metrics = {} if commit is None else dict(commit.metrics)
        return commit and replace(commit, metrics={**metrics, "numOutputRows": metrics["numOutputRows"] - 1})

    monkeypatch.setattr(commits, "ours", one_less)
    assert code(landing, table) == LedgerDisagrees.code
    assert len(table.entries()) == 1
    monkeypatch.undo()
    landing.land()
    assert ids(table) == [0, 1, 2, 3]
    assert table.entries()[1].state == "completed"


def test_live_the_landing_is_fresh_and_survives_the_loss_of_its_checkpoint(landing: Landing) -> None:
    table = landing.table(fields=FIELDS)
    late = landing.table("late", fields=FIELDS, create=False)
    fill(table, 0, 3)
    with landing.live():
        wait_until(lambda: len(table.entries()), "the first batch")
        fill(table, 3, 3)
        wait_until(lambda: sum(e.read or 0 for e in table.entries()) == 6, "the second batch")
        landing.create(late.topic)
        fill(late, 0, 1)
        wait_until(late.entries, "a topic that came later")
    shutil.rmtree(book.checkpoint_path(landing.lake, "default", "live"))
    fill(table, 6, 1)
    with landing.live():
        wait_until(lambda: sum(e.read or 0 for e in table.entries()) == 7, "what came while it was down")
    assert ids(table) == list(range(7))


def test_live_a_deleted_topic_stops_one_flow_and_a_stop_is_answered_while_it_runs(landing: Landing) -> None:
    table, other = landing.table(fields=FIELDS), landing.table("other", fields=FIELDS)
    fill(table, 0, 1)
    fill(other, 0, 1)
    with landing.live():
        wait_until(lambda: table.entries() and other.entries(), "both flows")
        landing.drop(table.topic)
        wait_until(lambda: table.state().code == TopicReplaced.code, "the stop")
        fill(other, 1, 1)
        wait_until(lambda: len(other.entries()) > 1, "the other flow")
        landing.create(table.topic)
        fill(table, 1, 1)
        book.accept(landing.lake, table.state(), by="anna", at="now")
        wait_until(lambda: "now id" in table.state().where, "the stop that names the new topic")
        book.accept(landing.lake, table.state(), by="anna", at="now")
        wait_until(lambda: ids(table) == [0, 1], "the flow goes on")


def test_small_files_are_rewritten_as_it_goes_and_do_not_fill_the_disk(
    landing: Landing, spark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = landing.table(fields=FIELDS, rows_per_commit=1)
    fill(table, 0, 1)
    table.send(b"junk")
    landing.land()
    kept = [table.path, book.quarantine_path(landing.lake)]
    first = [file for path in kept for file in path.glob("*.parquet")]
    for path, long in zip(kept, ("1 hours", "3 days"), strict=True):
        assert book.properties(path)["delta.logRetentionDuration"] == f"interval {long}"
        said = "'delta.deletedFileRetentionDuration' = 'interval 0 hours'"
        spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ({said})")
    monkeypatch.setattr(maintain, "SMALL_FILES_MAX", 2)
    monkeypatch.setattr(maintain, "REMOVE_EVERY_S", 0.0)
    fill(table, 1, 2)
    for _ in range(2):
        table.send(b"junk")
    landing.land()
    assert first
    assert not [file for file in first if file.exists()]
    assert ids(table) == [0, 1, 2]
    assert len(book.file_sizes(table.path)) <= 2
    assert [e.seq for e in table.entries()] == list(range(1, 7))
    assert len(table_rows(book.quarantine_path(landing.lake))) == 3


def test_a_topic_of_nobodys_records_makes_a_table_that_learns_its_columns_later(landing: Landing) -> None:
    table = landing.table(fields=FIELDS, policy=POLICY)
    table.send(b"junk", None)
    landing.land()
    assert len(table.quarantined()) == 2
    fill(table, 0, 2)
    landing.land()
    assert ids(table) == [0, 1]
    assert list(table.rows()[0])[:2] == ["id", "name"]
