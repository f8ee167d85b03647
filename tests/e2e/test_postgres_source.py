"""The PostgreSQL source on a real server: what each change becomes, in any form, in bounded memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from itertools import pairwise

import pytest

from connectors.postgres import CONNECTOR, stream
from connectors.postgres.config import PostgresConfig
from engine.errors import ContractBroken, SourceUnreachable
from engine.schema import Decimal, Timestamp, Unfit
from engine.source import STREAM, Rows
from tests.support.postgres_source import Came, holder, opened, read, rows, specs
from tests.support.services import Database, Services
from tests.support.waits import wait_until

pytestmark = pytest.mark.stack

BIG = "repeat('x', 3000)"


def test_each_identity_says_of_a_change_what_it_can(config: PostgresConfig, database: Database) -> None:
    database.run(
        "create table d (id int primary key, name text, big text)",
        "create table f (id int primary key, name text, big text)",
        "create table i (id int primary key, other int not null, big text)",
        "create unique index i_other on i (other)",
        "alter table f replica identity full",
        "alter table i replica identity using index i_other",
        *(f"alter table {table} alter big set storage external" for table in "dfi"),
    )
    with opened(config, specs("d", "f", "i")) as source:
        database.run(
            f"insert into d values (1, 'a', {BIG})", f"insert into f values (1, 'a', {BIG})",
            f"insert into i values (1, 7, {BIG})",
            "update d set name = 'b'", "update f set name = 'b'", "update i set id = 2",
            "update d set id = 5", "update f set id = 5", "update i set other = 8",
            "delete from d", "delete from f", "delete from i",
            "truncate d, f",
        )  # fmt: skip
        came = read(source, rows(14))
    x = "x" * 3000
    assert came.rows("d") == [
        ("c", None, ("1", "a", x)),
        ("u", None, ("1", "b", "…")),
        # the row is gone when its large value is read again: the landing decides
        ("k", ("1", None, None), ("5", "b", "…")),
        ("d", ("5", None, None), None),
        ("t", None, None),
    ]
    assert came.rows("f") == [
        ("c", None, ("1", "a", x)),
        ("u", ("1", "a", x), ("1", "b", x)),
        ("k", ("1", "b", x), ("5", "b", x)),
        ("d", ("5", "b", x), None),
        ("t", None, None),
    ]
    assert came.rows("i") == [
        ("c", None, ("1", "7", x)),
        ("u", None, ("2", "7", "…")),
        ("k", (None, "7", None), ("2", "8", "…")),
        ("d", (None, "8", None), None),
    ]
    keys = {run.relation.table: run.relation.key for run in came.runs}
    assert keys == {"d": ("id",), "f": ("id",), "i": ("other",)}


def test_a_key_change_reads_again_what_it_left_alone(config: PostgresConfig, database: Database) -> None:
    database.run(
        "create table t (id int primary key, a text, b text)", "alter table t alter b set storage external"
    )
    with opened(config, specs("t")) as source:
        database.run(f"insert into t values (1, 'a', {BIG})", "update t set id = 2, a = 'z'")
        came = read(source, rows(2))
    assert came.rows()[1] == ("k", ("1", None, None), ("2", "z", "x" * 3000))


TYPES = (
    "n numeric(10, 2), w numeric(38, 10), i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, o bool, t text,"
    " v varchar(20), c char(5), d date, ts timestamp, tz timestamptz, u uuid, y bytea, j json, jb jsonb,"
    " m mood, q small"
)
VALUES = (
    """12.50, -1234567890123456789012345678.0123456789, -32768, 2147483647, -9223372036854775808, 1.5, -0.1,
    true, 'é日本', 'v', 'c', '2026-11-21', '1969-12-31 23:59:59.5', '2026-11-21 11:49:25.123456+02',
    '11111111-2222-3333-4444-555555555555', '\\x00ff', '{"a" : 1}', '{"b": [1]}', 'fine', 3.25""",
    """0, 0, 0, 0, 0, 'NaN', 'Infinity', false, '', '', '', '0001-01-01', '9999-12-31 23:59:59.999999',
    '0001-01-01 00:00:00+00', '00000000-0000-0000-0000-000000000000', '', '0', 'null', 'odd', 0""",
    ", ".join(["null"] * 20),
    """'NaN', 1, 1, 1, 1, 1, 1, true, 't', 'v', 'c', 'infinity', '-infinity', '0044-03-15 12:00:00 BC',
    '11111111-2222-3333-4444-555555555555', 'a', '1', '1', 'odd', 1""",
)


def encoded(came: Came) -> list[list[bytes | str | None]]:
    """Every field as its cell encodes it, or the text of one without a place."""
    found: list[list[bytes | str | None]] = []
    for run in came.runs:
        for _, _, after in run.rows:
            assert after is not None
            line: list[bytes | str | None] = []
            for column, value in zip(run.relation.columns, after, strict=True):
                if not isinstance(value, bytes):
                    line.append(None)
                    continue
                try:
                    line.append(column.cell.encode(value))
                except Unfit:
                    line.append(column.cell.text(value))
            found.append(line)
    return found


def test_binary_and_text_give_the_same_bytes_and_the_source_s_own_texts(
    services: Services, config: PostgresConfig, database: Database
) -> None:
    database.run(
        "create type mood as enum ('fine', 'odd')",
        "create domain base_amount as numeric(6, 2)",
        "create domain small as base_amount check (value >= 0)",
        f"create table t (id int primary key, {TYPES})",
        "create table poison (id int primary key, a aclitem[])",
    )
    text = config.model_copy(update={"slot": f"{config.slot}_t", "publication": f"{config.publication}_t"})
    # one published column without a binary form makes a whole capture read text
    database.run(f'create publication "{text.publication}" for table t, poison')
    with opened(config, specs("t")) as source, opened(text, specs("t")) as other:
        database.run(*(f"insert into t values ({n}, {values})" for n, values in enumerate(VALUES)))
        binary, plain = read(source, rows(4)), read(other, rows(4))
    names = {column.cell.name for column in binary.runs[0].relation.columns}
    assert "int8_binary" in names
    assert "int_text" in {column.cell.name for column in plain.runs[0].relation.columns}
    assert encoded(binary) == encoded(plain)
    with services.admin(database.name) as connection:
        connection.execute("set timezone = 'UTC'")
        # a cast to text would take the padding off
        columns = ", ".join(
            "textin(bpcharout(c))" if c.name == "c" else f"{c.name}::text"
            for c in binary.runs[0].relation.columns
        )
        texts = connection.execute(f"select {columns} from t order by id".encode()).fetchall()
    floats = [n for n, c in enumerate(binary.runs[0].relation.columns) if c.name in ("f4", "f8", "o")]
    for (_, _, row), (_, _, said), expected in zip(binary.rows(), plain.rows(), texts, strict=True):
        assert row is not None
        assert said is not None
        for n, value in enumerate(expected):
            assert said[n] == {"true": "t", "false": "f"}.get(value, value), n
            assert n in floats or row[n] == said[n], n
    types = {c.name: (c.type, c.declared) for c in binary.runs[0].relation.columns}
    assert types["n"] == (Decimal(10, 2), "numeric(10,2)")
    assert types["q"] == (Decimal(6, 2), "public.small")
    assert types["tz"] == (Timestamp(), "timestamp with time zone")


def test_a_relation_that_changes_in_mid_transaction_is_told_with_its_default(
    config: PostgresConfig, database: Database
) -> None:
    database.run("create table t (id int primary key, a text)")
    with opened(config, specs("t")) as source:
        with database.connect() as connection, connection.transaction():
            connection.execute("insert into t values (1, 'a')")
            connection.execute("alter table t add column n int not null default 7, add column at date")
            connection.execute("insert into t values (2, 'b')")
        database.run("alter table t drop column a", "insert into t values (3)")
        came = read(source, rows(3))
    assert came.rows() == [
        ("c", None, ("1", "a")),
        ("c", None, ("2", "b", "7", None)),
        ("c", None, ("3", "7", None)),
    ]
    relation = came.runs[1].relation
    assert [(c.name, c.default, c.nullable) for c in relation.columns][2:] == [
        ("n", "7", False),
        ("at", None, True),
    ]
    assert [(run.major == came.runs[0].major, run.first_minor) for run in came.runs] == [
        (True, 0), (True, 2), (False, 0),
    ]  # fmt: skip


def test_positions_are_counted_per_table_and_come_again_the_same_from_every_mark(
    config: PostgresConfig, database: Database
) -> None:
    database.run("create table t (id int primary key)", "create table u (id int primary key)")
    with opened(config, specs("t", "u")) as source:
        first = read(source, lambda came: came.marks)
        for n in range(0, 60, 3):
            with database.connect() as connection, connection.transaction():
                connection.execute(f"insert into t values ({n}), ({n + 1})".encode())
                with connection.transaction(force_rollback=True):
                    connection.execute(f"insert into u values ({n})".encode())
                connection.execute(f"insert into u values ({n})".encode())
                connection.execute(f"insert into t values ({n + 2})".encode())
        database.run("truncate t, u")
        came = read(source, rows(82), limit=3)
    told = came.positions()
    assert [p[:4] for p in told if p[0] == "t"] == sorted(p[:4] for p in told if p[0] == "t")
    assert len(set(told)) == len(told) == 82
    # nothing was confirmed, so every mark can be started from
    assert len(came.marks) > 5
    for mark in [first.marks[0], *came.marks[::4]]:
        rest = [p for p in told if p[2] > mark.at[STREAM]]
        with opened(config, specs("t", "u"), mark) as source:
            assert read(source, rows(len(rest))).positions() == rest


def test_a_confirmation_is_the_last_commit_and_never_out_of_bounds(
    config: PostgresConfig, database: Database
) -> None:
    database.run("create table t (id int primary key)")

    def confirmed() -> int:
        found = CONNECTOR.measure(config).confirmed
        assert found is not None
        return found

    with opened(config, specs("t")) as source:
        database.run("insert into t values (1)")
        old = read(source, rows(1)).marks[-1]
        source.confirm(old)
        source.confirm(old)
        wait_until(lambda: confirmed() == old.at[STREAM], "the slot has moved")
        database.run("insert into t values (2)")
        new = read(source, rows(1)).marks[-1]
        source.confirm(new)
        with pytest.raises(ContractBroken):
            source.confirm(old)
        beyond = new.resume.replace(b'"confirmed": "0/', b'"confirmed": "F/')
        with pytest.raises(ContractBroken):
            source.confirm(new._replace(resume=beyond))
    seen = CONNECTOR.measure(config)
    assert seen.end is not None
    assert seen.end >= new.at[STREAM]
    assert seen.retained_bytes is not None


def test_a_heartbeat_moves_the_slot_of_an_idle_database(config: PostgresConfig, database: Database) -> None:
    database.run("create table t (id int primary key)")
    with opened(config.model_copy(update={"heartbeat_s": 0.1}), specs("t")) as source:
        came = read(source, lambda came: len({mark.at[STREAM] for mark in came.marks}) >= 4)
        assert came.runs == []
        assert all(a.at[STREAM] <= b.at[STREAM] for a, b in pairwise(came.marks))


def test_where_nothing_may_be_written_the_end_of_the_log_is_confirmed(
    services: Services, config: PostgresConfig, database: Database
) -> None:
    database.run("create table t (id int primary key)", "create table noise (id int)")
    find = "select oid::regprocedure::text from pg_proc where proname = 'pg_logical_emit_message'"
    with services.admin(database.name) as connection:
        for (function,) in connection.execute(find).fetchall():
            connection.execute(f"revoke execute on function {function} from public".encode())
    with opened(config, specs("t")) as source:
        database.run("insert into noise select generate_series(1, 1000)")
        end = CONNECTOR.measure(config).end
        assert end is not None
        came = read(source, lambda came: came.marks and came.marks[-1].at[STREAM] >= end - 1)
        mark = came.marks[-1]
        assert json.loads(mark.resume)["overlap"] == "none"
        source.confirm(mark)
        wait_until(lambda: CONNECTOR.measure(config).confirmed == mark.at[STREAM] + 1, "the slot has moved")
        database.run("insert into t values (1)")
        assert read(source, rows(1)).rows() == [("c", None, ("1",))]
    with opened(config, specs("t"), mark) as source:
        assert read(source, rows(1)).rows() == [("c", None, ("1",))]


def test_a_reader_that_waits_is_kept_alive(
    services: Services, config: PostgresConfig, database: Database
) -> None:
    database.run("create table t (id int primary key)")
    with services.admin() as connection:
        connection.execute(f"alter role {config.user} set wal_sender_timeout = '3s'".encode())
    with opened(config, specs("t")) as source:
        mark = read(source, lambda came: len(came.marks) > 1).marks[-1]
    database.run("insert into t select generate_series(1, 200000)")
    with opened(config, specs("t"), mark) as source:
        until = time.monotonic() + 7

        def patient() -> bool:
            source.confirm(mark)
            return time.monotonic() > until

        # the topic is slow: nothing is read, the same mark is confirmed again and again
        wait_until(patient, "more than twice the server's patience", every_s=0.5)
        assert read(source, rows(200_000)).count == 200_000


def test_a_server_that_stands_still_is_given_up(
    config: PostgresConfig, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.run("create table t (id int primary key)")
    monkeypatch.setattr(stream, "FEEDBACK_S", 0.2)
    monkeypatch.setattr(stream, "SILENCE_S", 2.0)
    with opened(config, specs("t")) as source:
        read(source, lambda came: len(came.marks) > 1)
        pid = holder(config)
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(SourceUnreachable):
                read(source, lambda _: False)
        finally:
            os.kill(pid, signal.SIGCONT)


def test_a_transaction_of_any_size_passes_in_bounded_memory(
    config: PostgresConfig, database: Database
) -> None:
    database.run("create table t (id int primary key, a text)")
    with opened(config, specs("t")) as source:
        read(source, lambda came: came.marks)
        database.run("insert into t select g, repeat('y', 300) from generate_series(1, 30000) g")
        tracemalloc.start()
        count = largest = 0
        while count < 30_000:
            for item in source.read(limit=1000, wait_s=5):
                if isinstance(item, Rows):
                    count += len(item.rows)
                    largest = max(largest, len(item.rows))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert count == 30_000
    assert largest <= 1100
    assert peak < 4 << 20


LARGE = """
import resource, sys
from connectors.postgres import CONNECTOR, stream
from connectors.postgres.config import PostgresConfig
from engine.source import Rows, TableSpec
config = PostgresConfig.model_validate_json(sys.stdin.read())
with CONNECTOR.open(config, [TableSpec("f.t", "public", "t")], None, ()) as source:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
    found = 0
    while not found:
        for item in source.read(limit=1, wait_s=1):
            if isinstance(item, Rows):
                found = len(item.rows[0][2][1])
    print(found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
"""


def test_one_large_value_costs_a_small_multiple_of_itself(config: PostgresConfig, database: Database) -> None:
    database.run("create table t (id int primary key, a text)")
    said = {**config.model_dump(mode="json"), "password": database.capture.password}
    with subprocess.Popen(
        [sys.executable, "-c", LARGE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(said))
        child.stdin.close()
        before = int(child.stdout.readline())
        database.run("insert into t values (1, repeat('z', 50000000))")
        size, after = map(int, child.stdout.readline().split())
    assert size == 50_000_000
    assert (after - before) * 1024 < 4 * size
