"""How files are written for people, and what a person may want of one: rows, lines, next commands.

Rule: pure. A time is UTC; what is not known is ``?``, and what there is none of is ``-``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from engine.arrivals import UNDECIDED, Wish
from engine.cli import screen, show
from engine.plan import FlowPlan
from engine.watch.expected import Awaited
from engine.watch.files import LANDED, FileLook, Tally

NONE: Final = "-"
COLUMNS: Final = (
    "arrival", "state", LANDED, "feed", "file", "records", "problems", "size", "at (UTC)", "code",
)  # fmt: skip
_LANDED: Final = {True: "yes", False: "no", None: screen.UNKNOWN}

Trouble = tuple[str, str]
"""Why something cannot be asked of a file, and what to do instead."""


def row(one: FileLook) -> tuple[str, ...]:
    """A line of ``files ls``."""
    file = one.file
    sent = file.published_us is not None
    return (
        NONE if file.arrival is None else str(file.arrival),
        f"{file.state}, {one.wish.verb} asked" if one.wish else file.state,
        _LANDED[one.landed] if sent else NONE,
        file.feed,
        file.name,
        NONE if file.records is None else screen.count(file.records),
        NONE if file.problems is None else screen.count(file.problems),
        screen.size(file.size),
        moment(one.at_us),
        file.code or NONE,
    )


def moment(at_us: int | None) -> str:
    """A time as people read it.

    >>> moment(1_795_300_000_000_000), moment(None)
    ('2026-11-21 22:26:40', '-')
    """
    return NONE if at_us is None else f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%d %H:%M:%S}"


def quoted(name: object) -> str:
    """A file's name as a shell takes it behind a verb.

    >>> quoted("a b.csv"), quoted("-x.csv")
    ("'a b.csv'", '-- -x.csv')
    """
    text = shlex.quote(str(name))
    return f"-- {text}" if str(name).startswith("-") else text


def after_listing(found: Sequence[FileLook], option: str) -> Iterator[str]:
    """What to type behind a listing."""
    if not found:
        yield "no such file"
    refused = next((one for one in found if one.file.state == "refused" and one.wish is None), None)
    if refused is not None:
        yield f"next: ecluse{option} files show {refused.file.arrival}"


def lines(one: FileLook, flows: Sequence[FlowPlan], option: str) -> list[show.Row]:
    """What ``files show`` says of a file."""
    file = one.file
    told = [("state", _state(one)), ("feed", f"{file.feed} of {file.partner}, connection {one.connection}")]
    if file.code:
        told += [("code", file.code), ("reason", file.reason)]
    if file.sent:
        told.append(("sent", "some of its records may be on the topic"))
    told += [("lies in", file.lies), ("size", f"{screen.count(file.size)} bytes")]
    told += [("sha-256", file.sha256)] if file.sha256 else []
    told.append(("changed", moment(file.modified_ns // 1000) + " by its place"))
    if file.arrival is not None:
        told += [("arrival", str(file.arrival)), ("decided", moment(file.decided_us))]
    told += [("published", moment(file.published_us))] if file.published_us is not None else []
    told += list(_numbers(one))
    if file.supersedes is not None:
        gone = "whose rows are gone" if one.landed else "whose rows go once this one has landed"
        told.append(("supersedes", f"arrival {file.supersedes}, {gone}"))
    told += list(_wishes(one))
    told += [("flow" if n == 0 else "", name) for n, name in enumerate(one.flows)]
    told += [("next" if n == 0 else "", text) for n, text in enumerate(following(one, flows, option))]
    return [("", told)]


def _state(one: FileLook) -> str:
    if one.file.published_us is None:
        return one.file.state
    landed = {True: "landed", False: "not landed yet", None: "whether it has landed is not known"}
    return f"{one.file.state}, {landed[one.landed]}"


def _numbers(one: FileLook) -> Iterator[tuple[str, str]]:
    file = one.file
    if file.records is None or (file.state == "refused" and not file.counts):
        return
    unfit = f", {screen.count(file.problems)} of them not fit" if file.problems else ""
    yield "records", f"{screen.count(file.records)}{unfit}"
    for n, (kind, count) in enumerate(sorted(file.counts.items())):
        yield "counts" if n == 0 else "", f"{kind} {screen.count(count)}"
    for n, control in enumerate(file.controls):
        yield "controls" if n == 0 else "", f"{control.name}: {control.said}, found {control.found}"
    for n, (partition, end) in enumerate(sorted(file.ends.items())):
        yield "topic" if n == 0 else "", f"partition {partition} up to offset {end}"


def _wishes(one: FileLook) -> Iterator[tuple[str, str]]:
    done = one.file.asked
    if done is not None:
        why = f" ({done.why})" if done.why else ""
        yield (
            "asked",
            f"{done.verb} by {done.by}, {done.at}{why}: {'' if done.done else 'not done: '}{done.text}",
        )
    if one.wish is not None:
        why = f" ({one.wish.why})" if one.wish.why else ""
        yield "asked", f"{one.wish.verb} by {one.wish.by}, {one.wish.at}{why}: waits for the capture"


def following(one: FileLook, flows: Sequence[FlowPlan], option: str) -> Iterator[str]:
    """The commands to type next."""
    file, name = one.file, quoted(one.file.arrival or one.file.name)
    announced = f"{one.connection} {file.feed} {quoted(file.name)}"
    if one.wish is not None:
        yield f"ecluse{option} run capture {one.connection}  # if it does not run"
    elif file.state == "arriving":
        yield f"ecluse{option} files announce {announced}  # when it is whole"
        yield f"ecluse{option} files reject {name}  # if it is not wanted"
    elif file.state in UNDECIDED:
        yield f"ecluse{option} run capture {one.connection}  # if it does not run"
    elif file.state == "refused" and no_requeue(one, flows) is None:
        yield f"ecluse{option} files requeue {name}  # once flow or file is mended"
    elif file.state == "requeued":
        yield f"ecluse{option} files show {quoted(file.name)}"
    elif file.problems and one.landed and one.flows:
        yield f"ecluse{option} quarantine show {one.flows[0]}"
    elif file.published_us is not None and not one.landed and one.flows:
        yield f"ecluse{option} status {one.flows[0]}"


def asked(one: FileLook, wish: Wish, *, already: bool) -> str:
    """What a person wants now."""
    number = "" if one.file.arrival is None else f", arrival {one.file.arrival},"
    what = "to be taken again" if wish.verb == "requeue" else "to be put aside unread"
    when = f"has asked already, {wish.at}, for" if already else "asks for"
    return f"{wish.by} {when} {one.file.name}{number} {what}"


def no_requeue(one: FileLook, flows: Sequence[FlowPlan]) -> Trouble | None:
    """Why a file cannot be taken again; None where it can."""
    file = one.file
    if file.state in UNDECIDED:
        return "nobody has decided about it yet", ""
    if file.state == "requeued":
        return "it was taken again already", f"ecluse files show {quoted(file.name)}"
    if file.state != "refused":
        what = "its records are sent: taken again, they would come twice"
        return what, "the partner sends a corrected file; same_name of the flow says what that is"
    if file.code == "file.duplicate":
        return f"it would be refused again: {file.reason}", ""
    if file.lies == "gone":
        return "somebody has taken it away", f"put it back into {file.folder}: it is taken as any other"
    journals = [f.name for f in flows if f.name in one.flows and f.sink.mode == "append"]
    if file.sent and journals:
        return (
            f"some of its records may have been sent, and {journals[0]} would keep both",
            f"take what came of it out of the table of {journals[0]}, then put it back into {file.folder}",
        )
    return None


def no_reject(one: FileLook) -> Trouble | None:
    """Why a file cannot be put aside; None where it can."""
    file = one.file
    if file.state in UNDECIDED:
        return None
    if file.state == "requeued":
        return "it was taken again already", f"ecluse files show {quoted(file.name)}"
    if file.state == "refused":
        return "it is refused already", ""
    what = "it is accepted: its records are sent, and what was sent cannot be called back"
    return what, "the partner sends a corrected file; same_name of the flow says what that is"


def tallied(one: Tally, now_us: int, option: str, due: Awaited | None = None) -> Iterator[str]:
    """How the files of a feed stand, for ``status``."""
    sent = sum(one.states[state] for state in ("accepted", "published", "archived"))
    waits = f"{screen.count(one.waiting)} waiting"
    if one.oldest_us is not None:
        waits += f" (the oldest for {screen.seconds(max(0.0, (now_us - one.oldest_us) / 1e6))})"
    yield f"files of {one.feed}: {screen.count(sent)} accepted, {screen.count(one.refused)} refused, {waits}"
    if due is not None:
        yield f"  {awaits(due)}"
    if one.newest_refused is not None:
        yield f"  next ecluse{option} files show {one.newest_refused}"


def awaits(due: Awaited) -> str:
    """That a file is expected, and whether it is overdue."""
    if due.overdue_s is None:
        return f"expected {due.text}; nobody has looked for one yet, so whether it is overdue is not known"
    late = f"overdue {screen.seconds(due.overdue_s)}" if due.overdue_s else "not overdue"
    return f"expected {due.text}: the next by {moment(due.due_us)} (UTC), {late}"
