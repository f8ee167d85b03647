"""What the server says about itself, our slot, our publication and our tables: read, never judged here.

Rule: columns are named by version, never ``select *``. A fingerprint is what pgoutput stays silent about:
a table that leaves the publication, is made again or rewritten, a publication that changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from connectors.postgres.config import PostgresConfig
from connectors.postgres.resume import Print
from connectors.postgres.session import Connection, command
from connectors.postgres.wire import lsn
from engine.source import TableSpec

VERSION_MIN: Final = 140000
FILTERS_FROM: Final = 150000  # row filters and column lists
_CONFLICT_FROM: Final = 160000
_REASON_FROM: Final = 170000


@dataclass(frozen=True, slots=True)
class Server:
    """Who answers, and where its log ends; ``history`` are (timeline, the position where it ended)."""

    system_id: str
    timeline: int
    end: int
    version: int
    history: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot as pg_replication_slots shows it; ``invalid`` says why it is useless, if it is."""

    plugin: str
    kind: str
    database: str
    temporary: bool
    two_phase: bool
    active_pid: int | None
    wal_status: str
    invalid: str
    confirmed: int
    restart: int


@dataclass(frozen=True, slots=True)
class Prints:
    """The fingerprint, and the end of the log just before it was read."""

    at: int
    publication: Print | None
    tables: Mapping[str, Print]


def server(walsender: Connection) -> Server:
    """Ask a walsender who it is, and where its timelines parted."""
    system_id, timeline, end, _ = command(walsender.pgconn, "IDENTIFY_SYSTEM")[0]
    history: list[tuple[int, int]] = []
    if int(timeline or 1) > 1:
        (_, content), *_ = command(walsender.pgconn, f"TIMELINE_HISTORY {timeline}")
        lines = [line.split() for line in (content or "").splitlines()]
        history = [
            (int(words[0]), lsn(words[1])) for words in lines if words and not words[0].startswith("#")
        ]
    return Server(
        str(system_id), int(timeline or 1), lsn(str(end)), walsender.info.server_version, tuple(history)
    )


def slot(side: Connection, name: str) -> Slot | None:
    """Our slot, or None when there is none of this name."""
    version = side.info.server_version
    invalid = "''"
    if version >= _REASON_FROM:
        invalid = "coalesce(invalidation_reason, '')"
    elif version >= _CONFLICT_FROM:
        invalid = "case when conflicting then 'conflict with recovery' else '' end"
    row = side.execute(
        "select coalesce(plugin, ''), slot_type, coalesce(database, ''), temporary, two_phase, active_pid,"  # noqa: S608 - the column is ours
        f" coalesce(wal_status, ''), {invalid}, confirmed_flush_lsn::text, restart_lsn::text"
        " from pg_catalog.pg_replication_slots where slot_name = %s",
        (name,),
    ).fetchone()
    if row is None:
        return None
    plugin, kind, database, temporary, two_phase, pid, status, why, confirmed, restart = row
    return Slot(
        plugin, kind, database, temporary, two_phase, pid, status, why,
        lsn(confirmed or "0/0"), lsn(restart or "0/0"),
    )  # fmt: skip


def end_of_log(side: Connection) -> int:
    """How far the server's log goes."""
    row = side.execute(
        "select case when pg_is_in_recovery() then coalesce(pg_last_wal_replay_lsn(), '0/0')"
        " else pg_current_wal_lsn() end::text"
    ).fetchone()
    return lsn(row[0]) if row else 0


_PUBLICATION: Final = """
select p.oid::text, p.xmin::text, p.puballtables::text, p.pubinsert::text, p.pubupdate::text,
       p.pubdelete::text, p.pubtruncate::text, p.pubviaroot::text
from pg_catalog.pg_publication p where p.pubname = %s
"""
_PUBLICATION_NAMES: Final = (
    "oid",
    "xmin",
    "all tables",
    "insert",
    "update",
    "delete",
    "truncate",
    "via root",
)

_ATTRIBUTES: Final = """(
  select md5(string_agg(a.attnum || ':' || a.xmin, ',' order by a.attnum))
  from pg_catalog.pg_attribute a where a.attrelid = {} and a.attnum > 0
)"""

# From plain catalogues only: pg_partition_tree locks every leaf, and one that is held would stop them all.
# A leaf is its file: its columns are the table's, which the stream announces.
_TABLES: Final = """
select n.nspname || '.' || c.relname, c.oid::text, r.oid::text || ':' || r.xmin::text, {filter}, {columns},
       {missing}, c.relreplident::text || coalesce((
         select ' ' || string_agg(a.attname, ',' order by a.attname) from pg_catalog.pg_index i
         join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
         where i.indrelid = c.oid and i.indisreplident), ''),
       coalesce((
         select string_agg(a.attname, ',' order by array_position(i.indkey::int2[], a.attnum))
         from pg_catalog.pg_index i
         join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
         where i.indrelid = c.oid and i.indisprimary), ''),
       c.relfilenode::text, coalesce({attributes}, ''),
       case c.relkind when 'p' then coalesce((
         with recursive part(oid) as (
           select i.inhrelid from pg_catalog.pg_inherits i where i.inhparent = c.oid
           union all
           select i.inhrelid from part join pg_catalog.pg_inherits i on i.inhparent = part.oid
         )
         select string_agg(l.oid || ':' || l.relfilenode, ' ' order by l.oid)
         from part join pg_catalog.pg_class l on l.oid = part.oid
         where l.relkind <> 'p'), '') else '' end
from unnest(%s::text[], %s::text[], %s::text[]) as w(schema, name, excluded)
join pg_catalog.pg_namespace n on n.nspname = w.schema
join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name
join pg_catalog.pg_publication p on p.pubname = %s
join pg_catalog.pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.oid
"""
# What neither the publication's column list nor the flow knows of: a column that came after the list.
_MISSING: Final = """coalesce((
  select string_agg(a.attname, ', ' order by a.attnum) from pg_catalog.pg_attribute a
  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    and a.attnum <> all(r.prattrs::int2[])
    and not pg_catalog.jsonb_exists(w.excluded::jsonb, a.attname::text)), '')"""
_TABLE_NAMES: Final = (
    "oid", "published", "filter", "columns", "missing", "identity", "key", "relfilenode", "attributes",
    "leaves",
)  # fmt: skip


def prints(side: Connection, config: PostgresConfig, tables: Iterable[TableSpec]) -> Prints:
    """The fingerprint of the publication and of those of the tables that are in it."""
    at = end_of_log(side)
    found = side.execute(_PUBLICATION, (config.publication,)).fetchone()
    publication = dict(zip(_PUBLICATION_NAMES, found, strict=True)) if found else None
    has_filters = side.info.server_version >= FILTERS_FROM
    query = _TABLES.format(
        filter="coalesce(r.prqual::text, '')" if has_filters else "''",
        columns="coalesce(r.prattrs::text, '')" if has_filters else "''",
        missing=_MISSING if has_filters else "''",
        attributes=_ATTRIBUTES.format("c.oid"),
    )
    excluded = {(spec.schema, spec.table): json.dumps(spec.exclude) for spec in tables}
    wanted = sorted(excluded)
    schemas, names = [schema for schema, _ in wanted], [name for _, name in wanted]
    rows = side.execute(
        query, (schemas, names, [excluded[each] for each in wanted], config.publication)
    ).fetchall()
    return Prints(at, publication, {row[0]: dict(zip(_TABLE_NAMES, row[1:], strict=True)) for row in rows})
