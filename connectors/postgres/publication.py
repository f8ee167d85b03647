"""Making what a capture needs on the server: publication, tables in it, slot. It creates and never drops.

Rule: the publication comes before the slot, because a slot cannot read a time before its publication. A
table joins under a lock that waits for every open writer: without it old servers lose rows for ever. What
the role may not do is asked of a person, with the exact SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from psycopg import errors, sql

from connectors.postgres.config import PostgresConfig
from connectors.postgres.facts import Prints
from connectors.postgres.session import Connection, command, translated
from connectors.postgres.wire import lsn
from engine.errors import SourceUnready
from engine.source import TableSpec

_JOIN_TIMEOUT_S: Final = 2  # whoever waits for a lock lets the application's next writers wait behind it


def identifier(*parts: str) -> str:
    """A name as SQL quotes it.

    >>> identifier("public", 'a"b')
    '"public"."a""b"'
    """
    return sql.Identifier(*parts).as_string()


def joining(config: PostgresConfig, tables: Sequence[TableSpec], *, create: bool) -> list[str]:
    """The statements by which tables join the publication, which is created with them or is there."""
    names = sorted({(spec.schema, spec.table) for spec in tables})
    listed = ", ".join(identifier(*name) for name in names)
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
        f"LOCK TABLE {listed} IN SHARE ROW EXCLUSIVE MODE",
        change,
        "COMMIT",
    ]


def ensure_published(
    side: Connection, config: PostgresConfig, tables: Sequence[TableSpec], now: Prints
) -> list[TableSpec]:
    """Bring every table into the publication; gives those that are late, because a writer holds them.

    A publication is made with all its tables or not at all. Later each table joins by itself, so that an
    open transaction on one holds up neither the application on the others nor their flows (I9).
    """
    missing = [spec for spec in tables if f"{spec.schema}.{spec.table}" not in now.tables]
    if not missing:
        return []
    if now.publication is None:
        _join(side, config, joining(config, missing, create=True))
        return []
    late = []
    for spec in {(spec.schema, spec.table): spec for spec in missing}.values():
        try:
            _join(side, config, joining(config, [spec], create=False))
        except errors.LockNotAvailable:
            late.append(spec)
    return late


def _join(side: Connection, config: PostgresConfig, statements: Sequence[str]) -> None:
    try:
        for statement in statements:
            side.execute(statement)
    except (errors.InsufficientPrivilege, errors.UndefinedTable, errors.WrongObjectType) as error:
        said = error.diag.message_primary or ""
        side.execute("ROLLBACK")
        raise SourceUnready(
            f"user {config.user} may not publish the tables: {said}",
            where=config.where,
            hint="let the owner of the tables run:\n" + "\n".join(f"{s};" for s in statements),
        ) from None
    except errors.LockNotAvailable:
        side.execute("ROLLBACK")
        raise


def create_slot(walsender: Connection, config: PostgresConfig) -> int:
    """Create the slot; gives its consistent point: what commits from there on is delivered."""
    with translated(config):
        rows = command(
            walsender.pgconn,
            f"CREATE_REPLICATION_SLOT {identifier(config.slot)} LOGICAL pgoutput NOEXPORT_SNAPSHOT",
        )
    return lsn(str(rows[0][1]))


def advance_slot(side: Connection, config: PostgresConfig) -> int:
    """Move the slot to the end of the log, past its publication; gives where it is."""
    side.execute(
        "select pg_catalog.pg_replication_slot_advance(%s, pg_catalog.pg_current_wal_lsn())", (config.slot,)
    )
    row = side.execute(
        "select confirmed_flush_lsn::text from pg_catalog.pg_replication_slots where slot_name = %s",
        (config.slot,),
    ).fetchone()
    return lsn(row[0]) if row else 0


def slot_statement(config: PostgresConfig) -> str:
    """The SQL that creates the slot, for a person."""
    return f"SELECT pg_create_logical_replication_slot({sql.Literal(config.slot).as_string()}, 'pgoutput')"
