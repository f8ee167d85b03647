"""Preflight: what a capture needs of the server, looked at before anything starts.

Rule: every line says what was looked at, and a failing one its fix, as SQL where SQL is the fix. It
changes nothing, and it does not raise: a server that does not answer is a finding. Tables: ``fitness``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final

from connectors.postgres import budget, columns, facts, fitness, gap, session
from connectors.postgres.columns import identifier
from connectors.postgres.config import PostgresConfig
from connectors.postgres.facts import Prints, Slot
from connectors.postgres.publication import joining
from connectors.postgres.session import Connection
from engine.errors import EcluseError, SourceUnready
from engine.source import Finding, TableSpec

_UNREADY: Final = SourceUnready.code

# The first minors in which a table that joins a publication loses nothing of the open writers.
_ADD_TABLE_FIXED: Final = {14: 140019, 15: 150014, 16: 160010, 17: 170006}


def preflight(config: PostgresConfig, tables: Sequence[TableSpec]) -> Sequence[Finding]:
    """The findings for a connection and its tables."""
    try:
        with closing(session.side(config)) as side, session.translated(config):
            found = [Finding("ok", "connection", f"{config.where}, {_version_text(side)}")]
            found += _server(side)
            found += _role(side, config)
            slot, now = facts.slot(side, config.slot), facts.prints(side, config, tables)
            found += _limits(side, slot, reads=any(spec.snapshot is not None for spec in tables))
            found += _slot(config, slot)
            found += budget.findings(side, config.slot)
            found += _publication(side, config, tables, now)
            for spec in sorted(set(tables), key=lambda s: (s.schema, s.table)):
                new = slot is None or spec.qualified not in now.tables
                found += fitness.of_table(side, config, spec, new=new)
            found += _form(side, config, tables)
            return found + _walsender(config)
    except EcluseError as error:
        return [_failed("connection", error)]


def _form(side: Connection, config: PostgresConfig, tables: Sequence[TableSpec]) -> Iterator[Finding]:
    form, column = columns.wire_form(side, config, tables)
    why = f": the binary form of {column} is not read" if column else ""
    yield Finding("ok", "wire form", f"{form}{why}")


def _failed(subject: str, error: EcluseError) -> Finding:
    return Finding("fail", subject, error.what, fix=error.hint, code=error.code)


def _walsender(config: PostgresConfig) -> list[Finding]:
    try:
        session.walsender(config).close()
    except EcluseError as error:
        return [_failed("replication connection", error)]
    return [Finding("ok", "replication connection", "accepted")]


def _setting(side: Connection, name: str) -> str:
    row = side.execute("select current_setting(%s, true)", (name,)).fetchone()
    return str(row[0]) if row else ""


def _version_text(side: Connection) -> str:
    return f"PostgreSQL {_setting(side, 'server_version')}"


def _server(side: Connection) -> Iterator[Finding]:
    version = side.info.server_version
    if version < facts.VERSION_MIN:
        yield Finding("fail", "version", "older than 14", fix="upgrade the server", code=_UNREADY)
    elif version < _ADD_TABLE_FIXED.get(version // 10000, 0):
        yield Finding(
            "warn",
            "version",
            f"{_version_text(side)} loses rows when a table joins a publication without a lock",
            fix="upgrade to the newest minor; tables join under a lock, never by a plain ADD TABLE",
        )
    level = _setting(side, "wal_level")
    if level == "logical":
        yield Finding("ok", "wal_level", level)
    else:
        fix = "ALTER SYSTEM SET wal_level = logical; then restart the server"
        yield Finding("fail", "wal_level", f"is {level}, must be logical", fix=fix, code=_UNREADY)
    if _setting(side, "server_encoding") == "SQL_ASCII":
        yield Finding(
            "fail",
            "encoding",
            "the database is SQL_ASCII: its texts have no known encoding",
            fix="move the data to a database with a real encoding",
            code=_UNREADY,
        )


def _role(side: Connection, config: PostgresConfig) -> Iterator[Finding]:
    row = side.execute(
        "select rolsuper, rolreplication from pg_catalog.pg_roles where rolname = current_user"
    ).fetchone()
    is_super, may_replicate = row or (False, False)
    if is_super:
        yield Finding(
            "warn",
            "role",
            f"{config.user} is a superuser; a capture needs LOGIN, REPLICATION and SELECT only",
            fix=f"CREATE ROLE ecluse LOGIN REPLICATION; and use it in place of {config.user}",
        )
    elif may_replicate:
        yield Finding("ok", "role", f"{config.user} has REPLICATION")
    else:
        fix = f"ALTER ROLE {identifier(config.user)} REPLICATION"
        yield Finding("fail", "role", f"{config.user} lacks REPLICATION", fix=fix, code=_UNREADY)


_USED: Final = """
select current_setting('max_replication_slots')::int - (select count(*) from pg_catalog.pg_replication_slots),
       current_setting('max_wal_senders')::int
       - (select count(*) from pg_catalog.pg_stat_get_wal_senders())
