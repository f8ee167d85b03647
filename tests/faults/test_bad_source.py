"""Bad input at the source: each is a state with a name, the position at stake and the next step.

A world of its own for each, because each breaks something that the others need.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.flows import World
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


def refused(walk: World, code: str, *words: str) -> str:
    """A capture ends for a person to act, and says what is needed."""
    worker = walk.capture()
    assert worker.ended(limit_s=90) == OPERATOR, worker.text()[-3000:]
    said = worker.text()
    for word in (code, *words):
        assert word in said, said[-3000:]
    assert walk.canary not in said
    return said


def goes_on(walk: World) -> None:
    """Everything that the source holds is told, in order."""
    worker = walk.reading_capture()
    walk.play(10)
    told = walk.streamed()
    assert judge_stream(walk, told) == []
    assert worker.stop() == 0, worker.text()[-2000:]


def test_a_wrong_password_is_refused_without_showing_either(walked: World) -> None:
    secret = walked.folder / "secrets" / "walk_password"
    secret.write_text("canary-that-is-wrong\n", encoding="utf-8")
    walked.play(5)
    said = refused(walked, "source.refused", walked.name)
    assert "canary-that-is-wrong" not in said
    secret.write_text(walked.canary + "\n", encoding="utf-8")
    goes_on(walked)


def test_a_host_that_does_not_answer_is_named_and_tried_again(walked: World) -> None:
    walked.write_project(port=1)
    worker = walked.capture()
    assert "127.0.0.1" in worker.says("source.unreachable")
    worker.stop()
    walked.write_project()
    goes_on(walked)


def test_a_missing_slot_is_a_named_stop_with_the_position_at_stake(walked: World) -> None:
    name = slot(walked)
    walked.play(5)
    sql(walked, f"select pg_drop_replication_slot('{name}')", admin=True)
    said = refused(walked, "source.slot-missing", name, "--accept-gap")
    assert "0/" in said, "the first position at stake is not said"
    accepted(walked)


def accepted(walked: World) -> None:
    """A gap that a person accepts: what comes after it is told again."""
    resolved = walked.ecluse("resolve", walked.name, "--accept-gap")
    assert resolved.returncode == 0, resolved.stderr
    worker = walked.reading_capture()
    sql(walked, "insert into counters values (1000000, 1)")
    wait_until(
        lambda: any(c.key == 1_000_000 for c in walked.told("counters")), "rows after the gap", limit_s=90
    )
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
    refused(walked, "source.gap-suspected", "First position at stake", f"resolve {walked.name} --accept-gap")
    accepted(walked)


def test_a_slot_moved_by_somebody_else_is_a_suspected_gap(walked: World) -> None:
    name = slot(walked)
    walked.play(5)
    sql(walked, f"select pg_replication_slot_advance('{name}', pg_current_wal_lsn())", admin=True)
    refused(walked, "source.gap-suspected", "First position at stake", f"resolve {walked.name} --accept-gap")


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
    said = refused(walked, "source.slot-lost", name, "--accept-gap")
    assert "0/" in said, "the first position at stake is not said"


def test_a_missing_publication_is_a_named_stop_with_the_sql(walked: World) -> None:
    (publication,) = sql(walked, "select pubname from pg_publication", admin=True)[0]
    walked.play(5)
    sql(walked, f'drop publication "{publication}"', admin=True)
    refused(walked, "source.", str(publication), "--accept-gap")


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
    second.says("source.slot-busy")
    walk.play(10)
    assert judge_stream(walk, walk.streamed()) == []
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
    sleeper.says("capture.fenced") if sleeper.process.poll() is None else sleeper.ended()
    assert judge_stream(walk, told) == []
    assert second.stop() == 0, second.text()[-2000:]


def test_the_canary_is_where_it_should_be(walk: World) -> None:
    secret = Path(walk.folder / "secrets" / "walk_password")
    assert secret.read_text(encoding="utf-8").strip() == walk.canary
    assert secret.stat().st_mode & 0o777 == 0o600
