"""How verbs reach the files of a project: here they meet connectors of files, the ledger and the lake.

Rule: the ledger is asked first, and a place that does not answer keeps nothing else from being shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from engine import plugins
from engine.arrivals import AnyFiles, File
from engine.cli import places, show
from engine.cli.asking import failure
from engine.cli.compose import Call
from engine.cli.doors import iso_now
from engine.errors import Missing
from engine.marks import MARK_BYTES_MAX, Marks
from engine.plan import CapturePlan, FlowPlan, ProjectPlan
from engine.registry import HttpRegistry
from engine.template.mistakes import nearest
from engine.topic import KafkaTopic
from engine.watch import lake
from engine.watch.expected import Awaited, awaited
from engine.watch.files import Shelf, Tally, newest_us, tally
from engine.watch.lag import LandingReading


def files_of(capture: CapturePlan) -> AnyFiles | None:
    """What the connector of a capture says of files; None where its source is no files."""
    found: AnyFiles | None = plugins.load()[capture.connector].files
    return found


def chosen(call: Call, plan: ProjectPlan, name: str | None) -> list[tuple[CapturePlan, list[FlowPlan]]]:
    """The connections of files with their flows: all of them, or one connection or flow by its name."""
    found = []
    for capture in plan.captures:
        flows = [flow for flow in plan.flows if flow.connection == capture.name]
        if flows and files_of(capture) is not None:
            found.append((capture, flows))
    if name is None:
        return found
    of = [
        (capture, flows if name == capture.name else [flow for flow in flows if flow.name == name])
        for capture, flows in found
    ]
    mine = [(capture, flows) for capture, flows in of if flows]
    if not mine:
        known = [name for capture, flows in found for name in (capture.name, *(flow.name for flow in flows))]
        what = f"no connection or flow of files {name}"
        raise Missing(what, where=str(call.folder), hint=nearest(name, known) or "ecluse template list")
    return mine


@contextmanager
def shelves(
    call: Call, plan: ProjectPlan, name: str | None, *, lake: bool = True
) -> Iterator[list[tuple[Shelf, Marks]]]:
    """The files of the connections that were named, and where wishes about them are.

    ``lake``: whether what has landed is of interest.
    """
    named = chosen(call, plan, name)
    where = places.find(call, plan)
    topic = KafkaTopic(where.kafka, row_bytes_max=MARK_BYTES_MAX)
    try:
        marks, registry = Marks(topic, plan.name, iso_now), HttpRegistry(where.registry)
        flows_named = [flow for _, flows in named for flow in flows]
        landings = landed(where.lake, flows_named) if lake else None
        found = []
        for capture, flows in named:
            of = files_of(capture)
            assert of is not None  # noqa: S101 - those that were chosen
            wishes, mark = marks.wishes(capture.name), marks.find(capture.name).mark
            expected = {
                flow.table.qualified: its for flow in flows if (its := of.expected(flow.table)) is not None
            }
            looked = {} if mark is None else of.looked(mark.resume)
            shelf = Shelf(capture, flows, topic, registry, of.read, landings, wishes, expected, looked)
            found.append((shelf, marks))
        yield found
    finally:
        topic.close()


def awaiting(call: Call, plan: ProjectPlan, now_us: int) -> list[Awaited]:
    """The feeds of a project that expect files; raises where the ledger does not answer."""
    found: list[Awaited] = []
    if any(_expects(capture, flows) for capture, flows in chosen(call, plan, None)):
        with shelves(call, plan, None, lake=False) as named:
            for shelf, _ in named:
                newest = newest_us(shelf) if shelf.expected else {}
                found += awaited(shelf, newest, now_us)
    return found


def _expects(capture: CapturePlan, flows: Sequence[FlowPlan]) -> bool:
    of = files_of(capture)
    return of is not None and any(of.expected(flow.table) is not None for flow in flows)


Tallied = tuple[str, Tally, Awaited | None]
"""A connection, how the files of one of its feeds stand, and whether one is due there."""


def tallies(call: Call, plan: ProjectPlan, flows: Collection[str], now_us: int) -> list[Tallied]:
    """How the files of flows stand, by connection; nothing, and a word, where the ledger does not answer."""
    found: list[Tallied] = []
    feeds = {(flow.connection, flow.table.qualified) for flow in plan.flows if flow.name in flows}

    def count() -> None:
        with shelves(call, plan, None) as named:
            for shelf, _ in named:
                name = shelf.capture.name
                if name in {connection for connection, _ in feeds}:
                    its = tally(shelf, waiting(call, shelf.capture))
                    newest = {feed: one.newest_us for feed, one in its.items() if one.newest_us is not None}
                    due = {one.feed: one for one in awaited(shelf, newest, now_us)}
                    found.extend(
                        (name, one, due.get(feed)) for feed, one in its.items() if (name, feed) in feeds
                    )

    if chosen(call, plan, None):
        error = failure("files", count)
        if error is not None:
            show.note(f"how files stand is not known: {error.code}: {error.what}")
    return found


def landed(root: str, flows: Sequence[FlowPlan]) -> Mapping[str, LandingReading] | None:
    """Where flows stand; None where the lake does not say it."""
    found: dict[str, LandingReading] = {}
    error = failure("lake", lambda: found.update(lake.landings(root, flows)))
    if error is None:
        return found
    show.note(f"what has landed is not known: {error.code}: {error.what}")
    return None


def waiting(call: Call, capture: CapturePlan) -> list[File]:
    """What lies in the folders of a connection; nothing, and a word, where they do not answer."""
    found: list[File] = []
    error = failure(capture.name, partial(_wait, call, capture, found))
    if error is not None:
        show.note(f"what waits in {capture.name} is not known: {error.code}: {error.what}")
    return found


def _wait(call: Call, capture: CapturePlan, found: list[File]) -> None:
    of = files_of(capture)
    if of is not None:
        found.extend(of.waiting(places.configure(call, capture), capture.tables))
