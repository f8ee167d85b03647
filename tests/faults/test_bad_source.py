"""Bad input at the source: each is a state with a name, the position at stake and the next step.

The state is the one that ``status`` shows after the process has gone, and the step is taken as it is printed.
A world of its own for each, because each breaks something that the others need.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.flows import World
from tests.support.flows_declared import TABLES
from tests.support.flows_worker import Worker
from tests.support.oracles_walk import judge_stream
from tests.support.services import Services
from tests.support.waits import wait_until

pytestmark = pytest.mark.stack

OPERATOR = 3
FILL = "select pg_logical_emit_message(false, 'fill', repeat('x', 1000000)) from generate_series(1, 20)"


@pytest.fixture
def walk(worlds: Callable[[str], World]) -> Iterator[World]:
    world = worlds("bad_source")
    yield world
    world.close()


@pytest.fixture
def walked(walk: World) -> World:
    """A world whose capture has run, and was told to stop."""
    worker = walk.reading_capture()
    walk.play(10)
    walk.streamed()
    assert worker.stop() == 0, worker.text()[-2000:]
    return walk


def sql(walk: World, *statements: str, admin: bool = False) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    with psycopg.connect(walk.admin if admin else walk.dsn, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
            found = cursor.fetchall() if cursor.description else []
    return found


def slot(walk: World) -> str:
    found = sql(
        walk, "select slot_name from pg_replication_slots where database = current_database()", admin=True
    )
    return str(found[0][0])


def captures(walk: World) -> dict[str, dict[str, Any]]:
    """Every capture as ``status`` shows it."""
    shown = walk.ecluse("status", "--json")
    assert shown.returncode == 0, shown.stderr
    return {capture["capture"]: capture for capture in json.loads(shown.stdout)["captures"]}


def shown_as(walk: World, state: str, code: str | None = None, *, of: str = "") -> dict[str, Any]:
    """A capture as ``status`` shows it, once it is in this state for this reason."""
    name = of or walk.name

    def look() -> dict[str, Any] | None:
        found = captures(walk)[name]
        return found if (found["state"], found["code"]) == (state, code) else None

    return wait_until(look, f"{name} is shown as {state} {code}", limit_s=60)


def stopped(walk: World, worker: Worker, code: str) -> str:
    """A capture ends for a person to act; what it said stands in ``status``, with the position at stake."""
    assert worker.ended(limit_s=90) == OPERATOR, worker.text()[-3000:]
    said, shown = worker.text(), shown_as(walk, "stopped", code)
    assert code in said
    assert shown["what"] in said
    assert shown["at"]["stream"] == shown["position"] > 0
    assert f"First position at stake: {shown['first']}" in said
    assert shown["first"].startswith(f"era {shown['era']}, after 0/")
    assert walk.canary not in f"{said} {shown}"
    return said


def refused(walk: World, code: str, *words: str) -> str:
    """A start ends for a person to act, and says what is needed."""
    said = stopped(walk, walk.capture(), code)
    for word in words:
        assert word in said, said[-3000:]
    return said


def goes_on(walk: World) -> None:
    """Everything that the source holds is told, in order, and nothing is shown to stand in the way."""
    worker = walk.reading_capture()
    walk.play(10)
    told = walk.streamed()
    assert judge_stream(walk, told) == []
    shown_as(walk, "running")
    assert worker.stop() == 0, worker.text()[-2000:]


def test_a_wrong_password_is_refused_without_showing_either(walked: World) -> None:
    secret = walked.folder / "secrets" / "walk_password"
    secret.write_text("canary-that-is-wrong\n", encoding="utf-8")
    walked.play(5)
    said = refused(walked, "source.refused", walked.name)
    assert "canary-that-is-wrong" not in said + walked.ecluse("status").stdout
    resolved = walked.ecluse("resolve", walked.name, "--accept-gap")
    assert resolved.returncode != 0, "there is no gap to accept"
    secret.write_text(walked.canary + "\n", encoding="utf-8")
    goes_on(walked)


def test_a_host_that_does_not_answer_is_named_and_tried_again(walked: World) -> None:
    walked.write_project(port=1)
    worker = walked.capture()
    said = worker.says("First position at stake: era 0, after 0/")
    assert "source.unreachable" in said
    assert "127.0.0.1" in said
    shown_as(walked, "unknown")
    worker.stop()
    walked.write_project()
    goes_on(walked)


def test_a_missing_slot_is_a_named_stop_with_the_position_at_stake(walked: World) -> None:
    name = slot(walked)
    walked.play(5)
    sql(walked, f"select pg_drop_replication_slot('{name}')", admin=True)
    refused(walked, "source.slot-missing", name, "--accept-gap")
    shown = captures(walked)[walked.name]
    people = walked.ecluse("status").stdout
    for word in (f"{shown['code']}: {shown['what']}", shown["first"], *shown["next"].splitlines()):
        assert word in people
    accepted(walked)
    again = walked.ecluse("resolve", walked.name, "--accept-gap")
    assert again.returncode != 0, "nothing has stopped it"
    worker = walked.reading_capture()
    assert worker.stop() == 0, worker.text()[-2000:]


def accepted(walked: World) -> None:
    """The printed commands, typed as they are: what comes after the gap is told again, once each."""
    shown = captures(walked)[walked.name]
    for line in shown["next"].splitlines():
        if line.startswith("or, "):
            continue  # the other answer
        if line.startswith("ecluse "):
            resolved = walked.ecluse(*line.split()[1:])
            assert resolved.returncode == 0, resolved.stderr
            assert shown["what"] in resolved.stderr, "what is accepted is said"
        else:
            sql(walked, line)
    worker = walked.reading_capture()
    sql(walked, "insert into counters values (1000000, 1)")
    wait_until(
        lambda: any(c.key == 1_000_000 for c in walked.told("counters")), "rows after the gap", limit_s=90
    )
    shown_as(walked, "running")
    assert worker.stop() == 0, worker.text()[-2000:]


def test_a_slot_made_again_is_a_suspected_gap(walked: World) -> None:
    name = slot(walked)
    walked.play(5)
    sql(
        walked,
        f"select pg_drop_replication_slot('{name}')",
        "insert into counters values (2000000, 1)",
        f"select pg_create_logical_replication_slot('{name}', 'pgoutput')",
        admin=True,
    )
    refused(walked, "source.gap-suspected", name, f"resolve {walked.name} --accept-gap")
    accepted(walked)


def test_a_gap_that_was_accepted_is_not_the_one_that_is_found_at_the_next_start(walked: World) -> None:
    name = slot(walked)
    advance = f"select pg_replication_slot_advance('{name}', pg_current_wal_lsn())"
    walked.play(5)
    sql(walked, advance, admin=True)
    refused(walked, "source.gap-suspected", name)
    resolved = walked.ecluse("resolve", walked.name, "--accept-gap")
    assert resolved.returncode == 0, resolved.stderr
    taken = captures(walked)[walked.name]
    assert taken["accepted_by"]
    assert taken["next"] == f"ecluse run capture {walked.name}"
    walked.play(5)
    sql(walked, advance, admin=True)
    refused(walked, "source.gap-suspected", name)
    found = captures(walked)[walked.name]
    assert found["accepted_by"] == "", "nobody has seen this one"
    assert found["what"] != taken["what"]


def test_a_slot_moved_by_somebody_else_is_a_suspected_gap(walked: World) -> None:
    name = slot(walked)
    walked.play(5)
    sql(walked, f"select pg_replication_slot_advance('{name}', pg_current_wal_lsn())", admin=True)
    refused(walked, "source.gap-suspected", name, f"resolve {walked.name} --accept-gap")
    accepted(walked)


def test_a_slot_that_lost_its_log_is_a_named_stop(walked: World) -> None:
    name = slot(walked)
    sql(walked, "alter system set max_slot_wal_keep_size = '1MB'", "select pg_reload_conf()", admin=True)
    try:
        walked.play(5)
        for _ in range(3):
            sql(
                walked,
                FILL,
                "select pg_switch_wal()",
                "checkpoint",
                admin=True,
            )
        status = f"select wal_status from pg_replication_slots where slot_name = '{name}'"
        wait_until(lambda: sql(walked, status, admin=True) == [("lost",)], "the slot is lost", limit_s=60)
    finally:
        sql(walked, "alter system reset max_slot_wal_keep_size", "select pg_reload_conf()", admin=True)
    refused(walked, "source.slot-lost", name, "pg_drop_replication_slot", "--accept-gap")
    accepted(walked)


def test_a_missing_publication_is_a_named_stop_with_the_way_out(walked: World) -> None:
    (publication,) = sql(walked, "select pubname from pg_publication", admin=True)[0]
    walked.play(5)
    sql(walked, f'drop publication "{publication}"', admin=True)
    refused(walked, "source.gap-suspected", f"publication {publication} is gone", "--accept-gap")
    accepted(walked)


def test_a_table_without_replica_identity_is_refused_and_the_application_goes_on(walk: World) -> None:
    sql(walk, "create table bare (id int, note text)", "insert into bare values (1, 'a')")
    flows = {
        "bare": {"table": "public.bare", "sink": "bare", "mode": "append"},
        "counters": {"table": "public.counters", "sink": "counters", "mode": "append"},
    }
    walk.write_project(flows)
    worker = walk.reading_capture()
    said = worker.says("source.unready")
    assert "public.bare" in said
    assert "REPLICA IDENTITY" in said
    walk.play(5)
    sql(walk, "update bare set note = 'b'", "delete from bare")
    wait_until(lambda: walk.told("counters"), "the other table is captured", limit_s=90)
    assert worker.stop() == 0, worker.text()[-2000:]
    sql(walk, "alter table bare add primary key (id)")
    worker = walk.reading_capture()
    sql(walk, "insert into bare values (2, 'c')")
    wait_until(lambda: any(c.key == 2 for c in walk.told("bare")), "the table is captured", limit_s=90)
    assert worker.stop() == 0, worker.text()[-2000:]


def test_a_second_capture_waits_by_name_and_the_first_goes_on(walk: World) -> None:
    first = walk.reading_capture()
    walk.play(5)
    walk.streamed()
    second = walk.capture()
    assert "First position at stake: era 0, after 0/" in second.says("source.slot-busy")
    walk.play(10)
    assert judge_stream(walk, walk.streamed()) == []
    shown_as(walk, "running")
    assert first.stop() == 0, first.text()[-2000:]
    second.kill()


def test_a_capture_that_slept_while_another_took_over_is_fenced(walk: World, services: Services) -> None:
    sleeper = walk.reading_capture()
    walk.play(10)
    walk.streamed()
    os.kill(sleeper.process.pid, signal.SIGSTOP)
    with services.admin() as connection:
        connection.execute(
            "select pg_terminate_backend(active_pid, 5000) from pg_replication_slots where slot_name = %s",
            [slot(walk)],
        )
    walk.play(10)
    second = walk.capture()
    walk.streamed()
    os.kill(sleeper.process.pid, signal.SIGCONT)
    walk.play(10)
    told = walk.streamed()
    assert sleeper.ended(limit_s=90) == OPERATOR, sleeper.text()[-2000:]
    assert "capture.fenced" in sleeper.text()
    assert judge_stream(walk, told) == []
    shown_as(walk, "running")
    assert second.stop() == 0, second.text()[-2000:]


def beside(walk: World, other: World) -> None:
    """One project with the connections, and a flow for each table, of both worlds."""
    project = walk.folder / "ecluse.yaml"
    flows: dict[str, dict[str, str]] = {}
    said, theirs = json.loads(project.read_text()), json.loads((other.folder / "ecluse.yaml").read_text())
    connection = theirs["spec"]["connections"][other.name]
    said["spec"]["connections"][other.name] = {**connection, "password": "${secret.other_password}"}
    secret = walk.folder / "secrets" / "other_password"
    secret.write_text(other.canary + "\n", encoding="utf-8")
    secret.chmod(0o600)
    for world in (walk, other):
        flows |= {
            f"{table}_{n}": {
                "table": f"public.{table}", "sink": f"{world.name}_{table}", "mode": "append",
                "connection": world.name,
            }
            for n, table in ((world.name, table) for table in TABLES)
        }  # fmt: skip
    walk.write_project(flows)
    project.write_text(json.dumps(said))


def test_i9_a_capture_that_stops_stops_no_other(walk: World, worlds: Callable[[str], World]) -> None:
    other = worlds("other_source")
    beside(walk, other)
    first, second = walk.reading_capture(), walk.reading_capture(other.name)
    for world in (walk, other):
        world.play(10)
        world.streamed()
    sql(
        walk,
        f"alter role {walk.name} password 'changed'",
        f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = '{walk.name}'",
        admin=True,
    )
    stopped(walk, first, "source.refused")
    other.play(20)
    assert judge_stream(other, other.streamed()) == []
    shown_as(walk, "running", of=other.name)
    shown_as(walk, "stopped", "source.refused")
    assert second.stop() == 0, second.text()[-2000:]
    sql(walk, f"alter role {walk.name} password '{walk.canary}'", admin=True)
    goes_on(walk)


def test_the_canary_is_where_it_should_be(walk: World) -> None:
    secret = Path(walk.folder / "secrets" / "walk_password")
    assert secret.read_text(encoding="utf-8").strip() == walk.canary
    assert secret.stat().st_mode & 0o777 == 0o600
