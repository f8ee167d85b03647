"""The files of a connection: what lies in its folders, the ledger's entries, and what of them has landed.

Rule: no worker is asked. *Landed* is seen: a file's records end at offsets of its topic, and every flow that
takes it stands somewhere. Of many entries those that were asked for are held, of the others their number.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from engine.arrivals import UNDECIDED, Expected, File, Standing, Wish
from engine.newest import newest
from engine.plan import CapturePlan, FlowPlan
from engine.registry import Registry
from engine.topic import Topic
from engine.watch.lag import LandingReading

LANDED: Final = "landed"
TAKEN: Final[frozenset[Standing]] = frozenset({"accepted", "published", "archived"})
"""How a file stands that was accepted."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where the files of one connection are found; ``landings`` is None where the lake does not answer.

    ``expected`` is what its feeds expect, and ``looked`` when files of each were looked for first.
    """

    capture: CapturePlan
    flows: Sequence[FlowPlan]
    topic: Topic
    registry: Registry
    read: Callable[[Mapping[str, Any]], File]
    landings: Mapping[str, LandingReading] | None = None
    wishes: Sequence[Wish] = ()
    expected: Mapping[str, Expected] = field(default_factory=dict)
    looked: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileLook:
    """One file at one moment: the flows that take it, whether it has landed in all (None: not known).

    ``wish`` is what a person wants of it and nobody has done yet.
    """

    connection: str
    file: File
    flows: tuple[str, ...] = ()
    landed: bool | None = None
    wish: Wish | None = None

    @property
    def at_us(self) -> int:
        """When it was decided about; of one that waits, what its place says of it."""
        return self.file.modified_ns // 1000 if self.file.decided_us is None else self.file.decided_us

    @property
    def states(self) -> set[str]:
        """Everything that it is."""
        return {self.file.state, *([LANDED] if self.landed else [])}

    def as_dict(self) -> dict[str, Any]:
        """The file as ``--json`` prints it."""
        said = asdict(self.file)
        ends = {str(partition): end for partition, end in self.file.ends.items()}
        wish = None if self.wish is None else asdict(self.wish)
        more = {"flows": list(self.flows), "landed": self.landed, "at_us": self.at_us, "wish": wish}
        return {"connection": self.connection, **said, "ends": ends, **more}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which files are wanted: in any of the states, of the feeds, since then; the newest so many (0: all).

    ``named`` is a name, an arrival number, or where a file lies.
    """

    states: Collection[str] = ()
    feeds: Collection[str] = ()
    since_us: int = 0
    limit: int = 0
    named: str = ""

    def fits(self, one: FileLook) -> bool:
        """Whether a file is one of them."""
        return (
            (not self.states or not one.states.isdisjoint(self.states))
            and (not self.feeds or one.file.feed in self.feeds)
            and one.at_us >= self.since_us
            and self.named in ("", one.file.name, str(one.file.arrival), one.file.lies)
        )


@dataclass(slots=True)
class Found:
    """The files that were wanted, those that wait first, then the newest; and how many there are.

    ``newest_us`` is when the newest accepted file of each feed was accepted, whatever was wanted.
    """

    files: list[FileLook]
    fitting: int
    newest_us: Mapping[str, int]


def decided(shelf: Shelf) -> Iterator[File]:
    """Every file that was decided about, as the newest writer says; what was written last comes first."""
    name = next((plan.name for plan in shelf.capture.topics.values() if plan.compact), "")
    end = shelf.topic.offsets([name]).get(name, {}).get(0, (0, 0))[1] if name else 0
    seen: set[int | None] = set()
    for row in newest(shelf.topic, shelf.registry, name, end, shelf.capture.name, last_first=True):
        file = shelf.read(row)
        if file.arrival not in seen:
            seen.add(file.arrival)
            yield file


class _Still:
    """The files that were decided about and lie in their folder: what waits there are the others."""

    def __init__(self) -> None:
        self._keys: set[tuple[str, str, int, int]] = set()

    def saw(self, file: File) -> None:
        if file.state != "requeued" and file.lies == f"{file.folder}/{file.name}":
            self._keys.add(file.key)

    def __contains__(self, file: File) -> bool:
        return file.key in self._keys


def newest_us(shelf: Shelf) -> dict[str, int]:
    """When the newest accepted file of each feed was accepted."""
    found: dict[str, int] = {}
    for file in decided(shelf):
        _note(found, file)
    return found


def _note(newest: dict[str, int], file: File) -> None:
    if file.state in TAKEN and file.decided_us is not None:
        newest[file.feed] = max(newest.get(file.feed, 0), file.decided_us)


