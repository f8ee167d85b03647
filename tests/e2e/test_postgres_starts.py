"""Starting a PostgreSQL capture: what is made, what is refused, and how rows could be missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from connectors.postgres import CONNECTOR, resume
from connectors.postgres.config import PostgresConfig
from engine.embedded.stack import Stack, cache_folder
from engine.errors import (
    Act,
    EcluseError,
    GapSuspected,
    SlotBusy,
    SlotMissing,
    SourceRefused,
    SourceUnreachable,
    SourceUnready,
)
from engine.source import STREAM, Mark, TableSpec
from tests.support.postgres_source import Came, config_of, opened, owner, read, rows, specs
from tests.support.services import Database, Services
from tests.support.waits import wait_until

pytestmark = pytest.mark.stack


@pytest.fixture
def config(services: Services, database: Database) -> PostgresConfig:
    owner(services, database)
    return config_of(database)


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


def refused(config: PostgresConfig, kind: type[EcluseError], mark: Mark | None, *tables: str) -> EcluseError:
    with pytest.raises(kind) as found, CONNECTOR.open(config, specs(*(tables or ("t", "u"))), mark):
        pass
    assert found.type is kind, found.value
    secret = config.password.get_secret_value() if config.password else ""
    assert secret not in f"{found.value.as_dict()}"
    return found.value


def accepted(mark: Mark) -> Mark:
    return mark._replace(resume=resume.accepting(mark.resume))


def goes_on(config: PostgresConfig, database: Database, mark: Mark) -> Came:
    """A start after an accepted gap: new rows come, behind everything that was told."""
    with opened(config, specs("t", "u"), accepted(mark)) as source:
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


def test_a_table_that_a_writer_holds_joins_later_and_the_others_go_on(
    config: PostgresConfig, database: Database, marked: Mark
) -> None:
    fast = config.model_copy(update={"heartbeat_s": 0.2})
    database.run("create table v (id int primary key)")
    with database.connect() as writer:
        writer.execute("begin")
        writer.execute("insert into v values (1)")
        with opened(fast, specs("t", "u", "v"), marked) as source:
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
    assert "first position at stake" in error.what.lower()
    assert f"ecluse resolve {config.connection} --accept-gap" in error.hint
    goes_on(config, database, marked)


def test_a_slot_made_again_after_a_write_is_a_gap(
    services: Services, config: PostgresConfig, database: Database, marked: Mark
) -> None:
    with services.admin(database.name) as connection:
        connection.execute("select pg_drop_replication_slot(%s)", [config.slot])
        database.run("insert into t values (3)")
        connection.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", [config.slot])
    refused(config, GapSuspected, marked)
    goes_on(config, database, marked)


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
    assert "altered" in refused(config, GapSuspected, marked).what
    came = goes_on(config, database, marked)
    assert came.positions()[0][1] == marked.era, "no position repeats, so the era stays"


def test_a_publication_that_is_gone_is_made_again_once_the_gap_is_accepted(
    config: PostgresConfig, database: Database, marked: Mark
) -> None:
    with database.connect(database.capture) as connection:
        connection.execute(f"drop publication {config.publication}".encode())
    database.run("insert into t values (3)")
    assert config.publication in refused(config, GapSuspected, marked).what
    goes_on(config, database, marked)


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


def test_a_column_that_has_no_place_stops_its_table_alone(
    config: PostgresConfig, database: Database, marked: Mark
) -> None:
    with opened(config, specs("t", "u"), marked) as source:
        database.run(
            "alter table u add column i interval",
            "insert into u values (1, '1 day')",
            "insert into t values (2)",
        )
        came = read(source, rows(1))
    assert came.rows() == [("c", None, ("2",))]
    assert [(gap.table, gap.text) for gap in came.gaps] == [
        ("u", "column i is interval, which this version does not capture")
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
    for change in (
        {"xid": was.last.xid + 1},
        {"commit_us": 1},
        {"changes": 5},
        {"end_lsn": was.last.end_lsn - 8},
    ):
        other = replace(was, last=was.last._replace(**change)).mark()

        def stopped(other: Mark = other) -> GapSuspected | None:
            try:
                with CONNECTOR.open(config, specs("t", "u"), other):
                    raise AssertionError("it started")
            except GapSuspected as error:
                return error
            except SlotBusy:
                return None

        assert "came again" in wait_until(stopped, "a verdict").what


def test_a_second_capture_is_told_who_holds_the_slot(config: PostgresConfig, marked: Mark) -> None:
    with opened(config, specs("t", "u"), marked):
        pid = CONNECTOR.measure(config).detail["active_pid"]
        error = refused(config, SlotBusy, marked)
        assert pid in error.what
        assert error.act is Act.RETRY


def test_a_careful_role_is_told_the_statements_and_then_starts(database: Database) -> None:
    config = config_of(database)
    database.run("create table t (id int primary key)")
    error = refused(config, SourceUnready, None, "t")
    statements = error.hint.split("\n", 1)[1]
    assert "SHARE ROW EXCLUSIVE" in statements
    finding = next(f for f in CONNECTOR.preflight(config, specs("t")) if f.level == "fail")
    assert finding.subject == "publication"
    assert finding.fix.split("\n", 1)[1] == statements
    database.run(f"grant create on database {database.name} to {database.app.name}")
    with database.connect() as connection:
        connection.execute(statements.encode())
    assert [f for f in CONNECTOR.preflight(config, specs("t")) if f.level == "fail"] == []
    with opened(config, specs("t")) as source:
        database.run("insert into t values (1)")
        assert read(source, rows(1)).rows() == [("c", None, ("1",))]


def test_a_wrong_password_and_a_dead_host_have_their_names(
    config: PostgresConfig, database: Database
) -> None:
    database.run("create table t (id int primary key)")
    wrong = config.model_copy(update={"password": SecretStr("canary-wrong")})
    assert refused(wrong, SourceRefused, None, "t").act is Act.OPERATOR
    nobody = config.model_copy(update={"port": 1})
    assert refused(nobody, SourceUnreachable, None, "t").act is Act.RETRY
    for bad, code in ((wrong, "source.refused"), (nobody, "source.unreachable")):
        (finding,) = CONNECTOR.preflight(bad, specs("t"))
        assert (finding.level, finding.code) == ("fail", code)
        assert "canary-wrong" not in f"{finding}"


def test_preflight_names_every_table_that_cannot_be_captured(
    config: PostgresConfig, database: Database
) -> None:
    database.run(
        "create table bare (id int)",
        "create unlogged table fleeting (id int primary key)",
        "create view looked as select 1 as id",
        'create table odd (id int primary key, n numeric, i interval, _op text, a int, "A" int)',
        "create table filled (id int primary key)", "insert into filled values (1)",
        "create table good (id int primary key, g int generated always as (id * 2) stored)",
    )  # fmt: skip
    found = CONNECTOR.preflight(
        config, [*specs("bare", "fleeting", "looked", "odd", "filled", "good"), TableSpec("f", "no", "where")]
    )
    failed = {(f.table.removeprefix("public."), f.subject) for f in found if f.level == "fail"}
    assert failed == {
        ("bare", "replica identity"), ("fleeting", "table"), ("looked", "table"), ("odd", "column"),
        ("looked", "replica identity"), ("no.where", "table"),
    }  # fmt: skip
    texts = "\n".join(f.text for f in found if f.table == "public.odd")
    for word in ("_op", "odd.n is numeric", "odd.i is interval"):
        assert word in texts
    warned = {(f.table, f.subject) for f in found if f.level == "warn"}
    assert {("public.filled", "rows"), ("public.good", "column")} <= warned
    assert all(f.fix and f.code for f in found if f.level == "fail")


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[Stack]:
    """A server of the test's own: it will be hurt."""
    environment = dict(os.environ)
    with Stack(tmp_path / "own", cache_folder(environment), environment=environment) as stack:
        stack.start({"postgres"})
        yield stack


