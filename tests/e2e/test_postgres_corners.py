"""Unusual tables and transactions of PostgreSQL: each comes out as the source has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest

from connectors.postgres.config import PostgresConfig
from engine.source import Reading, TableSpec
from tests.support.postgres_source import Came, opened, read, rows, specs
from tests.support.services import Database, Services

pytestmark = pytest.mark.stack


def snapshots(*tables: str) -> list[TableSpec]:
    return [replace(spec, snapshot=0) for spec in specs(*tables)]


def done(*tables: str) -> Callable[[Came], bool]:
    return lambda came: {r.table for r in came.items if isinstance(r, Reading) and r.done} >= set(tables)


def test_names_are_quoted_whatever_stands_in_them(config: PostgresConfig, database: Database) -> None:
    """Quotes, dots, spaces, wildcards, an emoji, SQL, and as long as a name can be."""
    table = 'We"ird.\\_% t'
    columns = ['a"b', "c.d", "e f", "😀", "n" * 63, "Übergröße", "'; drop table canary; --", "select"]
    quoted = [psycopg.sql.Identifier(name).as_string() for name in columns]
    name = psycopg.sql.Identifier("public", table).as_string()
    database.run(
        "create table canary (id int primary key)",
        f"create table {name} ({', '.join(f'{c} text' for c in quoted)}, secret text,"
        f" primary key ({quoted[0]}, {quoted[6]}))",
    )
    row = ", ".join(f"'{n}'" for n in range(len(columns) + 1))
    database.run(f"insert into {name} values ({row})")
    (spec,) = snapshots(table)
    with opened(config, [replace(spec, exclude=("secret",))]) as source:
        came = read(source, done(table))
        database.run(
            f"update {name} set {quoted[3]} = 'x'",
            f"update {name} set {quoted[6]} = 'y'",
        )
        came.items += read(source, rows(2)).items
    relation = came.runs[0].relation
    assert [column.name for column in relation.columns] == columns
    assert relation.key == (columns[0], columns[6])
    values = tuple(str(n) for n in range(len(columns)))
    changed = tuple("x" if n == 3 else v for n, v in enumerate(values))
    moved = tuple("y" if n == 6 else v for n, v in enumerate(changed))
    old = tuple(v if n in (0, 6) else None for n, v in enumerate(values))
    assert came.rows() == [("r", None, values), ("u", None, changed), ("k", old, moved)]
    with database.connect() as connection:
        assert connection.execute("select count(*) from canary").fetchone() == (0,)


def test_generated_columns_are_in_neither_the_snapshot_nor_the_stream(
    config: PostgresConfig, database: Database
) -> None:
    database.run(
        "create table t (id int primary key, s int generated always as (id * 2) stored,"
        " i int generated always as identity, v text)",
        "insert into t (id, v) values (1, 'a')",
    )
    with opened(config, snapshots("t")) as source:
        came = read(source, done("t"))
        database.run("insert into t (id, v) values (2, 'b')")
        came.items += read(source, rows(1)).items
    assert came.rows() == [("r", None, ("1", "1", "a")), ("c", None, ("2", "2", "b"))]


def test_only_what_was_committed_is_told(config: PostgresConfig, database: Database) -> None:
    """Of savepoints, more than the server keeps in sight, the half is rolled back."""
    database.run("create table t (id int primary key)")
    with opened(config, specs("t")) as source, psycopg.connect(database.dsn(database.app)) as session:
        for n in range(200):
            session.execute("savepoint s")
            session.execute("insert into t values (%s)", (n,))
            session.execute("rollback to s" if n % 2 else "release s")
        session.commit()
        came = read(source, rows(100))
    assert [after and after[0] for _, _, after in came.rows()] == [str(n) for n in range(0, 200, 2)]


def test_rows_of_partitions_are_told_by_the_names_of_the_roots_columns(
    config: PostgresConfig, database: Database
) -> None:
    database.run(
        "create table t (id int, kind text, v int, primary key (id, kind)) partition by list (kind)",
        "create table a partition of t for values in ('a')",
        "create table b (dropped text, v int, kind text not null, id int not null)",
        "alter table b drop column dropped",
        "alter table t attach partition b for values in ('b')",
        "insert into t values (1, 'a', 10), (2, 'b', 20)",
    )
    (spec,) = snapshots("t")
    with (
        opened(config, [replace(spec, exclude=("v",))]) as left_out,
        opened(
            config.model_copy(update={"slot": f"{config.slot}_2", "publication": f"{config.publication}_2"}),
            [spec],
        ) as whole,
    ):
        found = [read(left_out, done("t")), read(whole, done("t"))]
        database.run("update t set kind = 'b' where id = 1", "update t set v = 21 where id = 2")
        found[0].items += read(left_out, rows(3)).items
        found[1].items += read(whole, rows(3)).items
    assert found[1].rows() == [
        ("r", None, ("1", "a", "10")), ("r", None, ("2", "b", "20")),
        ("d", ("1", "a", None), None), ("c", None, ("1", "b", "10")), ("u", None, ("2", "b", "21")),
    ]  # fmt: skip
    assert found[0].rows() == [
        (op, before and before[:2], after and after[:2]) for op, before, after in found[1].rows()
    ]


def test_a_value_of_every_kind_that_is_stored_apart_stays_unchanged_when_it_is(
    config: PostgresConfig, database: Database
) -> None:
    kinds = {"t": "text", "j": "jsonb", "a": "text[]", "n": "numeric", "b": "bytea"}
    database.run(
        f"create table t (id int primary key, {', '.join(f'{n} {k}' for n, k in kinds.items())}, seen int)",
        *(f"alter table t alter column {n} set storage external" for n in kinds),
        "insert into t select 1, repeat('x', 5000), jsonb_build_object('k', repeat('x', 5000)),"
        " array_fill('y'::text, array[3000]), repeat('7', 9000)::numeric, repeat('z', 5000)::bytea",
    )
    with opened(config, snapshots("t")) as source:
        came = read(source, done("t"))
        database.run("update t set seen = 1", "update t set id = 2")
        came.items += read(source, rows(2)).items
    (_, _, first), (_, _, updated), (_, old, moved) = came.rows()
    assert first is not None
    assert updated == ("1", "…", "…", "…", "…", "…", "1")
    assert old == ("1", None, None, None, None, None, None)
    assert moved == ("2", *first[1:6], "1"), "a key change reads again what it left alone"


def test_what_a_key_change_left_alone_is_found_by_the_operator_of_the_keys_own_type(
    services: Services, config: PostgresConfig, database: Database
) -> None:
    with services.admin(database.name) as connection:
        connection.execute("create extension ltree schema public")
    database.run(
        "create table t (id ltree primary key, big text)",
        "alter table t alter column big set storage external",
    )
    with opened(config, specs("t")) as source:
        database.run("insert into t values ('a.b', repeat('x', 5000))", "update t set id = 'a.c'")
        came = read(source, rows(2))
    assert came.rows()[1] == ("k", ("a.b", None), ("a.c", "x" * 5000))


def test_a_type_that_grows_while_it_streams_is_told_as_it_is(
    config: PostgresConfig, database: Database
) -> None:
    """Nothing announces it: an enum's label needs no list, and a composite is never read by a known shape."""
    database.run(
        "create type mood as enum ('fine')",
        "create type pair as (a int)",
        "create table t (id int primary key, m mood, ms mood[], p pair)",
        "insert into t values (1, 'fine', '{fine}', row(1))",
    )
    with opened(config, snapshots("t")) as source:
        came = read(source, done("t"))
        database.run(
            "alter type mood add value 'odd' before 'fine'",
            "alter type pair add attribute b text",
            "insert into t values (2, 'odd', '{odd,fine}', row(2, 'x y'))",
        )
        came.items += read(source, rows(1)).items
    assert came.rows() == [
        ("r", None, ("1", "fine", "{fine}", "(1)")),
        ("c", None, ("2", "odd", "{odd,fine}", '(2,"x y")')),
    ]
