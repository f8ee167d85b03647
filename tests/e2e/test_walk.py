"""The walk: PostgreSQL under traffic, through Kafka, into Delta, judged from four sides while things happen.

One capture and one landing run through all of it; every test leaves them running, or starts them again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from engine import names
from tests.support import oracles, oracles_lake, oracles_topic
from tests.support.flows import FLOWS, World
from tests.support.flows_declared import TABLES
from tests.support.oracles_walk import judge_lake, judge_stream
from tests.support.services import Services
from tests.support.waits import wait_until
from tests.support.workload import COUNTERS, LISTS, Mix

pytestmark = [pytest.mark.stack, pytest.mark.spark, pytest.mark.timeout(3600)]

POISON = (b"", b"\x01not ours", b"\x00\x00", b"\x00\x7f\xff\xff\xff\x00", b"\x00\x00\x00\x00\x01\xff\xff")


class Walk:
    """A world, and the two workers that run in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.capture = world.reading_capture()
        self.landing = world.landing()

    def judged(self) -> list[oracles.Wrong]:
        """What is wrong once all has landed; the workers must have lived through it."""
        told = self.world.landed()
        for worker in (self.capture, self.landing):
            assert worker.process.poll() is None, worker.text()[-3000:]
        return judge_stream(self.world, told) + judge_lake(self.world, told)


@pytest.fixture(scope="module")
def walk(worlds: Callable[[str], World]) -> Iterator[Walk]:
    world = worlds("walk")
    world.mix = Mix(truncate=0.02, move=0.1)
    found = Walk(world)
    yield found
    world.close()


def test_every_kind_of_change_arrives_once_and_in_order(walk: Walk) -> None:  # I2
    with walk.world.traffic() as traffic:
        traffic.more(300)
    assert walk.judged() == []
    lists = walk.world.told(LISTS)
    assert {"c", "u", "d", "t"} <= {c.op for c in lists}
    assert any(c.position[2] % 2 for c in lists), "no key change was among them"
    assert any(c.unchanged for c in lists), "no unchanged TOAST was among them"
    assert {c.partition for c in lists} == {0, 1}


def test_a_column_added_in_mid_traffic_stops_nothing(walk: Walk) -> None:
    columns = {
        "extra": ("text default 'then'", "'now'"),
        "amount": ("numeric(8,3)", "id / 7.0"),
        "flag": ("boolean not null default true", "false"),
    }
    # a table that is emptied and altered between two looks of the capture may as well have been rewritten
    with walk.world.traffic(truncates=False) as traffic:
        for name, (declared, value) in columns.items():
            traffic.more(10)
            with psycopg.connect(walk.world.dsn, autocommit=True) as connection:
                connection.execute(f"alter table {LISTS} add column {name} {declared}".encode())
                values = f"{name} = {value}, items = items || ',{name}.' || id"
                connection.execute(f"update {LISTS} set {values} where id % 3 = 0".encode())
        traffic.more(10)
    assert walk.judged() == []
    newest = oracles_lake.table_rows(walk.world.table(f"{LISTS}_now"))
    assert set(columns) <= set(newest[0])


def test_known_schemas_go_on_while_the_registry_is_down(walk: Walk, services: Services) -> None:
    walk.world.play(5)
    walk.world.landed()
    services.kill("registry")
    try:
        walk.world.play(40)
        assert walk.judged() == []
    finally:
        services.restart("registry")


def test_a_record_that_cannot_be_decoded_is_a_quarantined_row_and_stops_nothing(walk: Walk) -> None:
    walk.world.play(5)
    walk.world.streamed()
    others = oracles_topic.read_raw(walk.world.places.kafka, walk.world.topic(COUNTERS))
    stray = next(bytes(raw.value) for raw in others if raw.value)  # whole and well formed, in the wrong topic
    for number, value in enumerate((*POISON, stray)):
        walk.world.poison(LISTS, value, partition=number % 2)
    walk.world.play(20)
    assert walk.judged() == []
    rows = oracles_lake.table_rows(walk.world.lake / "_ecluse" / "quarantine")
    kept = {(r["flow"], r["partition"], r["offset"]): r["value"] for r in rows}
    for flow in (f"walk.{LISTS}_log", f"walk.{LISTS}_now"):
        found = {bytes(v or b"") for (f, _, _), v in kept.items() if f == flow}
        assert {*POISON, stray} <= found
    assert len(kept) == len(rows)


def test_a_deleted_checkpoint_changes_nothing(walk: Walk) -> None:
    walk.world.play(20)
    walk.world.landed()
    assert walk.landing.stop() == 0, walk.landing.text()[-3000:]
    before = {flow: oracles_lake.table_rows(walk.world.table(flow)) for flow in FLOWS}
    shutil.rmtree(walk.world.lake / "_ecluse" / "checkpoints")
    again = walk.world.land()
    assert again.process.returncode == 0
    for flow in FLOWS:
        assert oracles.same_state(before[flow], oracles_lake.table_rows(walk.world.table(flow))) == []
    walk.landing = walk.world.landing()
    walk.world.play(20)
    assert walk.judged() == []


def test_a_second_capture_is_told_that_the_slot_is_taken(walk: Walk) -> None:
    second = walk.world.capture()
    said = second.says("source.slot-busy")
    assert walk.world.name in said
    walk.world.play(20)
    assert walk.judged() == []
    second.kill()


def test_a_second_landing_is_fenced_and_doubles_nothing(walk: Walk) -> None:
    with walk.world.traffic() as traffic:
        second = walk.world.landing()
        both = (walk.landing, second)
        wait_until(
            lambda: any("landing.fenced" in w.text() for w in both), "one driver is fenced", limit_s=240
        )
        traffic.more(20)
    for worker in both:
        worker.kill()
    walk.landing = walk.world.landing()
    assert walk.judged() == []


def test_workers_told_to_stop_end_well_and_repeat_nothing(walk: Walk) -> None:
    before = sum(oracles.repeats(walk.world.told(t)) for t in TABLES)
    with walk.world.traffic() as traffic:
        traffic.more(10)
        assert walk.capture.stop() == 0, walk.capture.text()[-3000:]
        traffic.more(10)
        walk.capture = walk.world.reading_capture()
        traffic.more(10)
    assert walk.judged() == []
    assert sum(oracles.repeats(walk.world.told(t)) for t in (LISTS, COUNTERS)) == before


def test_the_canary_secret_shows_nowhere(walk: Walk) -> None:  # I8
    world, canary = walk.world, walk.world.canary.encode()
    world.play(5)
    world.landed()
    secret = world.folder / "secrets" / "walk_password"
    assert canary in secret.read_bytes()
    files = [f for f in world.folder.rglob("*") if f.is_file() and f != secret]
    assert len(files) > 10
    assert [f for f in files if canary in f.read_bytes()] == []
    topics = [world.topic(LISTS), world.topic(COUNTERS), names.marks_topic(world.name)]
    raws = [raw for topic in topics for raw in oracles_topic.read_raw(world.places.kafka, topic)]
    assert raws
    assert [r for r in raws if canary in (r.value or b"") + (r.key or b"")] == []
    lines = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert [line for line in lines if canary in line] == []
    for verb in (
        ["render"],
        ["lint"],
        ["status", "--json"],
        ["lag", "--json"],
        ["quarantine", "ls", "--json"],
    ):
        shown = world.ecluse(*verb)
        assert shown.returncode in (0, 4), shown.stderr
        assert world.canary not in shown.stdout + shown.stderr
