"""The loop between a source and a topic when one of them fails, or another writer comes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from engine.errors import (
    CaptureFenced,
    ContractBroken,
    GapSuspected,
    Missing,
    RegistryUnreachable,
    SourceRefused,
    SourceUnreachable,
    TopicUnreachable,
    answers,
)
from engine.marks import Found
from engine.pump import lost, run
from engine.schema import Int64
from engine.source import STREAM, Item, Mark, TableGap
from engine.supervise import Done, Parked
from engine.topic import MemoryTopic, Waiting, silent
from tests.support.cells import column, field, relation
from tests.support.memory import Bench
from tests.support.pumped import PARCEL, marks, marks_of, stopped_after, tx
from tests.support.scripted import Scripted, ScriptedSource, Tx
from tests.support.waits import wait_until


def test_a_writer_that_was_replaced_stops_and_cannot_touch_the_newer_mark() -> None:
    world = Scripted([tx(n * 100, n) for n in range(1, 9)])
    bench = Bench(world.open)
    bench.clock.tick = 3.0
    zombie_at = Mark({STREAM: 999}, b"{}", 0, 0)

    def at(point: str) -> None:
        if point == "capture.after-confirm" and len(world.confirmed) == 1:
            marks(bench).send("shop", 2, zombie_at)
            bench.topic.flush()

    bench.at = at
    end = run(bench.capture, bench.doors)
    assert isinstance(end, Parked)
    assert isinstance(end.error, CaptureFenced)
    assert marks(bench).find("shop").mark == zombie_at


def test_an_error_that_may_pass_is_waited_out_and_the_rows_come_again_under_a_new_writer() -> None:
    world = Scripted([tx(100, 1), SourceUnreachable("gone"), tx(200, 2)])
    bench = stopped_after(Bench(world.open, {"public.parcel": 1}), world)
    assert run(bench.capture, bench.doors) == Done(None)
    assert bench.clock.waited == [0.5]
    assert [major for major, _ in bench.positions()] == [100, 200]
    (records,) = bench.records()
    assert [r["writer"] for r in records] == [1, 2]
    assert bench.log.facts("waiting")[0]["code"] == "source.unreachable"


def test_a_writer_that_was_replaced_while_it_waited_does_not_take_the_source_back() -> None:
    world = Scripted([tx(100, 1), SourceUnreachable("cut"), tx(200, 2)])
    bench = Bench(world.open)
    newer = Mark({STREAM: 150}, b"{}", 0, 0)

    @contextmanager
    def open_(mark: Mark | None, *_: Any) -> Iterator[Any]:
        with world.open(mark) as source:
            yield source
        raise AssertionError("the source came to its end")

    def at(point: str) -> None:
        if point == "capture.after-confirm":
            marks(bench).send("shop", 2, newer)
            bench.topic.flush()

    bench.open, bench.at = open_, at
    end = run(bench.capture, bench.doors)
    assert isinstance(end, Parked)
    assert isinstance(end.error, CaptureFenced)
    assert len(world.opened) == 1


def test_an_error_for_a_person_stops_at_once() -> None:
    world = Scripted([tx(100, 1), SourceRefused("no")])
    bench = Bench(world.open)
    end = run(bench.capture, bench.doors)
    assert isinstance(end, Parked)
    assert end.error.code == "source.refused"
    assert bench.clock.waited == []


class Slow(MemoryTopic):
    """A topic that makes its caller wait for a minute at every flush, and at last gives up."""

    def __init__(self, bench: Bench, *, down: bool = False) -> None:
        super().__init__(_logs=bench.topic._logs)  # noqa: SLF001 - the same log behind another door
        self.bench, self.down = bench, down

    def flush(self, waiting: Waiting = silent) -> None:
        for _ in range(60):
            self.bench.clock.now += 1
            waiting()
        if self.down and any(name != "ecluse.demo.marks" for name, *_ in self._sent):
            raise TopicUnreachable("down")
        super().flush(waiting)


def test_the_source_is_kept_alive_every_ten_seconds_while_the_topic_is_slow() -> None:
    world = Scripted([tx(100, 1), tx(200, 2)])
    bench = Bench(world.open)
    bench.through = lambda _: Slow(bench)
    stopped_after(bench, world)
    run(bench.capture, bench.doors)
    first = marks_of(world, 100)
    assert world.confirmed.count(first) >= 1 + 60 // 10
    assert world.confirmed[-1].at == {STREAM: 200}


class Pondering(MemoryTopic):
    """A topic that takes a minute to say where it ends, when told to, and looks whether the source lives."""

    def __init__(self, bench: Bench, world: Scripted) -> None:
        super().__init__(_logs=bench.topic._logs)  # noqa: SLF001 - the same log behind another door
        self.bench, self.world, self.slow = bench, world, False

    def offsets(self, names: Sequence[str]) -> Mapping[str, Mapping[int, tuple[int, int]]]:
        if self.slow:
            self.slow = False
            self.bench.clock.now += 60
            before = len(self.world.confirmed)
            wait_until(lambda: len(self.world.confirmed) > before, "the source is kept alive", limit_s=5)
        return super().offsets(names)


def test_the_source_is_kept_alive_while_a_gap_is_recorded() -> None:
    world = Scripted(
        [tx(100, 1), TableGap("public", "parcel", "source.gap-suspected", 0, 150, "left"), tx(200, 2)]
    )
    bench = stopped_after(Bench(world.open), world)
    topic = Pondering(bench, world)
    bench.through = lambda _: topic
    stop = bench.at

    def at(point: str) -> None:
        topic.slow = point == "capture.after-confirm" and world.confirmed[-1].at == {STREAM: 100}
        stop(point)

    bench.at = at
    assert run(bench.capture, bench.doors) == Done(None)
    assert [gap.major for gap in marks(bench).gaps()] == [150]
    assert world.confirmed.count(marks_of(world, 100)) > 1


def test_nothing_is_confirmed_while_the_topic_is_down() -> None:
    world = Scripted([tx(100, 1)])
    bench = Bench(world.open)
    bench.through = lambda _: Slow(bench, down=True)
    end = run(bench.capture, bench.doors)
    assert isinstance(end, Parked)
    assert end.error.code == "topic.unreachable"
    assert world.confirmed == []
    assert marks(bench).find("shop").mark is None


def test_a_registry_that_is_down_holds_a_new_schema_and_no_known_one() -> None:
    wider = relation(*PARCEL.columns, column("weight", Int64()))
    row = [field(Int64(), 2), None, None]
    world = Scripted([tx(100, 1), tx(150, 5), Tx(wider, [("u", None, row)], 200)])
    bench = Bench(world.open, {"public.parcel": 1})
    register, tries = bench.registry.register, []

    def down(topic: str, part: Any, schema: Any) -> Any:
        if len(bench.registry.texts) < 2:
            return register(topic, part, schema)
        tries.append(topic)
        if len(tries) < 4:
            raise RegistryUnreachable("down")
        return register(topic, part, schema)

    bench.registry.register = down  # type: ignore[method-assign]
    stopped_after(bench, world)
    assert run(bench.capture, bench.doors) == Done(None)
    assert bench.clock.waited == [0.5, 1.0, 2.0]
    assert [major for major, _ in bench.positions()] == [100, 150, 200]


def test_i9_a_gap_in_one_table_is_recorded_once_and_the_capture_goes_on() -> None:
    gap = TableGap("public", "parcel", "source.gap-suspected", 0, 150, "left the publication")
    world = Scripted([tx(100, 1), gap, gap, tx(200, 2)])
    bench = stopped_after(Bench(world.open), world)
    assert run(bench.capture, bench.doors) == Done(None)
    (found,) = marks(bench).gaps()
    assert (found.table, found.major, found.accepted) == ("public.parcel", 150, False)
    assert len(bench.log.facts("gap")) == 1
    marks(bench).accept(found, "ana")
    (found,) = marks(bench).gaps()
    assert (found.accepted, found.accepted_by) == (True, "ana")


def test_a_mark_that_says_where_the_last_writer_was_does_not_start_the_count_of_retries_anew() -> None:
    world = Scripted([tx(100, 1), *(SourceUnreachable("cut") for _ in range(40))])
    stand = Mark({STREAM: 100}, b"{}", 0, 100_000)
    bench = Bench(world.open)
    marks(bench).prepare(1)
    marks(bench).send("shop", 1, stand)
    bench.topic.flush()

    class Announced(ScriptedSource):
        def read(self, *, limit: int, wait_s: float) -> Iterator[Item]:
            yield stand
            yield from super().read(limit=limit, wait_s=wait_s)

    @contextmanager
    def open_(*_: object) -> Iterator[Any]:
        yield Announced(world, 100)

    bench.open = open_
    end = run(bench.capture, bench.doors)
    assert isinstance(end, Parked)
    assert bench.clock.waited[:6] == [0.5, 1, 2, 4, 8, 8]


def test_a_source_that_a_writer_left_further_on_meanwhile_is_opened_again_and_is_no_gap() -> None:
    world = Scripted([tx(100, 1), tx(200, 2)])
    bench = stopped_after(Bench(world.open, {"public.parcel": 1}), world)
    opened = []

    @contextmanager
    def open_(mark: Mark | None, *_: Any) -> Iterator[Any]:
        opened.append(mark)
        if len(opened) == 1:
            marks(bench).send("shop", 1, Mark({STREAM: 100}, b"{}", 0, 100_000))
            bench.topic.flush()
            raise GapSuspected("the slot was confirmed by someone else")
        with world.open(mark) as source:
            yield source

    bench.open = open_
    assert run(bench.capture, bench.doors) == Done(None)
    assert opened[0] is None
    assert opened[1] is not None
    assert opened[1].at == {STREAM: 100}
    assert bench.positions() == [(200, 0)]


def test_a_gap_behind_the_newest_mark_stops_at_once() -> None:
    bench = Bench(Scripted([GapSuspected("nobody knows")]).open)

    @contextmanager
    def open_(*_: object) -> Iterator[Any]:
        raise GapSuspected("the slot was confirmed by someone else")
        yield

    bench.open = open_
    end = run(bench.capture, bench.doors)
    assert isinstance(end, Parked)
    assert isinstance(end.error, GapSuspected)
    assert bench.clock.waited == []


def test_i7_a_capture_whose_marks_are_lost_is_no_first_start() -> None:
    world = Scripted([tx(100, 1)])
    bench = stopped_after(Bench(world.open), world)
    run(bench.capture, bench.doors)
    bench.topic.delete("ecluse.demo.marks")
    end = run(bench.capture, bench.doors)
    assert isinstance(end, Parked)
    assert isinstance(end.error, GapSuspected)
    assert end.error.hint == answers("shop")
    assert world.opened == [None]
    assert marks(bench).find("shop") == Found(None, 0)  # a second try is refused as well


def test_a_first_start_that_ended_before_its_first_mark_is_one_still() -> None:
    world = Scripted([tx(100, 1), tx(200, 2)])
    bench = Bench(world.open, {"public.parcel": 1})

    class Killed(BaseException):
        pass

    def at(point: str) -> None:
        if point == "capture.after-flush":
            raise Killed

    bench.at = at
    with pytest.raises(Killed):
        run(bench.capture, bench.doors)
    assert bench.positions()
    stopped_after(bench, world)
    assert run(bench.capture, bench.doors) == Done(None)
    assert world.opened == [None, None]


def test_the_newest_era_and_writer_are_read_from_the_topics() -> None:
    world = Scripted([tx(n * 100, n) for n in range(1, 9)], era=3)
    bench = stopped_after(Bench(world.open), world)
    run(bench.capture, bench.doors)
    bench.topic.send([("shop.public.parcel", b"nobody's", None, 0)])
    bench.topic.flush()
    assert lost.newest(bench.topic, bench.registry, bench.capture) == (3, 1)
    with pytest.raises(Missing):
        lost.newest(MemoryTopic(), bench.registry, bench.capture)


def test_a_process_that_was_paused_while_it_read_goes_on_and_a_source_that_is_silent_each_time_does_not() -> (
    None
):
    world = Scripted([tx(100, 1), tx(200, 2)])
    bench = stopped_after(Bench(world.open, {"public.parcel": 1}), world)
    pauses = [3600.0, 0.0]

    class Paused(ScriptedSource):
        def read(self, *, limit: int, wait_s: float) -> Iterator[Item]:
            bench.clock.now += pauses.pop(0) if len(pauses) > 1 else pauses[0]
            if self.step or pauses[0] == 0:
                yield from super().read(limit=limit, wait_s=wait_s)

    @contextmanager
    def open_(*_: object) -> Iterator[Any]:
        yield Paused(world, -1)

    bench.open = open_
    assert run(bench.capture, bench.doors) == Done(None)
    assert bench.positions() == [(100, 0), (200, 0)]
    pauses[:] = [61.0]
    bench.clock.stop.clear()
    bench.at = lambda _: None
    end = run(bench.capture, bench.doors)
    assert isinstance(end, Parked)
    assert isinstance(end.error, ContractBroken)


def test_the_source_is_kept_alive_while_the_registry_keeps_a_new_schema_waiting() -> None:
    wider = relation(*PARCEL.columns, column("weight", Int64()))
    row = [field(Int64(), 2), None, None]
    world = Scripted([tx(100, 1), Tx(wider, [("u", None, row)], 200)])
    bench = stopped_after(Bench(world.open), world)
    bench.clock.tick = 3.0
    register = bench.registry.register
    first: list[Mark] = []

    def slow(topic: str, part: Any, schema: Any) -> Any:
        if world.confirmed and part == "value":
            first[:] = world.confirmed[-1:]
            wait_until(lambda: world.confirmed.count(first[0]) > 2, "the source hears of us", limit_s=20)
        return register(topic, part, schema)

    bench.registry.register = slow  # type: ignore[method-assign]
    assert run(bench.capture, bench.doors) == Done(None)
    assert [m.at[STREAM] for m in first] == [100]
