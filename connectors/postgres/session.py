"""Connections to the server, and the edge where its errors become ours.

Rule: no exception of the driver leaves this package, and no error text holds a secret. Every session has
the same settings, because a role's own would change what the server writes. This room runs no statement
of the capture's logic.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple, NoReturn

import psycopg
from psycopg import errors, pq

from connectors.postgres.config import PostgresConfig
from engine.errors import EcluseError, SlotBusy, SourceRefused, SourceUnreachable, SourceUnready

CONNECT_TIMEOUT_S: Final = 5
LOCK_TIMEOUT_S: Final = 5
_STATEMENT_TIMEOUT_S: Final = 30

SETTINGS: Final = (
    "SET client_encoding = 'UTF8'",
    "SET TimeZone = 'UTC'",
    "SET DateStyle = 'ISO, YMD'",
    "SET IntervalStyle = 'iso_8601'",
    "SET bytea_output = 'hex'",
    "SET extra_float_digits = 1",
    "SET lc_monetary = 'C'",
    f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'",
    "SET search_path = pg_catalog",
)
"""What every session is set to."""

WHO_WRITES: Final = (
    "SELECT pid, xact_start, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL ORDER BY xact_start"
)
"""Where a person looks when an open transaction is in the way."""

WHO_WORKS: Final = "SELECT pid, query_start, wait_event, query FROM pg_stat_activity WHERE state = 'active'"
"""Where a person looks when the server takes too long."""

# Texts of a server that is there and not open yet: the driver gives no SQLSTATE for a failed connect.
_COMING_UP: Final = (
    "starting up",
    "shutting down",
    "in recovery",
    "recovery",
    "not accepting",
    "not yet accepting",
    "too many",
    "connection slots",
    "terminating connection",
)
_TLS: Final = ("certificate", "SSL", "TLS", "sslmode")

Connection = psycopg.Connection[tuple[Any, ...]]
"""A connection of the driver."""


class Lines(NamedTuple):
    """The two connections of a capture: one streams, the other asks beside it."""

    walsender: Connection
    side: Connection


def side(config: PostgresConfig) -> Connection:
    """An ordinary session, each statement its own transaction, each bounded in time."""
    connection = _connect(config, {})
    with translated(config):
        _bound(connection)
    return connection


def _bound(side: Connection) -> None:
    side.execute(f"SET statement_timeout = '{_STATEMENT_TIMEOUT_S}s'")


@contextmanager
def unhurried(side: Connection) -> Iterator[None]:
    """A block whose statements take the time that the server's work takes."""
    side.execute("SET statement_timeout = 0")
    try:
        yield
    finally:
        with suppress(psycopg.Error):  # a session that broke is not used again
            _bound(side)


def walsender(config: PostgresConfig) -> Connection:
    """A session that speaks the replication protocol."""
    connection = _connect(config, {"replication": "database"})
    with translated(config):
        command(connection.pgconn, "SET statement_timeout = 0")
    return connection


def _connect(config: PostgresConfig, extra: dict[str, str]) -> Connection:
    tls = config.tls
    root = config.sslrootcert or ("system" if tls.startswith("verify") else None)
    try:
        connection = psycopg.connect(
            host=config.host,
            port=config.port,
            dbname=config.database,
            user=config.user,
            password=config.password.get_secret_value() if config.password else None,
            sslmode=tls,
            sslrootcert=root,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name=f"ecluse {config.project}.{config.connection}",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
            autocommit=True,
            **extra,  # type: ignore[arg-type]
        )
    except psycopg.Error as error:
        _refuse_connect(config, error)
    with translated(config):
        for setting in SETTINGS:
            command(connection.pgconn, setting)
    return connection


