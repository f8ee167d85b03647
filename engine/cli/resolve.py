"""The verb that answers a stop: a person accepts what is lost, by name, and it is recorded.

Rule: it changes nothing while the worker in question runs, it writes who and when beside the acceptance, and
it says what is accepted before it does so: what was recorded when the work stopped, and nothing that was
found since. What is to be read again is asked for before anything is accepted.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from engine import plugins
from engine.cli import compose, places, show
from engine.cli.compose import Call
from engine.cli.doors import iso_now
from engine.errors import GapSuspected, Missing, SlotBusy, SlotLost, SlotMissing, TemplateInvalid
from engine.marks import MARK_BYTES_MAX, Marks, Stop
from engine.plan import CapturePlan, ProjectPlan
from engine.registry import HttpRegistry, Registry
from engine.source import Mark, TableSpec
from engine.state import State
from engine.template.mistakes import nearest
from engine.topic import KafkaTopic

PANEL: Final = "Change"
_ACCEPTABLE: Final = frozenset({GapSuspected.code, SlotLost.code, SlotMissing.code})


def add(app: typer.Typer) -> None:
    """Put this verb into the application."""
    app.command("resolve", rich_help_panel=PANEL)(resolve)


def resolve(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="CAPTURE|FLOW", help="What has stopped.")],
    accept_gap: Annotated[
        bool, typer.Option("--accept-gap", help="Go on behind what is missing; recorded with your name.")
    ] = False,
    resnapshot: Annotated[
        bool,
        typer.Option("--resnapshot", help="The same, and read its tables again: what is missing comes back."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Answer a stop of a capture or a flow."""
    call: Call = context.obj
    plan = compose.build(call)
    captures = {capture.name: capture for capture in plan.captures}
    flows = [flow.name for flow in plan.flows]
    if name not in captures and name not in flows:
        known = [*captures, *flows]
        raise Missing(f"no capture or flow {name}", where=str(call.folder), hint=nearest(name, known))
    if accept_gap == resnapshot:
        said = "two answers given" if accept_gap else "no answer given"
        raise TemplateInvalid(said, where=name, hint=f"ecluse resolve {name} --accept-gap, or --resnapshot")
    who, at = getpass.getuser(), iso_now()
    if name in captures:
        done = _accept_capture(call, plan, captures[name], who, at, again=resnapshot)
    else:
        done = _accept_flow(call, plan, name, who, at, again=resnapshot)
    if as_json:
        show.data(done)
    else:
        for entry in done:
            show.line(" ".join(f"{key}={value}" for key, value in entry.items()))
    worker = f"capture {name}" if name in captures else "landing"
    show.note(f"next: ecluse up, or ecluse run {worker}")


def _accept_capture(
    call: Call, plan: ProjectPlan, capture: CapturePlan, who: str, at: str, *, again: bool
) -> list[dict[str, Any]]:
    """Let the next start go on over what stopped the last: said in a mark that no older writer overrules."""
    tables = _readable(capture.tables, capture.name) if again else []
    connector = plugins.load()[capture.connector]
    if connector.measure(places.configure(call, capture)).state == "active":
        raise SlotBusy(
            f"capture {capture.name} runs: there is nothing to accept",
            where=capture.name,
            hint="stop it first, if you mean it",
        )
    with _marks(call, plan) as marks:
        stop = _stop(marks, capture.name)
        _ask(marks, capture.name, tables, who)
        mark = marks.find(capture.name).mark
        told = {} if mark is None else json.loads(mark.resume)
        told["accepted"] = [*told.get("accepted", ()), (stop.code, stop.what)]
        resume = json.dumps(told, ensure_ascii=False).encode()
        if mark is None:
            era, writer = _newest(call, plan, marks, capture)
            _say(who, stop.code, stop.what, f"everything behind era {era} begins anew, in era {era + 1}")
            marks.accept_stop(stop, who)
            marks.begin_again(capture.name, writer + 1, Mark({}, resume, era + 1))
        else:
            era = mark.era
            _say(who, stop.code, stop.what, f"first position at stake: {stop.first}")
            marks.accept_stop(stop, who)
            marks.amend(capture.name, resume)
    return [{
        "capture": capture.name, "code": stop.code, "what": stop.what, "first": stop.first, "era": era,
        "accepted_by": who, "accepted_at": at, **_again(tables),
    }]  # fmt: skip


