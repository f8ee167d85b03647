"""A flow that must stop stops by name, and goes on when a person has answered exactly that; without Spark."""

# ruff: noqa: SLF001

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError
from prometheus_client import CollectorRegistry

from engine.errors import EcluseError, GapAhead, LakeUnreachable, OffsetsGone, SchemaBlocked
from engine.lake import batch, book, commits, guard, halt, land, quarantine, resolve
from engine.lake.answer import Answer
from engine.lake.decode import Decoder
from engine.lake.desk import Gap, Standing
from engine.lake.evolve import Step
from engine.lake.lane import Lane
from engine.metrics import LandingMeters
from engine.plan import LanePlan
from engine.schema import Date, Int64
from engine.state import State
from engine.supervise import Clock, Policy
from tests.support.memory import Told
from tests.unit.test_lake_plans import FLOW, a_batch, landed, write_log

GAP = Gap(1, 24, "the table left the publication")
ENDS = {FLOW.topic.name: {0: 5}}


class Time:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def clock(self) -> Clock:
        return Clock(lambda: self.now_s, lambda: self.now_s, lambda _: False, lambda: False)


class Handed(Lane):
    """A lane whose workers only say what they were handed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.handed: list[str] = []
        self.numbers: CollectorRegistry
        self.time: Time

    def _work(self, seat: Any, ends: Any) -> None:
        del ends
        self.handed.append(seat.flow.name)


@pytest.fixture
def lane(tmp_path: Path) -> Handed:
    policy = Policy(1, 1, -1, lambda: 0)
    no_spark: Any = None
    plan, numbers = LanePlan("default", "live", (FLOW,), 1, 0.2), CollectorRegistry()
    time = Time()
    found = Handed(plan, tmp_path, no_spark, no_spark, time.clock(), policy, Told(), LandingMeters(numbers))
    found.numbers, found.time = numbers, time
    found.seats[0].standing = Standing(FLOW, "a", offsets={0: 5})
    return found


def test_i5_a_gap_stops_a_flow_that_has_landed_all_there_is(lane: Handed) -> None:
    lane.stop_at_gaps({FLOW.topic.name: {0: 6}}, {FLOW.name: GAP})
    assert lane.seats[0].state.state is State.NEW  # what lies before the gap lands first
    lane.stop_at_gaps(ENDS, {})
    assert lane.seats[0].state.state is State.NEW
    lane.stop_at_gaps(ENDS, {FLOW.name: GAP})
    told = book.load_state(lane.root, FLOW.name)
    assert (told.state, told.code) == (State.STOPPED, GapAhead.code)
    assert GAP.text in told.what
    assert "1.24" in told.where
    assert told.first_unapplied == {"0": 5}


def test_i5_a_gap_stops_a_flow_whose_topic_never_held_a_row(lane: Handed) -> None:
    lane.seats[0].standing = None
    lane.stop_at_gaps(ENDS, {FLOW.name: GAP})
    assert book.load_state(lane.root, FLOW.name).state is State.NEW  # its table has not been asked yet
    lane.stop_at_gaps({}, {FLOW.name: GAP})
    assert book.load_state(lane.root, FLOW.name).state is State.STOPPED


def test_rows_before_a_gap_that_come_after_it_was_told_still_land(lane: Handed) -> None:
    lane.stop_at_gaps(ENDS, {FLOW.name: GAP})
    lane.dispatch(ENDS, defer=False)
    lane.settle()
    assert lane.handed == []
    lane.dispatch({FLOW.topic.name: {0: 6}}, defer=False)
    lane.settle()
    assert lane.handed == [FLOW.name]


def test_a_gap_that_is_accepted_lets_a_flow_with_nothing_to_land_go_on(lane: Handed) -> None:
    lane.stop_at_gaps(ENDS, {FLOW.name: GAP})
    lane.reconsider({FLOW.name}, GapAhead.code)
    told = book.load_state(lane.root, FLOW.name)
    assert (told.state, told.code) == (State.STREAMING, "")


# --- when a flow is due


def handed(lane: Handed, end: int, **more: bool) -> int:
    """How many batches a look at the topic's end hands out."""
    before = len(lane.handed)
    lane.dispatch({FLOW.topic.name: {0: end}}, **more)
    lane.settle()
    return len(lane.handed) - before


