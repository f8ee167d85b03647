"""Reading the rows that a table holds, exactly, while its changes stream.

A *group* is what is read under one snapshot of the server, that of a temporary slot: a transaction is in it
if and only if it commits below the slot's consistent point C. So its rows stand at C - 1, which is nobody's
commit. The stream is told up to C before the group, and from C on behind it: in a topic, positions grow.

A table with a key is read in the order of its key, each group a part that ends where its time is up; a part
that was not durable when the capture died is read again, from its first key, under another snapshot.

Rule: user rows are read only once every transaction that the snapshot calls committed is seen as committed
by other sessions too; before that the server would take such a row for dead, and mark it so.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from psycopg import errors, pq

from connectors.postgres import copying, keys, session, unpacking
from connectors.postgres.catalog import Known, know
from connectors.postgres.cells import Form
from connectors.postgres.columns import identifier
from connectors.postgres.config import PostgresConfig
from connectors.postgres.facts import FILTERS_FROM
from connectors.postgres.progress import Progress
from connectors.postgres.session import Connection, command
from connectors.postgres.wire import WireColumn, WireRelation, lsn
from engine.errors import SourceUnreachable
from engine.source import Field, Packed, Rows, TableSpec, ToLanes

GROUP_S: Final = 10.0  # the stream is not read meanwhile
_SLOT_TIMEOUT_S: Final = 2  # nor while the slot waits for open writers
_GUARD_S: Final = 10.0
_GUARD_PAUSE_S: Final = 0.005

# Rows that a policy hides from this role are an error, never left out. A table is read in the order of its
# key by the index of its key, not by sorting it.
_SETTINGS: Final = (
    "SET row_security = off",
    "SET enable_sort = off",
    "SET enable_seqscan = off",
    "SET enable_bitmapscan = off",
    "SET max_parallel_workers_per_gather = 0",
)


class Table(NamedTuple):
    """A table to be read: what its rows are, its key in the order of its index, and which rows are told."""

    known: Known
    key: tuple[tuple[str, int], ...]  # name and type of its columns; empty: it is read whole, at once
    filter: str
    only: str  # a plain table is read without the tables that inherit from it, as it is published
    expected: int | None
    compared: tuple[keys.Compared, ...] = ()  # the columns of the key, and by what they are compared


@dataclass(frozen=True, slots=True)
class Group:
    """A snapshot of the server that is held open: where it cuts the log, and when it was taken."""

    at: int
    taken_us: int
    line: Connection


def slot_name(config: PostgresConfig) -> str:
    """The temporary slot of a capture; it ends with its connection.

    >>> len(slot_name(PostgresConfig(host="h", database="d", user="u", slot="s" * 63))) < 64
    True
    """
    return f"ecluse_snapshot_{hashlib.sha256(config.slot.encode()).hexdigest()[:16]}"


@contextmanager
def group(config: PostgresConfig, side: Connection) -> Iterator[Group]:
    """Take a snapshot of the server.

    Raises the driver's LockNotAvailable when open writers do not end in time: the server waits for all of
    them, and lock_timeout is all that bounds this.
    """
    with closing(session.walsender(config)) as line:
        for setting in (*_SETTINGS, f"SET lock_timeout = '{_SLOT_TIMEOUT_S}s'"):
            command(line.pgconn, setting)
        command(line.pgconn, "BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ")
        name = identifier(slot_name(config))
        made = command(line.pgconn, f"CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput USE_SNAPSHOT")
        _guard(line, side)
        command(line.pgconn, f"DROP_REPLICATION_SLOT {name}")
        command(line.pgconn, f"SET lock_timeout = '{session.LOCK_TIMEOUT_S}s'")
        ((us,),) = command(line.pgconn, "select (extract(epoch from statement_timestamp()) * 1000000)::int8")
        yield Group(lsn(str(made[0][1])), int(str(us)), line)


def _guard(line: Connection, side: Connection) -> None:
    """Return once all that the snapshot calls committed is so for everybody. No user row is read before."""
    ((text,),) = command(line.pgconn, "select pg_catalog.pg_current_snapshot()")
    _, top, running = _snapshot(str(text))
    end = time.monotonic() + _GUARD_S
    while True:
        row = side.execute("select pg_catalog.pg_current_snapshot()::text").fetchone()
        _, now_top, now_running = _snapshot(str(row[0] if row else ""))
        if now_top >= top and not any(xid < top and xid not in running for xid in now_running):
            return
        if time.monotonic() > end:
            raise SourceUnreachable(
                f"transactions of the snapshot are not visible to others after {_GUARD_S:.0f} s",
                hint="SELECT pid, wait_event FROM pg_stat_activity WHERE wait_event = 'SyncRep';",
            )
        time.sleep(_GUARD_PAUSE_S)


def _snapshot(text: str) -> tuple[int, int, frozenset[int]]:
    """A pg_snapshot: its lowest and its next number, and those that run.

    >>> _snapshot("5:9:5,7")[2] == {5, 7}, _snapshot("5:5:")[2]
    (True, frozenset())
    """
    low, top, running = text.split(":")
    return int(low), int(top), frozenset(int(xid) for xid in running.split(",") if xid)


_ABOUT: Final = """
select c.oid::int8, c.relreplident::text, greatest(c.reltuples, -1)::int8,
       case when c.relkind = 'p' then '' else 'only ' end,
       coalesce(array(
         select a.attname::text from pg_catalog.pg_index i
         cross join lateral unnest(i.indkey::int2[]) with ordinality as k(num, at)
         join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.num
         where i.indrelid = c.oid and k.at <= i.indnkeyatts
           and case c.relreplident when 'i' then i.indisreplident else i.indisprimary end
         order by k.at), '{}')
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s
"""
_COLUMNS: Final = """
select a.attname::text, a.atttypid::int8, a.atttypmod
from pg_catalog.pg_attribute a
where a.attrelid = %s::oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
  and (%s::int4[] = '{}' or a.attnum = any(%s::int4[]))