"""


def _limits(side: Connection, slot: Slot | None, *, reads: bool) -> Iterator[Finding]:
    """A slot and a sender of the stream's own, and one more of each while a snapshot reads."""
    row = side.execute(_USED).fetchone()
    slots, senders = row or (0, 0)
    for name, free, needed in (
        ("max_replication_slots", slots, slot is None),
        ("max_wal_senders", senders, slot is None or not slot.active_pid),
    ):
        fix = f"ALTER SYSTEM SET {name} = {int(_setting(side, name)) + 10}; then restart the server"
        if free < needed:
            yield Finding("fail", name, "none is free", fix=fix, code=_UNREADY)
        elif free < needed + reads:
            yield Finding("warn", name, "none is free for a snapshot, which waits for one", fix=fix)
        else:
            yield Finding("ok", name, f"{free} free")


def _slot(config: PostgresConfig, slot: Slot | None) -> Iterator[Finding]:
    if slot is None:
        yield Finding("ok", "slot", f"{config.slot} is not there yet: the first start makes it")
        return
    troubles = list(gap.of_slot(config, slot))
    for trouble in troubles:
        yield Finding("fail", "slot", trouble.what, fix=trouble.fix, code=trouble.kind.code)
    if not troubles:
        holder = f", in use by process {slot.active_pid}" if slot.active_pid else ""
        yield Finding("ok", "slot", f"{config.slot} is there{holder}")


_MAY_PUBLISH: Final = """
select coalesce(
         (select pg_catalog.pg_has_role(current_user, p.pubowner, 'USAGE')
          from pg_catalog.pg_publication p where p.pubname = %s),
         pg_catalog.has_database_privilege(current_database(), 'CREATE')),
       coalesce((
         select string_agg(w.schema || '.' || w.name, ', ' order by 1)
         from unnest(%s::text[], %s::text[]) as w(schema, name)
         join pg_catalog.pg_namespace n on n.nspname = w.schema
         join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name
         where not pg_catalog.pg_has_role(current_user, c.relowner, 'USAGE')), '')
"""


def _publication(
    side: Connection, config: PostgresConfig, tables: Sequence[TableSpec], now: Prints
) -> Iterator[Finding]:
    name = config.publication
    said = now.publication
    if said and said["all tables"] == "true":
        yield Finding(
            "fail",
            "publication",
            f"{name} is FOR ALL TABLES; a capture reads named tables only",
            fix=f"DROP PUBLICATION {identifier(name)}; it is made again with its tables",
            code=_UNREADY,
        )
        return
    silent = [kind for kind in ("insert", "update", "delete", "truncate") if said and said[kind] != "true"]
    if silent:
        fix = f"ALTER PUBLICATION {identifier(name)} SET (publish = 'insert, update, delete, truncate')"
        yield Finding("fail", "publication", f"{name} leaves out {', '.join(silent)}", fix=fix, code=_UNREADY)
    for table, print_ in now.tables.items():
        if print_["filter"] or print_["missing"]:
            what = "some of its rows" if print_["filter"] else f"all columns but {print_['missing']}"
            text = f"{name} publishes {what} only of {table}: the others are not captured"
            yield Finding("warn", "publication", text, table=table)
    missing = [spec for spec in tables if spec.qualified not in now.tables]
    if not missing:
        yield Finding("ok", "publication", f"{name} has all {len(tables)} tables")
        return
    schemas, names = [spec.schema for spec in missing], [spec.table for spec in missing]
    row = side.execute(_MAY_PUBLISH, (name, schemas, names)).fetchone()
    may, foreign = row or (False, "")
    if may and not foreign:
        yield Finding("ok", "publication", f"{len(missing)} tables join {name} at the next start")
        return
    why = f"{config.user} does not own {foreign}" if foreign else f"{config.user} may not make it"
    # a publication that is there goes on without the tables that cannot join it (I9)
    barred = [s for s in missing if not may or s.qualified in foreign.split(", ")]
    together = [missing] if said is None else [[spec] for spec in barred]
    for specs in together:
        fix = "let the owner of the tables run:\n" + "\n".join(
            f"{statement};"
            for statement in joining(config, specs, columns.lists(side, config, specs), create=said is None)
        )
        table = "" if said is None else f"{specs[0].schema}.{specs[0].table}"
        yield Finding("fail", "publication", f"{name}: {why}", fix=fix, code=_UNREADY, table=table)
