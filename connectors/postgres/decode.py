"""From messages to runs of rows: the transaction that is open, the tables it touches, what each row is.

Rule: a message either becomes rows, moves the state, or stops the capture. Rows wait here until their
transaction ends or their bound is reached, whichever is first. This room reads no socket and makes no mark.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from connectors.postgres import wire
from connectors.postgres.catalog import Known
from connectors.postgres.cells import Form
from connectors.postgres.progress import Progress
from connectors.postgres.wire import BODY, Parse, ParseAny, Values, WireRelation
from engine.errors import SourceRefused
from engine.schema import Identity, Relation
from engine.source import STREAM, UNCHANGED, Row, Rows, TableGap

HELD_MAX: Final = 1 << 19
"""Weight at which rows of an open transaction go out: their bytes, and a share for each row's objects."""

_ROW_WEIGHT: Final = 512  # so a run has at most about a thousand rows
_TRUNCATED: Final[Row] = ("t", None, None)

OnTruncate = Literal["apply", "ignore", "stop"]


class Transaction(NamedTuple):
    """A committed transaction as it is told apart from every other: the overlap proof compares these."""

    commit_lsn: int
    end_lsn: int
    xid: int
    commit_us: int
    changes: int


class Learn(NamedTuple):
    """What the decoder asks of others, as the transaction of this number left it.

    A relation's facts (None: not a table of ours), and a row's missing values. ``unread``: whether a row's
    key lies behind what has been read of its table's snapshot.
    """

    relation: Callable[[WireRelation, int], Known | str | None]
    reread: Callable[[Relation, Values, int], Values]
    on_truncate: Callable[[Relation], OnTruncate]
    unread: Callable[[Relation, Values, Progress], bool]


class Table:
    """A captured table on this connection: its parsers, and the rows that wait."""

    __slots__ = ("full", "index", "key_at", "known", "parse", "parse_any", "reading", "rows")

    def __init__(self, known: Known, parse: Parse, parse_any: ParseAny) -> None:
        self.known = known
        self.parse = parse
        self.parse_any = parse_any
        self.rows: list[Row] = []
        self.index = 0
        self.reading: Progress | None = None  # of a snapshot that has not read every row yet
        relation = known.relation
        self.full = relation.identity is Identity.FULL
        self.key_at = [n for n, column in enumerate(relation.columns) if column.name in relation.key]


@dataclass(slots=True)
class Blocked:
    """A table of ours that cannot be captured as it is now; ``missed``: rows were passed over."""

    schema: str
    table: str
    why: str
    missed: bool = False


@dataclass(slots=True)
class _Open:
    """The open transaction."""

    commit_lsn: int = 0
    commit_us: int = 0
    xid: int = 0
    count: int = 0


