"""Verbs of partner files: ls, show, requeue, reject and announce.

Rule: reading asks the ledger, the folders and the lake, and no worker. What a person wants of a file is
written down for that file as it was shown; the capture does it, once, and the file's entry says so. Records
that were sent are never called back.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, get_args

import typer

from engine.arrivals import UNDECIDED, Standing, Verb, Wish
from engine.cli import compose, filed, places, shelves, show
from engine.cli.compose import Call
from engine.cli.look import PANEL, Json, project_option
from engine.errors import FileDecided, Missing, Unusable
from engine.marks import Marks
from engine.plan import FlowPlan
from engine.source import TableSpec
from engine.template.mistakes import nearest
from engine.watch import files as watched
from engine.watch.expected import Awaited, awaited
from engine.watch.files import LANDED, FileLook, Shelf, Wanted

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_STATES: Final = (*get_args(Standing), LANDED)

Of = Annotated[str | None, typer.Argument(metavar="[CONNECTION|FLOW]", help="One; default all.")]
Named = Annotated[str, typer.Argument(metavar="FILE|ARRIVAL", help="Its name, or its arrival number.")]
Where = Annotated[str | None, typer.Option("--of", metavar="CONNECTION|FLOW", help="Whose file it is.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for whoever looks at it later.")]


def add(app: typer.Typer) -> None:
    """Put these verbs into the application."""
    files = typer.Typer(no_args_is_help=True, help="The files that partners send.")
    files.command("ls")(ls)
    files.command("show")(one)
    files.command("requeue")(requeue)
    files.command("reject")(reject)
    files.command("announce")(announce)
    app.add_typer(files, name="files", rich_help_panel=PANEL)


def ls(
    context: typer.Context,
    of: Of = None,
    *,
    state: Annotated[
        list[str] | None, typer.Option("--state", help=f"Only in this state: {', '.join(_STATES)}.")
    ] = None,
    feed: Annotated[list[str] | None, typer.Option("--feed", help="Only of this feed.")] = None,
    since: Annotated[
        str, typer.Option("--since", help="Only since then: 30m, 12h, 7d, or a day, or a time (UTC).")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="The newest so many; 0: all.")] = 100,
    as_json: Json = False,
) -> None:
    """Every file: those that wait in their folders first, then the newest that were decided about."""
    call: Call = context.obj
    strange = [name for name in state or () if name not in _STATES]
    if strange:
        raise Unusable(
            f"no state of a file: {strange[0]}", where="--state", hint=nearest(strange[0], _STATES)
        )
    plan = compose.build(call)
    since_us = _since(since, datetime.now(UTC)) if since else 0
    found: list[FileLook] = []
    due: list[Awaited] = []
    fitting, now_us = 0, time.time_ns() // 1000
    with shelves.shelves(call, plan, of) as named:
        for shelf, _ in named:
            feeds = _feeds(shelf, feed or (), all_of=of in (None, shelf.capture.name))
            wanted = Wanted(states=state or (), feeds=feeds, since_us=since_us, limit=limit)
            seen = watched.look(shelf, shelves.waiting(call, shelf.capture), wanted)
            found, fitting = [*found, *seen.files], fitting + seen.fitting
            due += [
                each for each in awaited(shelf, seen.newest_us, now_us) if not feeds or each.feed in feeds
            ]
    if as_json:
        told = [each.as_dict() for each in due]
        show.data({"files": [each.as_dict() for each in found], "fitting": fitting, "expected": told})
        return
    show.table(filed.COLUMNS, [filed.row(each) for each in found])
    for each in due:
        if each.overdue_s != 0:  # it is overdue, or nobody knows
            show.line(f"{each.feed}: {filed.awaits(each)}")
    if fitting > len(found):
        show.note(f"the newest {len(found)} of {fitting}: --limit 0 shows all")
    for text in filed.after_listing(found, project_option(call)):
        show.note(text)


def _feeds(shelf: Shelf, named: Sequence[str], *, all_of: bool) -> list[str]:
    """The feeds that were asked for; nothing means every feed of the ledger."""
    known = {flow.table.qualified: flow.table.table for flow in shelf.flows}
    if named:
        return [feed for feed, table in known.items() if feed in named or table in named] or [*named]
    return [] if all_of else [*known]


def _since(text: str, now: datetime) -> int:
    """A moment in microseconds.

    >>> noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    >>> _since("2h", noon) == _since("2026-11-22T10:00", noon)
    True
    """
    try:
        if text[-1:] in _UNITS and text[:-1].isdigit():
            moment = now - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        else:
            moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        hint = "30m, 12h, 7d, 2026-11-22 or 2026-11-22T08:00"
        raise Unusable(f"no moment: {text}", where="--since", hint=hint) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1_000_000)


def one(context: typer.Context, file: Named, of: Where = None, as_json: Json = False) -> None:
    """All that is known of a file: its fate, its numbers, where it lies, and what to type next."""
    call: Call = context.obj
    plan = compose.build(call)
    with shelves.shelves(call, plan, of) as named:
        shelf, _, found = _named(call, named, file)
    mine, others = found[0], found[1:]
    if as_json:
        show.data({**mine.as_dict(), "same_name": [each.file.arrival for each in others]})
        return
    show.listing(mine.file.name, filed.lines(mine, shelf.flows, project_option(call)))
    if others:
        numbers = ", ".join(str(each.file.arrival) for each in others)
        show.note(f"of the same name, by arrival: {numbers}")


def requeue(
    context: typer.Context, file: Named, of: Where = None, why: Why = "", as_json: Json = False
) -> None:
    """Take a refused file again: it goes back to its folder, and is decided about as the flow is now."""
    _ask(context.obj, file, of, "requeue", why, as_json=as_json)


def reject(
    context: typer.Context, file: Named, of: Where = None, why: Why = "", as_json: Json = False
) -> None:
    """Put a file aside unread that nobody has decided about yet."""
    _ask(context.obj, file, of, "reject", why, as_json=as_json)


def _ask(call: Call, file: str, of: str | None, verb: Verb, why: str, *, as_json: bool) -> None:
    plan = compose.build(call)
    with shelves.shelves(call, plan, of) as named:
        shelf, marks, found = _named(call, named, file)
        fit = [each for each in found if (each.file.state in UNDECIDED) == (verb == "reject")]
        mine = next((each for each in fit if verb == "reject" or each.file.state == "refused"), found[0])
        again = mine.wish is not None and mine.wish.verb == verb
        if not again:
            _possible(mine, verb, shelf, project_option(call))
        wish = mine.wish if again and mine.wish else _wish(marks, shelf, mine, verb, why)
    told = {
        "connection": shelf.capture.name, "file": mine.file.name, "arrival": mine.file.arrival,
        "wish": verb, "number": wish.number, "by": wish.by, "at": wish.at, "why": wish.why,
        "changed": not again,
    }  # fmt: skip
    if as_json:
        show.data(told)
    else:
        show.line(filed.asked(mine, wish, already=again))
    show.note(f"capture {shelf.capture.name} does it within 10 s while it runs, or at its next start")
    name = mine.file.name if mine.file.arrival is None else mine.file.arrival
    show.note(f"next: ecluse{project_option(call)} files show {filed.quoted(name)}")


def _wish(marks: Marks, shelf: Shelf, mine: FileLook, verb: Verb, why: str) -> Wish:
    file = mine.file
    marks.prepare(min(plan.replication for plan in shelf.capture.topics.values()))
    wish = Wish(
        number=0, verb=verb, folder=file.folder, name=file.name, size=file.size, why=why,
        modified_ns=file.modified_ns, arrival=file.arrival, by=getpass.getuser(),
    )  # fmt: skip
    return marks.wish(shelf.capture.name, wish)


def _possible(mine: FileLook, verb: Verb, shelf: Shelf, option: str) -> None:
    """Raise FileDecided where a wish could not be done, or would change nothing."""
    trouble = filed.no_requeue(mine, shelf.flows) if verb == "requeue" else filed.no_reject(mine)
    other = None if trouble else watched.open_beside(shelf, mine)
    if other is not None:
        trouble = f"arrival {other} of the same name is to be taken again first", ""
    if trouble is not None:
        what, hint = trouble
        number = "" if mine.file.arrival is None else f" (arrival {mine.file.arrival})"
        raise FileDecided(
            f"{mine.file.name}{number}: {what}", where=f"{shelf.capture.name}/{mine.file.lies}",
            hint=hint or f"ecluse{option} files show {filed.quoted(mine.file.arrival or mine.file.name)}",
        )  # fmt: skip


def _named(
    call: Call, named: Sequence[tuple[Shelf, Marks]], file: str
) -> tuple[Shelf, Marks, list[FileLook]]:
    """A file by its arrival number or its name: one that waits first, then the newest of that name."""
    hits = []
    for shelf, marks in named:
        seen = watched.look(shelf, shelves.waiting(call, shelf.capture), Wanted(named=file)).files
        numbered = [each for each in seen if str(each.file.arrival) == file]
        if numbered or seen:
            hits.append((shelf, marks, numbered or seen))
    if len(hits) == 1:
        return hits[0]
    if hits:
        of = " or ".join(f"--of {shelf.capture.name}" for shelf, _, _ in hits)
        raise Unusable(f"{file} is a file of {len(hits)} connections", where=file, hint=f"say {of}")
    hint = f"ecluse{project_option(call)} files ls"
    raise Missing(
        f"no file {file}: neither its name nor its arrival number", where=str(call.folder), hint=hint
    )


def announce(
    context: typer.Context,
    connection: Annotated[str, typer.Argument(metavar="CONNECTION")],
    feed: Annotated[str, typer.Argument(metavar="FEED", help="The flow's feed, as partner.feed or alone.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Its name in the feed's folder.")],
    *,
    records: Annotated[
        int | None, typer.Option("--records", min=0, help="How many records it has, as its sender says.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say that a file lies whole in its folder: a sidecar with its size and hash is written beside it."""
    call: Call = context.obj
    plan = compose.build(call)
    ((capture, flows),) = shelves.chosen(call, plan, connection)
    table = _table(call, flows, feed)
    of = shelves.files_of(capture)
    assert of is not None  # noqa: S101 - one that was chosen
    sidecar = of.announce(places.configure(call, capture), table, file, records)
    told = {"connection": capture.name, "feed": table.qualified, "file": file.name,
            "sidecar": sidecar}  # fmt: skip
    if as_json:
        show.data(told)
    else:
        show.line(f"{file.name} is announced by {sidecar}")


def _table(call: Call, flows: Sequence[FlowPlan], feed: str) -> TableSpec:
    known = {flow.table.qualified: flow.table for flow in flows}
    found = [spec for name, spec in known.items() if feed in (name, spec.table)]
    if len(found) != 1:
        what = f"no feed {feed}" if not found else f"{feed} is a feed of {len(found)} partners"
        raise Missing(what, where=str(call.folder), hint=nearest(feed, known))
    return found[0]
