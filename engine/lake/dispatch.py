"""The landing of a group: one Spark, one streaming query that wakes it, many flows.

The query knows the end offsets and is never executed: each flow reads its own exact range. A timer calls
the same dispatch with the last known ends, because Spark calls only when an offset moved, and a deferred or
parked flow on a quiet evening would wait for ever. Where a flow wants to be fresher than Spark's trigger is
often, the timer asks Kafka for the ends itself. The checkpoint is a cache: where flows stand is written in
their tables.

Rule: this room composes; it decides nothing about rows.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming import StreamingQuery

from engine.errors import Act, EcluseError, GapAhead, LakeUnreachable
from engine.lake import book, halt, quarantine, read, session
from engine.lake.book import Book, FlowState
from engine.lake.decode import NONCE_BYTES
from engine.lake.desk import Desk, Gap, Schemas, Topics
from engine.lake.lane import Ends, Lane
from engine.lake.session import Engine
from engine.metrics import LandingMeters
from engine.plan import LanePlan
from engine.state import State
from engine.supervise import Clock, Parked, Policy, attempt

_TRIES_NOW: Final = 5  # failures in a row after which --available-now ends without a flow
_ASK_AGAIN_S: Final = 5.0
_HURRY_S: Final = 0.2  # so often Kafka is asked for the ends, at most
_ASKING_MOST: Final = 0.1  # of the time
_QUERY: Final = {
    "failOnDataLoss": "false",
    "startingOffsets": "earliest",
    "kafka.metadata.max.age.ms": "5000",
}


def no_gaps() -> Mapping[str, Gap]:
    """Where no capture has told of a gap."""
    return {}


def pass_by(_point: str) -> None:
    """What happens at a named point in production: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the landing of a group is given.

    ``kafka`` are the client's options, ``gaps`` by flow; ``log`` is a structlog logger.
    """

    lake_root: Path
    kafka: Mapping[str, str]
    schemas: Schemas
    topics: Topics
    gaps: Callable[[], Mapping[str, Gap]] = no_gaps
    at: Callable[[str], None] = pass_by
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    log: Any = field(default_factory=structlog.get_logger)
    meters: LandingMeters = field(default_factory=LandingMeters)


def run(
    lane: LanePlan,
    world: World,
    *,
    engine: Engine,
    stop: threading.Event,
    available_now: bool = False,
) -> dict[str, FlowState]:
    """Land a group until it is told to stop (or, available now, until the ends seen at the start).

    Gives the state of every flow. Raises LakeUnreachable when Spark itself is gone.
    """
    spark = session.start(engine)
    try:
        return drive(spark, lane, world, stop=stop, available_now=available_now)
    finally:
        session.end(spark)


def drive(
    spark: SparkSession, lane: LanePlan, world: World, *, stop: threading.Event, available_now: bool = False
) -> dict[str, FlowState]:
    """The same in a Spark that is there already."""
    quarantine.create(world.lake_root)
    driver = _Driver(spark, lane, world, stop)
    try:
        if available_now:
            driver.drain()
        else:
            driver.stream()
    finally:
        driver.seats.close()
    return {seat.flow.name: seat.shown for seat in driver.seats.seats}


@dataclass
class _Driver:
    """One lane that runs."""

    spark: SparkSession
    lane: LanePlan
    world: World
    stop: threading.Event
    ends: Ends = field(default_factory=dict)
    seats: Lane = field(init=False)
    _asked_s: float = float("-inf")
    _gaps: Mapping[str, Gap] = field(default_factory=dict)
    _asking: threading.Lock = field(default_factory=threading.Lock)
    _quick_ends: int = 0
    _look_at_s: float = float("-inf")
    _woken_up: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        world = self.world
        ledger = Book(world.lake_root)
        ledger.open()
        nonce = os.urandom(NONCE_BYTES)
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        options = read.options(world.kafka, group=self.lane.group, lane=self.lane.lane)

        def desk(own: SparkSession) -> Desk:
            return Desk(
                root=world.lake_root,
                lane=self.lane,
                session=own,
                kafka=options,
                book=ledger,
                schemas=world.schemas,
                topics=world.topics,
                gaps=lambda: self._gaps,
                at=world.at,
                now_us=lambda: int(world.wall() * 1_000_000),
                nonce=nonce,
                driver=name,
            )

        # no wait inside a worker: a failing flow gives its thread back and comes again when its time is up
        policy = Policy(first_s=1.0, most_s=60.0, give_up_s=-1.0, chance=lambda: 0.0)
        self.seats = Lane(
            self.lane, world.lake_root, self.spark, desk, self._clock(), policy, world.log, world.meters,
            wake=self._woken_up.set,
        )  # fmt: skip

    def _clock(self) -> Clock:
        return Clock(
            monotonic=self.world.monotonic,
            wall=self.world.wall,
            wait=self.stop.wait,
            stopped=self.stop.is_set,
        )

    # --- available now

    def drain(self) -> None:
        """Land everything up to the ends seen now; a flow that cannot is left after some tries."""
        ends = self._ends_now()
        self._ask_gaps()
        self._doubt()
        while not self.stop.is_set():
            self.seats.dispatch(ends, defer=False)
            seats = self.seats.seats
            waiting = [s for s in seats if s.busy or (s.waiting(ends) and not self._given_up(s))]
            if not waiting:
                break
            self._alive()
            self.stop.wait(0.05)
        self.seats.settle()
        self.seats.stop_at_gaps(ends, self._gaps)

    def _given_up(self, seat: Any) -> bool:
        return seat.paused or seat.state.state is State.STOPPED or seat.failures >= _TRIES_NOW

    # --- live

    def stream(self) -> None:
        """Land as rows come, until told to stop."""
        query: StreamingQuery | None = None
        try:
            while not self.stop.is_set():
                self._alive()
                if query is None or not self._runs(query):
                    query = self._start(query)
                self._tick()
                self._rest()
        finally:
            if query is not None and session.alive(self.spark):
                halt.sure(query.stop, where=self.lane.group)

    @property
    def _hurries(self) -> bool:
        """Whether a flow wants to be fresher than Spark's trigger is often."""
        return any(flow.freshness_s < self.lane.trigger_s for flow in self.lane.flows)

    def _rest(self) -> None:
        """Until the next look: sooner where a flow hurries, and at once when a worker is done."""
        if not self._hurries:
            self.stop.wait(min(1.0, self.lane.trigger_s))
        elif self._woken_up.wait(_HURRY_S):
            self._woken_up.clear()

    def _runs(self, query: StreamingQuery) -> bool:
        active: bool = halt.sure(lambda: query.isActive, where=self.lane.group)
        return active

    def _start(self, before: StreamingQuery | None) -> StreamingQuery:
        """Start the query; where it ended by itself, it starts again, at last without its checkpoint."""
        checkpoint = book.checkpoint_path(self.world.lake_root, self.lane.group, self.lane.lane)
        if before is not None:
            why = halt.sure(before.exception, where=self.lane.group)
            self.world.log.warning("query-ended", group=self.lane.group, why=str(why)[:300])
            self._quick_ends += 1
            if self._quick_ends > 1:
                shutil.rmtree(checkpoint, ignore_errors=True)
            self.stop.wait(min(5.0, float(self._quick_ends)))
        return halt.sure(lambda: self._query(checkpoint), where=str(checkpoint))

    def _query(self, checkpoint: Path) -> StreamingQuery:
        pattern = "|".join(re.escape(flow.topic.name) for flow in self.lane.flows)
        reader = self.spark.readStream.format("kafka").options(**read.java(self.world.kafka), **_QUERY)
        stream = reader.option("subscribePattern", pattern).load()
        writer = stream.writeStream.foreachBatch(self._woken).trigger(
            processingTime=f"{max(1, int(self.lane.trigger_s * 1000))} milliseconds"
        )
        return writer.option("checkpointLocation", str(checkpoint)).start()

    def _woken(self, _frame: DataFrame, batch_id: int) -> None:
        """Spark saw an offset move. The frame is never executed: it would read every topic again."""
        if self._hurries:
            self._woken_up.set()  # the timer has asked later than Spark
        else:
            self._know(lambda: self._ends(batch_id))
            self.seats.dispatch(self.ends)
        self._quick_ends = 0
        self.world.at("landing.before-checkpoint")

    def _know(self, ask: Callable[[], Ends]) -> None:
        """Ends, and after them the gaps: a gap is told before the rows behind it are sent."""
        ends = ask()
        self._ask_gaps()
        self.ends = ends  # last: the timer's thread hands out what stands here

    def _ends(self, batch_id: int) -> Ends:
        """The end offsets of a batch, from the checkpoint's offset log: no job, any file system."""
        checkpoint = book.checkpoint_path(self.world.lake_root, self.lane.group, self.lane.lane)
        jvm: Any = self.spark.sparkContext._jvm  # noqa: SLF001  (the log has no Python door)
        log = jvm.org.apache.spark.sql.execution.streaming.checkpointing.OffsetSeqLog(
            self.spark._jsparkSession,  # noqa: SLF001
            str(checkpoint / "offsets"),
        )
        said = json.loads(log.get(batch_id).get().offsets().apply(0).get().json())
        return {t: {int(p): int(o) for p, o in found.items()} for t, found in said.items()}

    def _ends_now(self) -> Ends:
        """The end offsets, asked of Kafka."""
        bounds = self.world.topics.offsets([flow.topic.name for flow in self.lane.flows])
        return {t: {p: latest for p, (_, latest) in found.items()} for t, found in bounds.items()}

    def _tick(self) -> None:
        """The timer: the same dispatch, and now and then a look at what no offset tells."""
        now_s = self.world.monotonic()
        if now_s - self._asked_s >= _ASK_AGAIN_S:
            self._asked_s = now_s
            self._patiently(self._ask)
        if self._hurries and now_s >= self._look_at_s:
            # while all workers are busy too: whoever is next takes the ends that are known then
            answered = self._patiently(lambda: self._know(self._ends_now))
            rest_s = max(_HURRY_S, (self.world.monotonic() - now_s) / _ASKING_MOST)
            self._look_at_s = now_s + (min(rest_s, _ASK_AGAIN_S) if answered else _ASK_AGAIN_S)
        self._alive()
        self.seats.dispatch(self.ends)

    def _patiently(self, ask: Callable[[], None]) -> bool:
        """Whether Kafka has answered."""
        asked = attempt(lambda _progress: ask(), self.seats.policy, self._clock())
        if isinstance(asked, Parked):
            self._passing(asked.error)
            return False
        return True

    def _ask(self) -> None:
        # Spark is silent until an offset moves: what a stop left behind the checkpoint would wait for it
        ends = self.ends or self._ends_now()
        self._ask_gaps()
        self.ends = self.ends or ends
        closed = {flow.name for flow in self.lane.flows} - set(self._gaps)
        self.seats.reconsider(closed, GapAhead.code)
        self.seats.stop_at_gaps(self.ends, self._gaps)
        self._doubt()

    def _ask_gaps(self) -> None:
        with self._asking:  # Spark's thread and the timer's: an older answer never takes a newer one's place
            self._gaps = self.world.gaps()

    def _doubt(self) -> None:
        names = [flow.topic.name for flow in self.lane.flows]
        ids = self.world.topics.topic_ids(names)
        self.seats.doubt(ids, {name for name in names if name not in ids and self._refused(name)})

    def _refused(self, name: str) -> bool:
        """Whether a topic that is missing among many is there to others, and not to us."""
        asked = attempt(
            lambda _progress: self.world.topics.topic_ids([name]), self.seats.policy, self._clock()
        )
        return isinstance(asked, Parked) and asked.error.act is not Act.RETRY

    def _alive(self) -> None:
        if not session.alive(self.spark):
            raise LakeUnreachable("Spark's process has ended", where=self.lane.group, hint="start it again")

    def _passing(self, error: EcluseError) -> None:
        """Kafka did not answer the timer: the flows find out for themselves; the rest is told upwards."""
        if error.act is not Act.RETRY:
            raise error
        self.world.log.warning("not-answered", code=error.code, what=error.what)
