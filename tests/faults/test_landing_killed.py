"""I7 on the way to the tables: a landing killed at any point loses and doubles nothing, and books everything.

The points are taken in turn, each on new data, so that the run that is killed at one point has first to
recover from the point before. What each kill leaves behind is looked at before the next start: a table ahead
of its ledger is what the recovery by the table's own commit is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import pytest

from tests.support import oracles_lake, oracles_log
from tests.support.flows import FLOWS, World
from tests.support.oracles_walk import judge_lake
from tests.support.workload import LISTS

pytestmark = [pytest.mark.stack, pytest.mark.spark, pytest.mark.timeout(3600)]

POINTS = (
    "landing.before-batch",
    "landing.after-files:walk.lists_log",  # a small append is committed natively: its file is there already
    "landing.after-table:walk.lists_now",
    "landing.after-table:walk.lists_log",
    "landing.after-table",  # whichever is first: the others are in flight or not begun
    "landing.after-quarantine",
    "landing.before-ledger",
    "landing.before-checkpoint",
)
BAD = (b"\x01not ours", b"\x00\x00\x00\x00\x01", b"\x00\x7f\xff\xff\xff\x00", b"")


@dataclass(frozen=True, slots=True)
class Left:
    """What a killed landing left: per flow the newest seq of the table and of the ledger.

    ``open`` says that Spark had begun a batch and not yet marked it as done.
    """

    table: dict[str, int]
    ledger: dict[str, int]
    open: bool

    @property
    def ahead(self) -> set[str]:
        """Flows whose newest batch is in the table and not in the ledger."""
        return {flow for flow in FLOWS if self.table[flow] > self.ledger[flow]}


def left_by(world: World) -> Left:
    return Left(
        {flow: oracles_log.last_seq(oracles_log.read_log(world.table(flow))) for flow in FLOWS},
        {flow: max((e["seq"] for e in world.ledger(flow)), default=0) for flow in FLOWS},
        newest(world, "offsets") > newest(world, "commits"),
    )


def newest(world: World, log: str) -> int:
    """The newest batch in a log of Spark's checkpoint."""
    folder = world.lake / "_ecluse" / "checkpoints" / "default" / "live" / log
    return max((int(f.name) for f in folder.glob("[0-9]*")), default=-1)


@pytest.fixture
def walk(worlds: Callable[[str], World], seed: int) -> Iterator[World]:
    world = worlds(f"killed_landing_{seed}")
    world.seed = seed
    yield world
    world.close()


def expected(point: str, before: Left, after: Left) -> bool:
    """Whether what was left shows that the kill came where it should."""
    booked = {f for f in FLOWS if after.ledger[f] > before.ledger[f]}
    match point.partition(":")[0]:
        case "landing.before-batch":
            # no table was written; another flow may still be completing the batch of the last kill
            return after.table == before.table and after.ahead <= before.ahead
        case "landing.after-files":
            killed = point.partition(":")[2].removeprefix("walk.")
            return after.table[killed] == before.table[killed] and killed not in after.ahead
        case "landing.after-table":
            killed = point.partition(":")[2].removeprefix("walk.")
            return after.ahead >= {killed} if killed else bool(after.ahead) and len(booked) < len(FLOWS)
        case "landing.after-quarantine" | "landing.before-ledger":
            return bool(after.ahead)
        case _:
            return after.open


def test_a_landing_killed_at_every_point_in_turn_loses_nothing(walk: World, seed: int) -> None:  # I7
    capture = walk.reading_capture()
    order = list(POINTS)
    Random(seed).shuffle(order)  # noqa: S311 - a plan, not a secret
    before = left_by(walk)
    fixed: set[tuple[str, int]] = set()
    apart = False  # one table was committed, another in flight
    for number, point in enumerate(order):
        walk.play(15)
        walk.streamed()
        if point == "landing.after-quarantine":
            walk.poison(LISTS, BAD[number % len(BAD)])
        walk.killed_at(walk.landing(point=point), point)
        after = left_by(walk)
        assert expected(point, before, after), (point, before, after)
        fixed |= {(flow, after.table[flow]) for flow in after.ahead}
        apart |= bool(after.ahead) and any(after.table[f] == before.table[f] for f in FLOWS)
        before = after
    assert apart
    told = walk.streamed()
    walk.land()
    assert judge_lake(walk, told) == []
    booked = {(flow, e["seq"]): e["state"] for flow in FLOWS for e in walk.ledger(flow)}
    assert {booked.get(batch) for batch in fixed} == {"completed"}, "a batch that only its table knew"
    quarantined = oracles_lake.table_rows(walk.lake / "_ecluse" / "quarantine")
    poison = [(r["flow"], r["partition"], r["offset"]) for r in quarantined if r["stage"] == "decode"]
    assert len(set(poison)) == len(poison) == 2 * len(walk.poisoned)
    assert capture.stop() == 0