order by a.attnum
"""
_PUBLISHED: Final = """
select coalesce(r.prattrs::int2[]::int4[], '{}'), coalesce(pg_catalog.pg_get_expr(r.prqual, r.prrelid), '')
from pg_catalog.pg_publication p join pg_catalog.pg_publication_rel r on r.prpubid = p.oid
where p.pubname = %s and r.prrelid = %s::oid
"""


def table(side: Connection, config: PostgresConfig, spec: TableSpec, form: Form) -> Table | str:
    """What there is to read of a table, as its stream would tell it; or why it cannot be read."""
    found = side.execute(_ABOUT, (spec.schema, spec.table)).fetchone()
    if found is None:
        return f"{spec.qualified} is gone"
    relid, identity, expected, only, key = found
    listed, filter_ = list[int](), ""
    if side.info.server_version >= FILTERS_FROM:
        listed, filter_ = side.execute(_PUBLISHED, (config.publication, relid)).fetchone() or ([], "")
    columns = tuple(
        WireColumn(name in key, name, type_, modifier)
        for name, type_, modifier in side.execute(_COLUMNS, (relid, listed, listed)).fetchall()
    )
    known = know(side, WireRelation(relid, spec.schema, spec.table, identity, columns), spec, form)
    if isinstance(known, str):
        return known
    types = {column.name: column.type_oid for column in columns}
    whole = set(key) == set(known.relation.key)
    return Table(
        known=known,
        key=tuple((name, types[name]) for name in key) if whole else (),
        compared=keys.compared(side, relid, key) if whole else (),
        filter=filter_,
        only=only,
        expected=expected if expected > 0 else None,
    )


class Part:
    """One part of one table, read under a group's snapshot; ``end`` is where the table stands behind it."""

    def __init__(self, group: Group, table: Table, progress: Progress, form: Form, era: int) -> None:
        self._group, self._table, self._form, self._era = group, table, form, era
        self._was = progress
        self.count = 0
        self.end = progress
        self.strand = progress.strand(str(progress.part))
        self.relation, self.taken_us = table.known.relation, group.taken_us

    def rows(self, side: Connection, until: float, alive: Callable[[], None]) -> Iterator[Rows]:
        """The rows from behind the last key on, until all are read or the time is up."""
        key_at, query = self._key_at(), _query(self._table, self._was.after)
        unpack, lanes = unpacking.unpacker(self._table.known.bases, self._form), self._lanes()
        for raw in copying.batches(self._group.line.pgconn, query, self._form, alive):
            rows = Packed(raw, unpack, lanes=lanes)
            yield self._run(rows)
            if key_at and time.monotonic() > until:
                last = rows[-1][2] or ()
                self._ended(_texts(side, self._table.key, [last[n] for n in key_at], self._form))
                return  # the connection is closed in the middle of the copy
        self._ended(None)

    def _lanes(self) -> ToLanes | None:
        """What encodes many rows at once, where they come in the binary form."""
        if self._form == "text":
            return None
        from connectors.postgres import lanes  # 20 MB, for whoever reads tables

        return lanes.reader(self.relation, self._table.known.bases)

    def _key_at(self) -> list[int]:
        at = {column.name: n for n, column in enumerate(self._table.known.relation.columns)}
        return [at[name] for name, _ in self._table.key]

    def _run(self, waiting: Packed) -> Rows:
        first = 2 * self.count
        self.count += len(waiting)
        at = self._group.at - 1
        return Rows(self.relation, self.strand, self._era, at, first, self.taken_us, 0, waiting)

    def _ended(self, after: tuple[str, ...] | None) -> None:
        was = self._was
        self.end = replace(
            was, after=was.after if after is None else after, part=was.part + 1,
            rows=was.rows + self.count, done=after is None,
        )  # fmt: skip


