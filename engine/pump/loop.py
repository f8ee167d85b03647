"""The loop of a capture, and the three steps of a mark."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from engine.errors import (
    CaptureFenced,
    EcluseError,
    RegistryRefused,
    TopicRefused,
    TopicUnreachable,
)
from engine.marks import Found, Marks
from engine.plan import CapturePlan
from engine.pump import kept, lost
from engine.pump.aside import Aside
from engine.pump.doors import Doors
from engine.pump.opening import opened
from engine.pump.pace import Pace
from engine.pump.patience import patiently
from engine.pump.promises import Promises
from engine.pump.routes import Route, Routes
from engine.pump.stand import Stand
from engine.source import NO_ENDS, STREAM, Ends, Mark, Reading, Rows, Source, TableGap
from engine.supervise import Done, Parked, Progress, attempt
from engine.topic import Topic

_READ_ROWS: Final = 20_000  # a round ends at the first mark behind them
_BATCH_ROWS: Final = 1000
_BATCH_BYTES: Final = 256 << 10
_WAIT_S: Final = 0.25
_LATENCY_S: Final = 0.1
_KEEP_ALIVE_S: Final = 5.0  # the door promises 10
_FENCE_S: Final = 10.0
_PROGRESS_S: Final = 5.0
_GRACE_S: Final = 30.0


def run(capture: CapturePlan, doors: Doors) -> Done[None] | Parked:
    """Pump until told to stop, or until nothing helps any more."""

    def failed(error: EcluseError, failures: int, wait_s: float) -> None:
        doors.meters.failed(error.code)
        told = life.stand.tell(error).as_dict()
        doors.log.warning("waiting", **told, failures=failures, wait_s=round(wait_s, 2))

    life = _Life(Aside(capture, doors.log.warning), Stand(doors.show))

    def work(progress: Progress) -> None:
        while _once(capture, doors, progress, life):
            doors.log.info("opening again", why="a person asks for tables or files to be taken again")

    end = attempt(work, doors.policy, doors.clock, failed)
    if isinstance(end, Done):
        return end
    if not end.stopped:
        _record(capture, doors, life.stand, end.error)
    return replace(end, error=life.stand.tell(end.error))


def _record(capture: CapturePlan, doors: Doors, stand: Stand, error: EcluseError) -> None:
    """Leave the stop where ``status`` and ``resolve`` find it, unless Kafka itself is what fails."""
    if isinstance(error, (CaptureFenced, TopicUnreachable)):
        return
    try:
        topic = doors.topic()
        try:
            marks = _marks(topic, doors)
            marks.prepare(_replication(capture))
            marks.stop(stand.stop(capture.name, error, marks.now()))
        finally:
            topic.close()
    except EcluseError as failed:
        doors.log.warning("stop not recorded", **failed.as_dict())


@dataclass(frozen=True, slots=True)
class _Life:
    """What outlives an opening: the tables left out, the newest mark, the epochs that this process took."""

    aside: Aside
    stand: Stand
    taken: list[int] = field(default_factory=list)


def _once(capture: CapturePlan, doors: Doors, progress: Progress, life: _Life) -> bool:
    """Open and pump; True when the source is to be opened again."""
    topic, taken = doors.topic(), life.taken
    try:
        marks = _marks(topic, doors)
        marks.prepare(_replication(capture))
        troubled = topic.prepare(list(capture.topics.values()))
        if taken:
            marks.keep(capture.name, taken[-1])  # who was replaced meanwhile does not take the source back
        found, asked = marks.find(capture.name), marks.asked(capture.name)
        wishes = marks.wishes(capture.name)
        lost.refuse(topic, capture, found)
        life.stand.at(found.mark)
        life.aside.look(troubled, doors.unfit())
        keeping = kept.read(topic, doors.registry, capture)
        opening = partial(doors.open, found.mark, life.aside.tables, asked, (*keeping.rows, *wishes))
        with opened(opening, marks, capture.name, found) as source:
            writer = marks.take(capture.name, found)
            keeping.unchanged(topic, capture.name)
            taken.append(writer)
            life.aside.record(marks, found.mark)  # before a mark of ours lets the source forget
            doors.meters.writer.set(writer)
            doors.log.info("capturing", writer=writer, **_started(found))
            pump = _Pump(
                capture, doors, topic=topic, marks=marks, writer=writer, source=source, progress=progress,
                stand=life.stand, found=found.mark, asked=(asked, wishes), keeps=bool(keeping.topic),
            )  # fmt: skip
            return pump.run()
    except (TopicRefused, RegistryRefused) as error:
        life.aside.refuse(error)
    finally:
        topic.close()


def _marks(topic: Topic, doors: Doors) -> Marks:
    return Marks(topic, doors.project, lambda: _iso(doors.clock.wall()))


def _replication(capture: CapturePlan) -> int:
    return min(plan.replication for plan in capture.topics.values())


def _iso(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds")


def _started(found: Found) -> dict[str, Any]:
    if found.mark is None:
        return {"start": "first"}
    return {"start": "mark", "era": found.mark.era, "at": dict(found.mark.at), "marked_at": found.written_at}


class _Pump:
    """One open source and one topic, until the end or the first error."""

    def __init__(
        self,
        capture: CapturePlan,
        doors: Doors,
        *,
        topic: Topic,
        marks: Marks,
        writer: int,
        source: Source,
        progress: Progress,
        stand: Stand,
        found: Mark | None,
        asked: object,
        keeps: bool,
    ) -> None:
        self._capture, self._doors, self._topic, self._marks = capture, doors, topic, marks
        self._writer, self._source, self._progress, self._found = writer, source, progress, found
        self._stand, self._asked, self._anew, self._keeps = stand, asked, False, keeps
        self._routes = Routes(capture, doors.project, doors.registry, writer, self._keep_alive)
        self._promises = Promises(capture.name, _READ_ROWS, _WAIT_S)
        self._now = doors.clock.monotonic
        self._seen: Mark | None = None  # the newest mark that came
        self._confirmed: Mark | None = None
        self._pace = Pace()
        self._unmarked = 0  # rows since the newest mark
        self._committed_us = 0  # commit time of the newest row
        self._behind_s = 0.0  # its age when it was sent
        now = self._now()
        self._framed_ms = int(doors.clock.wall() * 1000)
        self._send_at = now + _LATENCY_S
        self._mark_at = now  # the first mark is written at once
        self._alive_at = now + _KEEP_ALIVE_S
        self._fence_at = now + _FENCE_S
        self._told_at = now
        self._stop_by: float | None = None

    def run(self) -> bool:
        """Read and pump until told to stop, or (True) until the source is to be opened again."""
        while not self._round():
            pass
        self._tell(self._now(), last=True)
        return self._anew and not self._doors.clock.stopped()

    def _round(self) -> bool:
        """One read of the source; True when the capture ends with it."""
        self._promises.reading(self._now())
        for item in self._source.read(limit=_READ_ROWS, wait_s=_WAIT_S):
            now = self._now()
            self._promises.came(now)
            if isinstance(item, Rows):
                if self._rows(item):
                    return self._stopped_inside()
            elif isinstance(item, Mark):
                if self._mark(item, now):
                    return True
            elif isinstance(item, TableGap):
                self._gap(item)
            else:
                self._reading(item)
            self._promises.asked(self._now())
        return self._rested()

    # what comes

    def _rows(self, run: Rows) -> bool:
        """Encode and let them wait; True when there is no more time to wait for their mark."""
        self._promises.rows(run)
        self._doors.at("capture.after-read")
        route = self._routes.of(run.relation)
        route.take(run, self._framed_ms)
        self._unmarked += len(run.rows)
        self._committed_us = run.committed_us
        if route.rows >= _BATCH_ROWS or route.bytes >= _BATCH_BYTES:
            self._send(route)
            self._keep_alive()
            return self._overdue(self._now())
        return False

    def _mark(self, mark: Mark, now: float) -> bool:
        """Remember the mark, and write it when it is time; True when the capture ends with it."""
        self._promises.mark(mark)
        if self._seen is None and self._found is None:
            self._doors.log.info("first position", era=mark.era, at=dict(mark.at))
        self._seen, self._unmarked = mark, 0
        stopping = self._stopping(now)
        if stopping or mark.barrier or now >= self._mark_at:
            self._commit(mark)
        elif now >= self._send_at:
            self._send_all()
        return stopping

    def _gap(self, told: TableGap) -> None:
        """Record it: the landing stops that table's flows, the capture goes on (I9)."""
        if patiently(lambda: self._marks.open_gap(self._capture.name, told), self._keep_alive) is not None:
            self._doors.log.warning(
                "gap", table=f"{told.schema}.{told.table}", code=told.code, era=told.era, at=told.major,
                what=told.text,
            )  # fmt: skip

    def _reading(self, told: Reading) -> None:
        table, now = f"{told.schema}.{told.table}", self._now()
        self._doors.meters.reading(table, told.rows, told.expected, done=told.done)
        left_s = self._pace.left_s(table, told, now)
        self._marks.reading(self._capture.name, told, left_s)
        say = self._doors.log.warning if told.waits_for else self._doors.log.info
        say(
            "snapshot", table=table, run=told.run, rows=told.rows, of_about=told.expected, done=told.done,
            **({"waits_for": told.waits_for} if told.waits_for else {}),
            **({} if left_s is None else {"left_s": round(left_s)}),
        )  # fmt: skip

    def _rested(self) -> bool:
        """The end of a read: send what waits, mark what is due; True when told to stop and all is marked."""
        now = self._now()
        self._promises.ended(now)
        self._send_all()
        stopping = self._stopping(now)
        if self._seen is not None and (now >= self._mark_at or (stopping and not self._unmarked)):
            self._commit(self._seen)
        self._fence()
        self._keep_alive()
        self._tell(now)
        if self._unmarked and self._overdue(now):
            return self._stopped_inside()
        return stopping and not self._unmarked

    def _stopped_inside(self) -> bool:
        self._doors.log.warning("stopped inside a transaction", rows_that_come_again=self._unmarked)
        return True

    # what goes

    def _send(self, route: Route) -> None:
        route.send(lambda records: self._topic.send(records, self._waiting))
        wall_s = self._doors.clock.wall()
        self._framed_ms = int(wall_s * 1000)
        self._behind_s = max(0.0, wall_s - self._committed_us / 1e6)
        self._doors.at("capture.after-produce")

    def _send_all(self) -> None:
        for route in self._routes:
            if route.rows:
                self._send(route)
        self._send_at = self._now() + _LATENCY_S

    def _commit(self, mark: Mark) -> None:
        """Rows, then the mark, then the source: three steps, each durable before the next (I1)."""
        self._send_all()
        at, topic = self._doors.at, self._topic
        self._mark_at = self._now() + self._capture.mark_interval_s
        if mark == self._confirmed:
            return
        topic.flush(self._waiting)
        at("capture.after-flush")
        self._fence()
        self._marks.send(self._capture.name, self._writer, mark)
        at("capture.mark-sent")
        topic.flush(self._waiting)
        self._stand.at(mark)
        at("capture.mark-acknowledged")
        self._source.confirm(mark, self._ends(mark))
        before = self._confirmed or self._found
        if before is None or (mark.era, mark.at) != (before.era, before.at):
            self._progress()  # a mark that says where the last writer was is none: retries would never end
        self._confirmed = mark
        self._alive_at = self._now() + _KEEP_ALIVE_S
        at("capture.after-confirm")
        self._measured(mark)

    def _ends(self, mark: Mark) -> Ends:
        """What a connector that keeps something is told with a mark.

        What it has kept before a barrier decides about rows behind it, and of two writers one may decide:
        whoever sees no newer one behind its own mark is seen by every newer one.
        """
        if not self._keeps:
            return NO_ENDS
        if mark.barrier:
            patiently(self._look, self._keep_alive)
        return patiently(lambda: kept.ends(self._topic, self._capture), self._keep_alive)

    def _fence(self) -> None:
        """Look for what others wrote: a newer writer stops this one, a wish has the source opened again.

        Until it sees a newer writer it can overwrite no mark but its own.
        """
        now = self._now()
        if now >= self._fence_at:
            self._fence_at = now + _FENCE_S
            patiently(self._look, self._keep_alive)

    def _look(self) -> None:
        self._marks.keep(self._capture.name, self._writer)
        self._marks.streams(self._capture.name)
        name = self._capture.name
        self._anew = (self._marks.asked(name), self._marks.wishes(name)) != self._asked

    # what goes on meanwhile

    def _waiting(self) -> None:
        """The topic makes us wait: the source must not take us for dead, nor a person wait for ever."""
        self._doors.meters.waits.inc()
        self._keep_alive()
        if self._overdue(self._now()):
            raise TopicUnreachable("told to stop, and the topic does not take what was read")

    def _keep_alive(self) -> None:
        now = self._now()
        if now >= self._alive_at and self._confirmed is not None:
            self._alive_at = now + _KEEP_ALIVE_S
            self._source.confirm(self._confirmed)
        self._tell(now)

    def _stopping(self, now: float) -> bool:
        if not self._anew and not self._doors.clock.stopped():
            return False
        if self._stop_by is None:
            self._stop_by = now + _GRACE_S
        return True

    def _overdue(self, now: float) -> bool:
        """Told to stop, and the time to do so at a mark is over."""
        return self._stopping(now) and now > (self._stop_by or now)

    def _measured(self, mark: Mark) -> None:
        meters = self._doors.meters
        meters.marks.inc()
        meters.confirmed.set(self._doors.clock.wall())
        meters.position.set(mark.at.get(STREAM, 0))
        if mark.committed_us:
            meters.commit.set(mark.committed_us / 1e6)

    def _tell(self, now: float, *, last: bool = False) -> None:
        """One line per table that moved, every few seconds."""
        since = now - self._told_at
        if since < _PROGRESS_S and not last:
            return
        self._told_at = now
        moved = False
        for route in self._routes:
            counts, size = route.counted()
            rows = sum(counts.values())
            if rows:
                moved = True
                self._doors.meters.sent(route.table, counts, size)
                self._doors.log.info(
                    "progress", table=route.table, topic=route.plan.name, rows=rows, bytes=size,
                    rows_per_s=round(rows / since) if since else rows, behind_s=round(self._behind_s, 1),
                )  # fmt: skip
        self._doors.meters.lag.set(self._behind_s if moved else 0.0)
