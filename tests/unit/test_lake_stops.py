"""A flow that must stop stops by name, and goes on when a person has answered exactly that; without Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import GapAhead
from engine.lake import book
from engine.lake.desk import Gap, Standing
from engine.lake.lane import Lane
from engine.plan import LanePlan
from engine.state import State
from engine.supervise import Clock, Policy
from tests.unit.test_lake_plans import FLOW

GAP = Gap(1, 24, "source.gap-suspected", "the table left the publication")
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

    def _work(self, seat: Any, ends: Any) -> None:
        del ends
        self.handed.append(seat.flow.name)


@pytest.fixture
def lane(tmp_path: Path) -> Handed:
    policy = Policy(1, 1, -1, lambda: 0)
    no_spark: Any = None
    found = Handed(
        LanePlan("default", "live", (FLOW,), 1, 0.2), tmp_path, no_spark, no_spark, Time().clock(), policy
    )
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
    assert book.load_states(lane.root) == {}  # its table has not been asked yet
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
