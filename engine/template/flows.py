"""Templates × parameters → flows.

Rule: a template is read once with its tokens in it (unknown keys and names are found even when no flow
uses it), and once per flow with everything filled in. Flows are known by name; two that collide (name,
sink table, settings of a shared topic) are told with both places.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from engine.contract import typed
from engine.contract.said import Said
from engine.template import grammar, modelled
from engine.template.checking import Written, checks_of, joined
from engine.template.contracting import NO_LAYOUT, NOTHING, Contracted, contract_of
from engine.template.files import File, Shelf
from engine.template.mistakes import Code, Mistakes, Place, nearest, shown
from engine.template.modelled import Model
from engine.template.nodes import HOLE, Node
from engine.template.params import Param, bind, declared
from engine.template.reader import Reader
from engine.template.shapes import Fields
from engine.template.tokens import fill, has_token
from engine.template.trials import Trial, bound_to, trial_of, trials_of

_NONE: Final = Node(Place("default"), {})


@dataclass(frozen=True, slots=True)
class Ways:
    """How flows are read: ``shape`` is a flow, ``models`` what connectors have it say of its source.

    ``keeps`` are the tables that connectors keep for themselves. ``connectors`` maps the project's
    connections to their connectors (None: it could not be read); ``shelf`` has the files that flows name,
    ``schemas`` the Avro schemas (see ``contract_of``).
    """

    shape: Fields
    models: Mapping[str, Model]
    keeps: Mapping[str, str] = field(default_factory=dict)
    connectors: Mapping[str, str] | None = None
    shelf: Shelf | None = None
    schemas: Mapping[str, File] | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """A template: its parameters and its flow, tokens still in it."""

    name: str
    version: str
    description: str
    params: Mapping[str, Param]
    flow: Node
    place: Place
    tests: Node

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
    checks: Node = _NONE
    tests: Node = _NONE


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow, everything filled in: ``body`` is the template's ``flow`` as the grammar read it.

    ``said`` is what it says of its source in the connector's own model (a table says nothing there), and
    ``meant`` what the engine has to understand of it.
    ``checks`` are the template's and its own; ``contract`` is what its texts mean.
    """

    name: Node
    group: Node
    owner: Node
    template: Node
    body: Node
    said: Node
    meant: Said | None
    checks: tuple[Written, ...]
    trials: tuple[Trial, ...]
    contract: Contracted = NOTHING


def template_of(document: Node, shape: Fields, kinds: Collection[str], mistakes: Mistakes) -> Template | None:
    """A FlowTemplate document as a template; None when mistakes are in it. ``kinds``: the connectors."""
    before = len(mistakes)
    read = Reader(mistakes).read(grammar.template(shape), document, "the template")
    if read is None:
        return None
    params = declared(read["spec"]["params"], mistakes)
    flow = read["spec"]["flow"]
    _tokens_known(flow, params, mistakes)
    if isinstance(flow["checks"].value, Mapping):  # else it is a token
        checks_of(flow["checks"], mistakes)
    tests = fill(read["spec"]["tests"], {}, mistakes)
    named = [param.connector_named for param in params.values() if param.connector_named]
    for kind in named:
        if not has_token(kind.text) and kind.text not in kinds:
            text = f"{shown(kind.text)} is no connector"
            mistakes.add(kind.place, Code.UNKNOWN_CONNECTOR, text, nearest(kind.text, kinds))
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
        tests,
    )


def _tokens_known(flow: Node, params: Mapping[str, Param], mistakes: Mistakes) -> None:
    # filled with holes: what cannot be resolved is told, and nothing else
    hole = Node(flow.place, HOLE)
    scopes = {"param": dict.fromkeys(params, hole), "source": dict.fromkeys(("schema", "table"), hole)}
    for part, node in flow.items.items():
        known = {"param": scopes["param"]} if part == "source" else scopes
        fill(node, known, mistakes)


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
        yield Declared(
            metadata["name"], metadata["group"], metadata["owner"], spec["template"], common,
            spec["checks"], spec["tests"],
        )  # fmt: skip
        return
    for key, own in spec["flows"].items.items():
        name = Node(spec["flows"].keys[key], f"{metadata['name'].text}.{key}")
        given = {**common, **{key: each for key, each in _given(own).items() if key not in grammar.OWN}}
        yield Declared(
            name, metadata["group"], metadata["owner"], spec["template"], given,
            own.get("checks") or _NONE, own.get("tests") or _NONE,
        )  # fmt: skip


