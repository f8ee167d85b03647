"""One look at the whole project: every flow's state, lag and health.

Rule: each part is asked by itself, and a part that does not answer leaves its numbers unknown and a reason;
it never fails the look. What a source says comes through a callable: this room knows no connector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, TypeVar

from engine.errors import EcluseError
from engine.marks import Stop, TableReading
from engine.plan import FlowPlan, ProjectPlan
from engine.source import Measure
from engine.state import Pause, State, shown
from engine.watch import captures, lag, lake, log, stale
from engine.watch.captures import CaptureLook
from engine.watch.lag import Health, Lag, LandingReading, Promise, SourceReading, TopicReading
from engine.watch.lake import Written

T = TypeVar("T")

_NOTHING: Final = LandingReading({}, changes=0, quarantined=0)
"""A lake that answers, and knows nothing of a flow: nothing has landed."""

Bounds = Mapping[str, Mapping[int, tuple[int, int]]]
"""Per topic and partition, the first offset that is still there and the next one to be written."""


@dataclass(frozen=True, slots=True)
class MarkReading:
    """A capture's newest mark: how far it has come, and the commit time that this covers."""

    major: int
    committed_us: int


@dataclass(frozen=True, slots=True)
class OpenGap:
    """A gap in a flow's table that nobody has accepted; ``first`` is the first position in doubt."""

    code: str
    text: str
    first: str
    hint: str


@dataclass(frozen=True, slots=True)
class Doors:
    """How each part is asked; every callable may raise an EcluseError.

    ``measure`` takes a capture's name; ``bounds``, ``marks``, ``gaps`` (by flow), ``stops`` (by capture) and
    ``accepted`` (the stops that a person took on, for good) ask Kafka, ``kafka`` holds its options.
    """

    measure: Callable[[str], Measure]
    bounds: Callable[[Sequence[str]], Bounds]
    marks: Callable[[], Mapping[str, MarkReading]]
    gaps: Callable[[], Mapping[str, OpenGap]]
    stops: Callable[[], Mapping[str, Stop]]
    accepted: Callable[[], Sequence[Stop]]
    readings: Callable[[], Sequence[TableReading]]
    kafka: Mapping[str, str]
    lake: str


@dataclass(frozen=True, slots=True)
class FlowLook:
    """One flow at one moment."""

    flow: str
    table: str
    topic: str
    capture: str
    state: State
    health: Health
    lag: Lag
    in_kafka: int | None
    in_delta: int | None
    quarantined: int | None
    landed_at_us: int | None
    end_to_end_p50_s: float | None
    end_to_end_p95_s: float | None
    source_state: str
    retention_used: float | None
    written: Written | None = None
    gap: OpenGap | None = None
    pause: Pause | None = None
    failed: Mapping[str, int] = field(default_factory=dict)  # rows so far, by the check that they failed

    def as_dict(self) -> dict[str, Any]:
        """The look as ``--json`` prints it; unknown is null."""
        return {**asdict(self), "behind_s": self.lag.behind_s}


@dataclass(frozen=True, slots=True)
class Look:
    """The project at one moment; ``silent`` says which parts did not answer, and why."""

    at_us: int
    flows: tuple[FlowLook, ...]
    silent: Mapping[str, str] = field(default_factory=dict)
    captures: tuple[CaptureLook, ...] = ()


def look(plan: ProjectPlan, doors: Doors, *, now_us: int, before: Look | None = None) -> Look:
    """Ask every part once and put the answers together."""
    silent: dict[str, str] = {}
    bounds = _ask("kafka", silent, lambda: doors.bounds([flow.topic.name for flow in plan.flows])) or {}
    # a Kafka that did not answer is not asked again: each question takes as long as its time limit
    marks = {} if "kafka" in silent else _ask("marks", silent, doors.marks) or {}
    gaps = {} if "kafka" in silent else _ask("gaps", silent, doors.gaps) or {}
    stops = None if "kafka" in silent else _ask("stops", silent, doors.stops)
    accepted = None if "kafka" in silent else _ask("stops", silent, doors.accepted)
    readings = () if "kafka" in silent else _ask("snapshots", silent, doors.readings) or ()
    sources = _sources(plan, doors, marks, silent)
    landings = _ask("lake", silent, lambda: lake.landings(doors.lake, plan.flows))
    written = _ask("lake", silent, lambda: lake.states(doors.lake, plan.flows)) or {}
    pauses = _ask("lake", silent, lambda: lake.pauses(doors.lake)) or {}
    landed = None
    if landings is not None:
        landed = {flow.name: landings.get(flow.name, _NOTHING) for flow in plan.flows}
    topics = _topics(plan.flows, bounds, landed or {}, doors.kafka)
    beats = {capture.name: capture.heartbeat_s for capture in plan.captures}
    earlier = {flow.flow: flow for flow in before.flows} if before else {}
    flows = tuple(
        _flow(
            flow,
            source=sources.get(flow.connection),
            topic=topics.get(flow.name),
            landing=landed[flow.name] if landed else None,
            written=written.get(flow.name),
            gap=gaps.get(flow.name),
            pause=pauses.get(flow.name),
            before=earlier.get(flow.name),
            heartbeat_s=beats.get(flow.connection, 0.0),
            now_us=now_us,
        )
        for flow in plan.flows
    )
    seen = _captures(plan, sources, marks, stops, accepted)
    its = {name: tuple(r for r in readings if r.capture == name) for name in sources}
    return Look(now_us, flows, silent, tuple(replace(c, readings=its[c.capture]) for c in seen))