def _readable(specs: Sequence[TableSpec], name: str) -> list[str]:
    """The tables that can be read again; raises where none can."""
    found = sorted(spec.qualified for spec in specs if spec.snapshot is not None)
    if not found:
        tables = not any(spec.said for spec in specs)
        accept = f"ecluse resolve {name} --accept-gap"
        raise TemplateInvalid(
            "no table of it is ever read: snapshot.mode is none"
            if tables
            else "it has no tables to read again",
            where=name,
            hint=f"set snapshot.mode to initial, or {accept}" if tables else accept,
        )
    return found


def _ask(marks: Marks, capture: str, tables: Sequence[str], who: str) -> None:
    for table in tables:
        marks.ask(capture, table, who)
        show.note(f"{who} asks for {table} to be read again")


def _again(tables: Sequence[str]) -> dict[str, Any]:
    return {"read_again": ", ".join(tables)} if tables else {}


def _stop(marks: Marks, capture: str) -> Stop:
    """What a person is asked to accept; raises when there is nothing, or nothing that acceptance mends."""
    stop = marks.stops().get(capture)
    if stop is None:
        raise Missing(
            f"capture {capture} waits for nobody: nothing has stopped it",
            where=capture,
            hint=f"ecluse run capture {capture}",
        )
    if stop.code not in _ACCEPTABLE:
        raise Missing(
            f"capture {capture} stopped for another reason than a gap: {stop.code}: {stop.what}",
            where=stop.where,
            hint=stop.hint,
        )
    return stop


def _newest(call: Call, plan: ProjectPlan, marks: Marks, capture: CapturePlan) -> tuple[int, int]:
    """Where the marks are lost: the era and the writer above which a mark that covers nothing begins."""
    from engine.pump import lost

    return lost.newest(marks.topic, _registry(call, plan), capture)


def _say(who: str, code: str, what: str, at: str) -> None:
    show.note(f"{who} accepts {code}: {what}\n  {at}")


def _accept_flow(
    call: Call, plan: ProjectPlan, flow: str, who: str, at: str, *, again: bool
) -> list[dict[str, Any]]:
    """Accept every open gap of the flow's table, and what its stop names as lost."""
    from engine.lake import answer, book

    root = Path(places.lake_root(call, plan))
    planned = next(f for f in plan.flows if f.name == flow)
    its = (planned.connection, planned.table.qualified)
    stopped = book.load_state(root, flow)
    waits = stopped.state is State.STOPPED
    tables = _readable([planned.table], flow) if again else []
    if waits and stopped.code not in (answer.READ_AGAIN if again else answer.ANSWERABLE):
        said = f"flow {flow} stopped for another reason than a gap: {stopped.code}: {stopped.what}"
        raise Missing(said, where=stopped.where, hint=stopped.hint)
    done: list[dict[str, Any]] = []
    with _marks(call, plan) as marks:
        # names repeat between sources
        gaps = [gap for gap in marks.gaps() if (gap.capture, gap.table) == its and not gap.accepted]
        for gap in gaps:
            first = f"{gap.era}.{gap.major}"
            _say(who, gap.code, gap.text, f"first position at stake: {first}")
            done.append(
                {"flow": flow, "code": gap.code, "first": first, "accepted_by": who, **_again(tables)}
            )
        if gaps or waits:
            _ask(marks, planned.connection, tables, who)
        if waits:
            _say(who, stopped.code, stopped.what, f"at {stopped.where}")
            # first: a landing that runs goes on by itself when the gaps are accepted, and waits for none
            book.accept(root, stopped, by=who, at=at)
            done.append({
                "flow": flow, "code": stopped.code, "what": stopped.what, "where": stopped.where,
                "accepted_by": who, "accepted_at": at, **_again(tables),
            })  # fmt: skip
        for gap in gaps:
            marks.accept(gap, who)
    if not done:
        raise Missing(f"flow {flow} waits for nobody", where=flow, hint=f"ecluse status {flow}")
    return done


def _registry(call: Call, plan: ProjectPlan) -> Registry:
    return HttpRegistry(places.find(call, plan).registry)


@contextmanager
def _marks(call: Call, plan: ProjectPlan) -> Iterator[Marks]:
    topic = KafkaTopic(places.find(call, plan).kafka, row_bytes_max=MARK_BYTES_MAX)
    try:
        yield Marks(topic, plan.name, iso_now)
    finally:
        topic.close()
