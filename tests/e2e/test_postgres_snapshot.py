"""The rows that a table holds, read exactly while its changes stream: on a real server, from the source."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Self

import psycopg
import pytest

from connectors.postgres import readings, resume
from connectors.postgres.config import PostgresConfig
from engine.source import STREAM, Mark, Reading, Rows, Source, TableSpec, snapshot_of
from tests.support.postgres_source import Came, opened, read, rows, shown, specs
from tests.support.services import Database

pytestmark = pytest.mark.stack

_PACE_S = 0.005  # leaves the cores to the source, which is in this process
BIG = "repeat(md5(g::text), 200)"  # 6,400 bytes that compress badly enough to be stored apart


def snapshots(*tables: str) -> list[TableSpec]:
    return [replace(spec, snapshot=0) for spec in specs(*tables)]


def done(*tables: str) -> Callable[[Came], bool]:
    """The state in which these tables have been read."""
    return lambda came: {r.table for r in told(came) if r.done} >= set(tables)


def told(came: Came) -> list[Reading]:
    return [item for item in came.items if isinstance(item, Reading)]


def state(came: Came, table: str) -> dict[str, tuple[str | None, ...]]:
    """What a table holds by its rows in the order of their positions: (id, text …); the text is kept."""
    runs = [run for run in came.runs if run.relation.table == table]
    changes = [
        ((run.era, run.major, run.first_minor + 2 * n), shown(run, row))
        for run in runs
        for n, row in enumerate(run.rows)
    ]
    found: dict[str, tuple[str | None, ...]] = {}
    for _, (op, before, after) in sorted(changes, key=lambda change: change[0]):
        if op in "dk" and before is not None:
            found.pop(str(before[0]), None)
        if after is not None:
            key = str(after[0])
            old = found.get(key, after)
            found[key] = tuple(o if a == "…" else a for a, o in zip(after, old, strict=True))
    assert not any("…" in row for row in found.values()), "a value that nobody has told"
    return found


def held(database: Database, table: str) -> dict[str, tuple[str | None, ...]]:
    with psycopg.connect(database.dsn(database.app)) as connection:
        found = connection.execute(f"select * from {table}".encode()).fetchall()
    return {str(row[0]): tuple(None if v is None else str(v) for v in row) for row in found}


def test_the_rows_that_are_there_are_told_once_below_every_later_change(
    config: PostgresConfig, database: Database
) -> None:
    database.run(
        "create table t (id int primary key, v text)",
        "insert into t select g, 'v' || g from generate_series(1, 2500) g",
    )
    with opened(config, snapshots("t")) as source:
        came = read(source, done("t"))
        database.run("update t set v = 'new' where id = 7", "insert into t values (2501, 'late')")
        came.items += read(source, rows(2)).items
    read_first = [run for run in came.runs if snapshot_of(run.strand)]
    assert {run.strand for run in read_first} == {"snapshot:0:0"}
    assert sum(len(run.rows) for run in read_first) == 2500
    assert {row[0] for run in read_first for row in run.rows} == {"r"}
    (at,) = {run.major for run in read_first}
    assert at % 8 == 7  # C - 1: nobody's commit
    assert all(run.major > at for run in came.runs if run.strand == STREAM)
    assert state(came, "t") == held(database, "t")
    assert [r.rows for r in told(came) if r.done] == [2500]


def test_an_empty_table_is_read_at_once_and_streams(config: PostgresConfig, database: Database) -> None:
    database.run("create table t (id int primary key)")
    with opened(config, snapshots("t")) as source:
        came = read(source, done("t"))
        database.run("insert into t values (1)")
        came.items += read(source, rows(1)).items
    assert came.rows() == [("c", None, ("1",))]


def test_a_table_that_has_been_read_is_not_read_again(config: PostgresConfig, database: Database) -> None:
    database.run("create table t (id int primary key)", "insert into t values (1)")
    with opened(config, snapshots("t")) as source:
        came = read(source, done("t"))
        source.confirm(came.marks[-1])
    with opened(config, snapshots("t"), came.marks[-1]) as source:
        database.run("insert into t values (2)")
        assert read(source, rows(1)).rows() == [("c", None, ("2",))]


class Writers:
    """Sessions that change a table without pause, keys and stored-apart values among it."""

    def __init__(self, database: Database, keys: int) -> None:
        self._database, self._keys = database, keys
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(n,)) for n in range(3)]
        self.count = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _write(self, number: int) -> None:
        with psycopg.connect(self._database.dsn(self._database.app), autocommit=True) as session:
            turn = number
            while not self._done.wait(_PACE_S):
                turn += 7
                at, kind = turn % self._keys, turn % 10
                key = f"k{at:05d}"
                if kind < 5:
                    session.execute("update t set n = n + 1 where id = %s", (key,))
                elif kind < 7:
                    session.execute("delete from t where id = %s", (key,))
                elif kind < 9:
                    session.execute(
                        "insert into t values (%s, %s, repeat(md5(%s), 200)) on conflict (id) do nothing",
                        (key, turn, key),
                    )
                else:  # to the other end of the table, and back another time
                    other = f"k{self._keys - at:05d}"
                    with session.transaction(force_rollback=False):
                        session.execute("delete from t where id = %s", (other,))
                        session.execute("update t set id = %s where id = %s", (other, key))
                self.count += 1


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each group ends with its first run of rows: a small table takes many."""
    monkeypatch.setattr(readings, "GROUP_S", 0.0)


