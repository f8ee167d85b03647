"""A database full of changes that nobody has read, and a slot for every run to come.

Rule: the slots are made before the load, so that the first change is the same for every run, and the
backlog is complete before a run starts: the pace is the reader's, never the writer's. The clock of every
side is the one here: from the moment its slot is active until it says that it is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg

from bench import change
from bench.measure import Meter, Used
from bench.place import Place
from bench.rounds import say
from engine import names

PROJECT: Final = "bench"
_POLL_S: Final = 0.02
_POLL_SHARE: Final = 0.01  # of the time that has passed: who asks fifty times a second takes part of a core
_STUCK_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Backlog:
    """The changes: how many, in transactions of how many rows, and where they lie in the log."""

    place: Place
    database: str
    changes: int
    per_transaction: int
    made: change.Made | None = None

    @property
    def at(self) -> change.Made:
        """Where the changes lie in the log."""
        assert self.made is not None
        return self.made

    def connection(self, side: str, number: int) -> str:
        """A run's connection in a project."""
        return f"t{self.per_transaction}_{side}_{number}"

    def slot(self, side: str, number: int) -> str:
        """The slot of one side's run; its publication is called the same."""
        return names.slot(PROJECT, self.connection(side, number))

    def timed(
        self, slot: str, begin: Callable[[], int], done: Callable[[], bool], check: Callable[[], None]
    ) -> tuple[Used, float]:
        """What a run took, and how long it took to start; ``begin`` gives the process to measure.

        ``check`` raises when the run has failed; so do ten minutes without an end.
        """
        begun = time.perf_counter()
        pid = begin()
        with Meter({"sut": pid, **self.place.pids}) as meter, self.place.connect(self.database) as session:
            while not done() and not _active(session, slot):
                _wait(begun, check)
            meter.restart()
            start_s = time.perf_counter() - begun
            while not done():
                _wait(begun, check)
            return meter.read(), round(start_s, 3)


def _active(session: psycopg.Connection[Any], slot: str) -> bool:
    query = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
    row = session.execute(query, (slot,)).fetchone()
    return bool(row and row[0])


def drop(session: psycopg.Connection[Any], slot: str) -> None:
    """Give a slot back."""
    while _active(session, slot):  # a reader that has just left holds it for a moment
        time.sleep(_POLL_S)
    session.execute("SELECT pg_drop_replication_slot(%s)", (slot,))


def _wait(begun: float, check: Callable[[], None]) -> None:
    check()
    if time.perf_counter() - begun > _STUCK_S:
        raise TimeoutError(f"a run has not ended after {_STUCK_S:g} s")
    time.sleep(max(_POLL_S, _POLL_SHARE * (time.perf_counter() - begun)))


@contextmanager
def backlog(
    place: Place, changes: int, per_transaction: int, runs: Sequence[tuple[str, int]]
) -> Iterator[Backlog]:
    """Slots first, then the load; in the end both go."""
    work = Backlog(place, f"bench_{per_transaction}", changes, per_transaction)
    with place.connect("postgres") as admin:
        admin.execute(f"CREATE DATABASE {work.database}")
    with place.connect(work.database) as session:
        change.prepare(session)
        for side, number in runs:
            slot = work.slot(side, number)
            session.execute(f'CREATE PUBLICATION "{slot}" FOR TABLE {change.SCHEMA}.{change.TABLE}')
            session.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
        started = time.perf_counter()
        made = change.make(session, changes, per_transaction)
    took_s = time.perf_counter() - started
    say(f"{changes:,} changes in transactions of {per_transaction}: made in {took_s:.0f} s")
    yield replace(work, made=made)
    with place.connect(work.database) as session:
        for side, number in runs:
            drop(session, work.slot(side, number))
    with place.connect("postgres") as admin:
        admin.execute(f"DROP DATABASE {work.database} WITH (FORCE)")
