"""Verbs that read: status, lag.

Rule: they read Kafka, the lake and the sources themselves and ask no worker; a part that does not answer is
told on stderr and leaves its numbers unknown. No JVM.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from engine.cli import compose, filed, places, screen, shelves, show
from engine.cli.compose import Call
from engine.errors import GapAhead, Missing
from engine.plan import ProjectPlan
from engine.template import mistakes
from engine.watch import observe
from engine.watch.lag import Health
from engine.watch.observe import FlowLook, Look

PANEL: Final = "Look"
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Flow = Annotated[str | None, typer.Argument(metavar="[FLOW]", help="One flow; default all.")]
SECOND_LOOK_S: Final = 1.0  # a trend needs two looks
REFRESH_S: Final = 2.0
LINES_S: Final = 5.0


def add(app: typer.Typer) -> None:
    """Put these verbs into the application."""
    app.command("status", rich_help_panel=PANEL)(status)
    app.command("lag", rich_help_panel=PANEL)(lag)


def status(context: typer.Context, flow: Flow = None, as_json: Json = False) -> None:
    """Every capture and flow: its state, its health, what landed, what waits, and what a person must do."""
    call: Call = context.obj
    look, flows = _look(call, flow)
    plan = compose.build(call)
    stale = observe.stale_keys(plan, places.lake_root(call, plan), look)
    plans = {planned.name: planned for planned in plan.flows}
    captures = [c for c in look.captures if any(c.capture == f.capture for f in flows)]
    files = [] if "kafka" in look.silent else shelves.tallies(call, plan, {f.flow for f in flows}, look.at_us)
    if as_json:
        show.data({
            "at_us": look.at_us, "captures": [c.as_dict() for c in captures],
            "flows": [{**f.as_dict(), "keys_waiting": stale.get(f.flow)} for f in flows],
            "files": [
                {"connection": name, **tally.as_dict(), "expected": due and due.as_dict()}
                for name, tally, due in files
            ],
            "silent": dict(look.silent),
        })  # fmt: skip
        return
    show.table(screen.STATUS_COLUMNS, screen.status_rows(flows))
    show.table(screen.CAPTURE_COLUMNS, screen.capture_rows(captures))
    option = project_option(call)
    told = [text for _, tally, due in files for text in filed.tallied(tally, look.at_us, option, due)]
    for text in (*screen.readings(captures), *screen.stops(captures), *told):
        show.line(text)
    for one in flows:
        for text in (
            *screen.resting(one),
            *screen.stale(one.flow, stale.get(one.flow)),
            *screen.failures(plans[one.flow], one.failed),
        ):
            show.line(text)
        if one.written and one.written.code:
            for text in screen.trouble(one.flow, one.written):
                show.line(text)
        if one.gap and not (one.written and one.written.code == GapAhead.code):
            show.line(f"{one.flow}: {one.gap.code}: {one.gap.text}")
            show.line(f"  at   from position {one.gap.first} on")
            show.line(f"  next {one.gap.hint}")
    _tell(call, look, flows)


def lag(
    context: typer.Context,
    flow: Flow = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """How far behind every flow is: source to Kafka, Kafka to Delta, end to end."""
    if watch:
        _watch(context.obj, flow, as_json=as_json)
        return
    look, flows = _look(context.obj, flow)
    if as_json:
        show.data(_as_dict(look, flows))
        return
    show.table(screen.LAG_COLUMNS, screen.lag_rows(flows))
    _tell(context.obj, look, flows)


def _look(call: Call, flow: str | None) -> tuple[Look, list[FlowLook]]:
    """One look; a second one where the first cannot tell better from worse."""
    plan = compose.build(call)
    chosen(call, plan, flow)
    take = looker(call, plan)
    look = take(None)
    behind = [f for f in look.flows if f.health is Health.UNKNOWN and f.lag.behind_s is not None]
    if behind:
        time.sleep(SECOND_LOOK_S)
        look = take(look)
    return look, [f for f in look.flows if flow in (None, f.flow)]


def looker(call: Call, plan: ProjectPlan) -> Callable[[Look | None], Look]:
    """A function that takes one look after another."""
    from engine.cli.doors import doors

    make = doors(call, plan)
    return lambda before: observe.look(plan, make(), now_us=time.time_ns() // 1000, before=before)


def _watch(call: Call, flow: str | None, *, as_json: bool) -> None:
    plan = compose.build(call)
    chosen(call, plan, flow)
    take = looker(call, plan)
    console = Console()
    with contextlib.suppress(KeyboardInterrupt):
        if console.is_terminal and not as_json:
            _watch_picture(take, flow, console)
        else:
            _watch_lines(take, flow, as_json=as_json)


def _watch_picture(take: Callable[[Look | None], Look], flow: str | None, console: Console) -> None:
    look = take(None)
    with Live(screen.live(_only(look, flow)), console=console, auto_refresh=False) as picture:
        while True:
            silent = [Text(line) for line in screen.silent(look)]
            picture.update(Group(screen.live(_only(look, flow)), *silent), refresh=True)
            time.sleep(REFRESH_S)
            look = take(look)


def _watch_lines(take: Callable[[Look | None], Look], flow: str | None, *, as_json: bool) -> None:
    look: Look | None = None
    while True:
        look = take(look)
        if as_json:
            show.record(_as_dict(look, _only(look, flow).flows))
        else:
            for text in screen.lines(_only(look, flow)):
                show.line(text)
        sys.stdout.flush()
        time.sleep(LINES_S)


def _as_dict(look: Look, flows: Sequence[FlowLook]) -> dict[str, Any]:
    return {"at_us": look.at_us, "flows": [f.as_dict() for f in flows], "silent": dict(look.silent)}


def _only(look: Look, flow: str | None) -> Look:
    return Look(look.at_us, tuple(f for f in look.flows if flow in (None, f.flow)), look.silent)


def chosen(call: Call, plan: ProjectPlan, flow: str | None) -> None:
    """Raise Missing where a flow is named that the project does not have."""
    known = [planned.name for planned in plan.flows]
    if flow is not None and flow not in known:
        raise Missing(
            f"the project has no flow {flow}", where=str(call.folder), hint=mistakes.nearest(flow, known)
        )


def _tell(call: Call, look: Look, flows: list[FlowLook]) -> None:
    for text in screen.silent(look):
        show.note(text)
    quarantined = [f.flow for f in flows if f.quarantined]
    if quarantined:
        show.note(f"next: ecluse{project_option(call)} quarantine show {quarantined[0]}")


def project_option(call: Call) -> str:
    """The option that a next command needs from where we are."""
    return "" if str(call.folder) == "." else f" -p {call.folder}"
