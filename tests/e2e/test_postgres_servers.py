"""What a PostgreSQL server must be and allow before a capture starts, and one whose disk goes back."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from connectors.postgres import CONNECTOR
from connectors.postgres.config import PostgresConfig
from engine.embedded.stack import Stack, cache_folder
from engine.errors import (
    Act,
    EcluseError,
    GapSuspected,
    SlotBusy,
    SourceRefused,
    SourceUnreachable,
    SourceUnready,
)
from engine.source import Mark, TableSpec
from tests.support.postgres_source import (
    accepted,
    config_of,
    opened,
    read,
    refused,
    rows,
    specs,
)  # fmt: skip
from tests.support.services import Database
from tests.support.waits import wait_until

pytestmark = pytest.mark.stack


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
        'create table odd (id int primary key, _op text, a int, "A" int)',
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
    assert "column _op has a name that the landing writes itself" in texts
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
    with opened(config, specs("t"), accepted(mark, error)) as source:
        run(config, "insert into t values (6000)")
        came = read(source, lambda came: ("c", None, ("6000",)) in came.rows())
    assert {run.era for run in came.runs} == {1}, "positions repeat, so a new era begins"


def copy(folder: Path, to: Path) -> None:
    """With owners and modes: the server runs as another user where the test is root."""
    subprocess.run(["cp", "-a", str(folder), str(to)], check=True)  # noqa: S607


def verdict(config: PostgresConfig, mark: Mark) -> EcluseError | None:
    try:
        with CONNECTOR.open(config, specs("t"), mark, ()):
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
