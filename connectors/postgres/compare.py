"""What a capture needs of the server beside what is there, and which tables there are.

Rule: read only, by an ordinary session: nothing is locked, and no statement here is run. What is missing
comes with the SQL that makes it, exactly as ``publication`` would run it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final

from connectors.postgres import columns, facts, session
from connectors.postgres.columns import identifier
from connectors.postgres.config import PostgresConfig
from connectors.postgres.publication import slot_statement, told
from connectors.postgres.resume import Print
from connectors.postgres.session import Connection
from engine.source import Need, TableFound, TableSpec

_PUBLISHED: Final = ("insert", "update", "delete", "truncate")


def compare(config: PostgresConfig, tables: Sequence[TableSpec]) -> Sequence[Need]:
    """How everything that ``provision`` would make stands on the server."""
    with closing(session.side(config)) as side, session.translated(config):
        return [
            *_server(side, config),
            *_grants(side, config, tables),
            *_publication(side, config, tables),
            _slot(side, config),
        ]


_SERVER: Final = """
select pg_catalog.current_setting('wal_level'), rolreplication or rolsuper
from pg_catalog.pg_roles where rolname = current_user
"""


def _server(side: Connection, config: PostgresConfig) -> Iterator[Need]:
    level, may = side.execute(_SERVER).fetchone() or ("", False)
    if level == "logical":
        yield Need("setting", "wal_level", "there", level)
    else:
        statement = "-- then restart the server\nALTER SYSTEM SET wal_level = logical"
        yield Need("setting", "wal_level", "differs", f"is {level}, must be logical", (statement,))
    if may:
        yield Need("role", config.user, "there", "may replicate")
    else:
        statement = f"ALTER ROLE {identifier(config.user)} REPLICATION"
        yield Need("role", config.user, "differs", "may not replicate", (statement,))


_GRANTS: Final = """
select w.schema, w.name, n.oid is not null, c.oid is not null,
       coalesce(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false),
       coalesce(pg_catalog.has_table_privilege(c.oid, 'SELECT'), false) or coalesce((
         select bool_and(pg_catalog.has_column_privilege(c.oid, k.name, 'SELECT'))
         from pg_catalog.json_array_elements_text(w.kept::json) as k(name)), false)