def make(database: Database, keys: int) -> None:
    database.run(
        "create table t (id text primary key, n int not null, big text)",
        "alter table t alter column big set storage external",
        f"insert into t select 'k' || lpad(g::text, 5, '0'), g, {BIG} from generate_series(0, {keys}) g",
    )


@pytest.mark.usefixtures("hurried")
def test_i2_a_snapshot_under_writers_comes_to_what_the_table_holds(
    config: PostgresConfig, database: Database
) -> None:
    make(database, 2000)
    with opened(config, snapshots("t")) as source:
        with Writers(database, 2000) as writers:
            came = read(source, done("t"))
        database.run("insert into t values ('end', 0, null)")
        came.items += read(source, lambda c: ("c", None, ("end", "0", None)) in c.rows()).items
    parts = {run.strand for run in came.runs} - {STREAM}
    assert len(parts) > 10, "few parts: little changed between them"
    assert writers.count > 100
    assert state(came, "t") == held(database, "t")
    ordered = [(run.era, run.major) for run in came.runs]
    assert ordered == sorted(ordered), "in its topic a table's positions grow, whatever their strand"  # I3


@pytest.mark.usefixtures("hurried")
def test_i7_a_snapshot_that_ends_anywhere_goes_on_behind_its_last_durable_part(
    config: PostgresConfig, database: Database
) -> None:
    make(database, 2000)
    came, mark, starts = Came(), None, 0
    with Writers(database, 2000):
        while not done("t")(came):
            starts += 1
            assert starts < 60
            with opened(config, snapshots("t"), mark) as source:
                mark = cut_short(source, came, mark, starts)
    with opened(config, snapshots("t"), mark) as source:
        database.run("insert into t values ('end', 0, null)")
        came.items += read(source, lambda c: ("c", None, ("end", "0", None)) in c.rows()).items
    assert starts > 3
    assert state(came, "t") == held(database, "t")


def cut_short(source: Source, came: Came, mark: Mark | None, turn: int) -> Mark | None:
    """Read until a part is open, or some are durable, or the whole is; then leave without a word."""
    durable, enough = 0, (turn % 4) * 2 if turn % 4 > 1 else 0
    while True:
        for item in source.read(limit=10_000, wait_s=0.2):
            came.items.append(item)
            match item:
                case Mark():
                    mark = item
                    source.confirm(item)
                    durable += any(snapshot_of(strand) for strand in item.at)
                case Rows() if snapshot_of(item.strand) and durable >= enough:
                    return mark
                case _:
                    pass
        if done("t")(came):
            return mark


def test_a_new_table_is_read_while_the_others_stream(config: PostgresConfig, database: Database) -> None:
    database.run("create table t (id int primary key)", "insert into t values (1)")
    with opened(config, snapshots("t")) as source:
        first = read(source, done("t"))
        source.confirm(first.marks[-1])
    database.run("create table u (id int primary key)", "insert into u values (5), (6)")
    with opened(config, snapshots("t", "u"), first.marks[-1]) as source:
        database.run("insert into t values (2)", "insert into u values (7)")
        came = read(source, done("u"))
        came.items += read(source, lambda _: True).items
    assert sorted(state(came, "u")) == ["5", "6", "7"]
    assert came.rows("t") == [("c", None, ("2",))]


def test_i9_an_open_writer_holds_up_the_snapshot_and_not_the_stream(
    config: PostgresConfig, database: Database
) -> None:
    database.run("create table t (id int primary key)", "insert into t values (1)")
    with opened(config, snapshots("t")) as source, psycopg.connect(database.dsn(database.app)) as open_writer:
        open_writer.execute("create table w (id int)")
        came = read(source, lambda c: any(r.waits_for for r in told(c)))
        (waits,) = {r.waits_for for r in told(came)}
        assert f"process {open_writer.info.backend_pid}" in waits
        open_writer.rollback()
        came.items += read(source, done("t")).items
    assert came.rows() == [("r", None, ("1",))]


