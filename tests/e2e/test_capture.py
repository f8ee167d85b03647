"""The command ``run capture`` from end to end: what it says, what it refuses, what it lives through."""

from __future__ import annotations

import json
import re
import socket
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from engine.envelope import decode, schema_id
from engine.registry import HttpRegistry
from tests.support import oracles_topic
from tests.support.flows import World
from tests.support.flows_worker import Worker
from tests.support.services import Services
from tests.support.waits import wait_until

pytestmark = pytest.mark.stack

FLOWS = {name: {"table": f"public.{name}", "sink": name, "mode": "append"} for name in ("parcel", "letter")}


@pytest.fixture(scope="module")
def world(worlds: Callable[[str], World]) -> Iterator[World]:
    found = worlds("capture")
    run(
        found,
        "create table parcel (id int primary key, note text, weight int)",
        "create table letter (id int primary key, note text)",
        "insert into letter values (0, 'before the slot')",
    )
    found.write_project(FLOWS)
    yield found
    found.close()


@pytest.fixture(scope="module")
def first(world: World) -> Worker:
    """The first capture of the world, ended."""
    worker = world.reading_capture()
    run(world, "insert into parcel values (1, 'a', 10)")
    envelopes(world, "parcel", 1)
    assert worker.stop() == 0, worker.text()
    return worker


def run(world: World, *statements: str) -> None:
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def envelopes(world: World, table: str, count: int) -> list[dict[str, Any]]:
    """What the topic of a table holds, once it holds so many records."""
    registry = HttpRegistry(world.places.registry)

    def found() -> list[dict[str, Any]]:
        try:
            raws = oracles_topic.read_raw(world.places.kafka, world.topic(table))
        except KeyError:
            return []
        values = sorted((r.offset, r.value) for r in raws if r.value)
        return [dict(decode(v, registry.schema(schema_id(v)) or "")) for _, v in values]

    return wait_until(
        lambda: f if len(f := found()) >= count else None, f"{table} holds {count} records", limit_s=90
    )


def test_it_says_where_it_begins_and_warns_of_rows_that_were_there_before(first: Worker) -> None:
    events = list(first.events())
    (begins,) = [e for e in events if e["event"] == "first position"]
    assert begins["at"]["stream"] > 0
    warnings = [e for e in events if e["event"] == "preflight"]
    assert any(e["subject"] == "public.letter" for e in warnings), first.text()
    assert not any(e["subject"] == "public.parcel" for e in warnings), first.text()


def test_its_lines_are_json_and_end_with_the_stop(first: Worker, world: World) -> None:
    lines = first.text().splitlines()
    assert [json.loads(line)["event"] for line in lines][-1] == "stopped"
    assert all(json.loads(line)["capture"] == world.name for line in lines)


def test_no_line_holds_the_secret(first: Worker, world: World) -> None:
    assert world.canary not in first.text()


def test_a_schema_that_the_registry_refuses_goes_on_under_the_next_epoch(first: Worker, world: World) -> None:
    assert first.process.poll() == 0
    worker = world.reading_capture()
    run(
        world,
        "insert into letter values (1, 'x')",
        "alter table letter alter column note type int using 7",
        "insert into letter values (2, 8)",
    )
    notes = [e["after"]["note"] for e in envelopes(world, "letter", 2)]
    assert notes == ["x", 8]
    with urllib.request.urlopen(f"{world.places.registry}/subjects") as answer:  # noqa: S310 - ours
        subjects = set(json.load(answer))
    topic = world.topic("letter")
    assert {f"{topic}-value", f"{topic}-value-e2"} <= subjects
    assert worker.stop() == 0, worker.text()


def test_known_schemas_go_on_without_a_registry_and_a_new_one_waits_for_it(
    first: Worker, world: World, services: Services
) -> None:
    assert first.process.poll() == 0
    worker = world.reading_capture()
    run(world, "insert into parcel values (20, 'known', 1)")
    before = len(envelopes(world, "parcel", 2))
    services.kill("registry")
    try:
        run(world, "insert into parcel values (21, 'still known', 1)")
        wait_until(lambda: told(world, "parcel") > before, "a known schema goes on", limit_s=60)
        run(world, "alter table parcel add column height int", "insert into parcel values (22, 'new', 1, 5)")
        wait_until(lambda: "registry.unreachable" in worker.text(), "the capture waits", limit_s=60)
        assert worker.process.poll() is None
    finally:
        services.restart("registry")
    found = wait_until(
        lambda: [e for e in envelopes(world, "parcel", before + 2) if (e["after"] or {}).get("id") == 22],
        "the new schema goes on",
        limit_s=90,
    )
    assert found[0]["after"]["height"] == 5
    assert worker.stop() == 0, worker.text()


def told(world: World, table: str) -> int:
    """How many records the topic of a table holds."""
    return sum(oracles_topic.ends(world.places.kafka, world.topic(table)).values())


def test_metrics_are_shown_on_loopback_when_asked_for(first: Worker, world: World) -> None:
    assert first.process.poll() == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["run", "capture", world.name, "--metrics-port", str(port)]
    worker = world._start("capture", words, "", 1)  # noqa: SLF001 - a capture with an option
    wait_until(lambda: any(e["event"] == "capturing" for e in worker.events()), "the capture streams")
    run(world, "insert into parcel (id) values (30)")

    def marks() -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        assert world.canary not in text
        found = re.search(r"^ecluse_capture_marks_total\{.*\} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    wait_until(marks, "a mark is counted", limit_s=60)
    assert worker.stop() == 0, worker.text()


@pytest.mark.parametrize(
    ("name", "said"), [("capturo", "capture"), ("", "no connection")], ids=["misspelt", "empty"]
)
def test_a_name_that_the_project_has_not_is_the_author_s_mistake(name: str, said: str, world: World) -> None:
    ended = world.ecluse("run", "capture", name)
    assert ended.returncode == 2
    assert said in ended.stderr