def config_on(stack: Stack) -> PostgresConfig:
    server = stack.endpoints.postgres
    assert server is not None
    return PostgresConfig(
        host=server.host, port=server.port, database="postgres", user=server.user,
        password=SecretStr(server.password), project="test", connection="own", slot="s", publication="p",
    )  # fmt: skip


def run(config: PostgresConfig, *statements: str) -> None:
    password = config.password.get_secret_value() if config.password else ""
    with psycopg.connect(
        host=config.host,
        port=config.port,
        user=config.user,
        password=password,
        dbname="postgres",
        autocommit=True,
    ) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_a_disk_that_was_rolled_back_is_found_where_every_catalogue_look_passes(
    lonely: Stack, tmp_path: Path
) -> None:
    config = config_on(lonely)
    run(config, "create table t (id int primary key)")
    data = tmp_path / "own" / "postgres"
    with opened(config, specs("t")) as source:
        run(config, "insert into t values (1)")
        source.confirm(read(source, rows(1)).marks[-1])
        run(config, "checkpoint")
    lonely.kill("postgres")
    copy(data, tmp_path / "copy")
    lonely.restart("postgres")
    with opened(config, specs("t")) as source:
        run(config, "insert into t values (2)", "insert into t values (3)")
        mark = read(source, rows(2)).marks[-1]
        source.confirm(mark)
    lonely.kill("postgres")
    shutil.rmtree(data)
    copy(tmp_path / "copy", data)
    lonely.restart("postgres")
    # the other history grows beyond the mark
    run(config, "insert into t select generate_series(100, 3000)", "insert into t values (5000)")
    error = wait_until(lambda: verdict(config, mark), "a verdict")
    assert isinstance(error, GapSuspected)
    assert "another" in error.what
    with opened(config, specs("t"), accepted(mark)) as source:
        run(config, "insert into t values (6000)")
        came = read(source, lambda came: ("c", None, ("6000",)) in came.rows())
    assert {run.era for run in came.runs} == {1}, "positions repeat, so a new era begins"


def copy(folder: Path, to: Path) -> None:
    """With owners and modes: the server runs as another user where the test is root."""
    subprocess.run(["cp", "-a", str(folder), str(to)], check=True)  # noqa: S607


def verdict(config: PostgresConfig, mark: Mark) -> EcluseError | None:
    try:
        with CONNECTOR.open(config, specs("t"), mark):
            return EcluseError("it started")
    except SlotBusy:
        return None
    except EcluseError as error:
        return error


def test_a_server_without_logical_wal_is_refused_with_the_setting(tmp_path: Path) -> None:
    environment = dict(os.environ)
    settings = {"wal_level": "replica"}
    with Stack(
        tmp_path / "own", cache_folder(environment), environment=environment, postgres_settings=settings
    ) as stack:
        stack.start({"postgres"})
        config = config_on(stack)
        run(config, "create table t (id int primary key)")
        finding = next(f for f in CONNECTOR.preflight(config, specs("t")) if f.subject == "wal_level")
        assert finding.level == "fail"
        assert "ALTER SYSTEM SET wal_level = logical" in finding.fix
        assert "wal_level = logical" in refused(config, SourceUnready, None, "t").hint