def stale_keys(plan: ProjectPlan, root: str, seen: Look) -> dict[str, int | None]:
    """By flow, how many keys' newest change waits in quarantine; None where nobody knows, or none can."""
    held = {flow.flow: flow.quarantined for flow in seen.flows}
    found: dict[str, int | None] = {}
    for flow in plan.flows:
        if flow.sink.mode == "scd1" and held[flow.name] == 0:
            found[flow.name] = 0
        else:
            found[flow.name] = _ask("lake", {}, lambda flow=flow: stale.keys(root, flow))  # type: ignore[misc]
    return found


def _captures(
    plan: ProjectPlan,
    sources: Mapping[str, SourceReading],
    marks: Mapping[str, MarkReading],
    stops: Mapping[str, Stop] | None,
    accepted: Sequence[Stop] | None,
) -> tuple[CaptureLook, ...]:
    at = {name: mark.major for name, mark in marks.items()}
    names = [capture.name for capture in plan.captures]
    return tuple(captures.look(name, sources[name].state, at.get(name), stops, accepted) for name in names)


def _ask(part: str, silent: dict[str, str], question: Callable[[], T]) -> T | None:
    try:
        return question()
    except EcluseError as error:
        silent.setdefault(part, f"{error.code}: {error.what}")
        return None


def _sources(
    plan: ProjectPlan, doors: Doors, marks: Mapping[str, MarkReading], silent: dict[str, str]
) -> dict[str, SourceReading]:
    found = {}
    for capture in plan.captures:
        name = capture.name
        measure = _ask(f"source {name}", silent, lambda name=name: doors.measure(name))  # type: ignore[misc]
        mark = marks.get(name)
        if measure is None:
            found[name] = SourceReading("unreachable", mark.committed_us if mark else None)
            continue
        if measure.waits_bytes is not None:  # it has no end that a mark could be held against
            found[name] = SourceReading(measure.state, measure.waits_since_us, measure.waits_bytes)
            continue
        known = mark is not None and measure.end is not None
        found[name] = SourceReading(
            state=measure.state,
            committed_us=(mark.committed_us or None) if mark else None,
            behind_bytes=max(0, measure.end - mark.major) if known else None,  # type: ignore[operator, union-attr]
            retained_bytes=measure.retained_bytes,
            at_us=measure.at_us,
        )
    return found


def _topics(
    flows: Sequence[FlowPlan],
    bounds: Bounds,
    landed: Mapping[str, LandingReading],
    kafka: Mapping[str, str],
) -> dict[str, TopicReading]:
    waiting = {
        flow.name: lag.unlanded(bounds[flow.topic.name], landed[flow.name].offsets)
        for flow in flows
        if flow.topic.name in bounds and flow.name in landed
    }
    since: dict[str, int] = {}
    for turn in _turns([flow for flow in flows if waiting.get(flow.name)]):
        wanted = {(f.topic.name, p): first for f in turn for p, (first, _) in waiting[f.name].items()}
        at = log.written_at(kafka, wanted)
        for flow in turn:
            oldest = [ms for (topic, _), ms in at.items() if topic == flow.topic.name]
            since |= {flow.name: min(oldest)} if oldest else {}
    return {
        flow.name: TopicReading(bounds[flow.topic.name], since.get(flow.name))
        for flow in flows
        if flow.topic.name in bounds
    }


def _turns(flows: Sequence[FlowPlan]) -> list[list[FlowPlan]]:
    """Flows that share a topic stand at different offsets of it: each turn asks for a topic once."""
    turns: list[list[FlowPlan]] = []
    for flow in flows:
        free = [turn for turn in turns if flow.topic.name not in {other.topic.name for other in turn}]
        if free:
            free[0].append(flow)
        else:
            turns.append([flow])
    return turns


def _flow(
    flow: FlowPlan,
    *,
    source: SourceReading | None,
    topic: TopicReading | None,
    landing: LandingReading | None,
    written: Written | None,
    gap: OpenGap | None,
    pause: Pause | None,
    before: FlowLook | None,
    heartbeat_s: float,
    now_us: int,
) -> FlowLook:
    now = lag.measure(source, topic, landing, now_us)
    landed_at_us = landing.landed_at_us if landing else None
    state = written.state if written else State.STREAMING if landed_at_us else State.NEW
    seen = shown(state, paused=pause is not None)
    ages = [(at - committed) / 1e6 for committed, at in landing.commits_us] if landing else []
    return FlowLook(
        flow=flow.name,
        table=flow.sink.table,
        topic=flow.topic.name,
        capture=flow.connection,
        state=seen,
        health=lag.health(
            now,
            before.lag if before else None,
            # whatever lands until then: a person must act, and one has
            state=State.STOPPED if gap and not pause else seen,
            promise=Promise(flow.freshness_s, heartbeat_s),
            idle_s=(now_us - landed_at_us) / 1e6 if landed_at_us else None,
        ),
        lag=now,
        in_kafka=sum(end for _, end in topic.bounds.values()) if topic else None,
        in_delta=landing.changes if landing else None,
        quarantined=landing.quarantined if landing else None,
        landed_at_us=landed_at_us,
        end_to_end_p50_s=lag.percentile(ages, 0.5),
        end_to_end_p95_s=lag.percentile(ages, 0.95),
        source_state=source.state if source else "unknown",
        retention_used=_retention_used(now, flow.topic.retention_ms),
        written=written,
        gap=gap,
        pause=pause,
        failed=landing.failed if landing else {},
    )


def _retention_used(now: Lag, retention_ms: int) -> float | None:
    """The share of the topic's retention that the oldest waiting record has used up; at 1 it is removed."""
    return None if now.kafka_s is None or retention_ms <= 0 else now.kafka_s * 1000 / retention_ms
