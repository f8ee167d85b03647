"""The plan: everything a worker needs, resolved, frozen, printable, with nothing optional left to guess.

Rule (I6): the same files and parameters give the same plan, byte for byte, without the network. A plan
holds references to secrets, never their values. This room does not read YAML (``template`` does) and
does not compare with what runs (the verb ``plan`` does).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from engine import names
from engine.checks import Check
from engine.contract import ContractColumn
from engine.plan import said
from engine.plan.writing import as_json, changed, digest, leaves
from engine.secrets import SecretRef
from engine.source import TableSpec
from engine.template import Connection, Flow, Node, Place, Project
from engine.template.checking import Written
from engine.template.contracting import Contracted

__all__ = [
    "CapturePlan", "FlowPlan", "KafkaPlan", "LakePlan", "LanePlan", "ProjectPlan", "QuarantinePlan",
    "RegistryPlan", "Resolved", "SchemaPolicy", "SinkPlan", "TopicPlan", "as_json", "build", "changed",
    "digest", "resolve",
]  # fmt: skip

_BROKERS_DEFAULT: Final = -1  # as many copies as the brokers are set to make
_QUEUE_BYTES_MAX: Final = 6 * 2**20
_MARK_INTERVAL_S: Final = 1.0
_HEARTBEAT_S: Final = 30.0
_KEPT_BYTES_MAX: Final = 2**20
_LANE_WORKERS: Final = 4  # tables written at once; more threads than this wait for each other on two cores
_TRIGGER_S: Final = 1.0
_DERIVED: Final = Place("derived")
_REPEATS: Final = re.compile(r"lanes$|lanes\.|captures\.[^.]+\.topics")  # what its flows have said already


@dataclass(frozen=True, slots=True)
class KafkaPlan:
    """Where the log is. An empty ``bootstrap_servers`` means the embedded broker."""

    bootstrap_servers: tuple[str, ...]
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RegistryPlan:
    """Where schemas are: the base URL of a Confluent-compatible API; empty means the embedded one."""

    url: str


@dataclass(frozen=True, slots=True)
class LakePlan:
    """Where tables are: a folder (or, later, an object store); empty means the embedded one."""

    root: str


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic's settings: ``retention_ms`` in milliseconds, ``row_bytes_max`` the largest record value.

    ``compact``: it keeps the newest record of each key for ever.
    """

    name: str
    partitions: int
    replication: int
    retention_ms: int
    compatibility: Literal["backward"]
    row_bytes_max: int
    compact: bool = False


SchemaAction = Literal["evolve", "keep", "park"]


@dataclass(frozen=True, slots=True)
class SchemaPolicy:
    """What a flow does per kind of schema change (``engine.schema.Change``)."""

    add_column: SchemaAction
    widen_type: SchemaAction
    drop_column: SchemaAction
    alter_type: SchemaAction
    change_key: SchemaAction


Mode = Literal["append", "scd1"]
Deletes = Literal["hard", "soft"]


@dataclass(frozen=True, slots=True)
class SinkPlan:
    """The table of a flow: ``table`` is ``layer.name``; ``keys`` is empty for ``auto`` (the record key)."""

    table: str
    mode: Mode
    keys: tuple[str, ...]
    deletes: Deletes


@dataclass(frozen=True, slots=True)
class QuarantinePlan:
    """How much of what is read may wait in quarantine: above ``max_ratio`` (1: never) the flow stops.

    Fewer than ``min_rows`` records are not judged; small batches are taken together.
    """

    max_ratio: float
    min_rows: int


@dataclass(frozen=True, slots=True)
class FlowPlan:
    """One flow: a source table, its topic, its Delta table, and the bounds of its landing."""

    name: str
    group: str
    owner: str
    template: str  # name@version
    connection: str
    table: TableSpec
    topic: TopicPlan
    schema: SchemaPolicy
    sink: SinkPlan
    freshness_s: float
    rows_per_commit: int
    checks: tuple[Check, ...] = ()
    quarantine: QuarantinePlan = QuarantinePlan(1.0, 1_000)
    contract: tuple[ContractColumn, ...] = ()

    @property
    def partner(self) -> bool:
        """Whether its records are those of a partner's files: texts, and where they stood."""
        return bool(self.contract) or bool(self.table.said)

    @property
    def hash(self) -> str:
        """The plan's identity in commits and in the ledger: 16 hexadecimal digits."""
        return digest(self)


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """One source connection: many tables share one slot, one reader, one worker.

    ``config`` is the connection as the connector's model reads it, secrets as ``${secret.name}``, derived
    names included (``slot``, ``publication``).
    """

    name: str  # the connection's name
    connector: str  # the connector's name: postgres
    config: Mapping[str, Any]
    tables: tuple[TableSpec, ...]
    topics: Mapping[str, TopicPlan]  # "schema.table" → its topic; one more for what the connector keeps
    heartbeat_s: float
    queue_bytes_max: int
    mark_interval_s: float


