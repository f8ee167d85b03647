"""Which columns of a table leave the server, and in which wire form.

Rule: a column that a flow excludes is left out by the publication's own column list, so that its values stay
where they are; a table whose list cannot be made, or would break the application's updates, is refused by
name. Binary is read where every column can be read so, else the whole capture reads text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Final, NamedTuple

from psycopg import sql

from connectors.postgres.cells import Form, column_cell, type_of
from connectors.postgres.config import PostgresConfig
from connectors.postgres.facts import FILTERS_FROM
from connectors.postgres.kinds import kinds
from connectors.postgres.session import Connection
from engine.errors import SourceUnready
from engine.schema import String
from engine.source import Finding, TableSpec

_CODE: Final = SourceUnready.code
_IDENTITY_FULL: Final = "f"

# The tables that are streamed, and those that will be as soon as they can join.
_SENT: Final = """
select n.nspname || '.' || c.relname, a.attname::text, a.atttypid::int8
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.oid in (select r.prrelid from pg_catalog.pg_publication p
                join pg_catalog.pg_publication_rel r on r.prpubid = p.oid where p.pubname = %s)
   or (n.nspname, c.relname) in (select * from unnest(%s::text[], %s::text[]))
"""

_TABLE: Final = """
select c.relreplident::text, array(
         select a.attname::text from pg_catalog.pg_attribute a
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
         order by a.attnum),
       array(
         select a.attname::text from pg_catalog.pg_index i
         join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
         where i.indrelid = c.oid and (i.indisprimary or i.indisreplident)),
       array(
         select a.attname::text from pg_catalog.pg_publication p
         join pg_catalog.pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.oid
         join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         where p.pubname = %s and {listed})
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s
"""


class _Table(NamedTuple):
    identity: str
    columns: list[str]  # as the table has them, without the generated ones
    keyed: list[str]  # of the primary key, and of the index that is the replica identity
    published: list[str]  # empty while the table is not in the publication


def identifier(*parts: str) -> str:
    """A name as SQL quotes it.

    >>> identifier("public", 'a"b')
    '"public"."a""b"'
    """
    return sql.Identifier(*parts).as_string()


def wire_form(side: Connection, config: PostgresConfig, tables: Sequence[TableSpec]) -> tuple[Form, str]:
    """The form in which every column can be read; and a column that is why it is text.

    One type without a send function would end a binary stream for ever, whether it is ours or not.
    """
    specs = {spec.qualified: spec for spec in tables}
    schemas, names = [spec.schema for spec in tables], [spec.table for spec in tables]
    sent = side.execute(_SENT, (config.publication, schemas, names)).fetchall()
    known = kinds(side, {oid for _, _, oid in sent})
    for table, column, oid in sorted(sent):
        spec = specs.get(table)
        if oid not in known or (spec is not None and column in spec.exclude):
            continue
        kind = known[oid]
        type_ = String() if spec is not None and column in spec.text else type_of(kind.oid, -1)
        if column_cell(kind, type_, "binary") is None:
            return "text", f"{table}.{column}"
    return "binary", ""


def lists(
    side: Connection, config: PostgresConfig, tables: Sequence[TableSpec]
) -> dict[str, tuple[str, ...]]:
    """The columns that are to be published of each table that leaves some out, by the table's name."""
    found: dict[str, tuple[str, ...]] = {}
    for spec in tables:
        table = _table(side, config, spec) if spec.exclude else None
        if table is not None:
            kept = tuple(column for column in table.columns if column not in spec.exclude)
            found[spec.qualified] = kept
    return found


def refused(side: Connection, config: PostgresConfig, tables: Sequence[TableSpec]) -> None:
    """Raise what keeps a table's columns from being left out: nothing is published before it is mended."""
    for spec in tables:
        for finding in findings(side, config, spec):
            if finding.level == "fail":
                raise SourceUnready(finding.text, where=config.where, hint=finding.fix)


def findings(side: Connection, config: PostgresConfig, spec: TableSpec) -> Iterator[Finding]:
    """What is wrong with the columns that a flow names."""
    table = _table(side, config, spec) if spec.exclude or spec.text else None
    if table is None:
        return
    name = spec.qualified
    yield from (_fail(name, text, fix) for text, fix in _unknown(name, spec, table))
    if not spec.exclude:
        return
    if side.info.server_version < FILTERS_FROM:
        text = f"{name}: columns.exclude needs PostgreSQL 15: before it a publication has no column lists"
        yield _fail(name, text, "upgrade the server, or take the table out of the flows")
    keyed = [column for column in spec.exclude if column in table.keyed]
    if table.identity == _IDENTITY_FULL:
        text = f"{name} has replica identity FULL, which needs every column: none can be excluded"
        fix = f"ALTER TABLE {identifier(spec.schema, spec.table)} REPLICA IDENTITY DEFAULT"
        yield _fail(name, text, fix)
    elif keyed:
        text = f"{name}: {', '.join(keyed)} is part of its key: without it no change could be placed"
        yield _fail(name, text, f"take {', '.join(keyed)} out of columns.exclude")
    sent = [column for column in spec.exclude if column in table.published]
    if sent:
        text = f"{name}: publication {config.publication} has {', '.join(sent)}, which the flow excludes"
        yield _fail(name, text, _relisting(config, spec, table))


def _fail(table: str, text: str, fix: str) -> Finding:
    return Finding("fail", "column", text, fix=fix, code=_CODE, table=table)


def _unknown(name: str, spec: TableSpec, table: _Table) -> Iterator[tuple[str, str]]:
    """Names that the table has no column of; one that was left out of a publication may be dropped."""
    asked = {"exclude": () if table.published else spec.exclude, "text": spec.text}
    for key, columns in asked.items():
        for column in columns:
            if column not in table.columns:
                near = get_close_matches(column, table.columns, n=1)
                fix = f"did you mean {near[0]}?" if near else f"it has {', '.join(table.columns)}"
                yield f"{name} has no column {column}, which columns.{key} names", fix


def _relisting(config: PostgresConfig, spec: TableSpec, table: _Table) -> str:
    """The statements that give a table another column list: what a capture then takes for a gap."""
    publication, of = identifier(config.publication), identifier(spec.schema, spec.table)
    kept = ", ".join(identifier(c) for c in table.columns if c not in spec.exclude)
    return "\n".join(
        (
            "BEGIN;",
            f"LOCK TABLE {of} IN SHARE ROW EXCLUSIVE MODE;",
            f"ALTER PUBLICATION {publication} DROP TABLE {of};",
            f"ALTER PUBLICATION {publication} ADD TABLE {of} ({kept});",
            "COMMIT;",
        )
    )


def _table(side: Connection, config: PostgresConfig, spec: TableSpec) -> _Table | None:
    has_lists = side.info.server_version >= FILTERS_FROM
    listed = "(r.prattrs is null or a.attnum = any(r.prattrs::int2[]))" if has_lists else "true"
    query = _TABLE.format(listed=listed)
    row = side.execute(query, (config.publication, spec.schema, spec.table)).fetchone()
    return _Table(*row) if row else None


def published_as(listed: Mapping[str, Sequence[str]], schema: str, table: str) -> str:
    """A table as a publication names it, with the columns that are kept of it."""
    return identifier(schema, table) + granted(listed, schema, table)


def granted(listed: Mapping[str, Sequence[str]], schema: str, table: str) -> str:
    """The columns that are kept of a table that leaves some out, in brackets; empty for any other."""
    kept = ", ".join(identifier(column) for column in listed.get(f"{schema}.{table}", ()))
    return f" ({kept})" if kept else ""
