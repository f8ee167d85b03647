"""An open source of files: groups are decided about, then their entries go out, then their rows.

Rule: the mark behind what was decided is a barrier, so that it is durable before the first row of an accepted
file leaves, and a file is moved only when the mark behind its rows is. What an earlier opening accepted and
no mark covers comes first, from the same bytes, with the same positions; where those are gone, it is a gap of
its feed by name. Nothing here takes longer than a piece of a file before ``read`` may return.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Final, TypeVar

from connectors.files import reading
from connectors.files.config import FilesConfig
from connectors.files.deciding import Deciding
from connectors.files.ledger import FILES, STRAND, Entry, done, ends_of, row
from connectors.files.moving import Moving
from connectors.files.places import Stat
from connectors.files.ready import Candidate, Watch
from connectors.files.records import Refused
from connectors.files.staging import Changed, TooLarge
from engine.errors import GapSuspected
from engine.schema import Relation
from engine.source import NO_ENDS, STREAM, Ends, Item, Mark, Rows, TableGap

_FILES_MAX: Final = 500
_BYTES_MAX: Final = 64 << 20
_NAP_S: Final = 0.05
_MILLION: Final = 1_000_000
_T = TypeVar("_T")


class _Pause(Enum):
    """Nothing to give: there is work going on, or nothing to do."""

    BUSY = "busy"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Clock:
    """Time: it only goes on, as people have it, and passing it by."""

    now: Callable[[], float]
    wall: Callable[[], float]
    sleep: Callable[[float], object]


@dataclass(slots=True)
class FilesSource:
    """The files of one connection; ``looked`` is when each feed's were looked for first, for alarms alone.

    ``at`` is told each named step.
    """

    config: FilesConfig
    deciding: Deciding
    watch: Watch
    moving: Moving
    shapes: Mapping[str, Relation]
    clock: Clock
    era: int
    published: int
    looked: dict[str, int]
    at: Callable[[str], None]
    _steps: Iterator[Item | _Pause] = field(init=False)
    _queue: deque[Candidate] = field(default_factory=deque)
    _list_at: float = 0.0
    _committed_us: int = 0

    def __post_init__(self) -> None:
        self._steps = self._all()
        self._files = replace(FILES, schema=self.config.connection)

    _files: Relation = field(init=False)

    def read(self, *, limit: int, wait_s: float) -> Iterator[Item]:
        """Entries, rows, marks and gaps; see the door."""
        rows, until = 0, self.clock.now() + wait_s
        while True:
            item = next(self._steps)
            if isinstance(item, _Pause):
                left = until - self.clock.now()
                if left <= 0:
                    return
                if item is _Pause.IDLE:
                    self.clock.sleep(min(left, _NAP_S))
                continue
            yield item
            until = self.clock.now() + wait_s
            if isinstance(item, Rows):
                rows += len(item.rows)
            elif isinstance(item, Mark) and rows >= limit:
                return

    def confirm(self, mark: Mark, ends: Ends = NO_ENDS) -> None:
        """Durable up to here: what was published is archived, and what was refused put aside."""
        covered, written = mark.at.get(STREAM, 0), mark.at.get(STRAND, 0)
        for one in self.deciding.ledger:
            if one.state == "accepted" and one.arrival <= covered:
                now = int(self.clock.wall() * _MILLION)
                ends_ = ends_of(ends, one.feed)
                one = replace(one, state="published", published_us=now, ends=ends_, era=mark.era)  # noqa: PLW2901
                self.deciding.ledger.write(one)
                self.at("files.published")
            if one.state == "published" or (one.state == "refused" and 0 < one.change <= written):
                self.deciding.ledger.write(self.moving.put_away(one))
                self.at("files.moved")

    # what goes out

    def _all(self) -> Iterator[Item | _Pause]:
        self._look()
        yield self._mark()
        yield from self._requeue()
        for one in self.deciding.ledger:
            if one.state == "accepted" and one.arrival > self.published:
                yield from self._again(one)
        while True:
            group = yield from self._group()
            told = yield from self._entries()
            for one in group:
                yield from self._publish(one)
            if not told:
                yield _Pause.BUSY if self._queue else _Pause.IDLE

    def _requeue(self) -> Iterator[Item]:
        """Put refused files back that a person wants to be taken again; that is durable before any is."""
        for one, wish in self.deciding.ledger.wishes.to_requeue():
            lies, trouble = self.moving.back(one)
            self.at("files.back")
            said = done(wish, trouble or f"back in {lies}", well=not trouble)
            self.deciding.ledger.write(replace(one, moved_to=lies, asked=said))
        yield from self._entries(barrier=True)

    def _entries(self, *, barrier: bool = False) -> Generator[Item, None, bool]:
        """Entries that have changed, and the barrier that makes them durable."""
        batch = self.deciding.ledger.batch()
        if batch:
            now, change = int(self.clock.wall() * _MILLION), batch[0].change
            rows = [row(one) for one in batch]
            yield Rows(self._files, STRAND, self.era, change, 0, now, change, rows)
            self.at("files.entries-given")
            yield self._mark(barrier=barrier or any(not one.moved_to for one in batch))
        return bool(batch)

    def _publish(self, one: Entry) -> Iterator[Item | _Pause]:
        """The rows of an accepted file, whose copy is staged, and their mark."""
        staging, shape = self.deciding.staging, self.shapes[one.feed]
        try:
            with staging.open(one.sha256) as file:
                for first, rows in reading.rows(file, self.deciding.feeds[one.feed], shape, one.name):
                    at = 2 * first
                    yield Rows(shape, STREAM, self.era, one.arrival, at, one.decided_us, one.arrival, rows)
                    self.at("files.rows-given")
        except Refused as error:
            # it was accepted as the flow was declared then, and is read as it is declared now
            yield self._gap(one, f"cannot be read any more: {error.what}", error.code)
            withdrawn: Mapping[str, int] = {}
        else:
            withdrawn = yield from self._withdraw(one, shape)
        staging.drop(one.sha256)
        yield self._done(one, withdrawn)

    def _withdraw(self, one: Entry, shape: Relation) -> Generator[Rows, None, Mapping[str, int]]:
        """Take back the rows of the file whose place this one has taken, now that all of its own are out.

        The strand is this file's own, because superseded files do not come in the order of their numbers.
        """
        old = one.supersedes
        if old is None:
            return {}
        era = self.era if one.superseded_era is None else one.superseded_era
        strand = f"supersedes.{one.arrival}"
        yield Rows(shape, strand, era, old, 0, one.decided_us, one.arrival, [("w", None, None)])
        self.at("files.withdrawn")
        return {strand: old}

    def _done(self, one: Entry, withdrawn: Mapping[str, int] = MappingProxyType({})) -> Mark:
        self.published, self._committed_us = one.arrival, max(self._committed_us, one.decided_us)
        return self._mark(withdrawn)

    def _mark(self, withdrawn: Mapping[str, int] = MappingProxyType({}), *, barrier: bool = False) -> Mark:
        at = {STREAM: self.published, STRAND: self.deciding.ledger.change, **withdrawn}
        resume = json.dumps({"version": 1, "published": self.published, "looked": self.looked}).encode()
        return Mark(at, resume, self.era, self._committed_us, barrier)

    # what an earlier opening left

    def _again(self, one: Entry) -> Iterator[Item | _Pause]:
        """Publish a file that was accepted before: from the same bytes, or not at all and by name."""
        if one.feed not in self.deciding.feeds:
            self._refuse(one, "feed.gone", "no flow takes it now; some of its records may be on the topic")
            return
        staging = self.deciding.staging
        if not staging.has(one.sha256):
            trouble = yield from self._staged_again(one)
            if trouble:
                yield self._gap(one, trouble, "file.gone")
                yield self._done(one)
                return
        yield from self._publish(one)

    def _staged_again(self, one: Entry) -> Generator[_Pause, None, str]:
        """Why the bytes of a file are not there any more; empty if they are."""
        stat, staging = Stat(one.size, one.modified_ns), self.deciding.staging
        trouble = "is not there any more"
        for folder, name in self.moving.places(one):
            try:
                digest = yield from _busy(staging.fill(self.deciding.place, folder, name, stat))
            except (Changed, TooLarge):
                trouble = "has other bytes now than it was accepted with"
                continue
            if digest == one.sha256:
                return ""
            if digest is not None:
                staging.drop(digest)
                trouble = f"has the hash {digest} now, and was accepted with {one.sha256}"
        return trouble

    def _gap(self, one: Entry, why: str, code: str) -> TableGap:
        schema, _, table = one.feed.partition(".")
        text = f"file {one.name} (arrival {one.arrival}) was accepted and {why}"
        self._refuse(one, code, text)
        return TableGap(schema, table, GapSuspected.code, self.era, one.arrival, text)

    def _refuse(self, one: Entry, code: str, reason: str) -> None:
        self.deciding.ledger.write(replace(one, state="refused", code=code, reason=reason, sent=1))

    # what comes in

    def _group(self) -> Generator[_Pause, None, Sequence[Entry]]:
        """Decide about the next files; gives those that were accepted."""
        if not self._queue and self.clock.now() >= self._list_at:
            self._look()
        accepted: list[Entry] = []
        count = size = 0
        while self._queue and count < _FILES_MAX:
            one = self._queue[0]
            room = min(_BYTES_MAX - size, self.deciding.staging.room)
            if count and one.stat.size > room:
                break
            self._queue.popleft()
            decided = yield from _busy(self.deciding.decide(one))
            if decided is not None:
                self.at("files.decided")
                count, size = count + 1, size + one.stat.size
            if decided is not None and decided.taken:
                accepted.append(decided)
        return accepted

    def _look(self) -> None:
        """List the folders, once; what is ready waits in the order in which it came."""
        self._list_at = self.clock.now() + self.config.poll_s
        open_ = {(one.folder, one.name): Stat(one.size, one.modified_ns) for one in self.deciding.ledger}
        for folder in self.watch.folders:
            listed = self.deciding.place.list(folder)
            self.moving.saw(folder, listed)
            for standing, one in self.watch.look(folder, listed):
                wanted = standing == "ready" or self.deciding.rejection(one) is not None
                if wanted and open_.get((folder, one.shown)) != one.stat:
                    self._queue.append(one)
        for feed in self.deciding.feeds.keys() - self.looked.keys():
            self.looked[feed] = int(self.clock.wall() * _MILLION)


def _busy(work: Generator[None, None, _T]) -> Generator[_Pause, None, _T]:
    """The same work, as pauses of a source that is busy."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            found: _T = end.value
            return found
        yield _Pause.BUSY
