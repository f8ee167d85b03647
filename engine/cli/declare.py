"""The files of a project that ``init --from`` writes: connection, template, flows, SQL for a DBA.

Rule: whatever a database calls its things, the files are valid: a name that has no place in them makes its
table a comment. Pure text up to ``write``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml

from engine.cli import screen
from engine.source import TableFound
from engine.template.checking import NAME
from engine.template.grammar import SINK_TABLE, TABLE
from engine.template.mistakes import Mistakes, Place
from engine.template.nodes import Node
from engine.template.reader import Reader
from engine.template.shapes import Text

SQL: Final = "dba.sql"
_LAYER: Final = "bronze"
_TEMPLATE: Final = "postgres_table"
_APPEND: Final = "its rows can only be appended"  # what is told of a table without a key


@dataclass(frozen=True, slots=True)
class Candidate:
    """A table of the database: the flow that it becomes, or why it becomes none."""

    found: TableFound
    flow: str = ""
    params: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The table as ``--json`` prints it."""
        return {
            **asdict(self.found), "key": list(self.found.key), "flow": self.flow or None,
            "params": dict(self.params), "reason": self.reason or None, "notes": list(self.notes),
        }  # fmt: skip


Told = tuple[TableFound, Sequence[str], Sequence[str]]
"""A table, what keeps it from being captured, and what else there is to know of it."""


def candidates(told: Sequence[Told]) -> tuple[Candidate, ...]:
    """A flow for each table that can be captured and has a place of its own in the lake."""
    flows: set[str] = set()
    places: set[str] = set()
    return tuple(_candidate(*each, flows, places) for each in told)


def _candidate(
    found: TableFound, reasons: Sequence[str], notes: Sequence[str], flows: set[str], places: set[str]
) -> Candidate:
    name = f"{found.schema}.{found.table}"
    if reasons:
        return Candidate(found, reason="; ".join(reasons))
    if not takes(TABLE, name):
        return Candidate(found, reason="a flow cannot name it: a dot, a sign that nobody sees, or too long")
    layers = (_LAYER, f"{_LAYER}_{found.schema}")
    fit = [layer for layer in layers if takes(SINK_TABLE, f"{layer}.{found.table}")]
    free = [layer for layer in fit if _place(layer, found) not in places]
    if not free:
        return Candidate(found, reason="its name has no place in the lake: give it a sink in the template")
    places.add(_place(free[0], found))
    params = [("table", name)]
    if free[0] != _LAYER:
        params.append(("layer", free[0]))
    if any(_APPEND in note for note in notes):
        params.append(("mode", "append"))
    return Candidate(found, _flow(found, flows), tuple(params), notes=tuple(notes))


def takes(shape: Text, text: str) -> bool:
    """Whether our files take a text, as whoever reads them decides it."""
    mistakes = Mistakes()
    Reader(mistakes).read(shape, Node(Place(""), text), "text")
    return not mistakes


def _place(layer: str, found: TableFound) -> str:
    return f"{layer}.{found.table}".casefold()  # object stores do not tell capitals apart


