"""Whatever stops a capture names the first position at stake, and is known after its process is gone."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import (
    CaptureFenced,
    EcluseError,
    SlotBusy,
    SlotMissing,
    SourceRefused,
    SourceUnreachable,
    SourceUnready,
    TopicUnreachable,
)
from engine.pump import run
from engine.source import STREAM
from engine.supervise import Done, Parked
from tests.support.memory import Bench
from tests.support.pumped import marked, marks, stopped_after, stopped_by, tx
from tests.support.scripted import Scripted


@pytest.fixture
def world() -> Scripted:
    return Scripted([tx(100, 1)], era=2)


@pytest.fixture
def bench(world: Scripted) -> Bench:
    return marked(world)


@pytest.mark.parametrize("kind", [SourceRefused, SourceUnready, SlotMissing, SourceUnreachable, SlotBusy])
def test_every_stop_names_the_first_position_at_stake_and_is_recorded(
    bench: Bench, kind: type[EcluseError]
) -> None:
    told = stopped_by(bench, kind("no.", where="shop", hint="mend it"))
    assert told.what == "no. First position at stake: era 2, after 0/64"
    assert (told.where, told.hint) == ("shop", "mend it")
    for waits in bench.log.facts("waiting"):
        assert waits["what"] == told.what
    stop = marks(bench).stops()["shop"]
    assert (stop.code, stop.what, stop.first) == (kind.code, "no.", "era 2, after 0/64")
    assert (stop.era, stop.at, stop.hint) == (2, {STREAM: 100}, "mend it\necluse run capture shop")
    assert stop.stopped_at


def test_a_first_start_says_that_nothing_is_at_stake() -> None:
    bench = Bench(Scripted([]).open)
    assert "None is at stake: nothing is marked yet" in stopped_by(bench, SourceRefused("no")).what
    assert marks(bench).stops()["shop"].first == ""


def test_a_stop_in_mid_stream_names_the_newest_mark_and_not_where_the_process_began(bench: Bench) -> None:
    world = Scripted([tx(200, 2), SourceRefused("gone")], era=2)
    bench.open = world.open
    end = run(bench.capture, bench.doors)
    assert isinstance(end, Parked)
    assert end.error.what == "gone. First position at stake: era 2, after 200"


def test_a_stop_is_over_when_the_capture_streams_again(bench: Bench, world: Scripted) -> None:
    stopped_by(bench, SourceRefused("no"))
    world.script.append(tx(200, 2))
    bench.open = world.open
    stopped_after(bench, world)
    assert run(bench.capture, bench.doors) == Done(None)
    assert marks(bench).stops() == {}


def test_a_second_worker_that_gave_up_is_forgotten_while_the_first_streams(
    bench: Bench, world: Scripted
) -> None:
    world.script += [tx(n * 100, n) for n in range(2, 9)]
    bench.open = world.open
    stopped_after(bench, world)
    bench.clock.tick = 3.0
    at, second = bench.at, Bench(world.open, topic=bench.topic)

    def meanwhile(point: str) -> None:
        if point == "capture.after-confirm" and len(world.confirmed) == 2:
            stopped_by(second, SlotBusy("the slot is in use"))
            assert marks(bench).stops()["shop"].code == "source.slot-busy"
        at(point)

    bench.at = meanwhile
    assert run(bench.capture, bench.doors) == Done(None)
    assert second.log.facts("waiting")
    assert marks(bench).stops() == {}


@pytest.mark.parametrize("error", [CaptureFenced("another"), TopicUnreachable("down")])
def test_who_was_replaced_or_cannot_reach_the_topic_records_nothing(bench: Bench, error: EcluseError) -> None:
    stopped_by(bench, error)
    assert marks(bench).stops() == {}


def test_a_capture_that_was_told_to_stop_while_it_waited_has_not_stopped_for_a_person(bench: Bench) -> None:
    bench.clock.stop.set()
    stopped_by(bench, SourceUnreachable("away"))
    assert marks(bench).stops() == {}


def test_a_stop_that_cannot_be_recorded_is_told_all_the_same(bench: Bench) -> None:
    error = SourceRefused("no")

    class Deaf:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def flush(self, *_: Any) -> None:
            raise TopicUnreachable("down")

    bench.through = Deaf
    assert "no. First position" in stopped_by(bench, error).what
    (told,) = bench.log.facts("stop not recorded")
    assert told["code"] == "topic.unreachable"
