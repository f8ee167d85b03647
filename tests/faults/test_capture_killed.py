"""I7 on the way to the topic: a capture killed at any point loses nothing and repeats only what it must.

What comes again differs by point and shows whether recovery took the intended path: rows whose mark was not
durable are published again under the next writer epoch; rows whose mark was, are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest

from tests.support import oracles
from tests.support.flows import TABLES, World
from tests.support.oracles_walk import judge_stream
from tests.support.workload import Change

pytestmark = pytest.mark.stack

AGAIN = {
    "capture.after-read": range(1_000_000),  # what was produced before is on its way or not
    "capture.after-produce": range(1_000_000),
    "capture.after-flush": range(1, 1_000_000),  # acknowledged, and no mark says so
    "capture.mark-sent": range(1_000_000),  # the mark may have arrived
    "capture.mark-acknowledged": range(1),  # the mark rules: its last transaction is compared, not published
    "capture.after-confirm": range(1),
}


@pytest.fixture(scope="module")
def walk(worlds: Callable[[str], World]) -> Iterator[World]:
    world = worlds("killed_capture")
    first = world.reading_capture()
    world.play(20)
    world.streamed()
    assert first.stop() == 0, first.text()[-2000:]
    yield world
    world.close()


def told_again(told: dict[str, list[Change]]) -> int:
    return sum(oracles.repeats(told[table]) for table in TABLES)


def writers(told: dict[str, list[Change]]) -> set[int]:
    return {change.writer for table in TABLES for change in told[table]}


@pytest.mark.parametrize("point", AGAIN)
def test_a_capture_killed_there_loses_nothing(point: str, seed: int, walk: World) -> None:  # I7
    nth = Random(f"{point} {seed}").randint(3, 5)  # noqa: S311 - a plan, not a secret
    before = told_again(walk.streamed())
    with walk.traffic() as traffic:
        walk.killed_at(walk.capture(point=point, nth=nth), point)
        traffic.more(20)
    restarted = walk.reading_capture()
    told = walk.streamed()
    assert restarted.stop() == 0, restarted.text()[-2000:]
    assert judge_stream(walk, told) == []
    assert told_again(told) - before in AGAIN[point]
    assert len(writers(told)) >= 2


def test_a_capture_told_to_stop_repeats_nothing(walk: World) -> None:
    before = told_again(walk.streamed())
    for _ in range(3):
        with walk.traffic() as traffic:
            worker = walk.reading_capture()
            traffic.more(30)
            assert worker.stop() == 0, worker.text()[-2000:]
    last = walk.reading_capture()
    told = walk.streamed()
    assert last.stop() == 0
    assert judge_stream(walk, told) == []
    assert told_again(told) == before