def test_rows_wait_for_the_freshness_of_their_flow_unless_they_fill_a_commit(lane: Handed) -> None:
    assert (FLOW.freshness_s, FLOW.rows_per_commit) == (10, 100)
    assert handed(lane, 6) == 1  # the first of all waits for nothing
    lane.time.now_s += 9.9
    assert handed(lane, 7) == 0
    assert handed(lane, 5 + 100) == 1
    lane.time.now_s += 9.9
    assert handed(lane, 7) == 0
    assert handed(lane, 7, defer=False) == 1  # what is to end now waits for nothing either
    lane.time.now_s += 10
    assert handed(lane, 7) == 1
    lane.time.now_s += 10
    assert handed(lane, 5) == 0


def test_a_parked_flow_is_tried_again_after_a_wait_that_grows(lane: Handed) -> None:
    lane.policy = Policy(1, 60, -1, lambda: 0.5)
    waits = []
    for _ in range(3):
        lane.time.now_s += 10
        lane._failed(lane.seats[0], LakeUnreachable("no space left", where="lake"))
        told = book.load_state(lane.root, FLOW.name)
        assert (told.state, told.code) == (State.PARKED, LakeUnreachable.code)
        waits.append(lane.seats[0].retry_s - lane.time.now_s)
        lane.time.now_s += waits[-1] - 0.01
        assert handed(lane, 500, defer=False) == 0
        lane.time.now_s += 0.01
        assert handed(lane, 500, defer=False) == 1
    assert waits[0] < waits[1] < waits[2]


# --- answers


class Kafka:
    """Topics that a test moves."""

    def __init__(self, id_: str = "t", first: int = 0, end: int = 900) -> None:
        self.id, self.first, self.end = id_, first, end

    def topic_ids(self, _: list[str]) -> dict[str, str]:
        return {FLOW.topic.name: self.id} if self.id else {}

    def offsets(self, _: list[str]) -> dict[str, dict[int, tuple[int, int]]]:
        return {FLOW.topic.name: {0: (self.first, self.end)}}


def desk(kafka: Kafka) -> Any:
    return SimpleNamespace(topics=kafka)


def stopped_at(kafka: Kafka, standing: Standing, answers: Sequence[Answer] = ()) -> EcluseError:
    with pytest.raises(EcluseError) as told:
        guard.check(desk(kafka), standing, answers)
    return told.value


def test_i5_an_answer_is_for_the_range_that_was_shown_and_for_no_other() -> None:
    kafka = Kafka(first=100)
    shown = stopped_at(kafka, Standing(FLOW, "a", offsets={0: 0}, topic_id="t"))
    answer = Answer(shown.code, shown.where, "anna", "now")
    kafka.first = 500
    assert "[0, 500)" in stopped_at(kafka, Standing(FLOW, "a", offsets={0: 0}, topic_id="t"), [answer]).where
    kafka.first = 100
    standing = Standing(FLOW, "a", offsets={0: 0}, topic_id="t")
    guard.check(desk(kafka), standing, [answer])
    assert (standing.offsets, standing.taken) == ({0: 100}, [answer])


def test_i5_an_answer_for_one_topic_is_none_for_the_next_of_that_name() -> None:
    kafka = Kafka("second")
    shown = stopped_at(kafka, Standing(FLOW, "a", offsets={0: 7}, topic_id="first"))
    answer = Answer(shown.code, shown.where, "anna", "now")
    kafka.id = "third"
    again = stopped_at(kafka, Standing(FLOW, "a", offsets={0: 7}, topic_id="first"), [answer])
    assert "third" in again.where


def test_an_answer_stands_in_the_commit_and_in_the_ledger(tmp_path: Path) -> None:
    answer = Answer(
        "landing.offsets-gone", "shop.parcel, shop.public.parcel[0] offsets [3, 5)", "anna", "now"
    )
    made = a_batch(accepted=(answer,), stubs=frozenset({(0, 5)}))
    write_log(tmp_path, landed(made))
    commit = commits.newest(tmp_path, made.app_id)
    assert commit is not None
    assert batch.again(commit, FLOW, "me") == made
    entry = batch.entry(made, batch.Seen(read=0, bad=0), version=1, landed=0, quarantined=0, now_us=1)
    assert entry.reasons == (
        "anna accepted landing.offsets-gone at now: shop.parcel, shop.public.parcel[0] offsets [3, 5)",
    )


