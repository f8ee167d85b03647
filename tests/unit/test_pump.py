"""The loop between a source and a topic, on a log in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from engine.pump import run
from engine.schema import Int64, String
from engine.source import STREAM, Mark
from engine.supervise import Done
from tests.support.cells import column, field, relation
from tests.support.memory import Bench
from tests.support.pumped import PARCEL, marks, marks_of, stopped_after, tx
from tests.support.scripted import Scripted, Tx


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


def test_a_capture_that_runs_opens_its_source_again_when_a_person_asks_for_a_table() -> None:
    world = Scripted([tx(100, 1)])
    bench = Bench(world.open)
    asked: list[Mapping[str, int]] = []

    @contextmanager
    def opening(*given: Any) -> Iterator[Any]:
        with world.open(*given) as source:
            asked.append(world.asked)
            if len(asked) == 1:
                marks(bench).ask("shop", "public.parcel", "ana")
            else:
                bench.clock.stop.set()
            yield source

    bench.open = opening
    assert run(bench.capture, bench.doors) == Done(None)
    assert asked == [{}, {"public.parcel": 1}]
    assert [mark and mark.at for mark in world.opened] == [None, {STREAM: 100}]
    assert bench.clock.waited == [], "nothing has failed"
