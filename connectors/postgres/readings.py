"""Which table's snapshot is read next, and how far each is.

Rule: a part of which rows have gone out is read to its end or raises, so that it comes again under another
writer; a table of which nothing has gone out can wait while the others are read (I9).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from psycopg import errors

from connectors.postgres import snapshot
from connectors.postgres.cells import Form
from connectors.postgres.config import PostgresConfig
from connectors.postgres.progress import Progress
from connectors.postgres.publication import open_writers
from connectors.postgres.session import Connection
from connectors.postgres.snapshot import GROUP_S, Group, Part, Table
from connectors.postgres.wire import Values
from engine.errors import SourceUnreachable
from engine.schema import Relation
from engine.source import Reading, Rows, TableSpec

_LOOK_S: Final = 0.05
_AGAIN_S: Final = 10.0  # after what held it up

# Why a table cannot be read now: somebody holds it, or it has gone, changed or been closed to us.
_NOT_NOW: Final = (
    errors.LockNotAvailable,
    errors.DeadlockDetected,
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.InvalidSchemaName,
    errors.InsufficientPrivilege,
    errors.WrongObjectType,
)


class Readings:
    """The snapshots of one open source."""

    def __init__(
        self,
        config: PostgresConfig,
        side: Connection,
        form: Form,
        tables: Sequence[TableSpec],
        progress: dict[str, Progress],
    ) -> None:
        self._config, self._side, self._form = config, side, form
        self.tables = tables
        self._specs = {spec.qualified: spec for spec in tables}
        self._known: dict[str, Table] = {}
        self._late: dict[str, float] = {}
        self._next = 0.0
        self.progress = progress
        self.strands: dict[str, int] = {}  # those of the group in hand: strand to its position

    def due(self, now: float, published: AbstractSet[str]) -> bool:
        """Whether there is a table to be read."""
        if now < self._next:
            return False
        self._next = now + _LOOK_S
        return bool(self._ready(now, published))

    def _ready(self, now: float, published: AbstractSet[str]) -> list[str]:
        return [
            name
            for name in self._specs
            if self.progress[name].pending and name in published and now >= self._late.get(name, 0.0)
        ]

    def begin(self, era: int, at: int, published: AbstractSet[str]) -> bool:
        """The first group is at hand: from ``at`` on the stream of its tables is told. False: it was so.

        A table that is not published yet has its first group later: of the transactions that are open while
        it joins, the server does not always tell the same.
        """
        self.strands = {}
        begun = False
        for name in published & self._specs.keys():
            now = self.progress[name]
            first = replace(
                now,
                since=at if now.since is None else now.since,
                floor=(era, at - 1) if now.sweeps and now.floor is None else now.floor,
            )
            if now.pending and now != first:
                self.progress[name], begun = first, True
        return begun

    def read(
        self, group: Group, published: AbstractSet[str], era: int, alive: Callable[[], None]
    ) -> Iterator[Rows | Reading]:
        """Read table after table until the time of the group is up."""
        until = time.monotonic() + GROUP_S
        for name in self._ready(time.monotonic(), published):
            table = snapshot.table(self._side, self._config, self._specs[name], self._form)
            if isinstance(table, str):
                yield self._postponed(name, table)
                continue
            self._known[name] = table
            part = Part(group, table, self.progress[name], self._form, era)
            try:
                yield from part.rows(self._side, until, alive)
            except _NOT_NOW as error:
                if part.count:
                    raise SourceUnreachable(
                        f"the snapshot of {name} broke off: {error.diag.message_primary or error}",
                        where=self._config.where,
                    ) from None
                yield self._postponed(name, error.diag.message_primary or str(error))
                return  # an error ends the group's transaction
            self.progress[name] = part.end
            if part.count:
                self.strands[part.strand] = group.at - 1
            if part.end.done and part.end.floor:
                yield self._floor(part)
            yield self._told(name)
            if time.monotonic() > until:
                return

    def _floor(self, part: Part) -> Rows:
        """All rows of the run have gone out: what stands below them all is not in the source any more."""
        era, major = part.end.floor or (0, 0)
        strand = part.end.strand(f"floor.{part.relation.id}")  # floors of several tables do not come in order
        self.strands[strand] = major
        return Rows(part.relation, strand, era, major, 0, part.taken_us, 0, [("f", None, None)])

    def _told(self, name: str, waits_for: str = "") -> Reading:
        spec, now, table = self._specs[name], self.progress[name], self._known.get(name)
        expected = max(table.expected, now.rows) if table is not None and table.expected else None
        return Reading(spec.schema, spec.table, now.run or 0, now.rows, expected, now.done, waits_for)

    def _postponed(self, name: str, why: str) -> Reading:
        self._late[name] = time.monotonic() + _AGAIN_S
        return self._told(name, why)

    def held_up(self, error: Exception) -> list[Reading]:
        """No snapshot of the server is to be had now: what it waits for, table by table."""
        self._next = time.monotonic() + _AGAIN_S
        why = str(error)
        if isinstance(error, errors.LockNotAvailable):
            why = f"open writers: {open_writers(self._side)[0]}"
        return [self._told(n, why) for n in self._specs if self.progress[n].pending]

    def unread(self, relation: Relation, values: Values, now: Progress) -> bool:
        """Whether a row is yet to be read. Where that cannot be said it is not: its change then counts."""
        if not now.after:
            return True
        name = relation.name
        table = self._known.get(name)
        if table is None:
            found = snapshot.table(self._side, self._config, self._specs[name], self._form)
            if isinstance(found, str):
                return False
            table = self._known[name] = found
        at = {column.name: n for n, column in enumerate(relation.columns)}
        key = [values[at[column]] for column, _ in table.key if column in at]
        return snapshot.behind(self._side, table, key, now, self._form)
