"""I7 on the way to the topic: a capture killed at any point loses nothing and repeats only what it must.

The transactions are in the source's log before the capture starts, so that what stands where right after the
kill is exact at every point: the topics, the durable mark, the slot. What stands in the topics behind the
mark, and that alone, is published again by the next writer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from random import Random

import psycopg
import pytest

from engine.marks import Marks
from engine.source import STREAM
from engine.topic import KafkaTopic
from tests.support import oracles
from tests.support.flows import World
from tests.support.flows_declared import TABLES
from tests.support.oracles_walk import judge_stream
from tests.support.waits import wait_until
from tests.support.workload import Change

pytestmark = pytest.mark.stack

Told = dict[str, list[Change]]


@dataclass(frozen=True)
class Expected:
    """A kill point: which passing of it is the first with rows, and what stands where right after the kill.

    None where the kill meets a record on its way: it has arrived or not.
    """

    nth: int
    in_topic: bool | None  # rows that were not there before
    marked: bool | None  # the durable mark has moved over them
    confirmed: bool = False  # the slot has


# a start that has a mark writes it once more, under its own epoch: the second mark is the first with rows
POINTS = {
    "capture.after-read": Expected(1, in_topic=False, marked=False),
    "capture.after-produce": Expected(1, in_topic=None, marked=False),
    "capture.after-flush": Expected(2, in_topic=True, marked=False),
    "capture.mark-sent": Expected(2, in_topic=True, marked=None),
    "capture.mark-acknowledged": Expected(2, in_topic=True, marked=True),
    "capture.after-confirm": Expected(2, in_topic=True, marked=True, confirmed=True),
}


@dataclass(frozen=True)
class Standing:
    """What is durable while no capture runs."""

    told: Told
    epoch: int
    mark: tuple[int, int]
    marked_confirmed: str  # what the mark lets the source forget
    confirmed: str  # what the slot has forgotten

    @property
    def records(self) -> int:
        return sum(map(len, self.told.values()))

    @property
    def repeats(self) -> int:
        return sum(oracles.repeats(self.told[table]) for table in TABLES)

    @property
    def unmarked(self) -> int:
        """The records behind the mark."""
        return sum(c.position[:2] > self.mark for table in TABLES for c in self.told[table])

    def since(self, before: Standing) -> list[Change]:
        """The records that have come since."""
        known = {(t, c.partition, c.offset) for t, changes in before.told.items() for c in changes}
        return [
            c for t, changes in self.told.items() for c in changes if (t, c.partition, c.offset) not in known
        ]


def standing(walk: World) -> Standing:
    """What is durable, once the server has seen that the capture is gone."""
    slot = "select active, confirmed_flush_lsn::text from pg_replication_slots where database = %s"
    with psycopg.connect(walk.admin, autocommit=True) as connection:

        def left() -> str:
            row = connection.execute(slot, [walk.name]).fetchone()
            return "" if row is None or row[0] else str(row[1])

        confirmed = wait_until(left, "the slot is left", limit_s=60)
    with closing(KafkaTopic({"bootstrap.servers": walk.places.kafka})) as topic:
        found = Marks(topic, walk.name, str).find(walk.name)
    assert found.mark is not None
    return Standing(
        {table: walk.told(table) for table in TABLES},
        found.epoch,
        (found.mark.era, found.mark.at[STREAM]),
        json.loads(found.mark.resume)["confirmed"],
        confirmed,
    )


@pytest.fixture(scope="module")
def walk(worlds: Callable[[str], World]) -> Iterator[World]:
    world = worlds("killed_capture")
    first = world.reading_capture()
    world.play(20)
    world.streamed()
    assert first.stop() == 0, first.text()[-2000:]
    yield world
    world.close()


@pytest.mark.parametrize("point", POINTS)
def test_a_capture_killed_there_repeats_what_stands_behind_the_mark_and_loses_nothing(  # I7
    point: str, seed: int, walk: World
) -> None:
    expected, before = POINTS[point], standing(walk)
    assert before.unmarked == 0
    assert before.confirmed == before.marked_confirmed
    walk.play(Random(f"{point} {seed}").randint(10, 40))  # noqa: S311 - a plan, not a secret
    walk.killed_at(walk.capture(point=point, nth=expected.nth), point)

    killed = standing(walk)
    arrived, moved = killed.records > before.records, killed.mark > before.mark
    assert killed.epoch == before.epoch + 1
    assert {c.writer for c in killed.since(before)} == ({killed.epoch} if arrived else set())
    assert killed.repeats == before.repeats, "the overlap is compared, not published"
    assert expected.in_topic in (None, arrived)
    assert expected.marked in (None, moved)
    assert (killed.mark == before.mark) is not moved
    assert (killed.unmarked > 0) is (arrived and not moved)
    assert (killed.confirmed != before.confirmed) is expected.confirmed
    if expected.confirmed:
        assert killed.confirmed == killed.marked_confirmed

    with walk.traffic() as traffic:
        restarted = walk.reading_capture()
        traffic.more(20)
    assert judge_stream(walk, walk.streamed()) == []
    assert restarted.stop() == 0, restarted.text()[-2000:]
    after = standing(walk)
    assert after.epoch == before.epoch + 2
    assert {c.writer for c in after.since(killed)} == {after.epoch}
    assert after.repeats - killed.repeats == killed.unmarked


def test_a_capture_told_to_stop_repeats_nothing(walk: World) -> None:
    before = standing(walk)
    for _ in range(3):
        with walk.traffic() as traffic:
            worker = walk.reading_capture()
            traffic.more(30)
            assert worker.stop() == 0, worker.text()[-2000:]
            assert standing(walk).unmarked == 0
    last = walk.reading_capture()
    assert judge_stream(walk, walk.streamed()) == []
    assert last.stop() == 0
    assert standing(walk).repeats == before.repeats
