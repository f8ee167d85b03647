"""How ``watch`` reaches the parts of a project: here a reading verb meets connectors and Kafka.

Rule: nothing is opened before it is asked for, and a part that does not run raises only when it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from engine import plugins
from engine.arrivals import AnyFiles
from engine.cli import places
from engine.cli.compose import Call
from engine.errors import EcluseError, answers
from engine.marks import Gap, Marks, Stop, TableReading
from engine.plan import CapturePlan, FlowPlan, ProjectPlan
from engine.source import STREAM, Measure
from engine.topic import KafkaTopic
from engine.watch.observe import Bounds, Doors, MarkReading, OpenGap


def first_gaps(gaps: Iterable[Gap], flows: Sequence[FlowPlan]) -> dict[str, Gap]:
    """By flow, the first gap in its table that nobody has accepted."""
    found: dict[str, Gap] = {}
    for gap in gaps:
        for flow in flows:
            its = (flow.connection, flow.table.qualified)
            if not gap.accepted and (gap.capture, gap.table) == its:
                found[flow.name] = min(gap, found.get(flow.name, gap), key=lambda g: (g.era, g.major))
    return found


def iso_now() -> str:
    """The time, for people."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(slots=True)
class _Kafka:
    """One client for many looks; a stack that started again has another place and gets another client."""

    call: Call
    plan: ProjectPlan
    _options: Mapping[str, str] = field(default_factory=dict)
    _topic: KafkaTopic | None = None
    _marks: Marks | None = None

    def topic(self) -> KafkaTopic:
        options = places.find(self.call, self.plan).kafka
        if self._topic is None or options != self._options:
            self._options, self._topic = options, KafkaTopic(options)
            self._marks = Marks(self._topic, self.plan.name, iso_now)
        return self._topic

    def bounds(self, names: Sequence[str]) -> Bounds:
        return self.topic().offsets(names)

    def gaps(self) -> Mapping[str, OpenGap]:
        self.topic()
        found = first_gaps(self._marks.gaps() if self._marks else (), self.plan.flows)
        return {
            flow: OpenGap(gap.code, gap.text, f"{gap.era}.{gap.major}", answers(flow))
            for flow, gap in found.items()
        }

    def stops(self) -> Mapping[str, Stop]:
        self.topic()
        return self._marks.stops() if self._marks else {}

    def accepted(self) -> Sequence[Stop]:
        self.topic()
        return self._marks.accepted_stops() if self._marks else ()

    def readings(self) -> Sequence[TableReading]:
        self.topic()
        return self._marks.readings() if self._marks else ()

    def marks(self) -> Mapping[str, MarkReading]:
        self.topic()
        found = self._marks.all() if self._marks else {}
        return {
            name: MarkReading(entry.mark.at[STREAM], entry.mark.committed_us)
            for name, entry in found.items()
            if entry.mark is not None and STREAM in entry.mark.at
        }


def _waits(found: Measure, files: AnyFiles, config: Any, capture: CapturePlan) -> Measure:
    """What lies whole in the folders of a connection, and since when."""
    whole = [one for one in files.waiting(config, capture.tables) if one.state != "arriving"]
    since = min((one.modified_ns // 1000 for one in whole), default=None)
    return replace(found, waits_bytes=sum(max(1, one.size) for one in whole), waits_since_us=since)


def doors(call: Call, plan: ProjectPlan) -> Callable[[], Doors]:
    """The doors of a project, to be asked for at every look: what runs may change in between."""
    kafka = _Kafka(call, plan)
    captures = {capture.name: capture for capture in plan.captures}

    def measure(name: str) -> Measure:
        capture = captures[name]
        connector, config = plugins.load()[capture.connector], places.configure(call, capture)
        found = connector.measure(config)
        return found if connector.files is None else _waits(found, connector.files, config, capture)

    def make() -> Doors:
        try:
            options = places.find(call, plan).kafka
        except EcluseError:
            options = {}  # whoever asks Kafka is told by ``bounds``
        return Doors(
            measure=measure,
            bounds=kafka.bounds,
            marks=kafka.marks,
            gaps=kafka.gaps,
            stops=kafka.stops,
            accepted=kafka.accepted,
            readings=kafka.readings,
            kafka=options,
            lake=places.lake_root(call, plan),
        )

    return make
