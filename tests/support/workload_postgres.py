"""A plan of ``workload`` run on PostgreSQL, exactly once, whatever happens to the server meanwhile.

Rule: every transaction also writes its number into a table that nobody captures, so that after a lost
connection the server itself says whether it has committed. This room judges nothing.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import TracebackType
from typing import Any, Final, Self

import psycopg
from psycopg import sql

from tests.support.waits import wait_until
from tests.support.workload import (
    COUNTERS,
    EDGES,
    LISTS,
    Append,
    Change,
    Move,
    Op,
    Row,
    Step,
    Transaction,
    Truncate,
)

TABLES: Final = f"""
create table {LISTS} (
  id int primary key, items text not null, note text, weight numeric(10,2), big bigint,
  seen_at timestamptz, day date, fine boolean);
alter table {LISTS} alter column note set storage external;
create table {COUNTERS} (id int primary key, state int not null);
create table played (number int primary key);
"""

CONNECT_LIMIT_S: Final = 120
_PACE_S: Final = 0.02  # leaves the cores to what is tested
_EPOCH: Final = datetime(2025, 1, 1, tzinfo=UTC)


def create(dsn: str) -> None:
    """The tables of the workload, empty."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(TABLES.encode())


def play(dsn: str, plan: Iterable[Transaction]) -> None:
    """Run a plan to its end; a transaction whose fate a lost connection hid is looked up, never guessed."""
    connection = _connect(dsn)
    try:
        for transaction in plan:
            while True:
                try:
                    _once(connection, transaction)
                    break
                except (psycopg.OperationalError, psycopg.errors.InternalError_):  # the latter is its panic
                    connection.close()
                    connection = _connect(dsn)
    finally:
        connection.close()


def _connect(dsn: str) -> psycopg.Connection[Any]:
    def attempt() -> psycopg.Connection[Any] | None:
        try:
            return psycopg.connect(dsn, autocommit=True, connect_timeout=5)
        except psycopg.OperationalError:
            return None

    return wait_until(attempt, "the source takes connections", limit_s=CONNECT_LIMIT_S)


def _once(connection: psycopg.Connection[Any], transaction: Transaction) -> None:
    if connection.execute("select 1 from played where number = %s", [transaction.number]).fetchone():
        return
    with connection.transaction(), connection.pipeline():
        for op in transaction.ops:
            _run(connection, op)
        connection.execute("insert into played values (%s)", [transaction.number])
        if transaction.aborted:
            raise psycopg.Rollback


def _values(token: str) -> Row:
    """Typed values that only the token decides."""
    n = zlib.crc32(token.encode())
    return {
        "weight": Decimal(n % 10**9) / 100,
        "big": n * 2**31 - 2**62,
        "seen_at": _EPOCH + timedelta(microseconds=n * 1009),
        "day": date(1999, 1, 1) + timedelta(days=n % 20000),
        "fine": None if n % 7 == 0 else n % 2 == 0,
    }


def _run(connection: psycopg.Connection[Any], op: Op) -> None:
    match op:
        case Append(key=key, token=token, new=True, note=note):
            connection.execute(
                f"insert into {LISTS} values"
                " (%(key)s, %(token)s, %(note)s, %(weight)s, %(big)s, %(seen_at)s, %(day)s, %(fine)s)",
                {"key": key, "token": token, "note": note, **_values(token)},
            )
        case Append(key=key, token=token, note=note):
            connection.execute(
                f"update {LISTS} set items = items || ',' || %(token)s, note = coalesce(%(note)s, note),"
                " weight = %(weight)s, big = %(big)s, seen_at = %(seen_at)s, day = %(day)s, fine = %(fine)s"
                " where id = %(key)s",
                {"key": key, "token": token, "note": note, **_values(token)},
            )
        case Move(old=old, new=new, token=token):
            connection.execute(
                f"update {LISTS} set id = %s, items = items || ',' || %s where id = %s", [new, token, old]
            )
        case Step(key=key, edge=edge):
            before, after = EDGES[edge]
            if before is None:
                connection.execute(f"insert into {COUNTERS} values (%s, %s)", [key, after])
            elif after is None:
                connection.execute(f"delete from {COUNTERS} where id = %s", [key])
            else:
                connection.execute(f"update {COUNTERS} set state = %s where id = %s", [after, key])
        case Truncate():
            connection.execute(f"truncate {LISTS}")


def rows(dsn: str, table: str, columns: Sequence[str] = ("*",)) -> dict[int, Row]:
    """What stands in a table now, by its ``id``."""
    wanted = sql.SQL(", ").join(sql.SQL("*") if c == "*" else sql.Identifier(c) for c in columns)
    query = sql.SQL("select {} from {}").format(wanted, sql.Identifier(table))
    with psycopg.connect(dsn) as connection, connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return {row["id"]: row for row in cursor.execute(query)}


def as_source(rows_: dict[int, Row], column: str) -> dict[int, Any]:
    """One column of the rows, as the stream oracles take it."""
    return {key: row[column] for key, row in rows_.items()}


def newest(changes: Iterable[Change]) -> tuple[int, int, int]:
    """The highest position among changes; zeros when there are none."""
    return max((c.position for c in changes), default=(0, 0, 0))


class Traffic:
    """A plan that runs in the background until it is stopped; what it leaves of the plan can go on later."""

    def __init__(self, dsn: str, plan: Iterator[Transaction]) -> None:
        self._dsn = dsn
        self._plan = plan
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._error: BaseException | None = None
        self.played = 0

    def _run(self) -> None:
        try:
            play(self._dsn, self._until_stopped())
        except BaseException as error:  # noqa: BLE001 - told to the test that joins
            self._error = error

    def _until_stopped(self) -> Iterable[Transaction]:
        while not self._stop.wait(_PACE_S):
            transaction = next(self._plan)
            yield transaction
            self.played = transaction.number

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End after the current transaction; raises what ended the traffic before."""
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def more(self, transactions: int, *, limit_s: float = 120) -> None:
        """Wait until so many more transactions have committed."""
        aim = self.played + transactions
        wait_until(
            lambda: self._error is not None or self.played >= aim,
            f"{transactions} more transactions",
            limit_s=limit_s,
        )