def _flow(found: TableFound, taken: set[str]) -> str:
    """A name for the flow that no other has."""
    plain = [re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_") for part in (found.table, found.schema)]
    first = plain[0] if plain[0][:1].isalpha() else f"t_{plain[0]}"
    wanted = [first, f"{plain[1]}_{first}", *(f"{first}_{n}" for n in range(2, len(taken) + 3))]
    name = next(n for n in wanted if n not in taken and takes(NAME, n))
    taken.add(name)
    return name


# --- as files --------------------------------------------------------------------------------------------


def write(
    folder: Path,
    project: str,
    connection: str,
    values: Mapping[str, Any],
    tables: Sequence[Candidate],
    *,
    secret: bool,
) -> None:
    """The project's files, except the SQL, which is made from what they say."""
    (folder / "flows").mkdir(parents=True, exist_ok=True)
    (folder / "templates").mkdir(exist_ok=True)
    (folder / "secrets").mkdir(mode=0o700, exist_ok=True)
    texts = {
        ".gitignore": ".ecluse/\nsecrets/\n",
        "ecluse.yaml": "\n".join(_project(project, connection, values, secret=secret)) + "\n",
        f"flows/{connection}.yaml": "\n".join(_flows(connection, values, tables)) + "\n",
        f"templates/{_TEMPLATE}.yaml": _shipped(),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def write_sql(folder: Path, statements: Sequence[str]) -> None:
    """What a DBA would run; the first start runs of it what its role may."""
    head = (
        "-- What the capture needs of the server. Its first start runs what its role may; a DBA the rest.\n"
    )
    text = "".join(f"{statement};\n" for statement in statements)
    (folder / SQL).write_text(head + text, encoding="utf-8")


def _shipped() -> str:
    folder = Path(str(resources.files("engine"))).parent / "templates"
    return (folder / f"{_TEMPLATE}.yaml").read_text(encoding="utf-8")


def _project(project: str, connection: str, values: Mapping[str, Any], *, secret: bool) -> Iterator[str]:
    name = f"{connection}_password"
    yield from ("apiVersion: ecluse/v1", "kind: Project", f"metadata: {{name: {named(project)}}}", "spec:")
    yield from ("  connections:", f"    {named(connection)}:")
    for key in ("type", "host", "port", "database", "user", "sslmode", "sslrootcert"):
        if key in values:
            yield f"      {key}: {quoted(values[key])}"
    mark = "" if secret else "# "
    where = f"file secrets/{name} (mode 0600), or ECLUSE_SECRET_{name.upper()}"
    yield f"      {mark}password: ${{secret.{name}}}  # {where}"
    yield "  # What is not named here is started beside the workers by `ecluse up`:"
    yield '  # kafka: {bootstrap_servers: ["broker-1:9092"]}'
    yield '  # registry: {url: "http://registry:8081"}'
    yield "  # lake: {root: /data/lake}"


def _flows(connection: str, values: Mapping[str, Any], tables: Sequence[Candidate]) -> Iterator[str]:
    yield _comment(f"The tables of {values['database']} on {values['host']}, as they were found.")
    yield from ("apiVersion: ecluse/v1", "kind: FlowSet", f"metadata: {{name: {named(connection)}}}", "spec:")
    yield from (f"  template: {_TEMPLATE}@1", f"  params: {{connection: {named(connection)}}}", "  flows:")
    for table in tables:
        found = table.found
        if not table.flow:
            yield f"    {_comment(f'{found.schema}.{found.table} is not captured: {table.reason}')}"
            continue
        key = f"key {', '.join(found.key)}" if found.key else "no key"
        rows = "" if found.rows is None else f"about {screen.count(found.rows)} rows, "
        params = ", ".join(f"{name}: {quoted(value)}" for name, value in table.params)
        known = _comment(f"{rows}{screen.size(found.size_bytes)}, {key}")
        yield f"    {named(table.flow)}: {{{params}}}  {known}"
        for note in table.notes:
            yield f"      {_comment(note)}"


def quoted(value: Any) -> str:
    r"""A value as YAML reads it back; a dollar begins no token.

    >>> quoted(5432), quoted('a"b'), quoted("${secret.x}")
    ('5432', '"a\\"b"', '"$${secret.x}"')
    """
    return json.dumps(value.replace("$", "$$") if isinstance(value, str) else value, ensure_ascii=False)


def named(name: str) -> str:
    """A name of ours, in quotes where YAML would take it for something else.

    >>> named("parcel"), named("true"), named("on")
    ('parcel', '"true"', '"on"')
    """
    return name if yaml.safe_load(name) == name else quoted(name)


def _comment(text: str) -> str:
    """Text behind a sign that lets no line of it be anything else."""
    return "# " + "".join(c if c.isprintable() else " " for c in text)