def test_an_answer_waits_for_its_batch_and_goes_with_it(lane: Handed) -> None:
    seat = lane.seats[0]
    lane._failed(seat, OffsetsGone("gone", where="here", hint="x"))
    book.accept(lane.root, seat.state, by="anna", at="now")
    lane.dispatch(ENDS, defer=False)
    lane.settle()
    assert [a.where for a in seat.state.accepted] == ["here"]
    lane._failed(seat, LakeUnreachable("the lake sleeps"))
    assert [a.where for a in book.load_state(lane.root, FLOW.name).accepted] == ["here"]
    lane._landed(seat)
    assert book.load_state(lane.root, FLOW.name) == seat.state
    assert seat.state.accepted == ()


def test_an_answer_that_does_not_help_is_asked_for_again(lane: Handed) -> None:
    seat, error = lane.seats[0], OffsetsGone("gone", where="here", hint="x")
    lane._failed(seat, error)
    book.accept(lane.root, seat.state, by="anna", at="now")
    lane.dispatch(ENDS, defer=False)
    lane.settle()
    lane._failed(seat, error)
    assert book.load_state(lane.root, FLOW.name).accepted == ()


def test_a_stub_is_left_out_where_it_was_accepted_and_nowhere_else() -> None:
    said = Decoder(columns={"id": Int64()}, writers=[], stubs=frozenset({(2, 17)}), nonce=b"n" * 16).reason()
    assert "WHEN stubbed AND partition = 2 AND offset = 17 THEN 'row-too-large'" in said
    assert "WHEN stubbed THEN raise_error" in said


def test_records_of_a_schema_that_was_set_aside_are_quarantined_and_others_halt() -> None:
    said = Decoder(
        columns={"id": Int64()},
        writers=[],
        blocked=frozenset({8}),
        aside={7: "schema-blocked:it's"},
        nonce=b"n" * 16,
    )
    assert "WHEN substring(value, 1, 5) = X'0000000007' THEN 'schema-blocked:it\\'s'" in said.reason()
    assert "NOT IN (X'', X'0000000007') THEN raise_error" in said.record()
    assert "= X'0000000008' THEN raise_error" in said.record()


def test_i5_an_answer_is_for_the_schema_that_was_shown_and_for_no_other() -> None:
    blocked = {7: SchemaBlocked("name: string → bigint"), 8: SchemaBlocked("b", hint="or set it")}
    standing = Standing(FLOW, "a", blocked=blocked)
    shown, other = (resolve.stopped(standing, n, "partition 0 offset 3") for n in (7, 8))
    answer = Answer(shown.code, shown.where, "anna", "now")
    assert answer.fits(shown.code, resolve.stopped(standing, 7, "partition 1 offset 9").where)
    assert not answer.fits(other.code, other.where)
    assert f"ecluse resolve {FLOW.name} --accept-gap" in shown.hint
    assert other.hint.endswith("; or set it")
    resolve.set_aside(standing, 7, answer)
    assert (standing.aside, standing.taken) == ({7: "schema-blocked:name: string → bigint"}, [answer])
    made = resolve.decoder(cast("Any", SimpleNamespace(nonce=b"n")), standing, None, frozenset())
    assert (sorted(made.blocked), dict(made.aside)) == ([8], standing.aside)


def test_a_schema_that_was_set_aside_is_looked_at_again_after_a_restart() -> None:
    standing = Standing(FLOW, "a", aside={7: "schema-blocked:why"})
    made = resolve.decoder(cast("Any", SimpleNamespace(nonce=b"n")), standing, None, frozenset())
    assert made.aside == {}  # its first record asks what the policy makes of it now


# --- what is told


