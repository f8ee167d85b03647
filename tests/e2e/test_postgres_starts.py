"""Starting a PostgreSQL capture: what is made, what is refused, and how rows could be missing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from connectors.postgres import CONNECTOR, publication, resume, session
from connectors.postgres.config import PostgresConfig
from engine.errors import (
    Act,
    EcluseError,
    GapSuspected,
    SlotBusy,
    SlotMissing,
    SourceRefused,
    SourceUnreachable,
)
from engine.source import STREAM, Mark, Source
from tests.support.postgres_source import (
    Came,
    accepted,
    holder,
    opened,
    read,
    refused,
    rows,
    specs,
)  # fmt: skip
from tests.support.services import Database, Services
from tests.support.waits import wait_until

pytestmark = pytest.mark.stack


@pytest.fixture
def marked(config: PostgresConfig, database: Database) -> Mark:
    """A mark behind one row of t, confirmed; nobody reads the slot any more."""
    database.run("create table t (id int primary key)", "create table u (id int primary key)")
    with opened(config, specs("t", "u")) as source:
        database.run("insert into t values (1)")
        mark = read(source, rows(1)).marks[-1]
        source.confirm(mark)
        wait_until(lambda: CONNECTOR.measure(config).confirmed == mark.at[STREAM], "it is confirmed")
    wait_until(lambda: CONNECTOR.measure(config).state == "inactive", "the slot is free")
    return mark


def goes_on(config: PostgresConfig, database: Database, mark: Mark, error: EcluseError) -> Came:
    """A start after an accepted gap: new rows come, behind everything that was told."""
    other = GapSuspected("another finding, which somebody else was shown")
    refused(config, type(error), accepted(mark, other))
    with opened(config, specs("t", "u"), accepted(mark, error)) as source:
        database.run("insert into t values (99)")
        came = read(source, lambda came: ("c", None, ("99",)) in came.rows())
        source.confirm(came.marks[-1])
    assert all((m.era, m.at[STREAM]) >= (mark.era, mark.at[STREAM]) for m in came.marks)
    assert all(p[1:3] > (mark.era, mark.at[STREAM]) for p in came.positions())
    # the acceptance is used up: a later start is strict again
    with opened(config, specs("t", "u"), came.marks[-1]) as source:
        assert read(source, lambda came: came.marks).runs == []
    return came


def test_a_start_without_a_gap_tells_nothing_twice(
    config: PostgresConfig, database: Database, marked: Mark
) -> None:
    with opened(config, specs("t", "u"), marked) as source:
        database.run("insert into t values (2)")
        came = read(source, rows(1))
    assert came.rows() == [("c", None, ("2",))]
    assert came.gaps == []


def test_a_new_table_joins_at_the_next_start(
    config: PostgresConfig, database: Database, marked: Mark
) -> None:
    database.run("create table v (id int primary key)")
    with opened(config, specs("t", "u", "v"), marked) as source:
        database.run("insert into v values (5)")
        came = read(source, rows(1))
    assert came.rows() == [("c", None, ("5",))]
    assert came.gaps == []


@contextmanager
def opened_while_v_is_held(
    config: PostgresConfig, database: Database, mark: Mark
) -> Iterator[tuple[Source, Any]]:
    """A start with a new table v in which somebody writes, and the session that does."""
    fast = config.model_copy(update={"heartbeat_s": 0.2})
    database.run("create table v (id int primary key)")
    with database.connect() as writer:
        writer.execute("begin")
        writer.execute("insert into v values (1)")
        with opened(fast, specs("t", "u", "v"), mark) as source:
            yield source, writer


def test_a_table_that_a_writer_holds_joins_later_and_the_others_go_on(
    config: PostgresConfig, database: Database, marked: Mark
) -> None:
    with opened_while_v_is_held(config, database, marked) as (source, writer):
        database.run("insert into t values (2)")
        assert read(source, rows(1)).rows() == [("c", None, ("2",))]
        writer.execute("commit")

        def joined(came: Came) -> bool:
            with database.connect() as connection:
                found = connection.execute("select 1 from pg_publication_tables where tablename = 'v'")
                return bool(came.items and found.fetchall())

        read(source, joined)
        database.run("insert into v values (5)")
        came = read(source, rows(1))
    assert came.rows() == [("c", None, ("5",))]
    assert came.gaps == []


def test_i9_a_late_table_that_is_dropped_meanwhile_is_left_out_and_the_others_go_on(
    config: PostgresConfig, database: Database, marked: Mark
) -> None:
    with opened_while_v_is_held(config, database, marked) as (source, writer):
        writer.execute("drop table v")
        writer.execute("commit")
        came = read(source, lambda came: len(came.marks) > 4)  # it is looked for with every heartbeat
        database.run("insert into t values (2)")
        assert read(source, rows(1)).rows() == [("c", None, ("2",))]
    database.run("create table v (id int primary key)")
    with opened(config, specs("t", "u", "v"), came.marks[-1]) as source:
        database.run("insert into v values (5)")
        assert read(source, rows(2)).rows("v") == [("c", None, ("5",))]


def test_a_first_start_waits_for_a_long_writer_longer_than_for_a_lock(
    config: PostgresConfig, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = tuple("SET lock_timeout = '1s'" if "lock_timeout" in s else s for s in session.SETTINGS)
    monkeypatch.setattr(session, "SETTINGS", short)
    database.run("create table t (id int primary key)", "create table w (id int)")
    with database.connect() as writer, database.connect() as looker, ThreadPoolExecutor(1) as thread:
        writer.execute("begin")
        writer.execute("insert into w values (1)")

        def start() -> int:
            with opened(config, specs("t")) as source:
                return len(read(source, lambda came: came.marks).marks)

        def waits() -> bool:
            found = looker.execute(
                "select 1 from pg_locks where not granted and locktype = 'transactionid'"
                " and clock_timestamp() - waitstart > '1500 ms'"
            )
            return bool(found.fetchall())

        started = thread.submit(start)
        wait_until(lambda: waits() or started.done(), "the start waits for the writer", limit_s=30)
        writer.execute("commit")
        assert started.result() > 0


def test_a_writer_in_the_way_of_a_first_start_is_named(
    config: PostgresConfig, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "SLOT_TIMEOUT_S", 1)
    database.run("create table t (id int primary key)", "create table w (id int)")
    with database.connect() as writer:
        writer.execute("begin")
        writer.execute("insert into w values (1)")
        error = refused(config, SourceUnreachable, None, "t")
        pid = str(writer.info.backend_pid)
        assert pid in error.what
        assert f"pg_terminate_backend({pid})" in error.hint
        assert error.act is Act.RETRY
        writer.execute("rollback")
    with opened(config, specs("t")) as source:
        database.run("insert into t values (1)")
        assert read(source, rows(1)).rows() == [("c", None, ("1",))]


def test_a_table_that_no_flow_wanted_for_a_while_comes_back_with_a_gap(
    config: PostgresConfig, database: Database, marked: Mark
) -> None:
    with opened(config, specs("t"), marked) as source:
        database.run("insert into u values (1)", "insert into t values (2)")
        came = read(source, rows(1))
        mark = came.marks[-1]
    with opened(config, specs("t", "u"), mark) as source:
        gaps = read(source, lambda came: came.marks).gaps
    assert [(gap.table, gap.major) for gap in gaps] == [("u", marked.at[STREAM])]


def test_a_slot_that_is_gone_stops_and_an_accepted_gap_makes_a_new_one(
    services: Services, config: PostgresConfig, database: Database, marked: Mark
) -> None:
    with services.admin() as connection:
        connection.execute("select pg_drop_replication_slot(%s)", [config.slot])
    error = refused(config, SlotMissing, marked)
    assert f"ecluse resolve {config.connection} --accept-gap" in error.hint
    goes_on(config, database, marked, error)


def test_a_start_that_has_lost_its_mark_takes_the_slot_as_it_is_in_an_era_of_its_own(
    config: PostgresConfig, database: Database, marked: Mark
) -> None:
    database.run("insert into t values (2)")
    with opened(config, specs("t", "u"), Mark({}, b"{}", 4)) as source:
        came = read(source, lambda came: ("c", None, ("2",)) in came.rows())
    assert {run.era for run in came.runs} == {4}
    assert came.marks[-1].era == 4
    assert marked.era == 0


def test_a_slot_made_again_after_a_write_is_a_gap(
    services: Services, config: PostgresConfig, database: Database, marked: Mark
) -> None:
    with services.admin(database.name) as connection:
        connection.execute("select pg_drop_replication_slot(%s)", [config.slot])
        database.run("insert into t values (3)")
        connection.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [config.slot])
    goes_on(config, database, marked, refused(config, GapSuspected, marked))


def test_a_slot_that_somebody_moved_is_a_gap(
    services: Services, config: PostgresConfig, database: Database, marked: Mark
) -> None:
    database.run("insert into t values (3)")
    with services.admin(database.name) as connection:
        connection.execute("select pg_replication_slot_advance(%s, pg_current_wal_lsn())", [config.slot])
    refused(config, GapSuspected, marked)


def test_a_publication_that_was_silent_for_a_while_is_a_gap(
    config: PostgresConfig, database: Database, marked: Mark
) -> None:
    with database.connect(database.capture) as connection:
        for kinds in ("insert", "insert, update, delete, truncate"):
            connection.execute(f"alter publication {config.publication} set (publish = '{kinds}')".encode())
    error = refused(config, GapSuspected, marked)
    assert "altered" in error.what
    came = goes_on(config, database, marked, error)
    assert came.positions()[0][1] == marked.era, "no position repeats, so the era stays"


def test_a_publication_that_is_gone_is_made_again_once_the_gap_is_accepted(
    config: PostgresConfig, database: Database, marked: Mark
) -> None:
    with database.connect(database.capture) as connection:
        connection.execute(f"drop publication {config.publication}".encode())
    database.run("insert into t values (3)")
    error = refused(config, GapSuspected, marked)
    assert config.publication in error.what
    goes_on(config, database, marked, error)


@pytest.mark.parametrize(
    "statements",
    [
        ["alter publication {p} drop table u", "alter publication {p} add table u"],
        ["alter publication {p} drop table u"],
        ["drop table u", "create table u (id int primary key)"],
        ["alter table u add column r float8 default random()"],
        ["alter table u replica identity full"],
        ["alter publication {p} set table t, u where (id > 5)"],
    ],
    ids=["left and back", "left", "made again", "rewritten", "identity", "filter"],
)
def test_what_concerns_one_table_stops_that_table_alone(
    config: PostgresConfig, database: Database, marked: Mark, statements: list[str]
) -> None:
    for statement in statements:
        # the publication is the capture's, the table the application's
        role = database.capture if "publication" in statement else database.app
        with database.connect(role) as connection:
            connection.execute(statement.format(p=config.publication).encode())
    with opened(config, specs("t", "u"), marked) as source:
        database.run("insert into t values (2)", "insert into u values (8)")
        came = read(source, rows(2))
        source.confirm(came.marks[-1])
    assert [(gap.table, gap.code) for gap in came.gaps] == [("u", "source.gap-suspected")]
    assert came.gaps[0].major <= min(p[2] for p in came.positions())
    assert len(came.rows("t")) == 1
    with opened(config, specs("t", "u"), came.marks[-1]) as source:
        assert read(source, lambda came: came.marks).gaps == [], "what was told is in the mark"


@pytest.mark.parametrize(
    "statement", ["truncate u", "vacuum full u", "alter table u add column n int default 4"]
)
def test_what_moves_a_table_without_changing_it_is_no_gap(
    config: PostgresConfig, database: Database, marked: Mark, statement: str
) -> None:
    database.run(statement)
    with opened(config, specs("t", "u"), marked) as source:
        assert read(source, lambda came: came.marks).gaps == []


def test_a_column_that_cannot_be_captured_stops_its_table_alone(
    config: PostgresConfig, database: Database, marked: Mark
) -> None:
    with opened(config, specs("t", "u"), marked) as source:
        database.run(
            "alter table u add column _op text",
            "insert into u values (1, 'c')",
            "insert into t values (2)",
        )
        came = read(source, rows(1))
    assert came.rows() == [("c", None, ("2",))]
    assert [(gap.table, gap.text) for gap in came.gaps] == [
        ("u", "column _op has a name that the landing writes itself")
    ]


def test_the_fingerprint_is_looked_at_while_the_stream_runs(
    config: PostgresConfig, database: Database, marked: Mark
) -> None:
    fast = config.model_copy(update={"heartbeat_s": 0.2})
    with opened(fast, specs("t", "u"), marked) as source:
        database.run("drop table u")
        came = read(source, lambda came: came.gaps)
        assert [gap.table for gap in came.gaps] == ["u"]
        with database.connect(database.capture) as connection:
            connection.execute(f"drop publication {config.publication}".encode())
        with pytest.raises((GapSuspected, SourceRefused)):
            read(source, lambda _: False)


def test_another_last_transaction_is_another_history(config: PostgresConfig, marked: Mark) -> None:
    was = resume.load(marked)
    assert was.last is not None
    for change, why in (
        ({"xid": was.last.xid + 1}, "did not come again"),
        ({"commit_us": 1}, "did not come again"),
        ({"changes": 5}, "came again with other content"),
        ({"end_lsn": was.last.end_lsn - 8}, "came again with other content"),
    ):
        other = replace(was, last=was.last._replace(**change)).mark()

        def stopped(other: Mark = other) -> GapSuspected | None:
            try:
                with CONNECTOR.open(config, specs("t", "u"), other, ()):
                    raise AssertionError("it started")
            except GapSuspected as error:
                return error
            except SlotBusy:
                return None

        assert why in wait_until(stopped, "a verdict").what


def test_a_second_capture_is_told_who_holds_the_slot(config: PostgresConfig, marked: Mark) -> None:
    with opened(config, specs("t", "u"), marked):
        error = refused(config, SlotBusy, marked)
        assert str(holder(config)) in error.what
        assert error.act is Act.RETRY
