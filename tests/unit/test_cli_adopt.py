"""A project from a database that is there: valid whatever its things are called, and without a password."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.postgres import CONNECTOR
from engine import plugins
from engine.cli import adopt, compose, declare
from engine.cli.compose import Call
from engine.cli.main import main
from engine.errors import SourceRefused, Unusable, explain
from engine.source import Finding, TableFound
from engine.template.shapes import Text

CANARY = "S3CR3T-canary"
URL = "postgres://ana@db.example.org:5433/Shop-DB"
Out = pytest.CaptureFixture[str]


def found(table: str, schema: str = "public", rows: int | None = 1200) -> TableFound:
    return TableFound(schema, table, rows, 3_250_585, ("id",))


TABLES = (found("parcel"), found("parcel", "sales"), found("keyless"), found("journal"), found("Or der"))
FINDINGS = (
    Finding("ok", "connection", "there"),
    Finding("fail", "wal_level", "is replica, must be logical", fix="ALTER SYSTEM"),
    Finding("fail", "publication", "public.parcel: ana does not own it", table="public.parcel"),
    Finding("warn", "table", "public.parcel may not be read", table="public.parcel"),
    Finding("fail", "replica identity", "public.keyless has no key", fix="ALTER", table="public.keyless"),
    Finding("warn", "replica identity", "public.journal has no primary key: its rows can only be appended",
            table="public.journal"),
)  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A PostgreSQL that says what it is told to; gives the configs that it was asked with."""
    asked: list[Any] = []

    def tables(config: Any) -> Sequence[TableFound]:
        asked.append(config)
        return TABLES

    scripted = replace(CONNECTOR, tables=tables, preflight=lambda *_: FINDINGS)
    monkeypatch.setattr(plugins, "load", lambda: {"postgres": scripted})
    return asked


def init(folder: Path, *words: str, url: str = URL, **environment: str) -> int:
    return main(["init", "--from", url, *words, str(folder)], environment=environment)


def test_a_project_is_written_with_a_flow_for_every_table_that_can_be_captured(
    tmp_path: Path, server: list[Any], capsys: Out
) -> None:
    folder = tmp_path / "My-Project"
    assert init(folder, PGPASSWORD=CANARY) == 0
    said = capsys.readouterr()
    (config,) = server
    assert config.password.get_secret_value() == CANARY
    assert (config.tls, config.port) == ("verify-full", 5433)
    assert "public.keyless  1 200       3.1 MiB  id   no: has no key" in said.out
    assert "fail: wal_level: is replica, must be logical" in said.err
    assert "3 of 5 tables are flows" in said.err
    plan = compose.build(Call(folder, {}))
    assert {f.name: (f.sink.table, f.sink.mode) for f in plan.flows} == {
        "shop_db.parcel": ("bronze.parcel", "scd1"),
        "shop_db.sales_parcel": ("bronze_sales.parcel", "scd1"),
        "shop_db.journal": ("bronze.journal", "append"),
    }
    flows = (folder / "flows" / "shop_db.yaml").read_text()
    assert "# public.keyless is not captured: has no key" in flows
    assert "# public.Or der is not captured: its name has no place in the lake" in flows
    assert "may not be read" not in flows  # the SQL mends it
    sql = (folder / "dba.sql").read_text()
    assert 'GRANT SELECT ON "public"."parcel" TO "ana";' in sql
    assert '"public"."keyless"' not in sql
    assert plan.captures[0].config["slot"] in sql
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert CANARY not in said.out + said.err + "".join(path.read_text() for path in written)  # I8
    assert (folder / "secrets").stat().st_mode & 0o777 == 0o700


def test_all_of_it_is_json(tmp_path: Path, server: list[Any], capsys: Out) -> None:
    assert init(tmp_path / "mine", "--json") == 0
    said = capsys.readouterr()
    assert "trying without a password" in said.err
    told = json.loads(said.out)
    assert told["project"] == "mine"
    assert [t["flow"] for t in told["tables"]] == ["parcel", "sales_parcel", None, "journal", None]
    assert any(path.endswith("dba.sql") for path in told["files"])
    assert server[0].password is None
    assert "# password: ${secret.shop_db_password}" in (tmp_path / "mine" / "ecluse.yaml").read_text()


