"""Flows that want to be fresher than Spark's trigger: who asks for the ends, and who takes which."""

# ruff: noqa: SLF001 - what is tried are parts of the driver, of the lane and of the book

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import LakeUnreachable, TopicUnreachable
from engine.lake import book, dispatch
from engine.lake.lane import Lane
from engine.ledger import Entry
from tests.support.waits import wait_until
from tests.unit.test_lake_plans import FLOW
from tests.unit.test_lake_stops import ENDS, Handed, lane

__all__ = ["lane"]
HURRIES = replace(FLOW, freshness_s=0.0)


class World:
    """A Kafka whose answers are told; the time is a number."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.now_s = 100.0
        self.down, self.takes_s = False, 0.0
        self.topics = self
        driver: Any = object.__new__(dispatch._Driver)
        seats = SimpleNamespace(dispatch=self.asked.append, policy=None)
        driver.world, driver.seats, driver.spark = self, seats, None
        driver.ends, driver._gaps, driver._asking = {}, {}, threading.Lock()
        driver.lane = SimpleNamespace(flows=[HURRIES], trigger_s=1.0, group="default")
        driver._asked_s, driver._look_at_s = float("inf"), float("-inf")
        driver._woken_up, driver._alive = threading.Event(), lambda: None
        driver._patiently = self.patiently
        self.driver: Any = driver

    def patiently(self, ask: Any) -> bool:
        try:
            ask()
        except TopicUnreachable:
            return False
        return True

    def monotonic(self) -> float:
        return self.now_s

    def offsets(self, _names: Any) -> dict[str, dict[int, tuple[int, int]]]:
        self.asked.append("ends")
        self.now_s += self.takes_s
        if self.down:
            raise TopicUnreachable("no answer")
        return {"t": {0: (0, 7)}}

    def gaps(self) -> dict[str, Any]:
        self.asked.append("gaps")
        assert self.driver.ends == {}, "rows behind a gap are handed out before the gap is known"
        return {}

    def at(self, _point: str) -> None:
        pass


def test_i5_the_timer_asks_for_the_ends_and_then_for_the_gaps() -> None:
    world = World()
    world.driver._tick()
    assert world.asked == ["ends", "gaps", {"t": {0: 7}}]


def test_kafka_is_asked_five_times_a_second_whoever_is_busy() -> None:
    world = World()
    world.driver._tick()
    world.asked.clear()
    world.driver._tick()
    assert world.asked == [{"t": {0: 7}}]
    world.now_s += dispatch._HURRY_S
    world.driver.ends = {}
    world.driver._tick()
    assert world.asked[1:] == ["ends", "gaps", {"t": {0: 7}}]


def test_asking_takes_a_tenth_of_the_time_at_most() -> None:
    world = World()
    world.takes_s = 0.5
    for _ in range(1000):
        world.driver.ends = {}
        world.driver._tick()
        world.now_s += 0.1
    asked_s = world.asked.count("ends") * world.takes_s
    assert 0.08 < asked_s / (world.now_s - 100.0) <= 0.11


def test_one_slow_answer_does_not_keep_the_next_away() -> None:
    world = World()
    world.takes_s = 40.0
    world.driver._tick()
    assert world.driver._look_at_s - world.now_s <= dispatch._ASK_AGAIN_S


def test_a_kafka_that_does_not_answer_is_left_alone_for_a_while() -> None:
    world = World()
    world.down = True
    world.driver._tick()
    world.now_s += 1.0
    world.driver._tick()
    assert world.asked.count("ends") == 1
    world.now_s += dispatch._ASK_AGAIN_S
    world.driver._tick()
    assert world.asked.count("ends") == 2


def test_where_no_flow_hurries_spark_alone_tells_the_ends() -> None:
    world = World()
    world.driver.lane.flows = [FLOW]
    world.driver._tick()
    assert world.asked == [{}]
    world.driver._ends = lambda _batch: {"t": {0: 5}}
    world.driver._woken(None, 0)
    assert world.driver.ends == {"t": {0: 5}}


def test_spark_wakes_the_timer_where_a_flow_hurries() -> None:
    world = World()
    world.driver._woken(None, 0)
    assert world.driver._woken_up.is_set()
    assert world.asked == []


def test_a_worker_takes_the_ends_that_are_known_when_it_begins(
    lane: Handed, monkeypatch: pytest.MonkeyPatch
) -> None:
    took: list[Any] = []
    monkeypatch.setattr(Handed, "_work", lambda _self, _seat, ends: took.append(ends))
    first, begin = threading.Event(), threading.Event()

    def occupy() -> None:
        first.set()
        begin.wait(10)

    lane._pool.submit(occupy)  # the lane's only worker
    first.wait(10)
    lane.dispatch(ENDS | {FLOW.topic.name: {0: 6}}, defer=False)
    lane.dispatch({FLOW.topic.name: {0: 9}}, defer=False)
    begin.set()
    lane.settle()
    assert took == [{0: 9}]


def test_a_worker_that_is_done_says_so(lane: Handed) -> None:
    told = threading.Event()
    lane.wake = told.set
    lane.dispatch({FLOW.topic.name: {0: 6}}, defer=False)
    assert told.wait(10)
    assert isinstance(lane, Lane)


def entry(seq: int, app_id: str) -> Entry:
    return Entry(
        flow=app_id, table="t", app_id=app_id, seq=seq, plan="p", writer="w", topic="t", topic_id="i",
        offsets={0: (1, 2)}, read=1, landed=1, merged_away=0, duplicates=0, late=0, dropped=0, quarantined=0,
        table_version=1, committed_us_min=1, committed_us_max=2, landed_at_us=3, duration_ms=4,
        state="landed", reasons=(), checks={}, marks="{}",
    )  # fmt: skip


def wait_for_the_ledger(made: book.Book, add: Callable[[str], None], count: int) -> None:
    """Add so many entries at once, while the ledger is busy until all of them wait; return behind them."""
    with made._lock:
        waiting = [threading.Thread(target=add, args=(f"a{n}",)) for n in range(count)]
        for thread in waiting:
            thread.start()
        wait_until(lambda: len(made._queue) == count, "all of them wait")
    for thread in waiting:
        thread.join(30)


def test_entries_that_wait_together_are_booked_in_one_commit(tmp_path: Any) -> None:
    made = book.Book(tmp_path)
    made.open()
    wait_for_the_ledger(made, lambda app_id: made.add(entry(1, app_id)), 4)
    assert [made.count(f"a{n}") for n in range(4)] == [1, 1, 1, 1]
    log = book.ledger_path(tmp_path) / "_delta_log"
    assert len(list(log.glob("*.json"))) == 2
    made.add(entry(1, "a0"))
    assert made.count("a0") == 1


def test_an_entry_that_waited_behind_one_that_failed_is_booked_by_itself(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = book.Book(tmp_path)
    made.open()
    whole, failed = made._add, threading.Event()

    def once(entries: Any) -> None:
        if not failed.is_set():
            failed.set()
            raise OSError("the disk is full")
        whole(entries)

    monkeypatch.setattr(made, "_add", once)
    ends: list[str] = []

    def add(app_id: str) -> None:
        try:
            made.add(entry(1, app_id))
        except LakeUnreachable:
            ends.append(app_id)

    wait_for_the_ledger(made, add, 3)
    assert len(ends) == 1
    assert sum(made.count(f"a{n}") for n in range(3)) == 2
