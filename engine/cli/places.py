"""Where a project's Kafka, registry, lake and sample database are: as declared, or the embedded stack's.

Rule: what the project does not name is the embedded stack of its folder, and only a *running* one: a worker
never starts an empty Kafka by itself. ``up``, ``demo`` and tests start it. Secrets become values through
``compose`` only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.cli import compose
from engine.cli.compose import Call
from engine.embedded import record
from engine.embedded.record import Endpoints
from engine.embedded.stack import Part, Stack, cache_folder
from engine.errors import StackFailed
from engine.plan import CapturePlan, ProjectPlan

EMBEDDED: Final = "embedded"
"""The host of a connection that means the sample database of the embedded stack."""
_SPARK: Final[frozenset[Part]] = frozenset(("spark",))


@dataclass(frozen=True, slots=True)
class Places:
    """Everything that a worker or a reading verb connects to, sources excepted.

    ``kafka`` holds the client's options with their secrets: it goes to clients and nowhere else.
    """

    kafka: dict[str, str]
    registry: str
    lake: str


def state_folder(call: Call) -> Path:
    """What the embedded stack and ``up`` write for this project."""
    return call.folder.resolve() / ".ecluse"


def find(call: Call, plan: ProjectPlan) -> Places:
    """Where everything is. Raises StackFailed when a part is embedded and does not run."""
    return Places(kafka=kafka(call, plan), registry=registry(call, plan), lake=lake_root(call, plan))


def kafka(call: Call, plan: ProjectPlan) -> dict[str, str]:
    """The options of Kafka's client, its secrets as values."""
    options = compose.kafka_options(call, plan.kafka)
    servers = ",".join(plan.kafka.bootstrap_servers) or _part(call, "kafka").kafka
    return {**options, "bootstrap.servers": servers}


def registry(call: Call, plan: ProjectPlan) -> str:
    """The registry's address."""
    return plan.registry.url or _part(call, "registry").registry


def runs(call: Call, part: str) -> bool:
    """Whether a part of the embedded stack runs."""
    found = record.find(state_folder(call))
    return found is not None and bool(getattr(found, part))


def lake_root(call: Call, plan: ProjectPlan) -> str:
    """Where the tables are: readable whether or not anything runs."""
    return plan.lake.root or str(state_folder(call) / "lake")


def configure(call: Call, capture: CapturePlan) -> Any:
    """A capture's config with its secrets as values, and the sample database's place filled in."""
    config = compose.configure(call, capture)
    if getattr(config, "host", "") != EMBEDDED:
        return config
    server = _part(call, "postgres").postgres
    return config.model_copy(update={"host": server.host, "port": server.port}) if server else config


def spark(call: Call) -> Endpoints:
    """Java and the jars that Spark needs, fetched into the cache when they are not there yet."""
    running = record.find(state_folder(call))
    if running is not None and running.spark_jars:
        return running
    stack = Stack(
        state_folder(call), cache_folder(call.environment), environment=call.environment, detached=True
    )
    return stack.start(_SPARK)


def archives(call: Call) -> Path:
    """Where Java keeps classes that it has read once, for every project of this user."""
    return cache_folder(call.environment) / "java"


def _part(call: Call, name: str) -> Endpoints:
    found = record.find(state_folder(call))
    if found is None or not getattr(found, name):
        raise StackFailed(
            f"the project names no {name} of its own, and the embedded one does not run",
            where=str(call.folder / "ecluse.yaml"),
            hint=f"ecluse -p {call.folder} up, or name yours in ecluse.yaml",
        )
    return found
