"""Parameters of a template: what they may be, and what a flow gave.

Rule: a parameter is required or has a default, and both are held to its type before anything is filled
in. The value that goes into the template keeps the place where it was written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from engine.template.checking import NAME
from engine.template.grammar import OWN
from engine.template.mistakes import Code, Mistakes, Place, nearest, shown
from engine.template.nodes import HOLE, Node
from engine.template.reader import Reader
from engine.template.shapes import (
    Anything,
    Choice,
    Duration,
    Flag,
    Many,
    Named,
    Number,
    Shape,
    Size,
    Text,
    Whole,
)
from engine.template.tokens import fill


@dataclass(frozen=True, slots=True)
class Param:
    """A declared parameter; ``connector_named`` is set when it names a connection of that connector."""

    name: str
    place: Place
    shape: Shape
    default: Node | None
    connector_named: Node | None = None


def declared(params: Node, mistakes: Mistakes) -> dict[str, Param]:
    """The parameters of a template that has been read."""
    found: dict[str, Param] = {}
    for name, node in params.items.items():
        place = params.keys[name]
        if name in OWN:
            mistakes.add(place, Code.BAD_NAME, f"{shown(name)} is a key of every flow: name it otherwise")
        shape = _shape(node, mistakes)
        default, required = node.get("default"), node["required"].value
        if required and default is not None:
            mistakes.add(default.place, Code.BAD_VALUE, f"{shown(name)} is required: a default has no use")
        if not required and default is None:
            mistakes.add(
                place, Code.MISSING_KEY, f"parameter {shown(name)} has no default", "or write required: true"
            )
            default = Node(place, HOLE)
        default = default and fill(default, {}, mistakes)
        if default is not None and Reader(mistakes).read(shape, default, name) is None:
            default = Node(default.place, HOLE)
        connector = node["of"] if node["type"].value == "connection" else None
        found[name] = Param(name, place, shape, default, connector)
    return found


def _shape(node: Node, mistakes: Mistakes) -> Shape:
    match node["type"].value:
        case "string":
            return _string(node, mistakes)
        case "integer":
            return Whole(_bound(node, "min"), _bound(node, "max"))
        case "number":
            return Number(_bound(node, "min"), _bound(node, "max"))
        case "enum":
            return Choice(tuple(node["values"].plain))
        case "list":
            return Many(_SIMPLE[node["of"].text])
        case "connection":
            return NAME
        case kind:
            return _SIMPLE[str(kind)]


_SIMPLE: Mapping[str, Shape] = {
    "string": Text(),
    "integer": Whole(),
    "number": Number(),
    "boolean": Flag(),
    "duration": Duration(),
    "size": Size(),
    "any": Anything(),
    "map": Named(Anything(), Text("a key of at most 200 characters", r"[\s\S]{1,200}")),
}


def _string(node: Node, mistakes: Mistakes) -> Text:
    written = node.get("pattern")
    pattern = written.text if written else ""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        mistakes.add(node["pattern"].place, Code.BAD_VALUE, '"pattern" is no regular expression')
        pattern = ""
    what = f"text that matches {pattern}" if pattern else "text"
    low, high = node["min_length"].plain, node["max_length"].plain
    return Text(what, pattern, low, high, signs=high == 1)


def _bound(node: Node, key: str) -> int | None:
    bound = node.get(key)
    return None if bound is None else bound.plain


def bind(
    params: Mapping[str, Param],
    given: Mapping[str, tuple[Place, Node]],
    *,
    connectors: Mapping[str, str] | None,
    at: Place,
    mistakes: Mistakes,
) -> dict[str, Node]:
    """What each parameter is for one flow: given, default, or a hole where a mistake was.

    ``given`` holds the places of the keys too; ``connectors`` maps the project's connections to their
    connectors (None: the project could not be read); ``at`` is where a missing parameter is missed.
    """
    for name, (place, _) in given.items():
        if name not in params:
            mistakes.add(place, Code.UNKNOWN_PARAM, f"unknown parameter {shown(name)}", nearest(name, params))
    return {
        name: _bound_value(param, given.get(name), connectors, at, mistakes) for name, param in params.items()
    }


def _bound_value(
    param: Param,
    given: tuple[Place, Node] | None,
    connectors: Mapping[str, str] | None,
    at: Place,
    mistakes: Mistakes,
) -> Node:
    node = given[1] if given else param.default
    if node is None:
        mistakes.add(at, Code.MISSING_PARAM, f"parameter {shown(param.name)} is missing", _example(param))
        return Node(at, HOLE)
    if Reader(mistakes).read(param.shape, node, param.name) is None:
        return Node(node.place, HOLE)
    if param.connector_named and connectors is not None:
        return _connection(node, param.connector_named.text, connectors, mistakes)
    return node


def _connection(node: Node, connector: str, connectors: Mapping[str, str], mistakes: Mistakes) -> Node:
    known = connectors.get(node.text)
    if known is None:
        text = f"the project has no connection {shown(node.text)}"
        mistakes.add(node.place, Code.UNKNOWN_CONNECTION, text, nearest(node.text, connectors))
        return Node(node.place, HOLE)
    if known != connector:
        text = f"connection {shown(node.text)} is of type {known}, not {connector}"
        mistakes.add(node.place, Code.UNKNOWN_CONNECTION, text)
        return Node(node.place, HOLE)
    return node


def _example(param: Param) -> str:
    return f"add {param.name}: …"
