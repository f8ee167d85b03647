"""I7 while a table is read: a capture killed in the middle of a snapshot loses nothing and doubles nothing.

The rows are there before the capture starts, and change while it reads. It is killed at one point after the
other; each time the part that was not durable is read again, under another snapshot and another writer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest

from tests.support import oracles, oracles_lake, oracles_snapshot, workload_postgres
from tests.support.flows import FLOWS, World
from tests.support.flows_declared import TABLES, default_flows
from tests.support.workload import LISTS

pytestmark = [pytest.mark.stack, pytest.mark.spark, pytest.mark.timeout(1800)]

# a start writes its first mark, then the one from which on changes are told, then that of the first part
BEFORE = {
    "capture.after-read": 1,
    "capture.after-produce": 1,
    "capture.after-flush": 3,
}
AT_LAST = {"capture.mark-sent": 3, "capture.mark-acknowledged": 3, "capture.after-confirm": 3}


@pytest.fixture
def walk(worlds: Callable[[str], World], seed: int) -> Iterator[World]:
    world = worlds(f"killed_snapshot_{seed}")
    world.seed = seed
    world.write_project({n: {**flow, "snapshot": "initial"} for n, flow in default_flows().items()})
    world.play(300)
    yield world
    world.close()


def test_a_capture_killed_while_it_reads_a_table_loses_nothing(walk: World, seed: int) -> None:  # I7
    random = Random(seed)  # noqa: S311 - a plan, not a secret
    points = [*BEFORE, random.choice(list(AT_LAST))]
    random.shuffle(points[:-1])
    for number, point in enumerate(points):
        nth = (BEFORE | AT_LAST)[point]
        # the second mark, from which on changes are told, is written once in the life of a table
        walk.killed_at(walk.capture(point=point, nth=nth if number == 0 or nth == 1 else nth - 1), point)
        walk.play(30)
        if number % 2:
            walk.land()
    with walk.traffic(truncates=False) as traffic:
        capture = walk.reading_capture()
        traffic.more(30)
    told = walk.streamed()
    walk.land()
    assert judge(walk) == []
    read = [c for table in TABLES for c in told[table] if c.op == "r"]
    assert len({c.writer for c in read}) > 1, "nothing was read twice"
    assert capture.stop() == 0


def judge(walk: World) -> list[oracles.Wrong]:
    """Each table against its source, each journal against its topic and its source."""
    wrong: list[oracles.Wrong] = []
    for table in TABLES:
        source, told = walk.source(table), walk.told(table)
        column = "items" if table == LISTS else "state"
        journal = oracles_lake.table_changes(walk.table(f"{table}_log"))
        old = {c.id for c in told if c.op == "r"} - {c.id for c in journal}
        expected = [c for c in told if c.id not in old]
        wrong += oracles.once(journal) + oracles.complete(expected, journal)
        wrong += oracles_snapshot.read_once(journal)
        final = {k: str(v) for k, v in workload_postgres.as_source(source, column).items()}
        wrong += oracles_snapshot.goes_on(journal, column, final)
        newest = oracles_lake.user_rows(oracles_lake.table_rows(walk.table(f"{table}_now")))
        compared = oracles.compare(source, newest)
        if not compared.exact:
            wrong.append(oracles.Wrong("O4", table, repr(compared)))
        for flow in FLOWS:
            for entry in walk.ledger(flow):
                assert entry["quarantined"] == 0, (flow, entry)
    return wrong
