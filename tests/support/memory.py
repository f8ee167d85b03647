"""A registry and a clock of the test's own, and the doors of a capture between them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import fastavro
from prometheus_client import CollectorRegistry

from engine.envelope import decode, schema_id
from engine.errors import EcluseError
from engine.metrics import CaptureMeters
from engine.plan import CapturePlan, TopicPlan
from engine.pump import Doors
from engine.registry import Part, Registered
from engine.source import Kept, Mark, Source
from engine.supervise import Clock, Policy
from engine.topic import MemoryTopic, Topic


@dataclass
class MemoryRegistry:
    """Ids in the order of coming; refuses nothing."""

    texts: list[str] = field(default_factory=list)

    def register(self, topic: str, part: Part, schema: dict[str, Any]) -> Registered:
        """The id of a schema."""
        del topic, part
        fastavro.parse_schema(schema)
        text = json.dumps(schema)
        if text not in self.texts:
            self.texts.append(text)
        return Registered(1, self.texts.index(text) + 1)

    def schema(self, schema_id: int) -> str:
        """The schema behind an id."""
        return self.texts[schema_id - 1]

    def ask(self, schema_ids: Collection[int]) -> None:
        """Nothing here takes time."""


@dataclass
class ManualClock:
    """Time that passes when somebody waits, or looks at it."""

    now: float = 1000.0
    tick: float = 0.01
    stop: threading.Event = field(default_factory=threading.Event)
    waited: list[float] = field(default_factory=list)

    def clock(self) -> Clock:
        """The clock as workers see it."""
        return Clock(self._look, lambda: 1_795_268_000 + self.now, self._wait, self.stop.is_set)

    def _look(self) -> float:
        self.now += self.tick
        return self.now

    def _wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        self.now += seconds
        return self.stop.is_set()


@dataclass
class Told:
    """A log that keeps what it was told."""

    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def info(self, event: str, **facts: Any) -> None:
        """Keep it."""
        self.lines.append((event, facts))

    warning = info

    def facts(self, event: str) -> list[dict[str, Any]]:
        """Everything said under a name."""
        return [facts for name, facts in self.lines if name == event]


@dataclass
class Bench:
    """A capture between a source, a log in memory and a registry in memory."""

    open: Callable[[Mark | None, Collection[str], Mapping[str, int], Kept], AbstractContextManager[Source]]
    tables: dict[str, int] = field(default_factory=lambda: {"public.parcel": 2})  # → partitions
    compact: frozenset[str] = frozenset()  # those of them that the connector keeps
    topic: MemoryTopic = field(default_factory=MemoryTopic)
    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    clock: ManualClock = field(default_factory=ManualClock)
    log: Told = field(default_factory=Told)
    at: Callable[[str], None] = lambda _: None
    through: Callable[[MemoryTopic], Topic] = lambda topic: topic
    unfit: dict[str, EcluseError] = field(default_factory=dict)  # tables that cannot be opened now
    row_bytes_max: int = 1 << 20

    @property
    def capture(self) -> CapturePlan:
        """The plan of the capture."""
        topics = {
            table: TopicPlan(
                *(f"shop.{table}", partitions, 1, 86_400_000, "backward", self.row_bytes_max),
                table in self.compact,
            )
            for table, partitions in self.tables.items()
        }
        return CapturePlan(
            name="shop",
            connector="scripted",
            config={"database": "shop"},
            tables=(),
            topics=topics,
            heartbeat_s=30.0,
            queue_bytes_max=1 << 20,
            mark_interval_s=0.0,
        )

    @property
    def doors(self) -> Doors:
        """What the pump stands between."""
        return self.doors_with(self.clock.clock())

    def doors_with(self, clock: Clock) -> Doors:
        """The same, with somebody else's time."""
        return Doors(
            project="demo",
            unfit=lambda: self.unfit,
            open=self.open,
            topic=lambda: self.through(self.topic),
            registry=self.registry,
            clock=clock,
            policy=Policy(first_s=0.5, most_s=8, give_up_s=60, chance=lambda: 0),
            meters=CaptureMeters("shop", CollectorRegistry()),
            log=self.log,
            at=self.at,
        )

    def records(self, table: str = "public.parcel") -> list[list[dict[str, Any]]]:
        """Every record of a table's topic, decoded, per partition."""
        name = f"shop.{table}"
        return [
            [
                dict(decode(s.value, self.registry.schema(schema_id(s.value))))
                for s in self.topic.read(name, partition, *ends)
                if s.value is not None
            ]
            for partition, ends in sorted(self.topic.offsets([name]).get(name, {}).items())
        ]

    def positions(self, table: str = "public.parcel") -> list[tuple[int, int]]:
        """Major and minor of every record, in order where there is one partition."""
        return [
            (e["position"]["major"], e["position"]["minor"]) for part in self.records(table) for e in part
        ]
