"""The line to the source, its role and its slot fail while changes stream: what comes again is the same.

A cut in the middle of a transaction, a line that is half open, transactions that are open while the worker is
away, a role that may not log in any more, a slot that the server gives up because it was idle.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import psycopg
import pytest

from connectors.postgres import stream
from connectors.postgres.config import PostgresConfig
from engine.errors import SlotLost, SourceRefused, SourceUnreachable
from engine.source import Mark
from tests.support.postgres_source import Came, Shown, opened, read, refused, rows, shown, specs
from tests.support.proxy import Proxy, proxy
from tests.support.services import Database, Services
from tests.support.waits import wait_until

pytestmark = pytest.mark.stack

HALF = 10_000  # rows of a transaction


def made(number: int) -> Shown:
    return "c", None, (str(number), "v" * 20)


LAST = made(2 * HALF)


@pytest.fixture
def line(config: PostgresConfig) -> Iterator[Proxy]:
    with proxy(config.host, config.port) as found:
        yield found


def through(config: PostgresConfig, line: Proxy) -> PostgresConfig:
    return config.model_copy(update={"host": "127.0.0.1", "port": line.port})


def begun(config: PostgresConfig) -> Mark:
    """A capture that has begun, and was told to stop."""
    with opened(config, specs("t")) as source:
        came = read(source, lambda c: len(c.marks) > 1)
        source.confirm(came.marks[-1])
    return came.marks[-1]


def test_s2_a_line_that_is_cut_anywhere_in_a_transaction_costs_nothing(
    config: PostgresConfig, database: Database, line: Proxy, seed: int
) -> None:
    database.run("create table t (id int primary key, v text)")
    mark, random = begun(config), Random(seed)  # noqa: S311 - a plan, not a secret
    for first in (1, HALF + 1):
        database.run(
            f"insert into t select g, repeat('v', 20) from generate_series({first}, {first + HALF - 1}) g"
        )
    said: dict[tuple[str, int, int, int, str], object] = {}
    cuts = 0
    while len(said) < 2 * HALF:
        line.cut_after(random.randrange(1000, (70 if cuts < 3 else 250) * HALF))
        came = Came()
        try:
            with opened(through(config, line), specs("t"), mark) as source:
                while not came.runs or shown(came.runs[-1], came.runs[-1].rows[-1]) != LAST:
                    for item in source.read(limit=5000, wait_s=0.2):
                        came.items.append(item)
                        if isinstance(item, Mark):
                            source.confirm(item)
        except SourceUnreachable:
            cuts += 1
        mark = [mark, *came.marks][-1]
        for position, row in zip(came.positions(), came.rows(), strict=True):
            assert said.setdefault(position, row) == row, "the same position says the same"
    assert cuts >= 3
    assert sorted(said.values(), key=str) == sorted((made(n + 1) for n in range(2 * HALF)), key=str)


def test_s3_a_line_that_is_half_open_is_given_up_and_what_was_on_it_comes_again(
    config: PostgresConfig, database: Database, line: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "FEEDBACK_S", 0.2)
    monkeypatch.setattr(stream, "SILENCE_S", 2.0)
    database.run("create table t (id int primary key)")
    mark = begun(config)
    with opened(through(config, line), specs("t"), mark) as source:
        read(source, lambda c: c.items)
        line.stall()
        database.run("insert into t values (1)")
        with pytest.raises(SourceUnreachable, match="said nothing"):
            read(source, rows(1))
    line.heal()
    with opened(through(config, line), specs("t"), mark) as source:
        assert read(source, rows(1)).rows() == [("c", None, ("1",))]


def test_s12_transactions_that_are_open_while_the_worker_is_away_are_told_whole(
    config: PostgresConfig, database: Database
) -> None:
    database.run("create table t (id int primary key)")
    mark = begun(config)
    with (
        psycopg.connect(database.dsn(database.app)) as slow,
        psycopg.connect(database.dsn(database.app)) as fast,
    ):
        slow.execute("insert into t select generate_series(1, 3)")
        fast.execute("insert into t select generate_series(11, 13)")
        with opened(config, specs("t"), mark) as source:
            fast.commit()
            came = read(source, rows(3))
            slow.execute("insert into t select generate_series(4, 6)")
            source.confirm(came.marks[-1])
        slow.execute("insert into t values (7)")
        slow.commit()
    with opened(config, specs("t"), came.marks[-1]) as source:
        later = read(source, lambda c: ("c", None, ("7",)) in c.rows())
    assert [row[2] for row in came.rows()] == [("11",), ("12",), ("13",)]
    assert [row[2] for row in later.rows()] == [(str(n),) for n in range(1, 8)]


def test_s16_a_role_that_may_not_log_in_any_more_is_refused_by_name_and_nothing_is_lost(
    config: PostgresConfig, database: Database, services: Services
) -> None:
    database.run("create table t (id int primary key)")
    with opened(config, specs("t")) as source:
        mark = read(source, lambda c: len(c.marks) > 1).marks[-1]
        source.confirm(mark)
        with services.admin() as admin:
            admin.execute(f"alter role {config.user} nologin".encode())
            admin.execute("select pg_terminate_backend(%s)", (holder_of(services, config),))
        with pytest.raises((SourceUnreachable, SourceRefused)):
            read(source, lambda _: False)
    database.run("insert into t values (1)")
    error = refused(config, SourceRefused, mark, "t")
    assert config.user in error.what
    with services.admin() as admin:
        admin.execute(f"alter role {config.user} login".encode())
    with opened(config, specs("t"), mark) as source:
        assert read(source, rows(1)).rows() == [("c", None, ("1",))]


def holder_of(services: Services, config: PostgresConfig) -> object:
    with services.admin() as admin:
        query = "select active_pid from pg_replication_slots where slot_name = %s"
        found = admin.execute(query, (config.slot,)).fetchone()
    assert found is not None
    return found[0]


def test_s7_a_slot_that_the_server_gave_up_because_it_was_idle_is_lost_by_name(
    config: PostgresConfig, database: Database, services: Services
) -> None:
    database.run("create table t (id int primary key)")
    mark = begun(config)
    state = "select invalidation_reason from pg_replication_slots where slot_name = %s"
    with services.admin() as admin:
        admin.execute("alter system set idle_replication_slot_timeout = '1s'")
        admin.execute("select pg_reload_conf()")
        try:

            def given_up() -> bool:
                admin.execute("checkpoint")
                return admin.execute(state, (config.slot,)).fetchone() == ("idle_timeout",)

            wait_until(given_up, "the server gives the idle slot up", limit_s=30, every_s=0.5)
        finally:
            admin.execute("alter system reset idle_replication_slot_timeout")
            admin.execute("select pg_reload_conf()")
    error = refused(config, SlotLost, mark, "t")
    assert "idle_timeout" in error.what
    assert f"pg_drop_replication_slot('{config.slot}')" in error.hint
