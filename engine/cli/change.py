"""Verbs that work on what authors write: lint, render, template list, template schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from engine import template
from engine.cli import compose, show
from engine.cli.compose import Call
from engine.errors import Exit, Missing, Unusable
from engine.plan import Resolved, as_json, resolve
from engine.template import editor
from engine.template.files import SHIPPED
from engine.template.mistakes import Mistake, Mistaken, count, nearest

PANEL: Final = "Change"
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add(app: typer.Typer) -> None:
    """Put these verbs into the application."""
    app.command("lint", rich_help_panel=PANEL)(lint)
    app.command("render", rich_help_panel=PANEL)(render)
    templates = typer.Typer(no_args_is_help=True, help="The templates that flows name, and their schema.")
    templates.command("list")(template_list)
    templates.command("schema")(template_schema)
    app.add_typer(templates, name="template", rich_help_panel=PANEL)


def lint(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="The project; default --project.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every file of a project: one line per mistake, exit code 2 when there is one."""
    call: Call = context.obj
    chosen = folder or call.folder
    try:
        project = compose.load(Call(chosen, call.environment))
    except Mistaken as mistaken:
        if as_json:
            show.data({"mistakes": [mistake.as_dict() for mistake in mistaken.mistakes]})
        for mistake in () if as_json else mistaken.mistakes:
            show.line(_from_here(chosen, mistake))
        show.note(f"{mistaken.summary} of {chosen}")
        raise typer.Exit(Exit.AUTHOR) from None
    if as_json:
        show.data({"mistakes": []})
    flows, files = count(len(project.flows), "flow"), count(len(project.files), "file")
    show.note(f"{flows} in {files} of {chosen}: no mistakes")


def _from_here(folder: Path, mistake: Mistake) -> str:
    # a terminal opens what it can find: the path from the working directory
    shipped = mistake.place.path.startswith(SHIPPED)
    return str(mistake) if shipped or folder == Path() else f"{folder.as_posix()}/{mistake}"


def render(
    context: typer.Context,
    flow: Annotated[str | None, typer.Argument(metavar="[FLOW]", help="One flow; default all.")] = None,
    as_json: Json = False,
) -> None:
    """Print the plan: every value, and where it came from. Secrets stay references."""
    resolved = resolve(compose.load(context.obj))
    known = [planned.name for planned in resolved.plan.flows]
    if flow is not None and flow not in known:
        raise Missing(
            f"the project has no flow {flow}", where=str(context.obj.folder), hint=nearest(flow, known)
        )
    if as_json:
        show.data(_as_data(resolved, flow))
    else:
        show.table(("key", "value", "from"), _rows(resolved, flow))


def _as_data(resolved: Resolved, flow: str | None) -> dict[str, object]:
    plan = json.loads(as_json(resolved.plan))
    if flow is not None:
        plan = next(planned for planned in plan["flows"] if planned["name"] == flow)
    prefix = "" if flow is None else f"flows.{flow}."
    origins = {
        path.removeprefix(prefix): str(place)
        for path, place in resolved.origins.items()
        if path.startswith(prefix)
    }
    return {"plan": plan, "origins": origins}


def _rows(resolved: Resolved, flow: str | None) -> list[tuple[str, str, str]]:
    return [
        (path, value, str(place))
        for path, value, place in resolved.lines()
        if flow is None or path.startswith(f"flows.{flow}.")
    ]


def template_list(context: typer.Context, as_json: Json = False) -> None:
    """List the templates that ship and, inside a project, the project's own."""
    call: Call = context.obj
    here = (call.folder / "ecluse.yaml").exists()
    known = compose.load(call).templates if here else template.shipped(compose.models(), compose.flows())
    rows = [(t.major, t.version, t.description, t.place.path) for t in sorted(known, key=lambda t: t.major)]
    columns = ("template", "version", "description", "file")
    if as_json:
        show.data([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        show.table(columns, rows)


def template_schema(
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it to a file.")] = None,
) -> None:
    """Print the JSON Schema (draft 7) of the four kinds, for editors."""
    schema = editor.json_schema(compose.models(), compose.flows())
    if out is None:
        show.data(schema)
        return
    try:
        out.write_text(json.dumps(schema, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        absent = not out.parent.is_dir()
        raise Unusable(
            f"the schema cannot be written: {error.strerror}",
            where=str(out),
            hint=f"mkdir -p {out.parent}" if absent else "give --out a file that you may write",
        ) from error
    show.note(f"wrote {out}; first line of a file: # yaml-language-server: $schema={out}")
