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

from pydantic import BaseModel

from engine.template import files, flows, nodes, project
from engine.template.flows import Flow, Template
from engine.template.mistakes import Code, Mistake, Mistaken, Mistakes, Place, nearest, shown
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
    """A project without mistakes. Flows are in the order of their names."""

    folder: Path
    settings: Settings
    flows: tuple[Flow, ...]
    templates: tuple[Template, ...]
    files: tuple[str, ...]
    trials: tuple[Trial, ...]


def load(folder: Path, *, environment: Mapping[str, str], models: Mapping[str, type[BaseModel]]) -> Project:
    """Read a project; raises Mistaken with every mistake of every file.

    ``models`` are the connectors' config models by connector name.
    """
    mistakes = Mistakes()
    root = folder.resolve()
    found = files.gather(folder, mistakes)
    settings = _settings(found.project, root, environment, models, mistakes)
    connectors = {name: c.connector for name, c in settings.connections.items()} if settings else None
    before = len(mistakes)
    own = _templates(found.templates, models, mistakes)
    complete = len(mistakes) == before
    known = {**_templates(found.shipped, None, mistakes), **own}
    declared = [
        flow
        for kind, document in _documents(found.flows, ("Flow", "FlowSet"), mistakes)
        for flow in flows.declared_flows(document, kind, mistakes)
    ]
    expanded = []
    for flow in _once(declared, mistakes):
        template = _template(flow, known, mistakes, complete=complete)
        made = template and flows.expand(flow, template, connectors=connectors, mistakes=mistakes)
        if made:
            expanded.append(made)
    expanded.sort(key=lambda flow: flow.name.text)
    flows.collide(expanded, mistakes)
    trials = [trial for template in known.values() for trial in flows.template_trials(template, mistakes)]
    trials += [trial for flow in expanded for trial in flow.trials]
    if mistakes or settings is None:
        raise Mistaken(mistakes.sorted(), folder=str(folder))
    paths = (found.project, *found.flows, *found.templates)
    return Project(
        root, settings, tuple(expanded), tuple(known.values()), tuple(f.path for f in paths), tuple(trials)
    )


def shipped() -> tuple[Template, ...]:
    """The templates that come with this distribution."""
    mistakes = Mistakes()
    found = _templates(files.shipped(), None, mistakes)
    if mistakes:
        raise Mistaken(mistakes.sorted(), folder=files.SHIPPED)
    return tuple(found.values())


def _settings(
    file: files.File,
    root: Path,
    environment: Mapping[str, str],
    models: Mapping[str, type[BaseModel]],
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


def _templates(
    found: Iterable[files.File], kinds: Collection[str] | None, mistakes: Mistakes
) -> dict[str, Template]:
    known: dict[str, Template] = {}
    for _, document in _documents(found, ("FlowTemplate",), mistakes):
        template = flows.template_of(document, kinds, mistakes)
        if template is None:
            continue
        other = known.setdefault(template.major, template)
        if other is not template:
            text = f"there are two templates {template.major}"
            mistakes.add(template.place, Code.DUPLICATE_NAME, text, f"the other at {other.place}")
    return known


def _template(
    flow: flows.Declared, known: Mapping[str, Template], mistakes: Mistakes, *, complete: bool
) -> Template | None:
    template = known.get(flow.template.text)
    # when a template could not be read, that mistake is the one to mend first
    if template is None and complete:
        text = f"there is no template {shown(flow.template.text)}"
        mistakes.add(flow.template.place, Code.UNKNOWN_TEMPLATE, text, nearest(flow.template.text, known))
    return template


def _once(declared: Iterable[flows.Declared], mistakes: Mistakes) -> Iterable[flows.Declared]:
    seen: dict[str, Place] = {}
    for flow in declared:
        place = seen.setdefault(flow.name.text, flow.name.place)
        if place is not flow.name.place:
            text = f"there are two flows {shown(flow.name.text)}"
            mistakes.add(flow.name.place, Code.DUPLICATE_NAME, text, f"the other at {place}")
        else:
            yield flow
