"""The promises of the door, checked on everything that comes through it.

Rule: what is checked here is what a mark, a landing or a restart relies on; a source that breaks it is a
fault in the connector, and going on would lose or double rows without a word (I3).
"""

from __future__ import annotations

from typing import Final, NoReturn

from engine.errors import ContractBroken
from engine.source import Mark, Rows

SILENCE_S: Final = 60.0  # how much longer than it said a source may keep us waiting


class Promises:
    """One source from its opening on."""

    def __init__(self, capture: str, limit: int, wait_s: float) -> None:
        self._capture = capture
        self._limit = limit
        self._silence_s = wait_s + SILENCE_S
        self._since = 0.0
        self._rows = 0
        self._over = False
        self._newest: dict[str, tuple[int, int]] = {}  # strand → (era, major) of its newest row
        self._marked: dict[str, tuple[int, int]] = {}  # strand → what the newest mark covers
        self._minors: dict[tuple[str, int], int] = {}  # (strand, relation) → the next minor there may be
        self._open: set[str] = set()  # strands with rows that no mark covers

    def reading(self, now: float) -> None:
        """A read begins."""
        self._since, self._rows, self._over = now, 0, False

    def came(self, now: float) -> None:
        """Something came."""
        if self._over:
            self._broken("the read went on after the mark that was to end it")
        self.ended(now)

    def ended(self, now: float) -> None:
        """Something came, or the read ended: in the time that it was given."""
        if now - self._since > self._silence_s:
            self._broken(f"nothing came and nothing was said for {now - self._since:.0f} s")

    def asked(self, now: float) -> None:
        """The source is asked for more: what we took for ourselves is not its silence."""
        self._since = now

    def rows(self, run: Rows) -> None:
        """A run of rows: not empty, and behind every row and every mark before it."""
        strand = run.strand
        at = (run.era, run.major)
        newest = self._newest.get(strand)
        if newest is None or at > newest:
            self._newest[strand] = at
            for key in [k for k in self._minors if k[0] == strand]:
                del self._minors[key]
        elif at < newest:
            self._broken(f"rows at {at} after rows at {newest} in strand {strand}")
        key = (strand, run.relation.id)
        first = run.first_minor
        if first < self._minors.get(key, 0) or first & 1:
            self._broken(f"rows at {at} from minor {first}, {self._minors.get(key, 0)} was next")
        marked = self._marked.get(strand)
        if marked is not None and at <= marked:
            self._broken(f"rows at {at} after the mark that said complete up to {marked}")
        if not run.rows:
            self._broken(f"a run without rows at {at}")
        self._minors[key] = first + 2 * len(run.rows)
        self._open.add(strand)
        self._rows += len(run.rows)

    def mark(self, mark: Mark) -> None:
        """A mark: covers every strand that has rows, and never less than the mark before it."""
        for strand in self._open:
            if (mark.era, mark.at.get(strand, -1)) < self._newest[strand]:
                self._broken(f"a mark at {dict(mark.at)} behind rows at {self._newest[strand]} of {strand}")
        for strand, major in mark.at.items():
            at = (mark.era, major)
            if at < self._marked.get(strand, at):
                self._broken(f"a mark at {at} after a mark at {self._marked[strand]} in strand {strand}")
            self._marked[strand] = at
        self._open.clear()
        self._over = self._rows >= self._limit

    def _broken(self, what: str) -> NoReturn:
        raise ContractBroken(what, where=self._capture, hint="a fault in the connector: tell its author")
