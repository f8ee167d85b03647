"""Bad input between topic and table: one flow each is stopped by name, all the others go on (I9, I5).

Every table has one trouble and its own flow, and one landing meets them all in one run. A stop is a state
that can be read when nothing runs, not a log line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.support import oracles_lake, oracles_topic
from tests.support.flows import World
from tests.support.waits import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.spark, pytest.mark.timeout(3600)]

STOPS: Final = {
    "remade": "landing.topic-replaced",
    "purged": "landing.offsets-gone",
    "large": "landing.row-too-large",
    "altered": "landing.schema-blocked",
}
HEALTHY: Final = ("fine", "poisoned")
TABLES: Final = (*STOPS, *HEALTHY)


def run(world: World, *statements: str) -> None:
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def admin(world: World) -> AdminClient:
    return AdminClient({"bootstrap.servers": world.places.kafka, "log_level": 0})


def length(world: World, table: str) -> int:
    return sum(oracles_topic.ends(world.places.kafka, world.topic(table)).values())


def streamed(world: World, counts: dict[str, int]) -> None:
    """Wait until each topic holds so many records."""
    for table, count in counts.items():
        wait_until(
            lambda t=table, n=count: length(world, t) >= n,  # type: ignore[misc]
            f"{table} has {count} records",
            limit_s=90,
        )


def insert(world: World, first: int, count: int, tables: tuple[str, ...] = TABLES) -> None:
    for table in tables:
        run(
            world,
            f"insert into {table} select n, n::text from generate_series({first}, {first + count - 1}) n",
        )


def spoil(world: World) -> None:
    """Give every table its trouble, with the capture at rest where that needs it."""
    capture = world.capture()
    insert(world, 6, 5)
    run(
        world,
        "insert into large values (100, repeat('x', 200000))",
        "insert into large values (101, 'after')",
    )
    # another column under the same name: no row is rewritten, which would be a gap of its own
    run(
        world,
        "alter table altered drop column note, add column note int",
        "insert into altered values (100, 7)",
    )
    streamed(world, {**dict.fromkeys(TABLES, 10), "large": 12, "altered": 11})
    assert capture.stop() == 0, capture.text()[-2000:]
    ends = oracles_topic.ends(world.places.kafka, world.topic("purged"))
    gone = [TopicPartition(world.topic("purged"), int(p), end) for p, end in ends.items()]
    broker = admin(world)  # its answers come only while it is held
    for future in [
        *broker.delete_records(gone).values(),
        *broker.delete_topics([world.topic("remade")]).values(),
    ]:
        future.result(30)
    world.poison("poisoned", b"\x00\x7f\xff\xff\xff\x00")
    wait_until(
        lambda: world.topic("remade") not in broker.list_topics(timeout=10).topics, "the topic is gone"
    )
    capture = world.capture()
    insert(
        world, 11, 20, tuple(t for t in TABLES if t != "altered")
    )  # the new topic overtakes the offsets of the old one
    streamed(world, {"remade": 20, "fine": 30})
    assert capture.stop() == 0, capture.text()[-2000:]


def state(world: World, table: str) -> dict[str, Any]:
    """The durable state of a flow, read while nothing runs."""
    path = world.lake / "_ecluse" / "flows" / f"walk.{table}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def landed(world: World, table: str) -> list[int]:
    """The keys that a table holds."""
    return sorted(r["id"] for r in oracles_lake.table_rows(world.table(table)))


@pytest.fixture(scope="module")
def spoiled(worlds: Callable[[str], World]) -> Iterator[World]:
    world = worlds("bad_topic")
    for table in TABLES:
        run(world, f"create table {table} (id int primary key, note text)")
    flows: dict[str, dict[str, Any]] = {
        table: {"table": f"public.{table}", "sink": table, "mode": "append", "row_bytes_max": "64KiB"}
        for table in TABLES
    }
    world.write_project(flows)
    capture = world.reading_capture()
    insert(world, 1, 5)
    streamed(world, dict.fromkeys(TABLES, 5))
    assert capture.stop() == 0, capture.text()[-2000:]
    world.land()
    spoil(world)
    last = world.landing(until_done=True)
    last.ended()
    yield world
    world.close()


@pytest.mark.parametrize(("table", "code"), STOPS.items())
def test_the_flow_is_stopped_with_its_code_position_and_next_step(
    table: str, code: str, spoiled: World
) -> None:
    found = state(spoiled, table)
    assert (found["state"], found["code"]) == ("stopped", code)
    assert found["first_unapplied"]
    assert f"ecluse resolve walk.{table} --accept-gap" in found["hint"], found
    shown = spoiled.ecluse("status", "--json")
    assert code in shown.stdout, shown.stderr


@pytest.mark.parametrize("table", ["remade", "purged"])
def test_what_had_landed_before_the_topic_changed_stands_alone(table: str, spoiled: World) -> None:
    assert landed(spoiled, table) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("table", ["large", "altered"])
def test_each_partition_lands_up_to_the_record_that_stops_it(table: str, spoiled: World) -> None:
    stopped = {int(p): offset for p, offset in state(spoiled, table)["first_unapplied"].items()}
    raws = oracles_topic.read_raw(spoiled.places.kafka, spoiled.topic(table))
    told = oracles_topic.changes(spoiled.registry, raws)
    before = [c.key for c in told if c.offset < stopped.get(c.partition, 0)]
    assert landed(spoiled, table) == sorted(key for key in before if key is not None)
    assert 100 not in before
    assert {1, 2, 3, 4, 5} < set(before)


@pytest.mark.parametrize("table", HEALTHY)
def test_the_other_flows_go_on(table: str, spoiled: World) -> None:
    assert landed(spoiled, table) == list(range(1, 31))


def test_a_poison_record_is_a_quarantined_row_and_not_a_state(spoiled: World) -> None:
    rows = oracles_lake.table_rows(spoiled.lake / "_ecluse" / "quarantine")
    assert [r["flow"] for r in rows] == ["walk.poisoned"]