from unnest(%s::text[], %s::text[], %s::text[]) as w(schema, name, kept)
left join pg_catalog.pg_namespace n on n.nspname = w.schema
left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name
order by 1, 2
"""


def _grants(side: Connection, config: PostgresConfig, tables: Sequence[TableSpec]) -> Iterator[Need]:
    role, told_of = identifier(config.user), set()
    schemas, names = [spec.schema for spec in tables], [spec.table for spec in tables]
    kept = columns.lists(side, config, tables)
    listed = [json.dumps(kept.get(spec.qualified, ())) for spec in tables]
    rows = side.execute(_GRANTS, (schemas, names, listed)).fetchall()
    for schema, table, has_schema, has_table, may_use, may_read in dict.fromkeys(rows):
        if schema not in told_of and has_schema:
            told_of.add(schema)
            grant = f"GRANT USAGE ON SCHEMA {identifier(schema)} TO {role}"
            yield _made("grant", f"USAGE on {schema}", grant, there=may_use)
        if has_table:
            of = columns.granted(kept, schema, table)
            grant = f"GRANT SELECT{of} ON {identifier(schema, table)} TO {role}"
            yield _made("grant", f"SELECT on {schema}.{table}", grant, there=may_read)
        else:
            text = "does not exist: mend the flow's `table`, or make it"
            yield Need("table", f"{schema}.{table}", "missing", text)


def _made(kind: str, name: str, statement: str, *, there: bool) -> Need:
    return Need(kind, name, "there" if there else "missing", "", () if there else (statement,))


_MEMBERS: Final = """
select n.nspname::text, c.relname::text
from pg_catalog.pg_publication p
join pg_catalog.pg_publication_rel r on r.prpubid = p.oid
join pg_catalog.pg_class c on c.oid = r.prrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where p.pubname = %s order by 1, 2
"""


def _publication(side: Connection, config: PostgresConfig, tables: Sequence[TableSpec]) -> Iterator[Need]:
    name, now = config.publication, facts.prints(side, config, tables)
    kept = columns.lists(side, config, tables)
    wanted = {(spec.schema, spec.table): spec for spec in tables}
    if now.publication is None:
        listed = ", ".join(f"{schema}.{table}" for schema, table in sorted(wanted))
        statements = tuple(told(config, tables, kept, create=True)) if tables else ()
        yield Need("publication", name, "missing", f"of {listed}", statements)
        return
    yield _settings(name, now.publication)
    members = {(str(schema), str(table)) for schema, table in side.execute(_MEMBERS, (name,)).fetchall()}
    for key, spec in sorted(wanted.items()):
        if key in members:
            yield Need("published table", ".".join(key), "there")
        else:
            statements = tuple(told(config, [spec], kept, create=False))
            yield Need("published table", ".".join(key), "missing", f"joins {name}", statements)
    for key in sorted(members - wanted.keys()):
        statement = f"ALTER PUBLICATION {identifier(name)} DROP TABLE {identifier(*key)}"
        text = f"is in {name}, and no flow reads it"
        yield Need("published table", ".".join(key), "extra", text, (statement,))


def _settings(name: str, said: Print) -> Need:
    quoted = identifier(name)
    if said["all tables"] == "true":
        text = "is FOR ALL TABLES; a capture reads named tables only"
        drop = f"-- it is made again with its tables by the next start\nDROP PUBLICATION {quoted}"
        return Need("publication", name, "differs", text, (drop,))
    wrong = [f"leaves out {kind}" for kind in _PUBLISHED if said[kind] != "true"]
    wrong += [] if said["via root"] == "true" else ["publishes partitions by their own names"]
    if not wrong:
        return Need("publication", name, "there")
    alter = (
        f"ALTER PUBLICATION {quoted} SET (publish = 'insert, update, delete, truncate',"
        " publish_via_partition_root = true)"
    )
    return Need("publication", name, "differs", ", ".join(wrong), (alter,))


def _slot(side: Connection, config: PostgresConfig) -> Need:
    slot = facts.slot(side, config.slot)
    if slot is None:
        return Need(
            "slot", config.slot, "missing", "waits for every open writer when it is made",
            (slot_statement(config),),
        )  # fmt: skip
    if slot.wal_status == "lost" or slot.invalid:
        why = slot.invalid or "the server has thrown away what it held"
        return Need("slot", config.slot, "differs", f"is lost: {why}")
    return Need("slot", config.slot, "there", "in use" if slot.active_pid else "nobody reads it now")


_ALL: Final = """
select n.nspname::text, c.relname::text,
       case c.relkind when 'p' then null else nullif(c.reltuples, -1)::int8 end,
       case c.relkind when 'p' then null else pg_catalog.pg_total_relation_size(c.oid) end,
       coalesce((
         select array_agg(a.attname::text order by k.at)
         from pg_catalog.pg_index i
         cross join lateral unnest(i.indkey::int2[]) with ordinality as k(attnum, at)
         join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
         where i.indrelid = c.oid and i.indisprimary), '{}')
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't'
  and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
  and not exists(select 1 from pg_catalog.pg_depend d
                 where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objid = c.oid
                   and d.deptype = 'e')
order by 1, 2
"""


def tables(config: PostgresConfig) -> Sequence[TableFound]:
    """Every table of the database that is one of its own: no system table, no extension's, no partition."""
    with closing(session.side(config)) as side, session.translated(config):
        rows = side.execute(_ALL).fetchall()
    return [TableFound(schema, table, count, size, tuple(key)) for schema, table, count, size, key in rows]