def _given(params: Node) -> dict[str, tuple[Place, Node]]:
    return {key: (params.keys[key], node) for key, node in params.items.items()}


def expand(flow: Declared, template: Template, ways: Ways, mistakes: Mistakes) -> Flow | None:
    """One flow from its template; None when mistakes are in it."""
    own = Mistakes()
    made = _expand(flow, template, ways, own)
    for mistake in own.sorted():
        # a value from the template may be wrong for this flow only: say for which
        elsewhere = mistake.place.path != flow.name.place.path
        about = f", in flow {flow.name.text} at {flow.name.place}" if elsewhere else ""
        mistakes.add(mistake.place, mistake.code, mistake.text + about, mistake.hint)
    return made if not own else None


def _expand(flow: Declared, template: Template, ways: Ways, mistakes: Mistakes) -> Flow | None:
    bound = bind(
        template.params, flow.given, connectors=ways.connectors, at=flow.name.place, mistakes=mistakes
    )
    source = fill(template.flow["source"], {"param": bound}, mistakes)
    scopes = {"param": bound, "source": _source_scope(source)}
    parts = {
        key: source if key == "source" else fill(node, scopes, mistakes)
        for key, node in template.flow.items.items()
    }
    whole = Node(template.flow.place, parts, template.flow.keys)
    body = Reader(mistakes, shelf=ways.shelf).read(ways.shape, whole, "flow")
    if body is None:
        return None
    said, meant = _said(body["source"], ways.models, mistakes)
    model = ways.models.get(body["source"]["type"].text)
    layout = modelled.layout(model, body["source"]) if model is not None else NO_LAYOUT
    records = meant.records() if meant is not None else None
    if records is not None and not records.keys and body["sink"]["mode"].text == "scd1":
        text = "scd1 knows a row by its key, and the records of this flow have none"
        mistakes.add(body["sink"]["mode"].place, Code.MISSING_KEY, text, "keys: [a_column], or mode: append")
    if ways.connectors is not None:
        _connected(body["source"], ways.connectors, mistakes)
        _kept(body["source"], ways.keeps, mistakes)
    named = Node(flow.template.place, f"{template.name}@{template.version}")
    before = len(mistakes)
    theirs, own = checks_of(body["checks"], mistakes), checks_of(flow.checks, mistakes)
    checks = joined(theirs, own, flow.name.place, mistakes)
    contract = contract_of(body.get("contract"), ways.schemas, mistakes, records=records, layout=layout)
    columns = contract.columns
    if columns and len(mistakes) == before:
        for check in checks:
            bound_to(check, typed(columns), "the contract", mistakes)
    # a check that is a mistake is missing in every test: that mistake is the one to mend first
    sound = len(mistakes) == before
    trials = trials_of(flow.name.text, flow.tests, checks, mistakes, contract=columns) if sound else ()
    return Flow(flow.name, flow.group, flow.owner, named, body, said, meant, checks, trials, contract)


def template_trials(template: Template, ways: Ways, mistakes: Mistakes) -> tuple[Trial, ...]:
    """The tests of a template, each with the checks of the flow that its parameters make."""
    found = []
    for name, test in template.tests.items.items():
        place = template.tests.keys[name]
        about = Node(place, template.major)
        flow = Declared(about, about, about, about, _given(test["params"]))
        made = expand(flow, template, replace(ways, connectors=None, schemas=None), mistakes)
        trial = made and trial_of(
            template.major, (name, place), test, made.checks, mistakes, contract=made.contract.columns
        )
        if trial:
            found.append(trial)
    return tuple(sorted(found, key=lambda trial: trial.name))


def _source_scope(source: Node) -> dict[str, Node]:
    table = source.get("table")
    if table is None or not isinstance(table.value, str) or table.value.count(".") != 1:
        hole = Node(source.place, HOLE)
        return {"schema": hole, "table": hole}
    schema, name = table.value.split(".")
    return {"schema": Node(table.place, schema), "table": Node(table.place, name)}


