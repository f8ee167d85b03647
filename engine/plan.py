"""The plan: everything a worker needs, resolved, frozen, printable, with nothing optional left to guess.

Rule (I6): the same files and parameters give the same plan, byte for byte, without the network. A plan
holds references to secrets, never their values. This room does not read YAML (``template`` does) and
does not compare with what runs (the verb ``plan`` does).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from engine.source import TableSpec


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
    """A topic's settings: ``retention_ms`` in milliseconds, ``row_bytes_max`` the largest record value."""

    name: str
    partitions: int
    replication: int
    retention_ms: int
    compatibility: Literal["backward"]
    row_bytes_max: int


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
    topics: Mapping[str, TopicPlan]  # "schema.table" → its topic
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


def as_json(plan: object) -> str:
    """The plan as canonical JSON: what is printed, hashed and stored in the lake."""
    return json.dumps(asdict(plan), sort_keys=True, ensure_ascii=False, indent=1)  # type: ignore[call-overload]


def digest(plan: object) -> str:
    """The first 16 hexadecimal digits of the plan's SHA-256."""
    return hashlib.sha256(as_json(plan).encode()).hexdigest()[:16]