def test_a_person_is_asked_for_the_password_and_it_is_not_shown(
    tmp_path: Path, server: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def getpass(prompt: str, _stream: Any) -> str:
        asked.append(prompt)
        return CANARY

    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", getpass)
    assert init(tmp_path / "mine") == 0
    assert server[0].password.get_secret_value() == CANARY
    assert asked == ["password of ana at db.example.org (Enter: none): "]
    assert init(tmp_path / "other", ECLUSE_SECRET_SHOP_DB_PASSWORD=CANARY) == 0
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("url", "word"),
    [
        (f"postgres://ana:{CANARY}@h/d", "PGPASSWORD"),
        (f"postgres://ana@h/d?password={CANARY}", "PGPASSWORD"),
        ("postgres://h/d", "names no user"),
        ("postgres:///d", "names no host"),
        ("postgres://ana@h", "names no database"),
        ("mysql://ana@h/d", "no connector mysql"),
        ("postgres://ana@h/d?options=-c", "an option options"),
        ("postgres://ana@h:port/d", "no URL"),
        ("postgres://ana@h/d?sslmode=sometimes", "sslmode"),
        ("postgres://ana@a,b/d", "one server"),
        ("postgres://ana@h/d%1f", "no place in ecluse.yaml"),
    ],
)
@pytest.mark.usefixtures("server")
def test_an_address_that_cannot_be_used_is_refused_with_what_to_write_and_nothing_is(
    tmp_path: Path, url: str, word: str, capsys: Out
) -> None:
    assert init(tmp_path / "mine", url=url) == 2
    said = capsys.readouterr()
    assert word in said.err
    assert "next" in said.err
    assert CANARY not in said.out + said.err  # I8
    assert not (tmp_path / "mine").exists()


def test_an_address_is_read_with_its_signs() -> None:
    connector, values = adopt.address("postgresql://an%40a@[::1]/my%2Fshop?sslmode=require")
    assert connector == "postgres"
    assert values == {"host": "::1", "database": "my/shop", "user": "an@a", "sslmode": "require"}
    with pytest.raises(Unusable) as refused:
        adopt.address(f"postgres://ana:{CANARY}@h/d")
    assert CANARY not in explain(refused.value)


@pytest.mark.usefixtures("server")
def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    assert init(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_server_that_says_no_leaves_no_project_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    def tables(_: Any) -> Sequence[TableFound]:
        raise SourceRefused("password refused", where="shop", hint="set PGPASSWORD")

    monkeypatch.setattr(plugins, "load", lambda: {"postgres": replace(CONNECTOR, tables=tables)})
    assert init(tmp_path / "mine") == SourceRefused.exit_code
    assert "password refused" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


def test_a_database_of_which_nothing_can_be_captured_is_told_table_by_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    bare = replace(CONNECTOR, tables=lambda _: TABLES[2:3], preflight=lambda *_: FINDINGS)
    monkeypatch.setattr(plugins, "load", lambda: {"postgres": bare})
    assert init(tmp_path / "mine") == 4
    said = capsys.readouterr()
    assert "no: has no key" in said.out
    assert "none of 1 tables" in said.err
    assert not (tmp_path / "mine").exists()


NAMES = st.text(min_size=1, max_size=63)


TABLES_OF = st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=6, unique=True)


@example(tables=[("a", "TRUE"), ("a", "on"), ("a:b@", "t"), ("a", "T"), ("b", "t")], database="0")
@given(tables=TABLES_OF, database=NAMES.filter(partial(declare.takes, Text())))
def test_whatever_a_database_calls_its_things_the_files_are_valid(
    tmp_path_factory: pytest.TempPathFactory, tables: list[tuple[str, str]], database: str
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    told: list[declare.Told] = [
        (found(table, schema), [], [f"a note on {table}"]) for schema, table in tables
    ]
    told.append((found("good", "a"), [], []))
    told.append((found("bad"), [f"reason {tables[0][1]}"], []))
    made = declare.candidates(told)
    values = {"type": "postgres", "host": "h", "database": database, "user": database}
    declare.write(folder, "null", "no", values, made, secret=True)
    plan = compose.build(Call(folder, {}))
    assert sorted(f"{f.table.schema}.{f.table.table}" for f in plan.flows) == sorted(
        dict(each.params)["table"] for each in made if each.flow
    )
    assert plan.captures[0].config["database"] == database