def look(shelf: Shelf, waiting: Sequence[File], wanted: Wanted) -> Found:
    """The files of a connection; ``waiting`` lie in their folders."""
    still, fitting = _Still(), 0
    newest: dict[str, int] = {}

    def fits() -> Iterator[FileLook]:
        nonlocal fitting
        for file in decided(shelf):
            still.saw(file)
            _note(newest, file)
            one = _seen(shelf, file)
            if wanted.fits(one):
                fitting += 1
                yield one

    def arrival(one: FileLook) -> int:
        return one.file.arrival or 0

    known = heapq.nlargest(wanted.limit, fits(), arrival) if wanted.limit else None
    found = known if known is not None else sorted(fits(), key=arrival, reverse=True)
    waits = [_seen(shelf, file) for file in reversed(waiting) if file not in still]
    waits = [one for one in waits if wanted.fits(one)]
    both = [*waits, *found]
    return Found(both[: wanted.limit] if wanted.limit else both, fitting + len(waits), newest)


def _seen(shelf: Shelf, file: File) -> FileLook:
    flows = [f for f in shelf.flows if f.table.qualified == file.feed]
    names = tuple(flow.name for flow in flows)
    wish = next((wish for wish in shelf.wishes if _waits_for(wish, file)), None)
    return FileLook(shelf.capture.name, file, names, _landed(shelf, file, names), wish)


def _waits_for(wish: Wish, file: File) -> bool:
    if (wish.folder, wish.name, wish.size, wish.modified_ns) != file.key or wish.arrival != file.arrival:
        return False
    return file.asked is None or file.asked.wish != wish.number


def _landed(shelf: Shelf, file: File, flows: Sequence[str]) -> bool | None:
    if file.published_us is None:
        return False
    if shelf.landings is None or not flows:
        return None
    at = [shelf.landings[flow].offsets if flow in shelf.landings else {} for flow in flows]
    return all(offsets.get(partition, 0) >= end for offsets in at for partition, end in file.ends.items())


def open_beside(shelf: Shelf, one: FileLook) -> int | None:
    """The other file of the same name that a person wants to be taken again, if nobody has done it yet."""
    file = one.file
    mine = [w for w in shelf.wishes if (w.folder, w.name) == (file.folder, file.name)]
    other = next((w for w in mine if w.arrival not in (None, file.arrival)), None)
    if other is not None and any(_waits_for(other, each) for each in decided(shelf)):
        return other.arrival
    return None


@dataclass(slots=True)
class Tally:
    """The files of one feed: how many stand how, since when the oldest waits, the newest that is refused.

    ``newest_us`` is when the newest accepted one was accepted.
    """

    feed: str
    states: Counter[str] = field(default_factory=Counter)
    problems: int = 0
    oldest_us: int | None = None
    newest_refused: int | None = None
    newest_us: int | None = None

    @property
    def waiting(self) -> int:
        """Those that nobody has decided about."""
        return sum(self.states[state] for state in UNDECIDED)

    @property
    def refused(self) -> int:
        """Those that somebody has to look at."""
        return self.states["refused"]

    def add(self, file: File) -> None:
        """One more file."""
        self.states[file.state] += 1
        self.problems += file.problems or 0
        if file.state == "refused":
            self.newest_refused = max(self.newest_refused or 0, file.arrival or 0)
        if file.state in TAKEN and file.decided_us is not None:
            self.newest_us = max(self.newest_us or 0, file.decided_us)
        if file.state in UNDECIDED:
            at_us = file.modified_ns // 1000
            self.oldest_us = at_us if self.oldest_us is None else min(self.oldest_us, at_us)

    def as_dict(self) -> dict[str, Any]:
        """The tally as ``--json`` prints it."""
        return {
            "feed": self.feed,
            "waiting": self.waiting,
            "oldest_us": self.oldest_us,
            "refused": self.refused,
            "newest_refused": self.newest_refused,
            "problems": self.problems,
            "states": dict(self.states),
        }


def tally(shelf: Shelf, waiting: Sequence[File]) -> dict[str, Tally]:
    """How the files of each feed stand, by feed; those of a feed that no flow takes any more are left out."""
    feeds = [table for table, plan in shelf.capture.topics.items() if not plan.compact]
    found = {feed: Tally(feed) for feed in feeds}
    still = _Still()
    for file in decided(shelf):
        still.saw(file)
        if file.feed in found:
            found[file.feed].add(file)
    for file in waiting:
        if file not in still:
            found[file.feed].add(file)
    return found
