"""Verbs that read what could not land: quarantine ls, show and stats.

Rule: the lake alone is read, so they answer while nothing runs. No JVM.
"""

from __future__ import annotations

import itertools
from typing import Annotated, Final

import typer

from engine.cli import compose, look, places, screen, show
from engine.cli.compose import Call
from engine.cli.look import Flow, Json
from engine.template import mistakes
from engine.watch import quarantine
from engine.watch.quarantine import Span, Tally

_WHEN: Final = "%d %b %H:%M:%S"
_SINCE: Final = {"day": "%Y-%m-%d", "hour": "%Y-%m-%d %H:00"}


def add(app: typer.Typer) -> None:
    """Put these verbs into the application."""
    rejected = typer.Typer(no_args_is_help=True, help="The records that could not land.")
    rejected.command("ls")(ls)
    rejected.command("show")(one)
    rejected.command("stats")(stats)
    app.add_typer(rejected, name="quarantine", rich_help_panel=look.PANEL)


def ls(context: typer.Context, flow: Flow = None, as_json: Json = False) -> None:
    """What waits in quarantine, by flow and reason."""
    call: Call = context.obj
    plan = compose.build(call)
    look.chosen(call, plan, flow)
    groups = quarantine.groups(places.lake_root(call, plan), flow)
    if as_json:
        show.data([
            {"flow": g.flow, "stage": g.stage, "reason": g.reason, "records": g.records,
             "first": g.first.isoformat(), "last": g.last.isoformat()}
            for g in groups
        ])  # fmt: skip
        return
    rows = [
        (g.flow, g.stage, g.reason, screen.count(g.records), f"{g.first:{_WHEN}}", f"{g.last:{_WHEN}}")
        for g in groups
    ]
    show.table(("flow", "stage", "reason", "records", "first", "last"), rows)
    if groups:
        show.note(f"next: ecluse{look.project_option(call)} quarantine show {groups[0].flow}")
    else:
        show.note("nothing is in quarantine")


def one(
    context: typer.Context,
    flow: Annotated[str, typer.Argument(metavar="FLOW")],
    reason: Annotated[str | None, typer.Option("--reason", help="Only this reason.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many.")] = 10,
    as_json: Json = False,
) -> None:
    """The newest quarantined records of a flow: where, why, and what they hold."""
    call: Call = context.obj
    plan = compose.build(call)
    look.chosen(call, plan, flow)
    found = quarantine.rejected(places.lake_root(call, plan), flow, reason=reason, limit=limit)
    if as_json:
        show.data([record.as_dict() for record in found])
        return
    for record in found:
        show.line(
            f"{record.topic}/{record.partition} offset {record.offset}: {record.stage}: {record.reason}"
        )
        if record.key_json:
            show.line(f"  key   {record.key_json}  ({record.op})")
        word = "wrong" if record.stage == "check" else "unfit"
        unfit = dict(record.unfit)
        if "_record" in unfit:  # it stood in a partner's file
            show.line(f"  from  {unfit.pop('_file', None)}, record {unfit.pop('_record')}")
        if "_problem" in unfit:
            show.line(f"  why   {unfit.pop('_problem')}")
            show.line(f"  sent  {unfit.pop('_raw', None)}")
        for column, text in unfit.items():
            show.line(f"  {word} {column} {'is NULL' if text is None else f'= {text}'}")
        show.line(f"  value {quarantine.readable(record.value)}")
        show.line(f"  since {record.quarantined_at:%d %b %Y %H:%M:%S}")
    show.note(mistakes.count(len(found), "record") if found else f"nothing of {flow} is in quarantine")


def stats(
    context: typer.Context,
    flow: Flow = None,
    by: Annotated[Span, typer.Option("--by", help="How long a line is.")] = "day",
    as_json: Json = False,
) -> None:
    """How many records came into quarantine, by flow, time and reason, and their share of what was read."""
    call: Call = context.obj
    plan = compose.build(call)
    look.chosen(call, plan, flow)
    found = quarantine.tallies(places.lake_root(call, plan), flow, span=by)
    if as_json:
        show.data([tally.as_dict() for tally in found])
        return
    for (name, topic), its in itertools.groupby(found, lambda tally: (tally.flow, tally.topic)):
        show.line(f"{name}, topic {topic}")
        show.table(
            (f"{by} (UTC)", "reason", "records", "of read", "seen", "newest at"), [_row(t, by) for t in its]
        )
    if not found:
        show.note("nothing is in quarantine")


def _row(tally: Tally, by: Span) -> tuple[str, ...]:
    return (
        f"{tally.since:{_SINCE[by]}}",
        tally.reason,
        screen.count(tally.records),
        screen.UNKNOWN if tally.share is None else f"{tally.share:.2%}",
        f"{tally.first:%H:%M}–{tally.last:%H:%M}",
        f"{tally.partition}: {tally.offset}",
    )