class Decoder:
    """The messages of one connection, in order."""

    def __init__(
        self, learn: Learn, form: Form, era: int, snapshots: Mapping[str, Progress] | None = None
    ) -> None:
        self.era = era
        self.last: Transaction | None = None  # the newest complete transaction
        self.in_transaction = False
        self.gaps: list[TableGap] = []
        self._learn = learn
        self._form = form
        self._open = _Open()
        self._tables: dict[bytes, Table] = {}
        self._early: dict[bytes, Table] = {}  # nothing of them is told before their snapshot has begun
        self._snapshots = snapshots or {}
        self._others: dict[bytes, Blocked | None] = {}
        self._said: dict[bytes, bytes] = {}
        self._touched: list[Table] = []  # with rows that wait
        self._seen: list[Table] = []  # with rows in this transaction
        self._told: set[tuple[str, str, str]] = set()
        self._ready: list[Rows] = []
        self._held = 0
        self._handlers: dict[int, Callable[[bytes], bool]] = {
            wire.BEGIN: self._begin,
            wire.COMMIT: self._commit,
            wire.INSERT: self._insert,
            wire.UPDATE: self._update,
            wire.DELETE: self._delete,
            wire.TRUNCATE: self._truncate,
            wire.RELATION: self._relation,
            wire.TYPE: _ignore,
            wire.ORIGIN: _ignore,
            wire.MESSAGE: _ignore,
            # version 18 tells the end of a transaction that it never began to send
            wire.STREAM_ABORT: _ignore,
        }

    def feed(self, d: bytes) -> bool:
        """Take one message; True when ``take`` has something to give, or a transaction ended."""
        try:
            return self._handlers[d[wire.KIND]](d)
        except KeyError:
            if d[wire.KIND] in self._handlers:
                raise
            raise wire.unknown(d) from None
        except (IndexError, struct.error):
            raise wire.malformed(d, len(d)) from None

    @property
    def open_at(self) -> int:
        """The commit of the open transaction; 0 where none is open."""
        return self._open.commit_lsn if self.in_transaction else 0

    def snapshots(self, now: Mapping[str, Progress]) -> None:
        """Take over how far the snapshots are."""
        self._snapshots = now
        for table in self._tables.values():
            table.reading = self._reading(table)
        self._wake()

    def _reading(self, table: Table) -> Progress | None:
        progress = self._snapshots.get(table.known.relation.name)
        return progress if progress is not None and progress.pending else None

    def _wake(self) -> None:
        """Tell from here on what happens to tables whose snapshot begins at or before this transaction."""
        for relid, table in list(self._early.items()):
            reading = self._reading(table)
            if reading is None or reading.told_from <= self._open.commit_lsn:
                del self._early[relid], self._others[relid]
                table.reading = reading
                self._tables[relid] = table

    def take(self) -> list[Rows]:
        """The rows that wait, as runs; they are the caller's now."""
        runs, self._ready = self._ready, []
        now = self._open
        for table in self._touched:
            rows = table.rows
            runs.append(
                Rows(
                    table.known.relation, STREAM, self.era, now.commit_lsn, 2 * table.index,
                    now.commit_us, now.xid, rows,
                )
            )  # fmt: skip
            table.index += len(rows)
            table.rows = []
        self._touched = []
        self._held = 0
        return runs

    def _begin(self, d: bytes) -> bool:
        commit_lsn, ts, xid = wire.unpack_begin(d, BODY)
        now = self._open
        now.commit_lsn, now.commit_us, now.xid, now.count = commit_lsn, ts + wire.EPOCH_US, xid, 0
        for table in self._seen:
            table.index = 0
        self._seen = []
        self.in_transaction = True
        if self._early:
            self._wake()
        return False

    def _commit(self, d: bytes) -> bool:
        _, commit_lsn, end_lsn, _ = wire.unpack_commit(d, BODY)
        now = self._open
        if commit_lsn != now.commit_lsn:
            raise SourceRefused(
                f"a commit at {wire.show_lsn(commit_lsn)} for a transaction that began for "
                f"{wire.show_lsn(now.commit_lsn)}",
                hint=wire.REPORT,
            )
        self.last = Transaction(commit_lsn, end_lsn, now.xid, now.commit_us, now.count)
        self.in_transaction = False
        return True

    def _pass(self, d: bytes) -> bool:
        """Pass over a row of a table that is not captured, and tell it if it should be."""
        self._open.count += 1
        relid = d[BODY : BODY + 4]
        try:
            other = self._others[relid]
        except KeyError:
            raise SourceRefused(
                f"a row of relation {int.from_bytes(relid, 'big')}, never described", hint=wire.REPORT
            ) from None
        if other is not None:
            other.missed = True
            self._tell(other.schema, other.table, other.why)
        return bool(self.gaps)

    def _tell(self, schema: str, table: str, why: str) -> None:
        if (schema, table, why) not in self._told:
            self._told.add((schema, table, why))
            self.gaps.append(
                TableGap(schema, table, "source.gap-suspected", self.era, self._open.commit_lsn, why)
            )

    def _add(self, table: Table, row: Row, size: int) -> bool:
        rows = table.rows
        if not rows:
            self._touched.append(table)
            if not table.index:
                self._seen.append(table)
        rows.append(row)
        self._open.count += 1
        self._held += size + _ROW_WEIGHT
        return self._held > HELD_MAX

    def _insert(self, d: bytes) -> bool:
        table = self._tables.get(d[26:30])
        if table is None:
            return self._pass(d)
        # the same as _add, unrolled: half of all messages come here
        rows = table.rows
        if not rows:
            self._touched.append(table)
            if not table.index:
                self._seen.append(table)
        rows.append(("c", None, table.parse(d, 31)))
        self._open.count += 1
        self._held += len(d) + _ROW_WEIGHT
        return self._held > HELD_MAX

    def _update(self, d: bytes) -> bool:
        table = self._tables.get(d[26:30])
        if table is None:
            return self._pass(d)
        if d[30] == wire.NEW_ROW:
            return self._updated(table, ("u", None, table.parse(d, 31)), len(d))
        if d[30] not in (wire.OLD_KEY, wire.OLD_ROW):
            raise wire.malformed(d, 30)
        old, at = table.parse_any(d, 31)
        if d[at] != wire.NEW_ROW:
            raise wire.malformed(d, at)
        return self._updated(table, self._changed(table, old, table.parse(d, at + 1)), len(d))

    def _updated(self, table: Table, row: Row, size: int) -> bool:
        op, _, new = row
        reading = table.reading
        if reading is None or new is None or op != "u" or UNCHANGED not in new:
            return self._add(table, row, size)
        early = self._learn.unread(table.known.relation, tuple(new), reading)
        if early:
            self._close(table)  # a run is early or it is not
        full = self._add(table, row, size)
        if early:
            *self._ready, run = self.take()
            self._ready.append(run._replace(early=True))
        return full or early

    def _changed(self, table: Table, old: Values, new: Values) -> Row:
        """An update that came with its old row or its old key."""
        at = table.key_at
        if table.full:
            if UNCHANGED in new:
                new = tuple(o if n is UNCHANGED else n for o, n in zip(old, new, strict=True))
            moved = any(old[n] != new[n] for n in at)
            return ("k" if moved else "u", old, new)
        if UNCHANGED in new:
            # a key that is stored apart is sent with the old key only
            keyed = set(at)
            new = tuple(
                o if n in keyed and v is UNCHANGED else v
                for n, (o, v) in enumerate(zip(old, new, strict=True))
            )
        if all(old[n] == new[n] for n in at):
            return ("u", None, new)
        if UNCHANGED in new:
            new = self._learn.reread(table.known.relation, new, self._open.xid)
        return ("k", _key_only(old, at), new)

    def _delete(self, d: bytes) -> bool:
        table = self._tables.get(d[26:30])
        if table is None:
            return self._pass(d)
        old = table.parse(d, 31)
        if d[30] == wire.OLD_KEY:
            return self._add(table, ("d", _key_only(old, table.key_at), None), len(d))
        if d[30] != wire.OLD_ROW:
            raise wire.malformed(d, 30)
        return self._add(table, ("d", old, None), len(d))

    def _truncate(self, d: bytes) -> bool:
        full = False
        for relid in wire.truncated(d):
            table = self._tables.get(relid)
            full |= self._pass(bytes(BODY) + relid) if table is None else self._truncated(table)
        return full

    def _truncated(self, table: Table) -> bool:
        relation = table.known.relation
        match self._learn.on_truncate(relation):
            case "apply":
                return self._add(table, _TRUNCATED, 0)
            case "ignore":
                # it counts all the same: whether it is told must not renumber the rows after it
                self._close(table)
                table.index += 1
                self._seen.append(table)
                self._open.count += 1
                return bool(self._ready)
            case "stop":
                at = wire.show_lsn(self._open.commit_lsn)
                self._tell(relation.schema, relation.table, f"the table was truncated at {at}")
                self._add(table, _TRUNCATED, 0)
                return True

    def _relation(self, d: bytes) -> bool:
        relid, body = d[26:30], d[26:]
        if self._said.get(relid) == body:
            return False  # said again after a change that does not touch what it says
        message = wire.relation(d)
        self._early.pop(relid, None)
        known = self._learn.relation(message, self._open.xid)
        table = self._tables.get(relid)
        if message.identity != "f":  # under FULL the key is the catalogue's, and may change unsaid
            self._said[relid] = body
        if isinstance(known, Known):
            if table is None or table.known != known:
                self._replace(relid, table, known)
            return bool(self._ready or self.gaps)
        if table is not None:
            self._close(table)
            del self._tables[relid]
            was = table.known.relation
            if known is None:
                known = f"the table is now called {message.schema}.{message.table}"
            self._others[relid] = Blocked(was.schema, was.table, known)
        elif known is not None:
            self._others[relid] = Blocked(message.schema, message.table, known)
        else:
            self._others[relid] = None
        return bool(self._ready)

    def _replace(self, relid: bytes, table: Table | None, known: Known) -> None:
        made = Table(known, *wire.parsers(known.bases, self._form))
        if table is not None:
            self._close(table)  # a run has one relation
            made.index = table.index
        elif relid in self._others and self.in_transaction:
            made.index = self._open.count  # beyond every row that was passed over: no index comes twice
        other = self._others.pop(relid, None)
        if other is not None and other.missed:
            at = wire.show_lsn(self._open.commit_lsn)
            self._tell(other.schema, other.table, f"changes before {at} were passed over: {other.why}")
        made.reading = self._reading(made)
        if made.reading is not None and made.reading.told_from > self._open.commit_lsn:
            self._early[relid], self._others[relid] = made, None
            return
        self._tables[relid] = made
        if made.index:
            self._seen.append(made)

    def _close(self, table: Table) -> None:
        if table.rows:
            self._ready = self.take()


def _key_only(old: Values, at: list[int]) -> Values:
    """The key of an old tuple: a NULL elsewhere in it means absent."""
    keep = set(at)
    return tuple(v if n in keep else None for n, v in enumerate(old))


def _ignore(_d: bytes) -> bool:
    return False
