"""The flows of a lane: which is due, who works on it, and what becomes of its failures.

Each flow has one seat. A seat is worked on by at most one thread, so that its table has one writer, its own
maintenance included. A failure empties the seat's memory: where the flow stands is asked of its table again.

Rule: one flow's trouble never stops another (I9). Time comes from the clock that is handed in.
"""

from __future__ import annotations

import functools
import threading
import traceback
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pyspark.sql import SparkSession

from engine import ledger
from engine.errors import Act, Bug, EcluseError, GapAhead
from engine.lake import book, halt, land, maintain, pause, ranges, session
from engine.lake.answer import Answer
from engine.lake.book import FlowState
from engine.lake.desk import Desk, Gap, Standing
from engine.lake.ranges import Offsets
from engine.ledger import Entry
from engine.metrics import LandingMeters
from engine.plan import FlowPlan, LanePlan
from engine.state import Event, State, move, shown
from engine.supervise import Clock, Parked, Policy, attempt

Ends = Mapping[str, Offsets]
"""Topic to the end of each partition."""

_LOOK_AGAIN_S: Final = 2.0


@dataclass
class Seat:
    """One flow in the lane."""

    flow: FlowPlan
    state: FlowState
    standing: Standing | None = None
    work: Future[None] | None = None
    started_s: float = float("-inf")
    retry_s: float = float("-inf")
    looked_s: float = float("-inf")
    failures: int = 0
    doubted: bool = False  # the topic may not be the one that was read: look, whatever the offsets say
    reached: Offsets | None = None  # the last offsets that it was known to stand at
    at_gap: bool = False  # stopped with nothing left to land: what comes before the gap may still come
    untold: bool = False  # the lake did not take its state: nobody but us knows it
    paused: bool = False  # a person let it rest

    @property
    def busy(self) -> bool:
        """Whether a thread works on it."""
        return self.work is not None and not self.work.done()

    @property
    def shown(self) -> FlowState:
        """Its state as people see it."""
        return replace(self.state, state=shown(self.state.state, paused=self.paused))

    def waiting(self, ends: Ends) -> int:
        """How many offsets it has not applied; 1 when where it stands has to be asked first."""
        if self.flow.topic.name not in ends:
            return int(self.doubted)
        if self.standing is None or self.doubted:
            return 1
        return ranges.backlog(self.standing.offsets, ends[self.flow.topic.name])


