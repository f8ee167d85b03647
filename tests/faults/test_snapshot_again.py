"""What is lost at the source comes back: a gap is answered by reading the tables again.

Rows are inserted, changed and deleted while no slot holds the log. The second reading brings what came and
what changed, its floor takes away what went; the capture dies in the middle of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.support import oracles, oracles_lake
from tests.support.flows import World
from tests.support.flows_declared import TABLES, default_flows
from tests.support.waits import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.spark, pytest.mark.timeout(1200)]


@pytest.fixture
def walk(worlds: Callable[[str], World]) -> Iterator[World]:
    world = worlds("read_again")
    soft = {"mode": "scd1", "deletes": "soft"}
    flows = default_flows() | {
        f"{table}_soft": {"table": f"public.{table}", "sink": f"{table}_soft", **soft} for table in TABLES
    }
    world.write_project({n: {**flow, "snapshot": "initial"} for n, flow in flows.items()})
    world.play(200)
    yield world
    world.close()


def test_i5_what_a_lost_slot_has_lost_comes_back_when_its_tables_are_read_again(walk: World) -> None:
    capture = walk.reading_capture()
    walk.play(50)
    walk.streamed()
    walk.land()
    assert capture.stop() == 0, capture.text()[-2000:]
    walk.play(100)
    with psycopg.connect(walk.admin, autocommit=True) as admin:
        admin.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots"
                      " where database = current_database()")  # fmt: skip
    walk.play(100)
    assert "source.slot-missing" in stopped(walk)
    answered = walk.ecluse("resolve", walk.name, "--resnapshot", "--json")
    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)[0]["read_again"] == ", ".join(sorted(f"public.{t}" for t in TABLES))
    walk.killed_at(walk.capture(point="capture.after-flush", nth=3), "capture.after-flush")
    with walk.traffic(truncates=False) as traffic:
        capture = walk.reading_capture()
        traffic.more(20)
    wait_until(lambda: all(floors(walk, table) for table in TABLES), "the tables are read again", limit_s=120)
    walk.streamed()
    walk.land()
    wrong: list[object] = []
    for table in TABLES:
        for form in ("now", "soft"):
            rows = oracles_lake.table_rows(walk.table(f"{table}_{form}"))
            newest = oracles_lake.user_rows(r for r in rows if not r.get("_deleted"))
            compared = oracles.compare(walk.source(table), newest)
            if not compared.exact:
                wrong.append((table, form, compared))
        journal = oracles_lake.table_changes(walk.table(f"{table}_log"))
        wrong += oracles.once(journal)
        assert sum(change.op == "f" for change in journal) == 1
    assert wrong == []
    assert capture.stop() == 0, capture.text()[-2000:]


def stopped(walk: World) -> str:
    worker = walk.capture()
    worker.ended(limit_s=90)
    return worker.text()


def floors(walk: World, table: str) -> list[oracles.Position]:
    return [change.position for change in walk.told(table) if change.op == "f"]
