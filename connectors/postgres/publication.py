"""Making what a capture needs on the server: publication, tables in it, slot. It creates and never drops.

Rule: the publication comes before the slot, because a slot cannot read a time before its publication. A
table joins under a lock that waits for every open writer: without it old servers lose rows for ever. What
the role may not do is asked of a person, with the exact SQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from psycopg import Error, errors, sql

from connectors.postgres import columns
from connectors.postgres.columns import identifier
from connectors.postgres.config import PostgresConfig
from connectors.postgres.facts import Prints
from connectors.postgres.session import LOCK_TIMEOUT_S, Connection, Lines, command, translated, unhurried
from connectors.postgres.wire import lsn
from engine.errors import SourceUnreachable, SourceUnready
from engine.source import TableSpec

_JOIN_TIMEOUT_S: Final = 2  # whoever waits for a lock lets the application's next writers wait behind it
SLOT_TIMEOUT_S: Final = 25  # a slot waits for every open writer, and holds up nobody meanwhile

# Why a table cannot join now: a writer holds it, or it has gone or changed since it was looked at.
_NOT_NOW: Final = (
    errors.LockNotAvailable,
    errors.DeadlockDetected,
    errors.UndefinedTable,
    errors.InvalidSchemaName,
    errors.InsufficientPrivilege,
    errors.WrongObjectType,
    errors.InvalidParameterValue,
)


def joining(
    config: PostgresConfig, tables: Sequence[TableSpec], kept: Mapping[str, Sequence[str]], *, create: bool
) -> list[str]:
    """The statements by which tables join the publication, which is created with them or is there.

    ``kept`` are the columns that are published of each table that leaves some out (``columns.lists``).
    """
    names = sorted({(spec.schema, spec.table) for spec in tables})
    listed = ", ".join(columns.published_as(kept, *name) for name in names)
    locked = ", ".join(identifier(*name) for name in names)
    publication = identifier(config.publication)
    change = (
        f"CREATE PUBLICATION {publication} FOR TABLE {listed}"
        " WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)"
        if create
        else f"ALTER PUBLICATION {publication} ADD TABLE {listed}"
    )
    return [
        "BEGIN",
        f"SET LOCAL lock_timeout = '{_JOIN_TIMEOUT_S}s'",
        f"LOCK TABLE {locked} IN SHARE ROW EXCLUSIVE MODE",
        change,
        "COMMIT",
    ]


def told(
    config: PostgresConfig, tables: Sequence[TableSpec], kept: Mapping[str, Sequence[str]], *, create: bool
) -> list[str]:
    """The same statements for a person, with what they do to others."""
    first, *others = joining(config, tables, kept, create=create)
    why = f"waits {_JOIN_TIMEOUT_S} s at most for open writers of the tables, and holds up new ones meanwhile"
    return [f"-- {why}\n{first}", *others]


def ensure_published(
    side: Connection, config: PostgresConfig, tables: Sequence[TableSpec], now: Prints
) -> list[TableSpec]:
    """Bring every table into the publication; gives those that are late: they can join at another time only.

    A publication is made with all its tables or not at all. Later each table joins by itself, so that an
    open transaction on one, or one that was dropped, holds up neither the application on the others nor
    their flows (I9).
    """
    missing = [spec for spec in tables if spec.qualified not in now.tables]
    if not missing:
        return []
    columns.refused(side, config, missing)
    kept = columns.lists(side, config, missing)
    if now.publication is None:
        _create(side, config, missing, kept)
        return []
    late = []
    for spec in {(spec.schema, spec.table): spec for spec in missing}.values():
        try:
            _run(side, joining(config, [spec], kept, create=False))
        except _NOT_NOW:
            late.append(spec)
        except errors.DuplicateObject:
            continue  # a person was faster
    return late


def _create(
    side: Connection, config: PostgresConfig, tables: Sequence[TableSpec], kept: Mapping[str, Sequence[str]]
) -> None:
    statements = joining(config, tables, kept, create=True)
    try:
        _run(side, statements)
    except (errors.InsufficientPrivilege, errors.UndefinedTable, errors.WrongObjectType) as error:
        raise SourceUnready(
            f"user {config.user} may not publish the tables: {error.diag.message_primary or ''}",
            where=config.where,
            hint="let the owner of the tables run:\n" + "\n".join(f"{s};" for s in statements),
        ) from None


def _run(side: Connection, statements: Sequence[str]) -> None:
    """One transaction, which an error leaves no trace of."""
    try:
        for statement in statements:
            side.execute(statement)
    except Error:
        with suppress(Error):
            side.execute("ROLLBACK")
        raise


def create_slot(lines: Lines, config: PostgresConfig) -> int:
    """Create the slot; gives its consistent point: what commits from there on is delivered.

    The server waits for every open writer of the whole cluster; lock_timeout is all that bounds this.
    """
    pgconn = lines.walsender.pgconn
    name = identifier(config.slot)
    with translated(config):
        command(pgconn, f"SET lock_timeout = '{SLOT_TIMEOUT_S}s'")
        try:
            rows = command(pgconn, f"CREATE_REPLICATION_SLOT {name} LOGICAL pgoutput NOEXPORT_SNAPSHOT")
        except errors.LockNotAvailable:
            raise _held_up(lines.side, config) from None
        command(pgconn, f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
    return lsn(str(rows[0][1]))


# From the locks, which everybody may see; of others' sessions a careful role sees the number only.
_WRITERS: Final = """
select l.pid, max(extract(epoch from now() - a.xact_start))::int
from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a on a.pid = l.pid
where l.locktype = 'transactionid' and l.granted and l.mode = 'ExclusiveLock'
  and l.pid is distinct from pg_catalog.pg_backend_pid()
group by 1 order by 2 desc nulls last limit 5
"""


def open_writers(side: Connection) -> tuple[str, list[str]]:
    """Who writes, and how long already; and what ends them."""
    writers = side.execute(_WRITERS).fetchall()
    said = [
        ("a prepared transaction" if pid is None else f"process {pid}")
        + ("" if age_s is None else f" (for {age_s} s)")
        for pid, age_s in writers
    ]
    ends = [
        f"SELECT pg_terminate_backend({pid}); ends process {pid}" for pid, _ in writers if pid is not None
    ]
    return ", ".join(said) or "none by now", ends


def _held_up(side: Connection, config: PostgresConfig) -> SourceUnreachable:
    """Why the slot could not be made."""
    said, ends = open_writers(side)
    return SourceUnreachable(
        f"slot {config.slot} waited {SLOT_TIMEOUT_S} s for open writers: {said}",
        where=config.where,
        hint="\n".join(["wait: it is tried again by itself", *ends]),
    )


def advance_slot(side: Connection, config: PostgresConfig) -> int:
    """Move the slot to the end of the log, past its publication; gives where it is.

    The server reads all the log that the slot holds back on the way, which no timeout of ours knows.
    """
    with unhurried(side):
        side.execute(
            "select pg_catalog.pg_replication_slot_advance(%s, pg_catalog.pg_current_wal_lsn())",
            (config.slot,),
        )
    row = side.execute(
        "select confirmed_flush_lsn::text from pg_catalog.pg_replication_slots where slot_name = %s",
        (config.slot,),
    ).fetchone()
    return lsn(row[0]) if row else 0


def slot_statement(config: PostgresConfig) -> str:
    """The SQL that creates the slot, for a person."""
    return f"SELECT pg_create_logical_replication_slot({sql.Literal(config.slot).as_string()}, 'pgoutput')"
