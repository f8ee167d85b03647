"""The Project: connections, and where Kafka, the registry and the lake are.

Rule: the only place where the environment and secrets are named; the environment is resolved here, secrets
stay references. What a connection may hold is asked of its connector's model, with a stand-in for every
secret, so that a mistake is found without knowing any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from engine import names
from engine.secrets import SecretRef
from engine.template import grammar, modelled
from engine.template.mistakes import DERIVED, Code, Mistakes, Place, shown
from engine.template.nodes import Node, node_of
from engine.template.reader import Reader
from engine.template.shapes import DEFAULT
from engine.template.tokens import SECRET, fill

_STAND_IN: Final = "stands-in-for-a-secret"


@dataclass(frozen=True, slots=True)
class Connection:
    """A source: the connector's name, and its config as the model reads it; secrets are references."""

    name: str
    connector: str
    config: Mapping[str, Node]
    place: Place


@dataclass(frozen=True, slots=True)
class Settings:
    """What the Project document says; None: absent, which means embedded."""

    name: Node
    connections: Mapping[str, Connection]
    kafka: Node | None
    registry: Node | None
    lake: Node | None


def settings(
    document: Node,
    *,
    folder: Path,
    environment: Mapping[str, str],
    models: Mapping[str, type[BaseModel]],
    mistakes: Mistakes,
) -> Settings | None:
    """The Project document, resolved; None when mistakes are in it."""
    before = len(mistakes)
    scopes: dict[str, dict[str, Node]] = {
        "env": {name: Node(DEFAULT, value) for name, value in environment.items()},
        SECRET: {},
    }
    filled = fill(document, scopes, mistakes)
    read = Reader(mistakes).read(grammar.project(models), filled, "the project")
    if read is None:
        return None
    name, spec = read["metadata"]["name"], read["spec"]
    connections = {
        key: _connection(
            key,
            node,
            spec["connections"].keys[key],
            project=name.text,
            folder=folder,
            model=models[node["type"].text],
            mistakes=mistakes,
        )
        for key, node in spec["connections"].items.items()
    }
    kafka = spec.get("kafka")
    if kafka is not None:
        _agree(kafka["options"], mistakes)
    if len(mistakes) > before:
        return None
    return Settings(name, connections, kafka, spec.get("registry"), _lake(spec.get("lake"), folder))


def _lake(lake: Node | None, folder: Path) -> Node | None:
    if lake is None:
        return None
    root = lake["root"]
    return Node(lake.place, {"root": Node(root.place, str(folder / root.text))}, lake.keys)


def _agree(options: Node, mistakes: Mistakes) -> None:
    protocol = options["security.protocol"]
    sasl = [key for key in grammar.KAFKA_OPTIONS.keys if key.startswith("sasl.")]
    given = [key for key in sasl if key in options.items]
    if protocol.text.startswith("SASL_"):
        for key in sasl:
            if key not in given:
                mistakes.add(protocol.place, Code.MISSING_KEY, f"{shown(key)} is missing for {protocol.text}")
    elif given:
        place = options.keys[given[0]]
        mistakes.add(place, Code.BAD_VALUE, f"{shown(given[0])} has no use without a SASL protocol")


def _connection(
    key: str,
    node: Node,
    place: Place,
    *,
    project: str,
    folder: Path,
    model: type[BaseModel],
    mistakes: Mistakes,
) -> Connection:
    written = modelled.entered(model, node)
    given = written.items
    derived = {name: value for name, value in _derived(project, key).items() if name in model.model_fields}
    values = {
        name: _STAND_IN if isinstance(item.value, SecretRef) else item.plain for name, item in given.items()
    }
    made = modelled.validated(model, written, {**values, **derived}, mistakes, folder=str(folder))
    config = made.model_dump(mode="json") if made is not None else {}
    resolved: dict[str, Node] = {}
    for name in model.model_fields:
        origin = DERIVED if name in derived else given[name].place if name in given else DEFAULT
        secret = given[name].value if name in given else None
        resolved[name] = (
            Node(origin, secret) if isinstance(secret, SecretRef) else node_of(config.get(name), origin)
        )
    return Connection(key, node["type"].text, resolved, place)


def _derived(project: str, connection: str) -> dict[str, str]:
    slot = names.slot(project, connection)
    return {"slot": slot, "publication": slot, "project": project, "connection": connection}