@dataclass
class Lane:
    """The seats of a lane and its workers."""

    plan: LanePlan
    root: Path
    spark: SparkSession
    desk: Callable[[SparkSession], Desk]
    clock: Clock
    policy: Policy
    log: Any
    meters: LandingMeters
    seats: list[Seat] = field(default_factory=list)
    wake: Callable[[], None] = lambda: None  # told when a worker is done
    _ends: Ends = field(default_factory=dict)
    _pool: ThreadPoolExecutor = field(init=False)
    _rejections: int = 0
    _removed_s: dict[str, float] = field(default_factory=dict)
    _local: threading.local = field(default_factory=threading.local)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.plan.workers, thread_name_prefix=f"land-{self.plan.lane}")
        for flow in self.plan.flows:
            book.store_plan(self.root, flow)  # before its first use: recovery reads it by its hash
            self.seats.append(Seat(flow, self._begin(book.load_state(self.root, flow.name))))
            self._show_state(self.seats[-1])
        self._rest(pause.resting(self.root))

    def _begin(self, state: FlowState) -> FlowState:
        """A restart looks at a stopped flow anew: what stopped it is found again, before anything lands."""
        if state.state is not State.STOPPED:
            return state
        return replace(state, state=move(state.state, Event.RESOLVED))

    # --- dispatch

    def dispatch(self, ends: Ends, *, defer: bool = True) -> int:
        """Hand every due flow to a worker; how many were handed out. Called by Spark and by the timer."""
        now_s = self.clock.monotonic()
        handed = 0
        with self._lock:
            self._ends = ends
            self._look_for_pauses()
            for seat in self.seats:
                if seat.untold and not seat.busy:
                    self._write(seat)
                if seat.reached is not None and seat.flow.topic.name in ends:
                    lag = ranges.backlog(seat.reached, ends[seat.flow.topic.name])
                    self.meters.lag(seat.flow.name, lag)
                if self._due(seat, ends, now_s, defer=defer):
                    seat.started_s = now_s
                    seat.work = self._pool.submit(self._begun, seat)
                    seat.work.add_done_callback(functools.partial(self._ended, seat))
                    handed += 1
        return handed

    def _due(self, seat: Seat, ends: Ends, now_s: float, *, defer: bool) -> bool:
        if seat.busy or seat.paused or now_s < seat.retry_s:
            return False
        waiting = seat.waiting(ends)
        if self._stopped(seat, waiting, now_s) or not waiting:
            return False
        fresh = now_s - seat.started_s < seat.flow.freshness_s
        early = fresh and waiting < seat.flow.rows_per_commit
        return not (defer and early and not seat.doubted)

    def _look_for_pauses(self) -> None:
        """Who rests now, because a person asked; where that cannot be read, all is as it was."""
        try:
            self._rest(pause.resting(self.root))
        except EcluseError as error:
            self.log.warning("not-read", code=error.code, what=error.what)

    def _rest(self, resting: Collection[str]) -> None:
        for seat in self.seats:
            if seat.paused != (seat.flow.name in resting):
                seat.paused = not seat.paused
                self.log.info("paused" if seat.paused else "resumed", flow=seat.flow.name)
                self._show_state(seat)

    def _stopped(self, seat: Seat, waiting: int, now_s: float) -> bool:
        if seat.state.state is not State.STOPPED:
            return False
        if seat.at_gap and waiting:  # the batch finds out whether they lie before the gap
            seat.state, seat.at_gap = replace(seat.state, state=State.STREAMING), False
            return False
        if seat.untold or now_s - seat.looked_s < _LOOK_AGAIN_S:
            return True
        seat.looked_s = now_s
        try:
            written = book.load_state(self.root, seat.flow.name)
        except EcluseError as error:
            self.log.warning("not-read", flow=seat.flow.name, code=error.code, what=error.what)
            return True
        answered = any(answer.fits(written.code, written.where) for answer in written.accepted)
        if written.state is State.STOPPED and not answered:
            return True
        seat.state = replace(written, state=State.STREAMING)
        seat.failures, seat.retry_s = 0, float("-inf")
        return False

    def doubt(self, ids: Mapping[str, str], refused: Collection[str] = ()) -> None:
        """Compare the topics' ids: a flow whose topic is another one, gone or refused is looked at."""
        for seat in self.seats:
            standing, id_ = seat.standing, ids.get(seat.flow.topic.name)
            if seat.busy:
                continue
            if standing is not None and standing.topic_id:
                seat.doubted = id_ != standing.topic_id
            elif standing is None and id_ is None:
                # no offset will tell of a topic that went while nobody landed it: its table knows it
                went = book.exists(book.table_path(self.root, seat.flow.sink.table))
                seat.doubted = went or seat.flow.topic.name in refused

    def reconsider(self, flows: set[str], code: str) -> None:
        """What stopped these flows is gone; one with nothing left to land says so too."""
        for seat in self.seats:
            if seat.flow.name in flows and seat.state.code == code and not seat.busy:
                seat.at_gap = False
                self._store(seat, FlowState(seat.flow.name, State.STREAMING, accepted=seat.state.accepted))

    def stop_at_gaps(self, ends: Ends, gaps: Mapping[str, Gap]) -> None:
        """Stop the flows that have landed all there is before an open gap: no row may ever come behind it.

        A table that left the publication brings none. Call it with gaps that were read after the ends.  # I5
        """
        with self._lock:
            for seat in self.seats:
                gap = gaps.get(seat.flow.name)
                still = (
                    not seat.busy
                    and not seat.paused
                    and seat.state.state is not State.STOPPED
                    and not seat.waiting(ends)
                )
                if gap is None or not still:
                    continue
                seat.at_gap = True
                error = GapAhead(
                    f"{gap.text}; all that came before has landed",
                    where=f"{seat.flow.name}, from position {gap.era}.{gap.major} on",
                    hint=f"ecluse resolve {seat.flow.name} --accept-gap goes on behind it",
                )
                self._tell(seat, error, seat.standing, move(seat.state.state, Event.REFUSED))

    def settle(self) -> None:
        """Wait until nobody works."""
        wait([seat.work for seat in self.seats if seat.work is not None])

    def close(self) -> None:
        """Let the batches in flight end, take no more."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    # --- a worker

    def _begun(self, seat: Seat) -> None:
        """A worker has come to the flow: what has been written meanwhile lands too."""
        self._work(seat, self._ends.get(seat.flow.topic.name, {}))

    def _work(self, seat: Seat, ends: Offsets) -> None:
        result = attempt(lambda _progress: self._land(seat, ends), self.policy, self.clock)
        if isinstance(result, Parked):
            self._failed(seat, result.error)

    def _land(self, seat: Seat, ends: Offsets) -> None:
        desk = self._own_desk()
        if seat.standing is None:
            seat.standing = land.stand(desk, seat.flow, seat.state.accepted)
        standing = seat.standing
        entry, stop = land.land(desk, standing, ends, seat.state.accepted)
        seat.doubted, seat.reached = False, dict(standing.offsets)
        if entry is not None:
            self._count(entry)
        if stop is None and (entry is not None or seat.state.code):
            # no entry: what stopped it is gone, and nothing waits; an answer waits for its batch
            self._landed(seat, seat.state.accepted if entry is None else ())
        if entry is not None:
            self._tidy(standing, entry)
        if stop is not None:
            raise stop

    def _tidy(self, standing: Standing, entry: Entry) -> None:
        if maintain.due(standing):
            remove = self._remove_now(entry.table)
            maintain.compact(self._maintenance(), self.root, standing, remove=remove)
        if entry.quarantined:
            self._tidy_quarantine()

    def _remove_now(self, what: str) -> bool:
        """Whether the old files of a table are removed this time."""
        now_s = self.clock.monotonic()
        if now_s - self._removed_s.get(what, float("-inf")) < maintain.REMOVE_EVERY_S:
            return False
        self._removed_s[what] = now_s
        return True

    def _tidy_quarantine(self) -> None:
        """After so many batches with bad records; it belongs to no flow, so its trouble parks none (I9)."""
        with self._lock:
            self._rejections += 1
            if self._rejections % maintain.SMALL_FILES_MAX:
                return
        try:
            maintain.quarantine(self._maintenance(), self.root, remove=self._remove_now("quarantine"))
        except EcluseError as error:
            self.log.warning("not-tidied", code=error.code, what=error.what)

    def _own_desk(self) -> Desk:
        if not hasattr(self._local, "desk"):
            self._local.desk = self.desk(session.worker(self.spark))
            context, name = self.spark.sparkContext, self.plan.lane
            halt.sure(lambda: context.setLocalProperty("spark.scheduler.pool", name), where=name)
        desk: Desk = self._local.desk
        return desk

    def _maintenance(self) -> SparkSession:
        if not hasattr(self._local, "maintenance"):
            self._local.maintenance = session.worker(self.spark)
        found: SparkSession = self._local.maintenance
        return found

    # --- what becomes of it

    def _count(self, entry: Entry) -> None:
        self.log.info(
            "landed", flow=entry.flow, seq=entry.seq, read=entry.read, landed=entry.landed,
            quarantined=entry.quarantined, dropped=entry.dropped, late=entry.late, ms=entry.duration_ms,
        )  # fmt: skip
        self.meters.checked(entry.flow, entry.checks)
        committed_us = entry.committed_us_max
        self.meters.landed(
            entry.flow,
            read=entry.read or 0,
            outcomes={term: count for term, count in ledger.terms(entry).items() if count},
            at_s=entry.landed_at_us / 1e6,
            committed_s=None if committed_us is None else committed_us / 1e6,
        )

    def _show_state(self, seat: Seat) -> None:
        self.meters.state(seat.flow.name, seat.shown.state.value, [state.value for state in State])

    def _landed(self, seat: Seat, accepted: tuple[Answer, ...] = ()) -> None:
        seat.failures = 0
        now = FlowState(
            seat.flow.name, move(seat.state.state, Event.LANDED), since=seat.state.since, accepted=accepted
        )
        if now != seat.state or now.since == "":
            self._store(seat, now)

    def _failed(self, seat: Seat, error: EcluseError) -> None:
        seat.failures += 1
        retry = error.act is Act.RETRY
        seat.retry_s = self.clock.monotonic() + (self.policy.wait_s(seat.failures) if retry else 0.0)
        standing, seat.standing = seat.standing, None  # the table is asked again
        seat.doubted = seat.at_gap = False
        state = move(seat.state.state, Event.FAILED if retry else Event.REFUSED)
        self._tell(seat, error, standing, state)

    def _tell(self, seat: Seat, error: EcluseError, standing: Standing | None, state: State) -> None:
        self.meters.failed(seat.flow.name, error.code)
        self.log.warning(
            state.value, flow=seat.flow.name, code=error.code, what=error.what, where=error.where,
            failures=seat.failures,
        )  # fmt: skip
        offsets = {} if standing is None else {str(p): o for p, o in sorted(standing.offsets.items())}
        # an answer to this very stop has not helped: it is asked for again
        accepted = tuple(a for a in seat.state.accepted if not a.fits(error.code, error.where))
        told = FlowState(
            seat.flow.name, state, error.code, error.what, error.where, error.hint,
            first_unapplied=offsets, attempts=seat.failures, accepted=accepted,
        )  # fmt: skip
        self._store(seat, told)

    def _store(self, seat: Seat, state: FlowState) -> None:
        at = datetime.fromtimestamp(self.clock.wall(), UTC).isoformat(timespec="seconds")
        seat.state = replace(state, since=at)
        self._show_state(seat)
        self._write(seat)

    def _write(self, seat: Seat) -> None:
        """Store a state; one that the lake does not take is tried again, and keeps no flow waiting (I9)."""
        try:
            book.store_state(self.root, seat.state)
        except EcluseError as error:
            if not seat.untold:
                self.log.warning("not-stored", flow=seat.flow.name, code=error.code, what=error.what)
            seat.untold = True
        else:
            seat.untold = False

    def _ended(self, seat: Seat, work: Future[None]) -> None:
        """A worker that fell over is a fault of ours: the flow stops, the others go on."""
        fault = None if work.cancelled() else work.exception()
        if fault is not None:
            trace = "".join(traceback.format_exception(fault))
            self.log.error("fault", flow=seat.flow.name, trace=trace)
            self._failed(seat, Bug(f"{type(fault).__name__}: {fault}", where=seat.flow.name))
        self.wake()