def test_a_transaction_that_commits_exactly_at_the_boundary_is_told_by_the_stream(
    config: PostgresConfig, database: Database
) -> None:
    """Changes land around the point of many groups; none is lost, whichever side of it they are on."""
    database.run("create table t (id text primary key, n int not null, big text)")
    with opened(config, snapshots("t")) as source, Writers(database, 50):
        came = read(source, done("t"))
    with opened(config, snapshots("t"), came.marks[-1]) as source:
        database.run("insert into t values ('end', 0, null)")
        came.items += read(source, lambda c: ("c", None, ("end", "0", None)) in c.rows()).items
    assert state(came, "t") == held(database, "t")


def test_a_table_without_a_key_is_read_whole(config: PostgresConfig, database: Database) -> None:
    database.run(
        "create table t (id int, v text)",
        "alter table t replica identity full",
        r"insert into t values (1, E'tab\there'), (1, E'tab\there'), (null, null)",
    )
    with opened(config, snapshots("t")) as source:
        came = read(source, done("t"))
    assert sorted(came.rows(), key=str) == [
        ("r", None, ("1", "tab\there")), ("r", None, ("1", "tab\there")), ("r", None, (None, None)),
    ]  # fmt: skip


def test_the_mark_says_how_far_a_snapshot_is(config: PostgresConfig, database: Database) -> None:
    make(database, 100)
    with opened(config, snapshots("t")) as source:
        came = read(source, done("t"))
    said = resume.load(came.marks[-1]).snapshots["public.t"]
    assert (said.run, said.rows, said.done) == (0, 101, True)


def test_rows_that_a_policy_hides_are_waited_for_and_never_left_out(
    config: PostgresConfig, database: Database
) -> None:
    database.run(
        "create table t (id int primary key)",
        "insert into t values (1), (2)",
        "alter table t enable row level security, force row level security",
        "create policy few on t using (id = 1)",
    )
    with opened(config, snapshots("t")) as source:
        came = read(source, lambda c: any(r.waits_for for r in told(c)))
    assert came.rows() == []
    assert "row-level security" in next(r.waits_for for r in told(came))


def test_a_table_is_read_as_it_is_published_without_those_that_inherit_from_it(
    config: PostgresConfig, database: Database
) -> None:
    database.run(
        "create table t (id int primary key)",
        "create table u (primary key (id)) inherits (t)",
        "insert into t values (1)",
        "insert into u values (2)",
    )
    with opened(config, snapshots("t")) as source:
        came = read(source, done("t"))
    assert came.rows() == [("r", None, ("1",))]


def test_a_partitioned_table_is_read_as_one(config: PostgresConfig, database: Database) -> None:
    database.run(
        "create table t (id int, at date, primary key (at, id)) partition by range (at)",
        "create table t1 partition of t for values from ('2026-01-01') to ('2026-07-01')",
        "create table t2 partition of t for values from ('2026-07-01') to ('2027-01-01')",
        "insert into t values (1, '2026-08-01'), (2, '2026-02-01'), (3, '2026-08-01')",
    )
    with opened(config, snapshots("t")) as source:
        came = read(source, done("t"))
    assert [row[2] for row in came.rows()] == [
        ("2", "2026-02-01"), ("1", "2026-08-01"), ("3", "2026-08-01"),
    ]  # fmt: skip


@pytest.mark.usefixtures("hurried")
def test_a_table_is_read_again_below_what_its_stream_tells_and_above_its_floor(
    config: PostgresConfig, database: Database
) -> None:
    make(database, 1000)
    with opened(config, snapshots("t")) as source:
        first = read(source, done("t"))
        source.confirm(first.marks[-1])
    again = [replace(spec, snapshot=1) for spec in snapshots("t")]
    came, mark, starts = Came(), first.marks[-1], 0
    with Writers(database, 1000):
        while not done("t")(came):
            starts += 1
            with opened(config, again, mark) as source:
                mark = cut_short(source, came, mark, starts) or mark
    with opened(config, again, mark) as source:
        database.run("insert into t values ('end', 0, null)")
        came.items += read(source, lambda c: ("c", None, ("end", "0", None)) in c.rows()).items
    read_again = [run for run in came.runs if snapshot_of(run.strand) and run.rows[0][0] == "r"]
    (floor,) = {(run.strand, run.era, run.major) for run in came.runs if run.rows[0][0] == "f"}
    assert floor[0].startswith("snapshot:1:floor.")
    assert floor[1:] == min((run.era, run.major) for run in read_again)
    assert {r.run for r in told(came)} == {1}
    assert starts > 2
    assert state(came, "t") == held(database, "t"), "the second reading and its stream are enough"
