"""Where every capture is: a compacted topic of marks, and the epochs of its writers.

Rule: a mark's key is (capture, epoch), so a writer that was replaced can only overwrite its own; the mark
of the highest epoch rules. A new writer takes the highest epoch + 1 once the source is its own, and has a
copy of the mark that it starts from acknowledged under it before the first row; what writers long gone left
then ends. A gap in one table is a record beside the marks, open until a person accepts it; why a capture
stands still is another, until it streams again. What a person accepts stays. This room does not know what
``resume`` says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from engine.arrivals import Wish
from engine.errors import CaptureFenced, Missing, SourceUnreachable
from engine.names import marks_topic
from engine.plan import TopicPlan
from engine.source import Mark, Reading, TableGap
from engine.topic import Topic, Waiting, silent

MARK_BYTES_MAX: Final = 4 << 20
"""What the topic takes; whoever sends marks gives its producer as much."""


def marks_plan(project: str, replication: int) -> TopicPlan:
    """How the topic of marks is made; it is compacted."""
    return TopicPlan(marks_topic(project), 1, replication, -1, "backward", MARK_BYTES_MAX)


_EPOCHS_KEPT: Final = 2  # the writer's own, and the one that it started from


@dataclass(frozen=True, slots=True)
class Found:
    """The mark that rules, and the highest epoch that any writer took (0: none ever)."""

    mark: Mark | None
    epoch: int
    written_at: str = ""


@dataclass(frozen=True, slots=True)
class Gap:
    """Changes of one table may be missing from (era, major) on, until somebody accepts that.

    It stops every flow that lands ``table`` (``schema.name``), and no other.
    """

    capture: str
    table: str
    code: str
    era: int
    major: int
    text: str
    found_at: str
    accepted_at: str = ""
    accepted_by: str = ""

    @property
    def accepted(self) -> bool:
        """Whether a person took it on."""
        return bool(self.accepted_at)

    @property
    def name(self) -> str:
        """What the gap is told apart by: the same finding told again is the same gap."""
        return f"{self.code}@{self.era}.{self.major}"


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a capture stands still until a person acts.

    ``era`` and ``at`` are the mark's: what comes after it is at stake, and ``first`` says so for people. Both
    are empty where nothing is marked yet, or where the marks themselves are in doubt.
    """

    capture: str
    code: str
    what: str
    where: str
    hint: str
    stopped_at: str
    first: str = ""
    era: int = 0
    at: Mapping[str, int] = field(default_factory=dict)
    accepted_at: str = ""
    accepted_by: str = ""


@dataclass(frozen=True, slots=True)
class TableReading:
    """How far the snapshot of a table is: ``rows`` of about ``expected`` (None: nobody knows).

    ``left_s`` is how long the rest takes at the pace so far (None: not known); ``waits_for`` what it waits
    for, empty when it does not.
    """

    capture: str
    table: str
    rows: int
    expected: int | None
    left_s: float | None
    waits_for: str
    told_at: str


