"""Every type of PostgreSQL on a real server: snapshot and stream, in both wire forms, give what is there."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import fastavro
import pytest

from connectors.postgres import columns, session, snapshot
from connectors.postgres.cells import Form
from connectors.postgres.config import PostgresConfig
from connectors.postgres.progress import Progress
from engine.schema import Column, Float32, Float64, Unfit, avro
from engine.source import Field, Reading, TableSpec
from tests.support import postgres_types as corpus
from tests.support.postgres_source import Came, opened, read, rows, specs
from tests.support.postgres_types import BINARY, CASES, WRITTEN, Case
from tests.support.services import Database, Services

pytestmark = pytest.mark.stack


@pytest.fixture
def typed(services: Services, database: Database) -> Database:
    corpus.prepare(services, database)
    return database


def snapshots(*tables: str) -> list[TableSpec]:
    return [replace(spec, snapshot=0) for spec in specs(*tables)]


def done(*tables: str) -> Callable[[Came], bool]:
    return lambda came: {r.table for r in came.items if isinstance(r, Reading) and r.done} >= set(tables)


def values(came: Came, table: str, op: str, image: int) -> dict[int, list[tuple[Column, Field]]]:
    """The rows of an op by their number: each column with its field."""
    found: dict[int, list[tuple[Column, Field]]] = {}
    for run in came.runs:
        for row in run.rows:
            if run.relation.table == table and row[0] == op:
                fields = row[image]
                assert fields is not None
                pairs: list[tuple[Column, Any]] = list(zip(run.relation.columns, fields, strict=True))
                column, number = pairs[0]
                assert isinstance(number, bytes)
                found[int(column.cell.text(number))] = pairs[1:]
    return found


def decoded(column: Column, field: Field) -> Any:
    """A field as a reader of the topic has it."""
    if field is None:
        return None
    assert isinstance(field, bytes)
    schema = fastavro.parse_schema(avro(column.type))
    return fastavro.schemaless_reader(io.BytesIO(column.cell.encode(field)), schema, None)


def wrong(
    found: dict[int, list[tuple[Column, Field]]],
    expected: dict[int, tuple[str | None, ...]],
    cases: Sequence[Case],
    shift: int,
) -> Iterator[str]:
    """The values that are not what the server writes."""
    assert sorted(found) == [n + shift for n in sorted(expected)]
    for n, row in expected.items():
        for (column, field), case, text in zip(found[n + shift], cases, row, strict=True):
            assert (column.name, column.type) == (case.name, case.type)
            value = decoded(column, field)
            if not corpus.same(value, corpus.value(case.type, text)):
                yield f"{case.name} {text!r}: {value!r}"
            # floats of the binary form have no text: nothing needs it
            if isinstance(field, bytes) and not isinstance(case.type, Float32 | Float64):
                shown = column.cell.text(field)
                if shown != text:
                    yield f"{case.name} {text!r} is shown as {shown!r}"


@pytest.mark.parametrize("form", ["binary", "text"])
def test_every_type_is_the_same_in_the_snapshot_the_stream_and_the_source(
    config: PostgresConfig, typed: Database, form: Form
) -> None:
    cases = {"every": BINARY} if form == "binary" else {"every": BINARY, "written": WRITTEN}
    for table, each in cases.items():
        typed.run(
            f"create table {table} (id int primary key, {corpus.columns(each)})",
            f"alter table {table} replica identity full",
            corpus.insert(table, each),
        )
    count = sum(len(corpus.rows(each)) for each in cases.values())
    with opened(config, snapshots(*cases)) as source:
        came = read(source, done(*cases))
        for table, each in cases.items():
            typed.run(
                corpus.insert(table, each, 1000),
                f"update {table} set id = id + 1000 where id >= 1000",
                f"delete from {table} where id >= 1000",
            )
        came.items += read(source, rows(3 * count)).items
    with typed.connect() as connection:
        texts = {table: corpus.server_texts(connection, table, each) for table, each in cases.items()}
    with closing(session.side(config)) as side:
        assert columns.wire_form(side, config, snapshots(*cases))[0] == form
    for table, each in cases.items():
        for op, image, shift in (("r", 2, 0), ("c", 2, 1000), ("k", 1, 1000), ("k", 2, 2000), ("d", 1, 2000)):
            found = values(came, table, op, image)
            assert list(wrong(found, texts[table], each, shift)) == [], (table, op, image)


def test_every_type_that_can_be_a_key_is_read_in_its_own_order(
    config: PostgresConfig, typed: Database
) -> None:
    cases = [case for case in CASES if case.key]
    for case in cases:
        given = ", ".join(f"({corpus.literal(value)})" for value in case.values)
        typed.run(
            f'create table "k_{case.name}" (v {case.declared} primary key)',
            f'insert into "k_{case.name}" values {given}',
        )
    typed.run(
        "create table mixed (a citext, b int, c ltree, primary key (a, b, c))",
        "insert into mixed values ('B', 1, 'x'), ('a', 2, 'x'), ('a', 2, 'y'), ('a', 1, 'z'), ('C', 0, '')",
    )
    forms: tuple[Form, ...] = ("binary", "text")
    with closing(session.side(config)) as side:
        for case in cases:
            for form in forms[case.text :]:
                in_order(side, config, f"k_{case.name}", form)
        for form in forms:
            in_order(side, config, "mixed", form)


def in_order(side: session.Connection, config: PostgresConfig, table: str, form: Form) -> None:
    """Each key of a table leads to the ones behind it, and to no other."""
    known = snapshot.table(side, config, TableSpec("f", "public", table), form)
    assert not isinstance(known, str), known
    fields = all_fields(side, snapshot._query(known, ()), form)  # noqa: SLF001
    assert fields
    for n, key in enumerate(fields):
        after = snapshot._texts(side, known.key, key, form)  # noqa: SLF001
        assert all_fields(side, snapshot._query(known, after), form) == fields[n + 1 :], (table, after)  # noqa: SLF001
        behind = [snapshot.behind(side, known, other, Progress(0, after=after), form) for other in fields]
        assert behind == [m > n for m in range(len(fields))], (table, after)


def all_fields(side: session.Connection, query: str, form: Form) -> list[list[Field]]:
    found = side.pgconn.exec_params(query.encode(), [], result_format=int(form == "binary"))
    assert not found.error_message, found.error_message
    return [[found.get_value(row, at) for at in range(found.nfields)] for row in range(found.ntuples)]


def test_a_value_without_a_place_keeps_its_text_and_has_one_where_the_flow_says_text(
    config: PostgresConfig, database: Database
) -> None:
    names = [f"c{n}" for n in range(len(corpus.UNFIT))]
    declared = ", ".join(f"{name} {type_}" for name, (type_, _) in zip(names, corpus.UNFIT, strict=True))
    given = ", ".join(corpus.literal(value) for _, value in corpus.UNFIT)
    database.run(
        f"create table t (id int primary key, {declared})",
        f"insert into t values (1, {given})",
    )
    (spec,) = snapshots("t")
    as_text = config.model_copy(update={"slot": f"{config.slot}_t", "publication": f"{config.publication}_t"})
    with opened(config, [spec]) as source, opened(as_text, [replace(spec, text=tuple(names))]) as other:
        found = [read(source, done("t")), read(other, done("t"))]
        database.run("update t set id = id + 1")
        found[0].items += read(source, rows(1)).items
        found[1].items += read(other, rows(1)).items
    expected = [value for _, value in corpus.UNFIT]
    expected[-1] += "+00"
    expected[-1] = "0044-03-15 12:00:00+00 BC"
    for op, image in (("r", 2), ("k", 2)):
        for column, field in next(iter(values(found[0], "t", op, image).values())):
            assert isinstance(field, bytes)
            assert column.cell.text(field) == expected[names.index(column.name)]
            with pytest.raises(Unfit):
                column.cell.encode(field)
        lone = next(iter(values(found[1], "t", op, image).values()))
        assert [decoded(column, field) for column, field in lone] == expected


def test_a_type_that_only_the_server_writes_makes_a_running_capture_start_again_and_read_text(
    config: PostgresConfig, database: Database
) -> None:
    from engine.errors import SourceUnreachable

    database.run("create table t (id int primary key)")
    with opened(config, specs("t")) as source:
        source.confirm(mark := read(source, lambda came: came.marks).marks[-1])
        database.run("alter table t add column p point", "insert into t values (1, '(0.1,2)')")
        with pytest.raises(SourceUnreachable, match="column p is point"):
            read(source, rows(1))
    with opened(config, specs("t"), mark) as source:
        assert read(source, rows(1)).rows() == [("c", None, ("1", "(0.1,2)"))]