def _query(table: Table, after: Sequence[str]) -> str:
    relation = table.known.relation
    columns = ", ".join(identifier(column.name) for column in relation.columns)
    conditions = [f"({table.filter})"] if table.filter else []
    names = [identifier(name) for name, _ in table.key]
    if after:
        conditions.append(keys.behind(table.compared, after))
    where = f" where {' and '.join(conditions)}" if conditions else ""
    order = f" order by {', '.join(names)}" if names else ""
    of = f"{table.only}{identifier(relation.schema, relation.table)}"
    return f"select {columns} from {of}{where}{order}"  # noqa: S608 - names are quoted


def _texts(
    side: Connection, key: Sequence[tuple[str, int]], values: Sequence[Field], form: Form
) -> tuple[str, ...]:
    """A key as texts that the server reads as the same key."""
    fields = [value for value in values if isinstance(value, bytes)]
    if form == "text":
        return tuple(field.decode() for field in fields)
    query = "select " + ", ".join(f"(${n})::text" for n in range(1, len(fields) + 1))
    result = side.pgconn.exec_params(
        query.encode(),
        fields,
        param_types=[type_ for _, type_ in key],
        param_formats=[pq.Format.BINARY] * len(fields),
    )
    if result.status != pq.ExecStatus.TUPLES_OK:
        raise errors.error_from_result(result)
    return tuple((result.get_value(0, n) or b"").decode() for n in range(len(fields)))


def behind(side: Connection, table: Table, key: Sequence[Field], progress: Progress, form: Form) -> bool:
    """Whether a key lies behind the last one that was read; the server compares, by its own rules."""
    relation = table.known.relation
    fields = [value for value in key if isinstance(value, bytes)]
    if len(fields) < len(table.key):
        return False
    names = [identifier(name) for name, _ in table.key]
    query = (
        f"select count(*) from (select {', '.join(names)}"  # noqa: S608 - names are quoted
        f" from {identifier(relation.schema, relation.table)} where false"
        f" union all select {', '.join(f'${n}' for n in range(1, len(names) + 1))}) as k"
        f" where {keys.behind(table.compared, progress.after)}"
    )
    format_ = pq.Format.BINARY if form == "binary" else pq.Format.TEXT
    result = side.pgconn.exec_params(query.encode(), fields, param_formats=[format_] * len(fields))
    if result.status != pq.ExecStatus.TUPLES_OK:
        raise errors.error_from_result(result)
    return result.get_value(0, 0) == b"1"