@dataclass(frozen=True, slots=True)
class LanePlan:
    """One streaming query of a landing group: its flows, and how many tables are written at once."""

    group: str
    lane: Literal["live"]
    flows: tuple[FlowPlan, ...]
    workers: int
    trigger_s: float


@dataclass(frozen=True, slots=True)
class ProjectPlan:
    """The whole project, resolved. Flows and captures are in the order of their names."""

    name: str
    folder: str
    kafka: KafkaPlan
    registry: RegistryPlan
    lake: LakePlan
    flows: tuple[FlowPlan, ...]
    captures: tuple[CapturePlan, ...]
    lanes: tuple[LanePlan, ...]

    @property
    def topics(self) -> Mapping[str, TopicPlan]:
        """The topics of all captures, by name."""
        every = (topic for capture in self.captures for topic in capture.topics.values())
        return {topic.name: topic for topic in every}


@dataclass(frozen=True, slots=True)
class Resolved:
    """A plan, and where each of its values came from.

    ``origins`` maps a dotted path, such as ``flows.shop.parcel.sink.mode``, to the place that its author
    wrote it at, or to ``default``; what is not in it was derived.
    """

    plan: ProjectPlan
    origins: Mapping[str, Place]

    def lines(self) -> Iterator[tuple[str, str, Place]]:
        """Every value of the plan on a line of its own: dotted path, value, origin."""
        own = tuple(
            f"captures.{capture.name}.topics.{table}."
            for capture in self.plan.captures
            for table, topic in capture.topics.items()
            if topic.compact
        )
        for path, value in leaves("", json.loads(as_json(self.plan))):
            if path.startswith(own) or not _REPEATS.match(path):
                yield path, value, self.origins.get(path, _DERIVED)


def build(project: Project) -> ProjectPlan:
    """The plan of a project: nothing is read, asked or waited for (I6)."""
    return resolve(project).plan


def resolve(project: Project) -> Resolved:
    """The plan of a project with the origin of every value."""
    made = _Assembly(project.keeps)
    settings = project.settings
    flows = tuple(made.flow(flow) for flow in project.flows)
    captures = tuple(made.capture(settings.connections[name], flows) for name in sorted(settings.connections))
    plan = ProjectPlan(
        name=made.take("name", settings.name),
        folder=str(project.folder),
        kafka=made.kafka(settings.kafka),
        registry=RegistryPlan(url=made.within("registry", "url", settings.registry).rstrip("/")),
        lake=LakePlan(root=made.within("lake", "root", settings.lake)),
        flows=flows,
        captures=captures,
        lanes=_lanes(flows),
    )
    return Resolved(plan, dict(sorted(made.origins.items())))


def _lanes(flows: tuple[FlowPlan, ...]) -> tuple[LanePlan, ...]:
    groups = sorted({flow.group for flow in flows})
    return tuple(
        LanePlan(
            group, "live", tuple(flow for flow in flows if flow.group == group), _LANE_WORKERS, _TRIGGER_S
        )
        for group in groups
    )


def _kept(connection: str, table: str) -> dict[str, TopicPlan]:
    """The topic of what a connector keeps for itself."""
    topic = names.topic(connection, connection, table)
    plan = TopicPlan(topic, 1, _BROKERS_DEFAULT, -1, "backward", _KEPT_BYTES_MAX, compact=True)
    return {f"{connection}.{table}": plan}


