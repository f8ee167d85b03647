"""A standby takes over, and the old primary goes on serving: a capture believes neither without proof."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from connectors.postgres.config import PostgresConfig
from engine.errors import GapSuspected, SlotMissing
from engine.source import Mark
from tests.support.plain_postgres import PlainPostgres, plain_postgres
from tests.support.postgres_source import Came, accepted, opened, read, refused, rows, specs
from tests.support.waits import wait_until

pytestmark = pytest.mark.stack


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[PlainPostgres]:
    with plain_postgres(tmp_path / "primary") as server:
        server.psql.type("ALTER SYSTEM SET wal_level = logical; CREATE TABLE t (id int PRIMARY KEY)")
        server.start()
        yield server


def of(server: PlainPostgres) -> PostgresConfig:
    return PostgresConfig(
        host="localhost", port=server.port, database="postgres", user="postgres", project="test",
        connection="two", slot="s", publication="p",
    )  # fmt: skip


@dataclass
class Pair:
    primary: PlainPostgres
    standby: PlainPostgres
    mark: Mark

    def take_over(self) -> None:
        """The standby is promoted, and nobody tells the primary: both serve."""
        self.primary.psql.type("INSERT INTO t VALUES (2)")
        wait_until(lambda: self.standby.psql.one("SELECT true FROM t WHERE id = 2"), "the standby follows")
        self.standby.psql.one("SELECT pg_promote()")
        self.standby.psql.type("INSERT INTO t VALUES (3)")
        self.primary.psql.type("INSERT INTO t VALUES (30)")


@contextmanager
def captured(primary: PlainPostgres, folder: Path, *, slots: bool) -> Iterator[Pair]:
    """A capture that has told one row of a primary, and a standby of it."""
    with opened(of(primary), specs("t")) as source:
        primary.psql.type("INSERT INTO t VALUES (1)")
        mark = read(source, rows(1)).marks[-1]
        source.confirm(mark)
    standby = primary.standby(folder, slots=slots)
    try:
        primary.start()
        standby.start()
        yield Pair(primary, standby, mark)
    finally:
        standby.stop()


def told(server: PlainPostgres, mark: Mark, last: int) -> Came:
    """What a capture tells that goes on from a mark, up to a row."""
    with opened(of(server), specs("t"), mark) as source:
        came = read(source, lambda c: ("c", None, (str(last),)) in c.rows())
        source.confirm(came.marks[-1])
    return came


def test_s9_a_standby_that_has_our_slot_goes_on_where_the_primary_was_left(
    primary: PlainPostgres, tmp_path: Path
) -> None:
    with captured(primary, tmp_path / "standby", slots=True) as pair:
        pair.take_over()
        assert told(pair.standby, pair.mark, 3).rows() == [("c", None, ("2",)), ("c", None, ("3",))]


def test_s9_s10_a_standby_without_our_slot_and_an_old_primary_behind_it_are_gaps(
    primary: PlainPostgres, tmp_path: Path
) -> None:
    with captured(primary, tmp_path / "standby", slots=False) as pair:
        pair.take_over()
        error = refused(of(pair.standby), SlotMissing, pair.mark, "t")
        assert "ecluse resolve two --resnapshot" in error.hint
        with opened(of(pair.standby), specs("t"), accepted(pair.mark, error)) as source:
            pair.standby.psql.type("INSERT INTO t VALUES (4)")
            came = read(source, rows(1))
            source.confirm(came.marks[-1])
        assert came.rows() == [("c", None, ("4",))]
        assert {run.era for run in came.runs} == {pair.mark.era + 1}, "another history has its own positions"
        back = refused(of(primary), GapSuspected, came.marks[-1], "t")
        assert "timeline" in back.what
