"""Templates × parameters → flows.

Rule: a template is read once with its tokens in it (unknown keys and names are found even when no flow
uses it), and once per flow with everything filled in. Flows are known by name; two that collide (name,
sink table, settings of a shared topic) are told with both places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from engine.template import grammar
from engine.template.mistakes import Code, Mistakes, Place, nearest, shown
from engine.template.nodes import Hole, Node
from engine.template.params import Param, bind, declared
from engine.template.reader import Reader
from engine.template.tokens import fill, names


@dataclass(frozen=True, slots=True)
class Template:
    """A template: its parameters and its flow, tokens still in it."""

    name: str
    version: str
    description: str
    params: Mapping[str, Param]
    flow: Node
    place: Place

    @property
    def major(self) -> str:
        """What flows refer to: ``name@major``."""
        return f"{self.name}@{self.version.split('.', 1)[0]}"


@dataclass(frozen=True, slots=True)
class Declared:
    """A flow as its author wrote it: a template's name and parameters, each with the place of its key."""

    name: Node
    group: Node
    owner: Node
    template: Node
    given: Mapping[str, tuple[Place, Node]]


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow, everything filled in: ``body`` is the template's ``flow`` as the grammar read it."""

    name: Node
    group: Node
    owner: Node
    template: Node
    body: Node


def template_of(document: Node, mistakes: Mistakes) -> Template | None:
    """A FlowTemplate document as a template; None when mistakes are in it."""
    before = len(mistakes)
    read = Reader(mistakes).read(grammar.TEMPLATE_KIND, document, "the template")
    if read is None:
        return None
    params = declared(read["spec"]["params"], mistakes)
    flow = read["spec"]["flow"]
    _tokens_known(flow, params, mistakes)
    if len(mistakes) > before:
        return None
    metadata = read["metadata"]
    description = metadata.get("description")
    raw = document["spec"]["flow"]
    return Template(
        metadata["name"].text,
        metadata["version"].text,
        description.text if description else "",
        params,
        raw,
        metadata["name"].place,
    )


def _tokens_known(flow: Node, params: Mapping[str, Param], mistakes: Mistakes) -> None:
    for part, node in flow.items.items():
        for namespace, name, place in names(node):
            known: Iterable[str] = params if namespace == "param" else ("schema", "table")
            if namespace == "source" and part == "source":
                text = "the source cannot be written with what is derived from it"
                mistakes.add(place, Code.UNRESOLVED_TOKEN, text)
            elif namespace in ("param", "source") and name not in known:
                text = f"nothing is named ${{{namespace}.{name}}}"
                mistakes.add(place, Code.UNRESOLVED_TOKEN, text, nearest(name, known))


def declared_flows(document: Node, kind: str, mistakes: Mistakes) -> Iterator[Declared]:
    """The flows of a Flow or FlowSet document."""
    shape = grammar.FLOW_KIND if kind == "Flow" else grammar.FLOW_SET_KIND
    read = Reader(mistakes).read(shape, document, "the flow")
    if read is None:
        return
    filled = fill(read, {}, mistakes)
    metadata, spec = filled["metadata"], filled["spec"]
    common = _given(spec["params"])
    if kind == "Flow":
        yield Declared(metadata["name"], metadata["group"], metadata["owner"], spec["template"], common)
        return
    for key, own in spec["flows"].items.items():
        name = Node(spec["flows"].keys[key], f"{metadata['name'].text}.{key}")
        given = {**common, **_given(own)}
        yield Declared(name, metadata["group"], metadata["owner"], spec["template"], given)


def _given(params: Node) -> dict[str, tuple[Place, Node]]:
    return {key: (params.keys[key], node) for key, node in params.items.items()}


def expand(
    flow: Declared, template: Template, *, connectors: Mapping[str, str] | None, mistakes: Mistakes
) -> Flow | None:
    """One flow from its template; None when mistakes are in it."""
    before = len(mistakes)
    bound = bind(template.params, flow.given, connectors=connectors, at=flow.name.place, mistakes=mistakes)
    source = fill(template.flow["source"], {"param": bound}, mistakes)
    scopes = {"param": bound, "source": _source_scope(source)}
    parts = {
        key: source if key == "source" else fill(node, scopes, mistakes)
        for key, node in template.flow.items.items()
    }
    body = Reader(mistakes).read(grammar.FLOW, Node(template.flow.place, parts, template.flow.keys), "flow")
    if body is None or len(mistakes) > before:
        return None
    if connectors is not None and not _connected(body["source"], connectors, mistakes):
        return None
    named = Node(flow.template.place, f"{template.name}@{template.version}")
    return Flow(flow.name, flow.group, flow.owner, named, body)


def _source_scope(source: Node) -> dict[str, Node]:
    table = source.get("table")
    if table is None or not isinstance(table.value, str) or table.value.count(".") != 1:
        hole = Node(source.place, Hole())
        return {"schema": hole, "table": hole}
    schema, name = table.value.split(".")
    return {"schema": Node(table.place, schema), "table": Node(table.place, name)}


def _connected(source: Node, connectors: Mapping[str, str], mistakes: Mistakes) -> bool:
    name, kind = source["connection"], source["type"]
    known = connectors.get(name.text)
    if known is None:
        text = f"the project has no connection {shown(name.text)}"
        mistakes.add(name.place, Code.UNKNOWN_CONNECTION, text, nearest(name.text, connectors))
    elif known != kind.text:
        text = f"connection {shown(name.text)} is of type {known}, not {kind.text}"
        mistakes.add(name.place, Code.UNKNOWN_CONNECTION, text)
    return known == kind.text


def collide(flows: Iterable[Flow], mistakes: Mistakes) -> None:
    """Find flows that cannot live together."""
    sinks: dict[str, Flow] = {}
    topics: dict[tuple[str, str], Flow] = {}
    for flow in flows:
        table = flow.body["sink"]["table"]
        # object stores and some catalogues do not tell capitals apart
        other = sinks.setdefault(table.text.casefold(), flow)
        if other is not flow:
            text = f"{flow.name.text} and {other.name.text} write one table, {shown(table.text)}"
            mistakes.add(flow.name.place, Code.SINK_TAKEN, text, f"the other at {other.name.place}")
        source = flow.body["source"]
        first = topics.setdefault((source["connection"].text, source["table"].text), flow)
        _same_topic(flow, first, mistakes)


def _same_topic(flow: Flow, first: Flow, mistakes: Mistakes) -> None:
    for key, node in flow.body["topic"].items.items():
        other = first.body["topic"][key]
        if node.value != other.value:
            text = f"{flow.name.text} and {first.name.text} read one topic and disagree on {shown(key)}"
            mistakes.add(flow.name.place, Code.TOPIC_DISAGREES, text, f"{node.place} against {other.place}")
