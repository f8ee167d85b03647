"""What a flow says of its source, as the plan hands it to the connector.

Rule: a table says what all tables say; anything else what its connector's model made of it, whole, with every
default written out. Where each value was written goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.source import TableSpec
from engine.template import Flow, Node, Place


def table(flow: Flow, path: str, origins: dict[str, Place]) -> TableSpec:
    """The flow's source; ``origins`` takes the places of its values, under ``path``."""

    def take(name: str, node: Node) -> Any:
        origins[f"{path}.{name}"] = node.place
        return node.plain

    source = flow.body["source"]
    schema, name = take("table", source["table"]).split(".")
    origins[f"{path}.schema"] = source["table"].place
    if flow.said.items:
        _place(f"{path}.said", flow.said, origins)
        return TableSpec(flow.name.text, schema, name, said=flow.said.plain)
    columns, snapshot = source["columns"], source["snapshot"]
    run = take("snapshot", snapshot["run"])
    return TableSpec(
        flow.name.text,
        schema,
        name,
        take("on_truncate", source["on_truncate"]),
        run if take("snapshot", snapshot["mode"]) == "initial" else None,
        tuple(sorted(set(take("exclude", columns["exclude"])))),
        tuple(sorted(set(take("text", columns["text"])))),
    )


def _place(path: str, node: Node, origins: dict[str, Place]) -> None:
    """The places of a tree, by the paths of ``writing.leaves``."""
    match node.value:
        case Mapping() as entries if entries:
            for key, item in entries.items():
                _place(f"{path}.{key}", item, origins)
        case tuple() as items if items and items[0].get("name"):
            for item in items:
                _place(f"{path}.{item['name'].plain}", item, origins)
        case _:
            origins[path] = node.place