@dataclass(slots=True)
class _Assembly:
    """Takes values out of trees and remembers where they stood."""

    keeps: Mapping[str, str]
    origins: dict[str, Place] = field(default_factory=dict)

    def take(self, path: str, node: Node) -> Any:
        self.origins[path] = node.place
        return str(node.value) if isinstance(node.value, SecretRef) else node.plain

    def within(self, part: str, key: str, node: Node | None) -> str:
        # absent means embedded, and the plan says so with an empty text
        return "" if node is None else str(self.take(f"{part}.{key}", node[key]))

    def kafka(self, node: Node | None) -> KafkaPlan:
        if node is None:
            return KafkaPlan((), {})
        servers = self.take("kafka.bootstrap_servers", node["bootstrap_servers"])
        options = node["options"].items
        return KafkaPlan(
            tuple(server for entry in servers for server in entry.split(",")),
            {key: self.take(f"kafka.options.{key}", options[key]) for key in sorted(options)},
        )

    def flow(self, flow: Flow) -> FlowPlan:
        name = flow.name.text
        body = flow.body

        def take(path: str, *keys: str) -> Any:
            node = body
            for key in keys or path.split("."):
                node = node[key]
            return self.take(f"flows.{name}.{path}", node)

        connection = take("connection", "source", "connection")
        spec = said.table(flow, f"flows.{name}.table", self.origins)
        keys = take("sink.keys")
        self.origins[f"flows.{name}.name"] = flow.name.place
        return FlowPlan(
            name=name,
            group=self.take(f"flows.{name}.group", flow.group),
            owner=self.take(f"flows.{name}.owner", flow.owner),
            template=self.take(f"flows.{name}.template", flow.template),
            connection=connection,
            table=spec,
            topic=TopicPlan(
                name=names.topic(connection, spec.schema, spec.table),
                partitions=take("topic.partitions"),
                replication=_BROKERS_DEFAULT,
                retention_ms=take("topic.retention_ms", "topic", "retention"),
                compatibility=take("topic.compatibility"),
                row_bytes_max=take("topic.row_bytes_max"),
            ),
            schema=SchemaPolicy(**{kind: take(f"schema.{kind}") for kind in body["schema"].items}),
            sink=SinkPlan(
                table=take("sink.table"),
                mode=take("sink.mode"),
                keys=() if keys == "auto" else tuple(keys),
                deletes=take("sink.deletes"),
            ),
            freshness_s=take("freshness_s", "landing", "freshness") / 1000,
            rows_per_commit=take("rows_per_commit", "landing", "rows_per_commit"),
            checks=tuple(self.check(f"flows.{name}.checks", written) for written in flow.checks),
            quarantine=QuarantinePlan(float(take("quarantine.max_ratio")), take("quarantine.min_rows")),
            contract=self.contract(f"flows.{name}.contract", flow.contract),
        )

    def contract(self, path: str, contracted: Contracted) -> tuple[ContractColumn, ...]:
        for column, places in contracted.places.items():
            for key, place in places.items():
                at = key if key in ("name", "type", "blank", "trim") else f"format.{key}"
                self.origins[f"{path}.{column}.{at}"] = place
        return contracted.columns

    def check(self, path: str, written: Written) -> Check:
        for key, place in written.places.items():
            self.origins[f"{path}.{written.check.name}.{key}"] = place
        return written.check

    def capture(self, connection: Connection, flows: tuple[FlowPlan, ...]) -> CapturePlan:
        name = connection.name
        config = {
            key: self.take(f"captures.{name}.config.{key}", connection.config[key])
            for key in sorted(connection.config)
        }
        self.origins[f"captures.{name}.name"] = connection.place
        mine: dict[str, FlowPlan] = {}
        for flow in flows:  # flows on one table share its topic: the first by name stands for it
            if flow.connection == name:
                mine.setdefault(flow.table.qualified, flow)
        topics = {table: mine[table].topic for table in sorted(mine)}
        kept = self.keeps.get(connection.connector)
        if kept and mine:
            topics |= _kept(name, kept)
        return CapturePlan(
            name=name,
            connector=connection.connector,
            config=config,
            tables=tuple(mine[table].table for table in sorted(mine)),
            topics=topics,
            heartbeat_s=float(config.get("heartbeat_s") or _HEARTBEAT_S),
            queue_bytes_max=_QUEUE_BYTES_MAX,
            mark_interval_s=_MARK_INTERVAL_S,
        )