@dataclass(slots=True)
class Marks:
    """The marks topic of a project, read on from where it was read last.

    ``now`` gives the time as ISO text: for people, never for order.
    """

    topic: Topic
    project: str
    now: Callable[[], str]
    _newest: dict[bytes, bytes] = field(default_factory=dict)
    _next: int = 0

    @property
    def name(self) -> str:
        """The topic's name."""
        return marks_topic(self.project)

    def prepare(self, replication: int) -> None:
        """Create the topic where it does not exist."""
        plan = marks_plan(self.project, replication)
        for trouble in self.topic.prepare([plan], compacted=True).values():
            raise trouble

    # marks

    def find(self, capture: str) -> Found:
        """Where a capture is."""
        return self.all().get(capture, Found(None, 0))

    def all(self) -> Mapping[str, Found]:
        """Where every capture of the project is."""
        found: dict[str, Found] = {}
        for key, value in self._records():
            if "epoch" not in key:
                continue
            before = found.get(key["capture"], Found(None, 0))
            if key["epoch"] >= before.epoch:
                found[key["capture"]] = Found(_mark(value), key["epoch"], value["written_at"])
        return found

    def take(self, capture: str, started_from: Found, waiting: Waiting = silent) -> int:
        """The epoch of a new writer that holds the source, acknowledged.

        Raises SourceUnreachable when another writer went on since the source was opened from that mark:
        opening again starts from the newer one.
        """
        newest = self.find(capture)
        if newest != started_from:
            raise SourceUnreachable(f"another writer of {capture} went on meanwhile", where=capture)
        epoch = newest.epoch + 1
        self.send(capture, epoch, newest.mark)
        self.topic.flush(waiting)
        self._forget(capture, epoch - _EPOCHS_KEPT)
        self.streams(capture)
        for told in self.readings():  # what is still to be read is told again, the rest nobody reads any more
            if told.capture == capture:
                self._read(capture, told.table)
        return epoch

    def _forget(self, capture: str, epoch: int) -> None:
        """End the marks of writers up to an epoch: they rule nothing, and each start would leave one more."""
        old = [
            key
            for key, _ in self._records()
            if key["capture"] == capture and key.get("epoch", epoch + 1) <= epoch
        ]
        if old:
            self.topic.send([(self.name, None, _json(key), 0) for key in old])

    def send(self, capture: str, epoch: int, mark: Mark | None) -> None:
        """Send a mark; it counts once the topic is flushed."""
        value = {
            "capture": capture,
            "epoch": epoch,
            "at": dict(mark.at) if mark else {},
            "era": mark.era if mark else 0,
            "committed_us": mark.committed_us if mark else 0,
            "resume": mark.resume.decode("utf-8", "surrogateescape") if mark else None,
            "written_at": self.now(),
        }
        self._send({"capture": capture, "epoch": epoch}, value)

    def amend(self, capture: str, resume: bytes, waiting: Waiting = silent) -> int:
        """Replace what the connector reads from a mark, as a writer of our own; gives its epoch.

        For a person who decides about a capture that stands still; the next start begins from it.
        """
        newest = self.find(capture)
        if newest.mark is None:
            raise Missing(f"capture {capture} has no mark", hint="ecluse status")
        self.send(capture, newest.epoch + 1, newest.mark._replace(resume=resume))
        self.topic.flush(waiting)
        return newest.epoch + 1

    def begin_again(self, capture: str, epoch: int, mark: Mark, waiting: Waiting = silent) -> None:
        """Write the first mark of a capture whose marks are lost, for a person who decided about it."""
        self.send(capture, max(epoch, self.find(capture).epoch + 1), mark)
        self.topic.flush(waiting)

    def keep(self, capture: str, epoch: int) -> None:
        """Raise CaptureFenced when a newer writer has taken over."""
        newest = self.find(capture).epoch
        if newest > epoch:
            raise CaptureFenced(
                f"writer {newest} has taken over from writer {epoch}",
                where=capture,
                hint="nothing is lost: the newer writer goes on; stop this worker",
            )

    # stops

    def stops(self) -> Mapping[str, Stop]:
        """The captures that stand still, and why."""
        return {key["capture"]: Stop(**value) for key, value in self._records() if "stop" in key}

    def stop(self, stop: Stop, waiting: Waiting = silent) -> None:
        """Record why a capture stands still."""
        self._send(_stop_key(stop.capture), asdict(stop))
        self.topic.flush(waiting)

    def streams(self, capture: str) -> None:
        """A capture streams: whatever stopped it, or a second worker beside it, is over."""
        if capture in self.stops():
            self.topic.send([(self.name, None, _json(_stop_key(capture)), 0)])

    def accept_stop(self, stop: Stop, who: str, waiting: Waiting = silent) -> Stop:
        """Record for good that a person took on what stopped a capture."""
        taken = replace(stop, accepted_at=self.now(), accepted_by=who)
        self._send({"capture": stop.capture, "accepted": stop.stopped_at}, asdict(taken))
        self.stop(taken, waiting)
        return taken

    def accepted_stops(self) -> tuple[Stop, ...]:
        """Every stop that a person took on, in the order in which they came."""
        found = [Stop(**value) for key, value in self._records() if "accepted" in key]
        return tuple(sorted(found, key=lambda stop: (stop.capture, stop.stopped_at)))

    # snapshots

    def readings(self) -> tuple[TableReading, ...]:
        """The tables that are being read, as they were told last."""
        found = [TableReading(**value) for key, value in self._records() if "reading" in key]
        return tuple(sorted(found, key=lambda reading: (reading.capture, reading.table)))

    def reading(self, capture: str, told: Reading, left_s: float | None) -> None:
        """Record how far a table is, until it is done; it lasts once the topic is flushed."""
        table = f"{told.schema}.{told.table}"
        if told.done:
            self._read(capture, table)
        else:
            now = TableReading(capture, table, told.rows, told.expected, left_s, told.waits_for, self.now())
            self._send(_reading_key(capture, table), asdict(now))

    def _read(self, capture: str, table: str) -> None:
        key = _json(_reading_key(capture, table))
        self.topic.send([(self.name, None, key, 0)])

    def asked(self, capture: str) -> Mapping[str, int]:
        """By table (``schema.name``), how often a person has asked for it to be read again."""
        return {
            key["again"]: value["times"]
            for key, value in self._records()
            if "again" in key and key["capture"] == capture
        }

    def ask(self, capture: str, table: str, who: str, waiting: Waiting = silent) -> int:
        """Record that a person wants a table to be read again; gives how often that was asked for."""
        times = self.asked(capture).get(table, 0) + 1
        value = {"times": times, "asked_by": who, "asked_at": self.now()}
        self._send({"capture": capture, "again": table}, value)
        self.topic.flush(waiting)
        return times

    # files

    def wishes(self, capture: str) -> tuple[Wish, ...]:
        """What people want of a capture's files, in the order in which they asked; done or not."""
        mine = [
            Wish(**value) for key, value in self._records() if "file" in key and key["capture"] == capture
        ]
        return tuple(sorted(mine, key=lambda wish: wish.number))

    def wish(self, capture: str, wish: Wish, waiting: Waiting = silent) -> Wish:
        """Record what a person wants of a file; it takes the place of what was wanted of that name before."""
        number = max((before.number for before in self.wishes(capture)), default=0) + 1
        asked = replace(wish, number=number, at=self.now())
        self._send({"capture": capture, "file": f"{wish.folder}/{wish.name}"}, asdict(asked))
        self.topic.flush(waiting)
        return asked

    # gaps

    def gaps(self) -> tuple[Gap, ...]:
        """Every gap of the project, accepted ones too, in the order of their positions."""
        found = {
            (key["capture"], key["table"], key["gap"]): _gap(key, value)
            for key, value in self._records()
            if "gap" in key
        }
        return tuple(sorted(found.values(), key=lambda g: (g.capture, g.table, g.era, g.major)))

    def open_gap(self, capture: str, told: TableGap, waiting: Waiting = silent) -> Gap | None:
        """Record a gap; None when it is known already."""
        table = f"{told.schema}.{told.table}"
        gap = Gap(capture, table, told.code, told.era, told.major, told.text, self.now())
        if any((g.capture, g.table, g.name) == (capture, table, gap.name) for g in self.gaps()):
            return None
        self._send_gap(gap, waiting)
        return gap

    def accept(self, gap: Gap, who: str, waiting: Waiting = silent) -> Gap:
        """Record that a person took a gap on: the landing goes past it."""
        taken = replace(gap, accepted_at=self.now(), accepted_by=who)
        self._send_gap(taken, waiting)
        return taken

    def _send_gap(self, gap: Gap, waiting: Waiting) -> None:
        value = {
            "code": gap.code,
            "first": {"era": gap.era, "major": gap.major},
            "text": gap.text,
            "found_at": gap.found_at,
            "accepted": gap.accepted,
            "accepted_at": gap.accepted_at,
            "accepted_by": gap.accepted_by,
        }
        self._send({"capture": gap.capture, "gap": gap.name, "table": gap.table}, value)
        self.topic.flush(waiting)

    # the topic

    def _send(self, key: Mapping[str, Any], value: Mapping[str, Any]) -> None:
        self.topic.send([(self.name, _json(value), _json(key), 0)])

    def _records(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """The newest value of every key, after reading what has come since."""
        ends = self.topic.offsets([self.name])
        first, stop = ends[self.name][0] if self.name in ends else (0, 0)
        if stop < self._next:  # another topic under the same name
            self._newest, self._next = {}, 0
        if stop > self._next:
            for stored in self.topic.read(self.name, 0, max(first, self._next), stop):
                if stored.key is not None and stored.value is not None:
                    self._newest[stored.key] = stored.value
                elif stored.key is not None:
                    self._newest.pop(stored.key, None)
        self._next = stop
        return ((json.loads(key), json.loads(value)) for key, value in self._newest.items())


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _stop_key(capture: str) -> Mapping[str, Any]:
    return {"capture": capture, "stop": "newest"}


def _reading_key(capture: str, table: str) -> Mapping[str, Any]:
    return {"capture": capture, "reading": table}


def _mark(value: Mapping[str, Any]) -> Mark | None:
    if value["resume"] is None:
        return None
    resume = str(value["resume"]).encode("utf-8", "surrogateescape")
    return Mark(value["at"], resume, value["era"], value["committed_us"])


def _gap(key: Mapping[str, Any], value: Mapping[str, Any]) -> Gap:
    first = value["first"]
    return Gap(
        key["capture"], key["table"], value["code"], first["era"], first["major"], value["text"],
        value["found_at"], value["accepted_at"], value["accepted_by"],
    )  # fmt: skip
