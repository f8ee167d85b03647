"""A capture one of whose topics is deleted, made again otherwise, or says no: the other tables go on (I9)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from engine import names
from engine.marks import Gap, Marks
from engine.topic import KafkaTopic
from tests.support import oracles_topic
from tests.support.flows import World
from tests.support.waits import wait_until

pytestmark = pytest.mark.stack

FLOWS = {name: {"table": f"public.{name}", "sink": name, "mode": "append"} for name in ("parcel", "letter")}


@pytest.fixture
def world(worlds: Callable[[str], World]) -> Iterator[World]:
    found = worlds("topics")
    run(found, *(f"create table {name} (id int primary key, note text)" for name in FLOWS))
    found.write_project(FLOWS)
    worker = found.reading_capture()
    write(found, 1)
    arrived(found, parcel=1, letter=1)
    assert worker.stop() == 0, worker.text()
    yield found
    found.close()


def run(world: World, *statements: str) -> None:
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def write(world: World, id_: int, note: str = "x") -> None:
    run(world, *(f"insert into {table} values ({id_}, '{note}')" for table in FLOWS))


def arrived(world: World, **counts: int) -> None:
    def held() -> dict[str, int]:
        return {t: sum(oracles_topic.ends(world.places.kafka, world.topic(t)).values()) for t in counts}

    wait_until(lambda: all(held()[t] >= n for t, n in counts.items()), f"the topics hold {counts}")


def gaps(world: World) -> list[Gap]:
    with closing(KafkaTopic({"bootstrap.servers": world.places.kafka})) as topic:
        return list(Marks(topic, world.name, str).gaps())


def delete(world: World, table: str) -> AdminClient:
    return deleted(world, world.topic(table))


def deleted(world: World, name: str) -> AdminClient:
    admin = AdminClient({"bootstrap.servers": world.places.kafka, "log_level": 0})
    for future in admin.delete_topics([name]).values():
        future.result()
    wait_until(lambda: name not in admin.list_topics(timeout=10).topics, f"{name} is gone")
    return admin


def test_i9_a_topic_made_again_otherwise_stops_its_table_alone_until_it_is_mended(world: World) -> None:
    admin = delete(world, "letter")
    for future in admin.create_topics([NewTopic(world.topic("letter"), 5, 1)]).values():
        future.result()
    worker = world.reading_capture()
    write(world, 2)
    arrived(world, parcel=2)
    assert worker.stop() == 0, worker.text()
    (told,) = [e for e in worker.events() if e["event"] == "set aside"]
    assert (told["table"], told["code"]) == ("public.letter", "topic.mismatch")
    (gap,) = gaps(world)
    assert (gap.table, gap.code) == ("public.letter", "topic.mismatch")
    delete(world, "letter")
    worker = world.reading_capture()
    write(world, 3)
    arrived(world, parcel=3, letter=1)
    assert worker.stop() == 0, worker.text()
    # what it lacks is told a second time with its return: the first gap may have been accepted before it
    assert {(g.table, g.code) for g in gaps(world)} == {
        ("public.letter", "topic.mismatch"), ("public.letter", "source.gap-suspected"),
    }  # fmt: skip


def test_i9_a_topic_deleted_while_the_capture_runs_is_made_again_and_the_others_go_on(world: World) -> None:
    worker = world.reading_capture()
    delete(world, "letter")
    write(world, 2)
    arrived(world, parcel=2, letter=1)
    assert worker.stop() == 0, worker.text()
    assert gaps(world) == []  # the landing knows its topic by the id


def test_i9_a_topic_that_refuses_a_record_while_the_capture_runs_stops_its_table_alone(world: World) -> None:
    worker = world.reading_capture()
    admin = AdminClient({"bootstrap.servers": world.places.kafka, "log_level": 0})
    limit = ConfigEntry("max.message.bytes", "1000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, world.topic("letter"), incremental_configs=[limit])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()
    run(world, "insert into letter select 2, string_agg(md5(n::text), '') from generate_series(1, 999) n")
    wait_until(lambda: gaps(world), "the gap is recorded")
    write(world, 3)
    arrived(world, parcel=2)
    assert worker.stop() == 0, worker.text()
    assert {g.table for g in gaps(world)} == {"public.letter"}
    assert any(e["event"] == "set aside" and e["table"] == "public.letter" for e in worker.events())


def test_k11_i9_a_right_taken_away_stops_its_table_alone_until_it_is_given_back(world: World) -> None:
    worker = world.reading_capture()
    admin = AdminClient({"bootstrap.servers": world.places.kafka, "log_level": 0})
    name = world.topic("letter")
    with only_to_be_read(admin, name):
        write(world, 2)
        arrived(world, parcel=2)
        wait_until(lambda: gaps(world), "the gap is recorded")
        write(world, 3)
        arrived(world, parcel=3)
        assert worker.stop() == 0, worker.text()
        assert {(g.table, g.code) for g in gaps(world)} == {("public.letter", "topic.refused")}
    worker = world.reading_capture()
    write(world, 4)
    arrived(world, parcel=4, letter=2)
    assert worker.stop() == 0, worker.text()


@contextmanager
def only_to_be_read(admin: AdminClient, name: str) -> Iterator[None]:
    """Nobody may write into a topic: what is granted to it leaves that out."""
    rights = [
        AclBinding(
            ResourceType.TOPIC, name, ResourcePatternType.LITERAL,
            "User:*", "*", operation, AclPermissionType.ALLOW,
        )
        for operation in (AclOperation.READ, AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS)
    ]  # fmt: skip
    for granted in admin.create_acls(rights).values():
        granted.result()
    yield
    every = AclBindingFilter(
        ResourceType.TOPIC, name, ResourcePatternType.LITERAL, None, None, AclOperation.ANY,
        AclPermissionType.ANY,
    )  # fmt: skip
    for taken in admin.delete_acls([every]).values():
        taken.result()


def test_i7_a_capture_whose_marks_are_lost_stops_and_goes_on_once_a_person_accepts_that(world: World) -> None:
    deleted(world, names.marks_topic(world.name))
    worker = world.capture()
    assert worker.ended() == 3
    assert f"ecluse resolve {world.name} --accept-gap" in worker.text()
    assert "source.gap-suspected" in worker.text()
    done = world.ecluse("resolve", world.name, "--accept-gap")
    assert done.returncode == 0, done.stderr
    worker = world.reading_capture()
    write(world, 2)
    arrived(world, parcel=2, letter=2)
    assert worker.stop() == 0, worker.text()
    (begins,) = [e for e in worker.events() if e["event"] == "capturing"]
    assert begins["era"] == 1
    worker = world.reading_capture()
    assert worker.stop() == 0, worker.text()