def test_a_landing_tells_what_it_does_to_its_log_and_in_its_numbers(lane: Handed) -> None:
    entry = batch.entry(
        a_batch(),
        batch.Seen(read=9, bad=2, duplicates=3, committed_us_max=5_000_000),
        version=1, landed=4, quarantined=2, now_us=8_000_000,
    )  # fmt: skip
    lane._count(entry)
    lane.seats[0].reached = {0: 5}
    lane.dispatch({FLOW.topic.name: {0: 7}})
    lane.settle()
    lane._failed(lane.seats[0], LakeUnreachable("the lake sleeps"))
    log: Any = lane.log
    assert log.facts("landed")[0]["read"] == 9
    assert log.facts("parked")[0]["code"] == LakeUnreachable.code

    def number(name: str, **labels: str) -> float | None:
        found: float | None = lane.numbers.get_sample_value(
            f"ecluse_landing_{name}", {"flow": FLOW.name, **labels}
        )
        return found

    assert number("batches_total") == 1
    assert number("read_total") == 9
    outcomes = {o: number("rows_total", outcome=o) for o in ("landed", "duplicates", "quarantined", "late")}
    assert outcomes == {"landed": 4, "duplicates": 3, "quarantined": 2, "late": None}
    assert number("last_landed_timestamp_seconds") == 8
    assert number("last_commit_timestamp_seconds") == 5
    assert number("lag_offsets") == 2
    assert number("failures_total", code=LakeUnreachable.code) == 1
    assert [number("state", state=s) for s in ("new", "parked")] == [0, 1]


def test_rows_that_land_before_a_stop_are_told_and_counted_before_it(
    lane: Handed, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat, stop = lane.seats[0], GapAhead("a gap", where="here")
    before = batch.entry(
        a_batch(), batch.Seen(read=2, bad=0), version=1, landed=2, quarantined=0, now_us=8_000_000
    )

    def landed_up_to_it(_: Any, standing: Standing, *__: Any) -> Any:
        standing.offsets = {0: 7}
        return before, stop

    monkeypatch.setattr(land, "land", landed_up_to_it)
    monkeypatch.setattr(lane, "_own_desk", lambda: None)
    Lane._work(lane, seat, {0: 9})
    log: Any = lane.log
    assert log.facts("landed")[0]["read"] == 2
    assert lane.numbers.get_sample_value("ecluse_landing_batches_total", {"flow": FLOW.name}) == 1
    assert seat.reached == {0: 7}
    told = book.load_state(lane.root, FLOW.name)
    assert (told.state, told.code, told.first_unapplied) == (State.STOPPED, GapAhead.code, {"0": 7})


# --- two groups, and what Spark cannot cast


def test_two_landings_that_start_at_once_make_one_quarantine_i9(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = book.quarantine_path(tmp_path)

    def beaten(*_: Any, **__: Any) -> None:
        write_deltalake(str(path), pa.table({"id": [1]}))
        raise DeltaError("the table exists already")

    monkeypatch.setattr(DeltaTable, "create", beaten)
    quarantine.create(tmp_path)
    shutil.rmtree(path)

    def failed(*_: Any, **__: Any) -> None:
        raise DeltaError("no disk")

    monkeypatch.setattr(DeltaTable, "create", failed)
    with pytest.raises(LakeUnreachable):
        quarantine.create(tmp_path)
    monkeypatch.undo()
    quarantine.create(tmp_path)
    quarantine.create(tmp_path)
    assert DeltaTable(str(path)).version() == 0


def test_i5_a_default_that_has_no_value_in_its_column_parks_the_flow_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def sure(work: Any, **_: Any) -> Any:
        return work()

    def sql(text: str) -> Any:
        asked.append(text)
        return SimpleNamespace(collect=lambda: [[None if "infinity" in text else 1]])

    monkeypatch.setattr(halt, "sure", sure)
    wanted: Any = SimpleNamespace(session=SimpleNamespace(sql=sql))
    keyed = replace(FLOW, sink=replace(FLOW.sink, mode="scd1"))
    good, bad = (Step("at", None, Date(), text) for text in ("2026-01-01", "infinity"))
    resolve._check_defaults(wanted, Standing(keyed, "a"), [good], "here")
    with pytest.raises(SchemaBlocked, match="'infinity' of column at"):
        resolve._check_defaults(wanted, Standing(keyed, "a"), [bad], "here")
    resolve._check_defaults(wanted, Standing(FLOW, "a"), [bad], "here")  # append fills no row that exists
    assert asked[0] == "SELECT try_cast('2026-01-01' as date)"
