"""The loop between a source and a topic, on a log in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from engine.errors import (
    CaptureFenced,
    GapSuspected,
    RegistryUnreachable,
    SourceRefused,
    SourceUnreachable,
    TopicUnreachable,
)
from engine.marks import Marks
from engine.pump import run
from engine.schema import Int64, String
from engine.source import STREAM, Mark, Rows, TableGap
from engine.supervise import Done, Parked
from engine.topic import MemoryTopic, Waiting, silent
from tests.support.cells import column, field, relation
from tests.support.memory import Bench
from tests.support.scripted import Scripted, ScriptedSource, Tx

PARCEL = relation(column("id", Int64(), nullable=False), column("town", String()))


def tx(major: int, *ids: int, barrier: bool = False) -> Tx:
    return Tx(
        PARCEL, [("c", None, [field(Int64(), i), field(String(), f"town {i}")]) for i in ids], major, barrier
    )


def stopped_after(bench: Bench, world: Scripted) -> Bench:
    """Stop once the script is at its end: the last mark has been confirmed."""
    last = max(s.major for s in world.script if isinstance(s, Tx))

    def at(point: str) -> None:
        if point == "capture.after-confirm" and world.confirmed[-1].at == {STREAM: last}:
            bench.clock.stop.set()

    bench.at = at
    return bench


def marks(bench: Bench) -> Marks:
    return Marks(bench.topic, "demo", lambda: "now")


def test_rows_go_from_the_source_to_their_topic_in_order() -> None:
    world = Scripted([tx(100, 1, 2, 3), tx(200, 4)])
    bench = stopped_after(Bench(world.open, {"public.parcel": 1}), world)
    assert run(bench.capture, bench.doors) == Done(None)
    assert bench.positions() == [(100, 0), (100, 2), (100, 4), (200, 0)]
    (records,) = bench.records()
    assert [r["after"]["id"] for r in records] == [1, 2, 3, 4]
    assert {r["writer"] for r in records} == {1}
    assert records[0]["source"]["name"] == "demo.shop"


def test_i1_a_mark_is_confirmed_only_after_its_rows_and_itself_are_acknowledged() -> None:
    world = Scripted([tx(100, 1), tx(200, 2)])
    bench = stopped_after(Bench(world.open), world)
    confirm = world.confirmed.append
    seen: list[tuple[int, int]] = []

    def confirmed(mark: Mark) -> None:
        acknowledged = max(major for major, _ in bench.positions())
        written = marks(bench).find("shop").mark
        assert written is not None
        seen.append((acknowledged, written.at[STREAM]))
        assert acknowledged >= mark.at[STREAM]
        assert written == mark
        confirm(mark)

    world.confirmed = Appended(confirmed, world.confirmed)
    run(bench.capture, bench.doors)
    assert seen == [(100, 100), (200, 200)]


class Appended(list[Mark]):
    """A list that somebody looks at when it grows."""

    def __init__(self, grown: Any, items: list[Mark]) -> None:
        super().__init__(items)
        self._grown = grown
        self._inner = items

    def append(self, item: Mark) -> None:
        self._grown(item)
        super().append(item)


def test_the_steps_of_a_mark_pass_every_named_point_in_order() -> None:
    world = Scripted([tx(100, 1)])
    bench = stopped_after(Bench(world.open), world)
    stop, points = bench.at, []

    def at(point: str) -> None:
        points.append(point)
        stop(point)

    bench.at = at
    run(bench.capture, bench.doors)
    assert points == [
        "capture.after-read",
        "capture.after-produce",
        "capture.after-flush",
        "capture.mark-sent",
        "capture.mark-acknowledged",
        "capture.after-confirm",
    ]


@pytest.mark.parametrize(
    ("point", "again"),
    [
        ("capture.after-read", False),
        ("capture.after-produce", False),
        ("capture.after-flush", True),
        ("capture.mark-sent", True),
        ("capture.mark-acknowledged", False),
        ("capture.after-confirm", False),
    ],
)
def test_i2_i7_a_capture_that_ends_at_any_point_goes_on_from_the_mark(point: str, *, again: bool) -> None:
    world = Scripted([tx(100, 1), tx(200, 2), tx(300, 3)])
    bench = Bench(world.open, {"public.parcel": 1})
    passed: list[str] = []

    class Killed(BaseException):
        pass

    def at(now: str) -> None:
        passed.append(now)
        if now == point and passed.count(point) == 2:
            raise Killed

    bench.at = at
    with pytest.raises(Killed):
        run(bench.capture, bench.doors)
    stopped_after(bench, world)
    assert run(bench.capture, bench.doors) == Done(None)
    positions = [major for major, _ in bench.positions()]
    assert sorted(set(positions)) == [100, 200, 300]
    assert (positions.count(200) == 2) is again
    (records,) = bench.records()
    assert [r["writer"] for r in records] == sorted(r["writer"] for r in records)
    assert marks(bench).find("shop").epoch == 2


def test_a_new_writer_acknowledges_a_copy_of_the_mark_before_its_first_row() -> None:
    world = Scripted([tx(100, 1), tx(200, 2)])
    bench = stopped_after(Bench(world.open), world)
    run(bench.capture, bench.doors)
    bench.clock.stop.clear()
    world.script.append(tx(300, 3))

    def at(point: str) -> None:
        if point == "capture.after-read":
            found = marks(bench).find("shop")
            assert found.epoch == 2
            assert found.mark is not None
            assert found.mark.at == {STREAM: 200}
            bench.clock.stop.set()

    bench.at = at
    run(bench.capture, bench.doors)
    assert world.opened[-1] == marks_of(world, 200)


def marks_of(world: Scripted, major: int) -> Mark:
    return next(m for m in world.confirmed if m.at == {STREAM: major})


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
    def open_(mark: Mark | None) -> Iterator[Any]:
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
        if self.down and any(name != "ecluse.demo.marks" for name, _, _ in self._sent):
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


def test_nothing_is_confirmed_while_the_topic_is_down() -> None:
    world = Scripted([tx(100, 1)])
    bench = Bench(world.open)
    bench.through = lambda _: Slow(bench, down=True)
    end = run(bench.capture, bench.doors)
    assert isinstance(end, Parked)
    assert end.error.code == "topic.unreachable"
    assert world.confirmed == []
    assert marks(bench).find("shop").mark is None


def test_a_stop_in_the_middle_of_many_transactions_ends_at_a_mark_and_repeats_nothing() -> None:
    world = Scripted([tx(n * 100, n, n + 1000, n + 2000) for n in range(1, 30)])
    bench = Bench(world.open, {"public.parcel": 1})
    for stop_at in (3, 11, 25, 10_000):
        reads: list[str] = []

        def at(point: str, reads: list[str] = reads, stop_at: int = stop_at) -> None:
            reads.append(point)
            if reads.count("capture.after-read") == stop_at:
                bench.clock.stop.set()

        bench.at = at
        if stop_at == 10_000:
            stopped_after(bench, world)
        bench.clock.stop.clear()
        assert run(bench.capture, bench.doors) == Done(None)
    assert bench.positions() == [(n * 100, minor) for n in range(1, 30) for minor in (0, 2, 4)]
    assert bench.log.facts("first position") == [{"era": 0, "at": {STREAM: 100}}]


def test_a_changed_relation_is_registered_and_its_rows_follow_the_older_ones() -> None:
    wider = relation(*PARCEL.columns, column("weight", Int64()))
    row = [field(Int64(), 2), None, field(Int64(), 9)]
    world = Scripted([tx(100, 1), Tx(wider, [("u", None, row)], 200), tx(300, 3)])
    bench = stopped_after(Bench(world.open, {"public.parcel": 1}), world)
    run(bench.capture, bench.doors)
    (records,) = bench.records()
    assert [list(r["after"]) for r in records] == [["id", "town"], ["id", "town", "weight"], ["id", "town"]]
    assert records[1]["after"]["weight"] == 9


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


def test_a_barrier_is_confirmed_before_anything_more_is_read() -> None:
    world = Scripted([tx(100, 1), tx(200, 2, barrier=True), tx(300, 3)])
    bench = stopped_after(Bench(world.open), world)
    bench.capture  # noqa: B018 - made anew each time
    run(bench.capture, bench.doors)
    assert marks_of(world, 200).barrier


def test_progress_is_told_per_table() -> None:
    world = Scripted([tx(100, 1, 2)])
    bench = stopped_after(Bench(world.open), world)
    run(bench.capture, bench.doors)
    (line,) = bench.log.facts("progress")
    assert (line["table"], line["rows"]) == ("public.parcel", 2)


def test_a_mark_that_says_where_the_last_writer_was_does_not_start_the_count_of_retries_anew() -> None:
    world = Scripted([tx(100, 1), *(SourceUnreachable("cut") for _ in range(40))])
    stand = Mark({STREAM: 100}, b"{}", 0, 100_000)
    bench = Bench(world.open)
    marks(bench).prepare(1)
    marks(bench).send("shop", 1, stand)
    bench.topic.flush()

    class Announced(ScriptedSource):
        def read(self, *, limit: int, wait_s: float) -> Iterator[Rows | Mark | TableGap]:
            yield stand
            yield from super().read(limit=limit, wait_s=wait_s)

    @contextmanager
    def open_(_: Mark | None) -> Iterator[Any]:
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
    def open_(mark: Mark | None) -> Iterator[Any]:
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
    def open_(_: Mark | None) -> Iterator[Any]:
        raise GapSuspected("the slot was confirmed by someone else")
        yield

    bench.open = open_
    end = run(bench.capture, bench.doors)
    assert isinstance(end, Parked)
    assert isinstance(end.error, GapSuspected)
    assert bench.clock.waited == []


def test_a_stop_does_not_wait_for_the_end_of_a_transaction_without_end() -> None:
    endless = Tx(PARCEL, [("c", None, [field(Int64(), 1), field(String(), "x")])] * 40_000, 200)
    world = Scripted([tx(100, 1), endless, tx(300, 3)])
    bench = Bench(world.open, {"public.parcel": 1})

    def at(point: str) -> None:
        if point == "capture.after-produce":
            bench.clock.stop.set()
            bench.clock.now += 20

    bench.at = at
    assert run(bench.capture, bench.doors) == Done(None)
    assert bench.log.facts("stopped inside a transaction")
    assert {mark.at[STREAM] for mark in world.confirmed} == {100}
