"""YAML → Project, FlowTemplate, Flow, FlowSet: what an author wrote, checked and filled in.

Rule: every mistake of every file is told at once, each with path:line:column, a code and the nearest known
name; a key that this version does not honour is refused. Tokens ``${namespace.name}`` are the only logic.
Every value keeps the place where it was written. This room does not touch the network, reads no secret, and
derives nothing that a worker needs: that is ``plan``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.template import files, grammar, nodes, project
from engine.template.flows import (
    Declared,
    Flow,
    Template,
    Ways,
    collide,
    declared_flows,
    expand,
    template_of,
    template_trials,
)
from engine.template.grammar import NO_FLOWS, NO_KEEPS
from engine.template.mistakes import Code, Mistake, Mistaken, Mistakes, Place, nearest, shown
from engine.template.modelled import Model
from engine.template.nodes import Node
from engine.template.project import Connection, Settings
from engine.template.trials import Case, Trial

__all__ = [
    "Case",
    "Code",
    "Connection",
    "Flow",
    "Mistake",
    "Mistaken",
    "Node",
    "Place",
    "Project",
    "Settings",
    "Template",
    "Trial",
    "load",
    "shipped",
]


@dataclass(frozen=True, slots=True)
class Project:
    """A project without mistakes. Flows are in the order of their names; ``keeps`` as in ``load``."""

    folder: Path
    settings: Settings
    flows: tuple[Flow, ...]
    templates: tuple[Template, ...]
    files: tuple[str, ...]
    trials: tuple[Trial, ...]
    keeps: Mapping[str, str]


def load(
    folder: Path,
    *,
    environment: Mapping[str, str],
    models: Mapping[str, Model],
    flows: Mapping[str, Model] = NO_FLOWS,
    keeps: Mapping[str, str] = NO_KEEPS,
) -> Project:
    """Read a project; raises Mistaken with every mistake of every file.

    ``models`` are the connectors' config models by connector name, ``flows`` what they have a flow say of its
    source; a connector that is not among these has tables. ``keeps`` names the relations that connectors keep
    for themselves.
    """
    mistakes = Mistakes()
    root = folder.resolve()
    found = files.gather(folder, mistakes)
    settings = _settings(found.project, root, environment, models, mistakes)
    connectors = {name: c.connector for name, c in settings.connections.items()} if settings else None
    shelf = files.Shelf(root, mistakes)
    schemas = {file.path: file for file in found.schemas}
    ways = Ways(grammar.flow(models, flows), flows, keeps, connectors, shelf, schemas)
    before = len(mistakes)
    theirs = [each for _, each in _documents(found.templates, ("FlowTemplate",), mistakes)]
    own = _templates(theirs, ways, models, mistakes)
    complete = len(mistakes) == before
    known = {**_shipped(found.shipped, ways, models, mistakes), **own}
    declared = [
        flow
        for kind, document in _documents(found.flows, ("Flow", "FlowSet"), mistakes)
        for flow in declared_flows(document, kind, mistakes)
    ]
    expanded = []
    for flow in _once(declared, mistakes):
        template = _template(flow, known, mistakes, complete=complete)
        made = template and expand(flow, template, ways, mistakes)
        if made:
            expanded.append(made)
    expanded.sort(key=lambda flow: flow.name.text)
    collide(expanded, flows, mistakes)
    trials = [trial for template in known.values() for trial in template_trials(template, ways, mistakes)]
    trials += [trial for flow in expanded for trial in flow.trials]
    if mistakes or settings is None:
        raise Mistaken(mistakes.sorted(), folder=str(folder))
    read = (found.project, *found.flows, *found.templates, *found.schemas)
    paths = (*(file.path for file in read), *shelf.paths)
    return Project(root, settings, tuple(expanded), tuple(known.values()), paths, tuple(trials), keeps)


def shipped(models: Mapping[str, Model], flows: Mapping[str, Model] = NO_FLOWS) -> tuple[Template, ...]:
    """The templates that come with this distribution, of the connectors that there are."""
    mistakes = Mistakes()
    found = _shipped(files.shipped(), Ways(grammar.flow(models, flows), flows), models, mistakes)
    if mistakes:
        raise Mistaken(mistakes.sorted(), folder=files.SHIPPED)
    return tuple(found.values())


def _settings(
    file: files.File,
    root: Path,
    environment: Mapping[str, str],
    models: Mapping[str, Model],
    mistakes: Mistakes,
) -> Settings | None:
    documents = list(_documents([file], ("Project",), mistakes))
    if len(documents) > 1:
        second = documents[1][1].place
        mistakes.add(second, Code.DUPLICATE_NAME, f"{file.path} holds one Project, and here is another")
    if not documents:
        return None
    document = documents[0][1]
    return project.settings(document, folder=root, environment=environment, models=models, mistakes=mistakes)


def _documents(
    found: Iterable[files.File], kinds: tuple[str, ...], mistakes: Mistakes
) -> Iterable[tuple[str, Node]]:
    for file in found:
        documents = None if file.raw is None else nodes.documents(file.raw, file.path, mistakes)
        if documents == []:
            mistakes.add(Place(file.path, 1, 1), Code.EMPTY, f"the file is empty: {_or(kinds)} stands here")
        for document in documents or []:
            kind = _kind(document, kinds, mistakes)
            if kind:
                yield kind, document


def _kind(document: Node, kinds: tuple[str, ...], mistakes: Mistakes) -> str:
    if not isinstance(document.value, Mapping):
        text = f"a document is a map that begins with apiVersion and kind: {_or(kinds)}"
        mistakes.add(document.place, Code.WRONG_TYPE, text)
        return ""
    kind = document.get("kind")
    if kind is None:
        mistakes.add(document.place, Code.MISSING_KEY, '"kind" is missing', f"kind: {_or(kinds)}")
        return ""
    if kind.value not in kinds:
        text = f'"kind" must be {_or(kinds)} here'
        hint = nearest(kind.value, kinds) if isinstance(kind.value, str) else ""
        mistakes.add(kind.place, Code.WRONG_KIND, text, hint if hint.startswith("did") else "")
        return ""
    return str(kind.value)


def _or(kinds: Iterable[str]) -> str:
    return " or ".join(kinds)


def _shipped(
    found: Iterable[files.File], ways: Ways, connectors: Collection[str], mistakes: Mistakes
) -> dict[str, Template]:
    # a connector that is not installed leaves its templates behind
    known = _documents(found, ("FlowTemplate",), mistakes)
    fit = [each for _, each in known if each["spec"]["flow"]["source"]["type"].text in connectors]
    return _templates(fit, ways, connectors, mistakes)


def _templates(
    documents: Iterable[Node], ways: Ways, connectors: Collection[str], mistakes: Mistakes
) -> dict[str, Template]:
    known: dict[str, Template] = {}
    for document in documents:
        template = template_of(document, ways.shape, connectors, mistakes)
        if template is None:
            continue
        other = known.setdefault(template.major, template)
        if other is not template:
            text = f"there are two templates {template.major}"
            mistakes.add(template.place, Code.DUPLICATE_NAME, text, f"the other at {other.place}")
    return known


def _template(
    flow: Declared, known: Mapping[str, Template], mistakes: Mistakes, *, complete: bool
) -> Template | None:
    template = known.get(flow.template.text)
    # when a template could not be read, that mistake is the one to mend first
    if template is None and complete:
        text = f"there is no template {shown(flow.template.text)}"
        mistakes.add(flow.template.place, Code.UNKNOWN_TEMPLATE, text, nearest(flow.template.text, known))
    return template


def _once(declared: Iterable[Declared], mistakes: Mistakes) -> Iterable[Declared]:
    seen: dict[str, Place] = {}
    for flow in declared:
        place = seen.setdefault(flow.name.text, flow.name.place)
        if place is not flow.name.place:
            text = f"there are two flows {shown(flow.name.text)}"
            mistakes.add(flow.name.place, Code.DUPLICATE_NAME, text, f"the other at {place}")
        else:
            yield flow
