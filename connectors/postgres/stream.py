"""The open source: one loop over the replication connection, and what keeps it alive.

Rule: read, frame, confirm; nothing else. What the server may forget is only ever what a mark says, never
less than before, never more than was received: the server would accept any value and lose rows silently.
Rows are framed by ``decode``; this room knows the socket, the clock and the marks.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from psycopg import errors, pq

from connectors.postgres import facts, gap, publication, snapshot, wire
from connectors.postgres.config import PostgresConfig
from connectors.postgres.decode import Decoder
from connectors.postgres.readings import Readings
from connectors.postgres.resume import Resume, confirmed_of
from connectors.postgres.session import Lines, translated
from engine.errors import ContractBroken, SourceUnreachable
from engine.source import NO_ENDS, Ends, Item, Mark, TableGap, TableSpec

FEEDBACK_S: Final = 10.0  # a third of what the server is patient for, by a wide margin
SILENCE_S: Final = 60.0  # the server answers every feedback: six unanswered ones are a dead line
_MARK_S: Final = 0.1
_MARK_ROWS: Final = 5000
_TICK_S: Final = 1.0

_REACH_S: Final = 0.05


@dataclass(slots=True)
class _Round:
    """One ``read``: how far it is, and what happened since the clock was last looked at."""

    limit: int
    wait_s: float
    quiet_at: float
    rows: int = 0
    marked: int = 0
    gave: bool = False
    came: bool = False
    looked: bool = False
    drained: bool = False
    over: bool = False

    @property
    def mark_due(self) -> bool:
        """Whether the next commit deserves a mark by the number of rows alone."""
        return self.rows - self.marked >= min(self.limit, _MARK_ROWS)


class PostgresSource:
    """A capture's stream. Made by ``opening``; one reader, one thread."""

    def __init__(
        self,
        config: PostgresConfig,
        lines: Lines,
        decoder: Decoder,
        resume: Resume,
        readings: Readings,
    ) -> None:
        self._config = config
        self._pg = lines.walsender.pgconn
        self._side = lines.side
        self._decoder = decoder
        self._resume = resume
        self._readings = readings
        self._tables = readings.tables
        self._turn = resume.checked  # once the stream is here, it is a snapshot's turn
        self._poll = select.poll()
        self._poll.register(self._pg.socket, select.POLLIN)
        self._confirmed = resume.confirmed
        self._received = resume.confirmed
        self._marked = resume.last
        self._pending: list[Item] = []
        self._late: Sequence[TableSpec] = ()
        now = time.monotonic()
        self._reported = self._mark_at = now
        self._asked: float | None = None  # since when the server owes us an answer
        self._beaten = resume.last
        self._next_beat = now  # the first heartbeat goes out at once: it is the first proof
        self._next_check = now + config.heartbeat_s
        self._writable = True

    def announce(self, gaps: Iterable[TableGap], late: Sequence[TableSpec]) -> None:
        """What the first ``read`` gives before anything else: the gaps found at the start, then the mark.

        ``late`` are tables that a writer held when they were to join: they join as soon as they can.
        """
        self._late = late
        self._pending += gaps
        self._pending.append(self._resume.mark())

    # --- the door ----------------------------------------------------------------------------------------

    def read(self, *, limit: int, wait_s: float) -> Iterator[Item]:
        """Give rows and marks as the door promises."""
        with translated(self._config):
            while self._pending:
                yield self._pending.pop(0)
            yield from self._read(limit, wait_s)

    def confirm(self, mark: Mark, _: Ends = NO_ENDS) -> None:
        """Tell the server what it may forget; with the same mark again, that we are alive."""
        confirmed = confirmed_of(mark)
        self._received = max(self._received, self._decoder.last.end_lsn if self._decoder.last else 0)
        if not self._confirmed <= confirmed <= self._received:
            raise ContractBroken(
                f"a confirmation of {wire.show_lsn(confirmed)}, outside of"
                f" {wire.show_lsn(self._confirmed)} to {wire.show_lsn(self._received)}",
                where=self._config.where,
            )
        self._confirmed = confirmed
        with translated(self._config):
            self._report(time.monotonic())

    # --- reading -----------------------------------------------------------------------------------------

    def _read(self, limit: int, wait_s: float) -> Iterator[Item]:
        decoder, now = self._decoder, _Round(limit, wait_s, time.monotonic() + wait_s)
        feed, get = decoder.feed, self._pg.get_copy_data
        while not now.over:
            size, data = get(1)
            if size > 0:
                d = data.tobytes()
                del data
                if d[0] != wire.XLOG_DATA:
                    self._keepalive(d)
                    continue
                now.came = True
                full = feed(d)
                del d  # a value of 50 MB is not held here while it goes out
                if not full:
                    continue
                yield from self._gaps()  # before the rows: who ends in between has told of them
                for run in decoder.take():
                    now.gave = True
                    now.rows += len(run.rows)
                    yield run
                if now.mark_due and not decoder.in_transaction:
                    yield self._mark(now)
                    if self._snapshot_due():
                        yield from self._snapshot(now)
            elif size == 0:
                if self._snapshot_due():
                    yield from self._snapshot(now)
                else:
                    yield from self._pause(now)
            else:
                self._ended()

    def _pause(self, now: _Round) -> list[Item]:
        """Nothing is left in our buffer: look at the clock, then at the socket."""
        at = time.monotonic()
        if now.gave:
            now.quiet_at = at + now.wait_s
        if now.came:
            self._asked = None
            now.drained = False
        now.gave = now.came = False
        if at - self._mark_at >= _MARK_S and self._behind():
            return [self._mark(now)]
        if at >= now.quiet_at and now.looked:
            now.over = True
            return self._quiet(now)
        if now.drained:
            self._owed(at)
            pause = min(now.quiet_at - at, _MARK_S if self._behind() else _TICK_S)
            self._poll.poll(max(1, int(pause * 1000)))
        now.drained = not now.drained
        now.looked = True
        self._pg.consume_input()
        self._care(at)
        return list(self._gaps())

    def _quiet(self, now: _Round) -> list[Item]:
        """Nothing came for a while: what waits goes out, the rows of an open transaction too."""
        items: list[Item] = [*self._decoder.take()]
        if self._behind():
            items.append(self._mark(now))
        elif (
            not self._writable
            and not self._decoder.in_transaction
            and self._received > self._resume.confirmed
        ):
            # where no heartbeat can be written, the end of the log itself is what we have read up to
            self._resume = replace(self._resume, confirmed=self._received, overlap="none")
            items.append(self._resume.mark())
        return items

    # --- snapshots ---------------------------------------------------------------------------------------

    def _snapshot_due(self) -> bool:
        """There is something to read, and the stream has told all that there was behind the last group."""
        decoder = self._decoder
        if decoder.in_transaction or not self._readings.due(
            time.monotonic(), self._resume.table_prints.keys()
        ):
            return False
        told = decoder.last.end_lsn if decoder.last else 0
        return max(told, self._received) >= self._turn

    def _snapshot(self, now: _Round) -> Iterator[Item]:
        """Read one group; it is durable before anything of the stream follows."""
        now.over = True
        with ExitStack() as stack:
            try:
                group = stack.enter_context(snapshot.group(self._config, self._side))
            except (errors.LockNotAvailable, errors.ConfigurationLimitExceeded, SourceUnreachable) as error:
                yield from self._readings.held_up(error)  # the stream goes on (I9)
                return
            yield from self._reach(group.at)
            published = self._resume.table_prints.keys()
            if self._readings.begin(self._decoder.era, group.at, published):
                # whoever goes on after us leaves out the same changes, and none behind them
                self._decoder.snapshots(self._readings.progress)
                yield self._durable(now)
            yield from self._readings.read(group, published, self._decoder.era, self._alive)
        self._asked = None
        self._turn = facts.end_of_log(self._side)
        self._decoder.snapshots(self._readings.progress)
        yield self._durable(now)

    def _durable(self, now: _Round) -> Mark:
        self._resume = replace(self._resume, snapshots=dict(self._readings.progress))
        mark = self._mark(now)
        return mark._replace(at={**mark.at, **self._readings.strands}, barrier=True)

    def _reach(self, at: int) -> Iterator[Item]:
        """Tell the stream up to ``at``: what commits there or later follows the rows that are read there."""
        decoder = self._decoder
        if self._writable:
            self._beat()  # an idle server says how far it is only once there is something to tell
        while self._received < at and decoder.open_at < at:
            size, data = self._pg.get_copy_data(1)
            if size > 0:
                d = data.tobytes()
                if d[0] != wire.XLOG_DATA:
                    self._keepalive(d)
                elif decoder.feed(d):
                    yield from self._gaps()
                    yield from decoder.take()
            elif size == 0:
                self._report(time.monotonic(), reply=True)
                self._owed(time.monotonic())
                self._poll.poll(int(_REACH_S * 1000))
                self._pg.consume_input()
            else:
                self._ended()

    def _alive(self) -> None:
        """A reading takes its time: the server hears of us all the same."""
        now = time.monotonic()
        if now - self._reported >= FEEDBACK_S:
            self._report(now)

    # --- marks -------------------------------------------------------------------------------------------

    def _behind(self) -> bool:
        return self._decoder.last is not self._marked and not self._decoder.in_transaction

    def _mark(self, now: _Round) -> Mark:
        last = self._decoder.last
        if last is not None:
            self._resume = replace(self._resume, last=last, confirmed=last.commit_lsn, overlap="last")
        self._marked = last
        self._mark_at = time.monotonic()
        now.marked = now.rows
        now.over = now.over or now.rows >= now.limit
        return self._resume.mark()

    def _gaps(self) -> Iterator[TableGap]:
        gaps = self._decoder.gaps
        while gaps:
            yield gaps.pop(0)

    def _ended(self) -> NoReturn:
        result = self._pg.get_result()
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result)
        raise SourceUnreachable("the server ended the stream", where=self._config.where)

    # --- staying alive -----------------------------------------------------------------------------------

    def _keepalive(self, d: bytes) -> None:
        if d[0] != wire.KEEPALIVE:
            raise wire.unknown(d)
        end, _, reply = wire.unpack_keepalive(d, 1)
        self._asked = None
        self._received = max(self._received, end)
        if reply:
            self._report(time.monotonic())

    def _report(self, now: float, *, reply: bool = False) -> None:
        self._reported = now
        if reply and self._asked is None:
            self._asked = now
        received = max(self._received, self._confirmed)
        self._pg.put_copy_data(wire.status(received, self._confirmed, time.time_ns() // 1000, reply=reply))
        self._pg.flush()

    def _owed(self, now: float) -> None:
        """With an empty socket, look how long the server has not answered."""
        if self._asked is not None and now - self._asked >= SILENCE_S:
            raise SourceUnreachable(
                f"the server has said nothing for {SILENCE_S:.0f} s", where=self._config.where
            )

    def _care(self, now: float) -> None:
        """What is due by the clock: feedback, a heartbeat, the fingerprint."""
        if now - self._reported >= FEEDBACK_S:
            self._report(now, reply=True)
        if self._decoder.last is not self._beaten:
            self._beaten = self._decoder.last
            self._received = max(self._received, self._beaten.end_lsn if self._beaten else 0)
            self._next_beat = now + self._config.heartbeat_s
        elif now >= self._next_beat and not self._decoder.in_transaction:
            self._next_beat = now + self._config.heartbeat_s
            self._beat()
        if now >= self._next_check:
            self._next_check = now + self._config.heartbeat_s
            self._check()

    def _beat(self) -> None:
        """Write a transaction of our own, so that an idle slot moves and the next start has its proof."""
        try:
            self._side.execute(
                "select pg_catalog.pg_logical_emit_message(true, 'ecluse', %s)", (self._config.slot,)
            )
        except (
            errors.ReadOnlySqlTransaction,
            errors.InsufficientPrivilege,
            errors.ObjectNotInPrerequisiteState,
            errors.UndefinedFunction,
        ):
            self._writable = False

    def _check(self) -> None:
        """Compare the fingerprint with the mark's, and remember how it is now."""
        if self._late:
            before = facts.prints(self._side, self._config, self._late)
            self._late = publication.ensure_published(self._side, self._config, self._late, before)
        now = facts.prints(self._side, self._config, self._tables)
        troubles = list(gap.of_publication(self._config, self._resume.publication_print, now.publication))
        if troubles:
            raise gap.stop(self._config, troubles)
        wanted = [(spec.schema, spec.table) for spec in self._tables]
        self._decoder.gaps += gap.of_tables(self._resume, now, wanted)
        left = gap.left(self._resume, now, wanted)
        self._resume = replace(self._resume, table_prints=now.tables, left=left, checked=now.at)
