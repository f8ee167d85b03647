"""When a file is whole, and which of the listed files a feed takes.

Rule: a file that may still grow is never taken: a marker or an announcement stands beside it, or it has its
final name, or it has stayed as it is for long enough. Time is what passes here (F1), never what another
machine's clock says (F20). One listing of a folder is looked at once, whatever its length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Final, Literal

from connectors.files.feeds import Feed
from connectors.files.places import Listed, Stat, fit, shown

SIDECAR: Final = ".announced"
"""Behind the name of a file that was announced, where its feed has no marker of its own."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A listed file of a feed: ``marker`` is what stands beside it, empty if nothing does.

    ``feeds`` are the tables of the feeds whose pattern has its name: of more than one it belongs to none.
    """

    feeds: Sequence[str]
    folder: str
    name: str
    stat: Stat
    marker: str = ""

    @property
    def shown(self) -> str:
        """Its name as text."""
        return shown(self.name)


Standing = Literal["arriving", "ready"]


@dataclass(slots=True)
class Watch:
    """What was seen of the folders so far; ``now`` is a clock that only goes on."""

    feeds: Mapping[str, Feed]
    now: Callable[[], float]
    _since: dict[tuple[str, str], tuple[Stat, float]] = field(default_factory=dict)
    _patterns: dict[str, re.Pattern[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._patterns = {table: re.compile(translate(feed.pattern)) for table, feed in self.feeds.items()}

    @property
    def folders(self) -> Sequence[str]:
        """The folders that files come in."""
        return sorted({feed.folder for feed in self.feeds.values()})

    def look(self, folder: str, listed: Sequence[Listed]) -> Iterator[tuple[Standing, Candidate]]:
        """How each file of a folder stands, in the order in which they came."""
        now, names = self.now(), {one.name for one in listed}
        mine = [table for table, feed in self.feeds.items() if feed.folder == folder]
        ends = tuple({SIDECAR, *(suffix for table in mine if (suffix := self.feeds[table].ready.suffix))})
        before, seen = self._since, dict[tuple[str, str], tuple[Stat, float]]()
        for one in sorted(listed, key=lambda one: (one.stat.modified_ns, one.name)):
            if one.name.endswith(ends) or one.name.startswith(".") or not fit(one.name):
                continue
            text = shown(one.name)
            feeds = [table for table in mine if self._patterns[table].fullmatch(text)]
            if not feeds:
                continue
            key = folder, one.name
            stat, since = before.get(key, (one.stat, now))
            seen[key] = one.stat, since if stat == one.stat else now
            feed = self.feeds[feeds[0]]
            marker = next((m for m in markers(feed, one.name) if m in names), "")
            found = Candidate(feeds, folder, one.name, one.stat, marker)
            yield self._standing(feed, found, now - seen[key][1]), found
        self._since = {key: was for key, was in before.items() if key[0] != folder} | seen

    @staticmethod
    def _standing(feed: Feed, one: Candidate, quiet_s: float) -> Standing:
        if one.marker or feed.ready.by == "rename":
            return "ready"
        return "ready" if feed.ready.by == "stable" and quiet_s >= feed.ready.stable_s else "arriving"


def markers(feed: Feed, name: str) -> Sequence[str]:
    """The names of what may say that a file is whole: its marker, or an announcement."""
    own = (name + feed.ready.suffix,) if feed.ready.by == "marker" else ()
    return *own, name + SIDECAR
