"""A commit is in the log before others see it: what is asked beside the stream must not be of before."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.support.postgres_source import config_of, opened, owner, read, rows, specs
from tests.support.services import Database, Services
from tests.support.waits import wait_until

pytestmark = pytest.mark.stack

LARGE = "repeat('x', 3000)"
OTHER = "repeat('y', 3000)"


@contextmanager
def commits_held(services: Services) -> Iterator[None]:
    """The server waits for a standby that never comes: a commit is in the log, and nobody sees it."""
    with services.admin() as connection:
        for statement in ("alter system set synchronous_standby_names = 'nobody'", "select pg_reload_conf()"):
            connection.execute(statement.encode())
        shown = "select setting from pg_settings where name = 'synchronous_standby_names'"
        wait_until(lambda: connection.execute(shown).fetchone() == ("nobody",), "the setting is read")
        try:
            yield
        finally:
            connection.execute(b"alter system reset synchronous_standby_names")
            connection.execute(b"select pg_reload_conf()")


def test_what_is_asked_beside_the_stream_is_never_older_than_the_change(  # I5
    services: Services, database: Database
) -> None:
    owner(services, database)
    config = config_of(database)
    database.run(
        "create table t (id int primary key, a text, b text)", "alter table t alter b set storage external"
    )
    change = (
        "begin; alter table t add column c text default 'then';"
        f" update t set b = {OTHER}; update t set id = 2; commit"
    )
    waits = "select 1 from pg_stat_activity where wait_event = 'SyncRep' and query like 'begin; alter%'"
    with opened(config, specs("t")) as source, ThreadPoolExecutor(2) as beside:
        database.run(f"insert into t values (1, 'a', {LARGE})")
        read(source, rows(1))
        with commits_held(services), services.admin() as connection:
            done = beside.submit(database.run, change)
            wait_until(lambda: connection.execute(waits.encode()).fetchone(), "the commit is held")
            came = beside.submit(read, source, rows(2))
            asked = "select 1 from pg_stat_activity where query like '%txid_visible_in_snapshot%back%'"
            wait_until(
                lambda: came.done() or connection.execute(asked.encode()).fetchone(), "the source asks"
            )
        done.result()
        found = came.result()
    assert found.rows()[1] == ("k", ("1", None, None, None), ("2", "a", "y" * 3000, "then"))
    assert found.runs[-1].relation.columns[3].default == "then"
