"""Verbs by which a person lets a flow rest, and go on: pause, resume.

Rule: the wish is a file of its own in the lake (``lake.pause``), so it holds whether or not a landing runs,
and no landing overwrites it. Only landing rests: the capture goes on, since one slot serves many tables and
one that stood still for a single flow would hold back the log of all.
"""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from engine.cli import compose, look, places, screen, show
from engine.cli.compose import Call
from engine.cli.doors import iso_now
from engine.errors import LakeUnreachable, Missing
from engine.plan import ProjectPlan
from engine.state import Pause
from engine.template.mistakes import nearest
from engine.watch import lake

PANEL: Final = "Change"
Flows = Annotated[list[str], typer.Argument(metavar="FLOW...", help="One flow or several.")]


def add(app: typer.Typer) -> None:
    """Put these verbs into the application."""
    app.command("pause", rich_help_panel=PANEL)(pause)
    app.command("resume", rich_help_panel=PANEL)(resume)


def pause(
    context: typer.Context,
    flows: Flows,
    why: Annotated[str, typer.Option("--why", help="The reason, for whoever looks at it later.")] = "",
    as_json: look.Json = False,
) -> None:
    """Let flows rest: their landing waits until `resume`, while their topics go on filling.

    It holds over restarts. The capture goes on: one slot serves many tables.
    """
    from engine.lake import pause as wishes

    call: Call = context.obj
    plan = compose.build(call)
    root = _root(call, plan, flows)
    before, at = lake.pauses(str(root)), iso_now()
    done = []
    for flow in dict.fromkeys(flows):
        wish = before.get(flow) or Pause(flow, getpass.getuser(), at, why)
        if flow not in before:
            wishes.begin(root, wish)
        done.append({**asdict(wish), "paused": True, "changed": flow not in before})
    _tell(done, "is paused", "is paused already", as_json=as_json)
    kept_s = min(f.topic.retention_ms / 1000 for f in plan.flows if f.name in flows)
    show.note("a batch in flight ends; the topic goes on filling, and its lag is shown")
    if kept_s >= 0:
        show.note(f"resume within {screen.seconds(kept_s)}: the topic keeps no record for longer")
    show.note(f"next: ecluse{look.project_option(call)} resume {' '.join(dict.fromkeys(flows))}")


def resume(context: typer.Context, flows: Flows, as_json: look.Json = False) -> None:
    """Let paused flows go on where they stand: nothing is lost as long as the topic has kept it."""
    from engine.lake import pause as wishes

    call: Call = context.obj
    plan = compose.build(call)
    root = _root(call, plan, flows)
    before = lake.pauses(str(root))
    done = []
    for flow in dict.fromkeys(flows):
        wishes.end(root, flow)
        wish = before.get(flow) or Pause(flow)
        done.append({**asdict(wish), "paused": False, "changed": flow in before})
    _tell(done, "goes on", "was not paused", as_json=as_json)
    show.note(f"next: ecluse{look.project_option(call)} status")


def _root(call: Call, plan: ProjectPlan, flows: Sequence[str]) -> Path:
    """The lake, when every name is a flow of the project: all of them or none."""
    known = [flow.name for flow in plan.flows]
    for name in flows:
        mine = [flow.name for flow in plan.flows if flow.connection == name]
        if name not in known and mine:
            raise Missing(
                f"{name} is a capture, and only flows are paused: its slot would hold back the source's log",
                where=str(call.folder),
                hint=f"ecluse pause {' '.join(mine)}",
            )
        if name not in known:
            raise Missing(f"no flow {name}", where=str(call.folder), hint=nearest(name, known))
    root = Path(places.lake_root(call, plan))
    if not root.is_dir():
        raise LakeUnreachable("there is no lake yet", where=str(root), hint="ecluse up")
    return root


def _tell(done: Sequence[dict[str, Any]], now: str, already: str, *, as_json: bool) -> None:
    if as_json:
        show.data(list(done))
        return
    for each in done:
        who = f", by {each['by']}, {each['at']}" if each["by"] and each["paused"] else ""
        why = f": {each['why']}" if each["why"] and each["paused"] else ""
        show.line(f"{each['flow']} {now if each['changed'] else already}{who}{why}")
