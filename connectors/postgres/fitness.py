"""Whether a table can be captured: its kind, its identity, its columns, its rows.

Rule: a table that could not be read back exactly, or whose publication would break the application's own
updates, is refused by name with the SQL that mends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from psycopg import errors

from connectors.postgres import columns
from connectors.postgres.catalog import naming_trouble
from connectors.postgres.columns import identifier
from connectors.postgres.config import PostgresConfig
from connectors.postgres.session import Connection
from engine.errors import SourceUnready
from engine.source import Finding, TableSpec

_UNREADY: Final = SourceUnready.code
_KINDS: Final = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "c": "a composite type",
    "i": "an index",
}

_TABLE: Final = """
select c.oid::int8, c.relkind::text, c.relpersistence::text, c.relreplident::text,
       exists(select 1 from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary),
       exists(select 1 from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisreplident),
       coalesce((
         select bool_and(pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'))
         from pg_catalog.pg_attribute a
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
           and a.attname <> all(%s)),
         pg_catalog.has_table_privilege(c.oid, 'SELECT'))
         and pg_catalog.has_schema_privilege(n.oid, 'USAGE')
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s
"""

_COLUMNS: Final = """
select a.attname::text, a.attgenerated::text
from pg_catalog.pg_attribute a
where a.attrelid = %s::oid and a.attnum > 0 and not a.attisdropped order by a.attnum
"""


def of_table(side: Connection, config: PostgresConfig, spec: TableSpec, *, new: bool) -> Iterator[Finding]:
    """The findings for one table; ``new``: its capture has not begun."""
    name = spec.qualified
    row = side.execute(_TABLE, (list(spec.exclude), spec.schema, spec.table)).fetchone()
    if row is None:
        yield Finding(
            "fail",
            "table",
            f"{name} does not exist",
            fix="mend the flow's `table`",
            code=_UNREADY,
            table=name,
        )
        return
    relid, kind, persistence, identity, has_primary, has_index, may_read = row
    troubles = [
        *_kind(spec, kind, persistence),
        *_identity(spec, identity, has_primary=has_primary, has_index=has_index),
        *_columns(side, spec, relid),
        *columns.findings(side, config, spec),
    ]
    yield from troubles
    if not may_read:
        what = (
            "a key change that leaves a large value alone cannot fetch it"
            if spec.snapshot is None
            else "the rows that it holds wait until it may"
        )
        yield Finding(
            "warn",
            "table",
            f"{name} may not be read: {what}",
            fix=f"GRANT SELECT ON {identifier(spec.schema, spec.table)} TO {identifier(side.info.user)}",
            table=name,
        )
    elif new and spec.snapshot is None:
        yield from _rows(side, spec)
    if not any(finding.level == "fail" for finding in troubles):
        yield Finding("ok", "table", f"{name} can be captured", table=name)


def _kind(spec: TableSpec, kind: str, persistence: str) -> Iterator[Finding]:
    name = spec.qualified
    if kind not in ("r", "p"):
        what = _KINDS.get(kind, "no table")
        yield Finding(
            "fail", "table", f"{name} is {what}: only tables are captured", code=_UNREADY, table=name,
            fix="name the table behind it",
        )  # fmt: skip
    elif persistence != "p":
        what = "unlogged" if persistence == "u" else "temporary"
        fix = f"ALTER TABLE {identifier(spec.schema, spec.table)} SET LOGGED"
        yield Finding(
            "fail",
            "table",
            f"{name} is {what}: its changes are in no log",
            fix=fix,
            code=_UNREADY,
            table=name,
        )


def _identity(spec: TableSpec, identity: str, *, has_primary: bool, has_index: bool) -> Iterator[Finding]:
    name, quoted = spec.qualified, identifier(spec.schema, spec.table)
    known = identity == "f" or (identity == "d" and has_primary) or (identity == "i" and has_index)
    if not known:
        why = "NOTHING" if identity == "n" else "DEFAULT without a primary key"
        if identity == "i":
            why = "an index that is gone"
        fix = (
            f"ALTER TABLE {quoted} REPLICA IDENTITY DEFAULT"
            if has_primary
            else f"ALTER TABLE {quoted} ADD PRIMARY KEY (...);\n"
            f"or ALTER TABLE {quoted} REPLICA IDENTITY FULL (append only)"
        )
        text = f"{name} has replica identity {why}: publishing it would break its updates and deletes"
        yield Finding("fail", "replica identity", text, fix=fix, code=_UNREADY, table=name)
    elif identity == "f" and not has_primary:
        yield Finding(
            "warn",
            "replica identity",
            f"{name} has no primary key: its rows can only be appended",
            table=name,
        )


def _columns(side: Connection, spec: TableSpec, relid: int) -> Iterator[Finding]:
    name, quoted = spec.qualified, identifier(spec.schema, spec.table)
    held = side.execute(_COLUMNS, (relid,)).fetchall()
    trouble = naming_trouble([column for column, _ in held if column not in spec.exclude])
    if trouble:
        yield Finding(
            "fail", "column", f"{name}: {trouble}", fix=f"ALTER TABLE {quoted} RENAME COLUMN ...",
            code=_UNREADY, table=name,
        )  # fmt: skip
    for column, generated in held:
        if generated and column not in spec.exclude:
            text = f"{name}.{column} is generated: the log does not carry it, and no table of the lake has it"
            yield Finding("warn", "column", text, table=name)


def _rows(side: Connection, spec: TableSpec) -> Iterator[Finding]:
    name = spec.qualified
    try:
        found = side.execute(
            f"select exists(select 1 from {identifier(spec.schema, spec.table)})"  # noqa: S608 - a quoted name
        ).fetchone()
    except errors.FeatureNotSupported:
        return  # not a kind of relation that has rows, which is a finding of its own
    except errors.LockNotAvailable:
        yield Finding("warn", "rows", f"{name} is locked: whether it holds rows is not known", table=name)
        return
    if found and found[0]:
        yield Finding(
            "warn",
            "rows",
            f"{name} holds rows already: they are not captured, only what changes from the first start on",
            table=name,
        )
