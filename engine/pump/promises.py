"""The promises of the door, checked on everything that comes through it.

Rule: what is checked here is what a mark, a landing or a restart relies on; a source that breaks it is a
fault in the connector, and going on would lose or double rows without a word (I3).
"""

from __future__ import annotations

from typing import Final, NoReturn

from engine.errors import ContractBroken
from engine.source import Mark, Rows

SILENCE_S: Final = 60.0  # how much longer than it said a source may keep us waiting


class _Strand:
    """Where one strand is: its newest row, the next minor per relation, and what the newest mark covers."""

    __slots__ = ("marked", "minors", "newest", "open")

    def __init__(self) -> None:
        self.newest = self.marked = (-1, -1)
        self.minors: dict[int, int] = {}
        self.open = False  # there are rows that no mark covers


class Promises:
    """One source from its opening on."""

    def __init__(self, capture: str, limit: int, wait_s: float) -> None:
        self._capture = capture
        self._limit = limit
        self._silence_s = wait_s + SILENCE_S
        self._since = 0.0
        self._rows = 0
        self._over = False
        self._late = self._was_late = False
        self._strands: dict[str, _Strand] = {}

    def reading(self, now: float) -> None:
        """A read begins."""
        self._was_late, self._late = self._late, False
        self._since, self._rows, self._over = now, 0, False

    def came(self, now: float) -> None:
        """Something came."""
        if self._over:
            self._broken("the read went on after the mark that was to end it")
        self.ended(now)

    def ended(self, now: float) -> None:
        """Something came, or the read ended: in the time that it was given.

        Once is no fault of the source: a machine that sleeps, or a process that is stopped, is silent too.
        """
        if now - self._since > self._silence_s:
            if self._was_late:
                self._broken(f"nothing came for {now - self._since:.0f} s, nor in time in the read before")
            self._late = True

    def asked(self, now: float) -> None:
        """The source is asked for more: what we took for ourselves is not its silence."""
        self._since = now

    def rows(self, run: Rows) -> None:
        """A run of rows: not empty, and behind every row and every mark before it."""
        strand = self._strands.get(run.strand)
        if strand is None:
            strand = self._strands[run.strand] = _Strand()
        at = (run.era, run.major)
        if at != strand.newest:
            if at < strand.newest:
                self._broken(f"rows at {at} after rows at {strand.newest} in strand {run.strand}")
            strand.newest = at
            strand.minors.clear()
        if at <= strand.marked:
            self._broken(f"rows at {at} after the mark that said complete up to {strand.marked}")
        first, table, count = run.first_minor, run.relation.id, len(run.rows)
        if first < strand.minors.get(table, 0) or first & 1:
            self._broken(f"rows at {at} from minor {first}, {strand.minors.get(table, 0)} was next")
        if not count:
            self._broken(f"a run without rows at {at}")
        strand.minors[table] = first + 2 * count
        strand.open = True
        self._rows += count

    def mark(self, mark: Mark) -> None:
        """A mark: covers every strand that has rows, and never less than the mark before it."""
        for name, strand in self._strands.items():
            if strand.open and (mark.era, mark.at.get(name, -1)) < strand.newest:
                self._broken(f"a mark at {dict(mark.at)} behind rows at {strand.newest} of {name}")
            strand.open = False
        for name, major in mark.at.items():
            strand = self._strands.setdefault(name, _Strand())
            at = (mark.era, major)
            if at < strand.marked:
                self._broken(f"a mark at {at} after a mark at {strand.marked} in strand {name}")
            strand.marked = at
        self._over = self._rows >= self._limit

    def _broken(self, what: str) -> NoReturn:
        raise ContractBroken(what, where=self._capture, hint="a fault in the connector: tell its author")