def command(pgconn: pq.abc.PGconn, text: str) -> list[list[str | None]]:
    """Run one command of the simple protocol, the only one that a walsender speaks; gives text rows."""
    result = pgconn.exec_(text.encode())
    if result.status in (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE):
        raise psycopg.errors.error_from_result(result)
    return [
        [
            None if (v := result.get_value(row, column)) is None else v.decode()
            for column in range(result.nfields)
        ]
        for row in range(result.ntuples)
    ]


@contextmanager
def translated(config: PostgresConfig) -> Iterator[None]:
    """Turn the driver's exceptions into ours at the edge of a block."""
    try:
        yield
    except psycopg.Error as error:
        raise _ours(config, error) from None


def _ours(config: PostgresConfig, error: psycopg.Error) -> EcluseError:
    text = _clean(config, error)
    if type(error) is psycopg.DatabaseError and error.sqlstate is None:
        # no word of the server: the line was lost in the middle of a command
        return SourceUnreachable(text, where=config.where, hint=f"ecluse run capture {config.connection}")
    match error:
        case errors.ObjectInUse():
            return SlotBusy(text, where=config.where, hint="another worker holds the slot: stop it, or wait")
        case errors.QueryCanceled():
            return SourceUnreachable(
                f"the server ended a statement before it was done: {text}", where=config.where, hint=WHO_WORKS
            )
        case errors.LockNotAvailable():
            return SourceUnreachable(
                f"the server did not give a lock in time: {text}",
                where=config.where,
                hint=WHO_WRITES,
            )
        case errors.ConfigurationLimitExceeded():
            return SourceUnready(
                text,
                where=config.where,
                hint="ALTER SYSTEM SET max_replication_slots = 20; ALTER SYSTEM SET max_wal_senders = 20;"
                " then restart the server",
            )
        case errors.ObjectNotInPrerequisiteState() if "wal_level" in text:
            return SourceUnready(
                text,
                where=config.where,
                hint="ALTER SYSTEM SET wal_level = logical; then restart the server",
            )
        case errors.InsufficientPrivilege():
            return SourceRefused(
                text,
                where=config.where,
                hint=f"ecluse run capture {config.connection} prints what the role lacks",
            )
        case errors.UndefinedFunction() if "binary output" in text:
            # a column of a type without a binary form has joined: the next start reads text
            return SourceUnreachable(text, where=config.where)
        case psycopg.OperationalError():
            return SourceUnreachable(text, where=config.where, hint=f"ecluse run capture {config.connection}")
        case _:
            return SourceRefused(text, where=config.where, hint=f"ecluse run capture {config.connection}")


def _refuse_connect(config: PostgresConfig, error: psycopg.Error) -> NoReturn:
    text = _clean(config, error)
    answered = "FATAL" in text and not any(sign in text for sign in _COMING_UP)
    if answered or any(sign in text for sign in _TLS):
        raise SourceRefused(text, where=config.where, hint=_fix(config, text)) from None
    raise SourceUnreachable(
        text, where=config.where, hint=f"is a server listening on {config.host}:{config.port}?"
    ) from None


def _fix(config: PostgresConfig, text: str) -> str:
    if "pg_hba.conf" in text:
        kind = "replication" if "replication" in text else "host"
        return f"add a line for user {config.user} to pg_hba.conf ({kind}), then SELECT pg_reload_conf()"
    if "database" in text and "does not exist" in text:
        return f"the server has no database {config.database}: mend `database` of the connection"
    if any(sign in text for sign in _TLS):
        return f"sslmode is {config.tls}: set sslrootcert to the server's CA, or sslmode in the connection"
    return f"set the secret of user {config.user} to its password; the role needs LOGIN REPLICATION"


def _clean(config: PostgresConfig, error: psycopg.Error) -> str:
    """The server's words on one line, without the password wherever it may have got in."""
    primary = error.diag.message_primary or str(error)
    detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
    text = " ".join(f"{primary}{detail}".split())
    secret = config.password.get_secret_value() if config.password else ""
    return text.replace(secret, "***") if secret else text