def _said(source: Node, models: Mapping[str, Model], mistakes: Mistakes) -> tuple[Node, Said | None]:
    model = models.get(source["type"].text)
    if model is None:
        _columns(source["columns"], mistakes)
        return _NONE, None
    written = modelled.entered(model, source)
    made = modelled.validated(model, written, written.plain, mistakes)
    plain = made.model_dump(mode="json") if made is not None else {}
    return modelled.placed(plain, written), made if isinstance(made, Said) else None


def _columns(columns: Node, mistakes: Mistakes) -> None:
    gone = set(columns["exclude"].plain) & set(columns["text"].plain)
    for name in sorted(gone):
        place = columns["text"].place
        mistakes.add(place, Code.BAD_VALUE, f"column {shown(name)} is excluded: it has no text")


def _connected(source: Node, connectors: Mapping[str, str], mistakes: Mistakes) -> None:
    name, kind = source["connection"], source["type"]
    known = connectors.get(name.text)
    if known is None:
        text = f"the project has no connection {shown(name.text)}"
        mistakes.add(name.place, Code.UNKNOWN_CONNECTION, text, nearest(name.text, connectors))
    elif known != kind.text:
        text = f"connection {shown(name.text)} is of type {known}, not {kind.text}"
        mistakes.add(name.place, Code.UNKNOWN_CONNECTION, text)


def _kept(source: Node, keeps: Mapping[str, str], mistakes: Mistakes) -> None:
    table, kept = source["table"], keeps.get(source["type"].text)
    if kept and table.text == f"{source['connection'].text}.{kept}":
        text = f"{shown(table.text)} is what the connection keeps for itself"
        mistakes.add(table.place, Code.BAD_NAME, text, "give it another name")


def collide(flows: Iterable[Flow], models: Mapping[str, Model], mistakes: Mistakes) -> None:
    """Find flows that cannot live together."""
    sinks: dict[str, Flow] = {}
    topics: dict[tuple[str, ...], Flow] = {}
    for flow in flows:
        table = flow.body["sink"]["table"]
        # object stores and some catalogues do not tell capitals apart
        other = sinks.setdefault(table.text.casefold(), flow)
        if other is not flow:
            text = f"{flow.name.text} and {other.name.text} write one table, {shown(table.text)}"
            mistakes.add(flow.name.place, Code.SINK_TAKEN, text, f"the other at {other.name.place}")
        source = flow.body["source"]
        known = tuple(source[key].text for key in ("type", "connection", "table"))
        model = models.get(known[0])
        first = topics.setdefault(known, flow)
        _same_topic(flow, first, model, mistakes)
    _clash(list(topics.items()), mistakes)


def _clash(sources: Sequence[tuple[tuple[str, ...], Flow]], mistakes: Mistakes) -> None:
    """Find flows that one connection cannot serve both."""
    for n, (source, flow) in enumerate(sources):
        for other_source, other in sources[:n]:
            if flow.meant is None or other.meant is None or source[:2] != other_source[:2]:
                continue
            if why := flow.meant.clash(other.meant):
                text = f"{flow.name.text} and {other.name.text}: {why}"
                mistakes.add(flow.name.place, Code.BAD_VALUE, text, f"the other at {other.name.place}")


def _same_topic(flow: Flow, first: Flow, model: Model | None, mistakes: Mistakes) -> None:
    its, theirs = (_shared(each, model) for each in (flow, first))
    for key, node in its.items():
        other = theirs[key]
        if _meant(key, node) != _meant(key, other):
            text = f"{flow.name.text} and {first.name.text} read one topic and disagree on {shown(key)}"
            mistakes.add(flow.name.place, Code.TOPIC_DISAGREES, text, f"{node.place} against {other.place}")


def _meant(key: str, node: Node) -> Any:
    """A value without its place; which columns are named counts, not their order."""
    return sorted(set(node.plain)) if key.startswith("columns.") else node.plain


def _shared(flow: Flow, model: Model | None) -> Mapping[str, Node]:
    # the topic holds a table's truncations, first rows and columns, or it does not: one for all who read it
    source = flow.body["source"]
    if model is not None:
        said = {modelled.spelled(model, name): node for name, node in flow.said.items.items()}
        return {**flow.body["topic"].items, **said}
    told = {f"snapshot.{key}": node for key, node in source["snapshot"].items.items()}
    told |= {f"columns.{key}": node for key, node in source["columns"].items.items()}
    return {**flow.body["topic"].items, **told, "on_truncate": source["on_truncate"]}
