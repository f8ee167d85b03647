"""The way of one table's rows: its encoder, and the records that wait to be sent.

Rule: a route is the only road to its topic, so records leave in the order in which their rows came, across
changes of the table's shape too. A new shape is registered before its first row is encoded; the ids that
are known already need no registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from engine.envelope import Address, Encoder, Record, key_schema, value_schema
from engine.errors import ContractBroken, RegistryRefused
from engine.plan import CapturePlan, TopicPlan
from engine.pump.patience import patiently
from engine.registry import Part, Registry
from engine.schema import Relation
from engine.source import Rows
from engine.topic import Waiting

_NOBODYS_ID: Final = (1 << 31) - 1


@dataclass(slots=True)
class Route:
    """One table on its way to its topic."""

    table: str
    plan: TopicPlan
    relation: Relation
    encoder: Encoder
    waiting: list[Record] = field(default_factory=list)
    rows: int = 0  # waiting
    bytes: int = 0  # waiting
    created: int = 0
    updated: int = 0
    deleted: int = 0
    read: int = 0
    other: int = 0
    bytes_sent: int = 0

    def take(self, run: Rows, framed_ms: int) -> None:
        """Encode a run and let it wait."""
        size, created, updated, deleted, read = self.encoder.encode(run, framed_ms, self.waiting)
        rows = len(run.rows)
        self.created += created
        self.updated += updated
        self.deleted += deleted
        self.read += read
        self.other += rows - created - updated - deleted - read
        self.rows += rows
        self.bytes += size

    def send(self, send: Callable[[list[Record]], None]) -> None:
        """Let go of what waits."""
        records, self.waiting = self.waiting, []
        send(records)
        self.bytes_sent += self.bytes
        self.rows = self.bytes = 0

    def counted(self) -> tuple[Mapping[str, int], int]:
        """Rows by what they were and bytes, since this was asked last."""
        counts = {
            "c": self.created, "u": self.updated, "d": self.deleted, "r": self.read, "other": self.other
        }  # fmt: skip
        size = self.bytes_sent
        self.created = self.updated = self.deleted = self.read = self.other = self.bytes_sent = 0
        return counts, size


class Routes:
    """The routes of one capture under one writer."""

    def __init__(
        self, capture: CapturePlan, project: str, registry: Registry, writer: int, waiting: Waiting
    ) -> None:
        self._capture = capture
        self._project = project
        self._registry = registry
        self._writer = writer
        self._waiting = waiting
        self._by_relation: dict[int, Route] = {}
        self._by_table: dict[str, Route] = {}

    def __iter__(self) -> Iterator[Route]:
        return iter(self._by_table.values())

    def of(self, relation: Relation) -> Route:
        """The route of a relation as it is now."""
        route = self._by_relation.get(relation.id)
        if route is not None and route.relation is relation:
            return route
        table = relation.name
        route = self._by_table.get(table)
        if route is None:
            plan = self._plan(table)
            route = Route(table, plan, relation, self._encoder(relation, plan))
            self._by_table[table] = route
        elif route.relation != relation:
            route.encoder = self._encoder(relation, route.plan)
        route.relation = relation
        self._by_relation[relation.id] = route
        return route

    def _plan(self, table: str) -> TopicPlan:
        if table not in self._capture.topics:
            raise ContractBroken(f"rows of {table}, which nobody asked for", where=self._capture.name)
        return self._capture.topics[table]

    def _encoder(self, relation: Relation, plan: TopicPlan) -> Encoder:
        key = key_schema(relation, plan.name)
        value_id = self._registered(plan.name, "value", value_schema(relation, plan.name))
        key_id = None if key is None else self._registered(plan.name, "key", key)
        address = Address(
            topic=plan.name,
            partitions=plan.partitions,
            row_bytes_max=plan.row_bytes_max,
            connector=self._capture.connector,
            name=f"{self._project}.{self._capture.name}",
            database=str(self._capture.config.get("database", "")),
            writer=self._writer,
        )
        return Encoder(relation, address, key_id=key_id, value_id=value_id)

    def _registered(self, topic: str, part: Part, schema: dict[str, Any]) -> int:
        try:
            return patiently(lambda: self._registry.register(topic, part, schema), self._waiting).id
        except RegistryRefused as error:
            # one that lets nobody in refuses this question too, and that is not this topic's trouble alone
            patiently(lambda: self._registry.schema(_NOBODYS_ID), self._waiting)
            raise RegistryRefused(error.what, where=f"{topic}/{part}", hint=error.hint) from error
