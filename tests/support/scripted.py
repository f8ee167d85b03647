"""A source that gives what a script says: honest, idle at its end, and reopened at any mark.

Rule: it keeps the promises of the door (the conformance suite says so), and remembers what was asked of it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from engine.schema import Relation
from engine.source import NO_ENDS, STREAM, Ends, Item, Kept, Mark, Row, Rows, TableGap

_NONE: Final[Mapping[str, int]] = MappingProxyType({})
RUN_ROWS: Final = 2  # rows in one run: transactions of three rows come in two


@dataclass(frozen=True, slots=True)
class Tx:
    """One transaction: rows of one relation."""

    relation: Relation
    rows: Sequence[Row]
    major: int
    barrier: bool = False


@dataclass
class Scripted:
    """The source's side: its transactions, and what it was told to forget. An error is raised once."""

    script: list[Tx | TableGap | Exception]
    era: int = 0
    confirmed: list[Mark] = field(default_factory=list)
    opened: list[Mark | None] = field(default_factory=list)
    asked: Mapping[str, int] = field(default_factory=dict)  # to be read again, as the last opening said

    @contextmanager
    def open(
        self, mark: Mark | None, aside: Collection[str] = (), asked: Mapping[str, int] = _NONE, _: Kept = ()
    ) -> Iterator[ScriptedSource]:
        """Open behind a mark, without the tables that are set aside."""
        self.opened.append(mark)
        self.asked = asked
        yield ScriptedSource(self, mark.at.get(STREAM, -1) if mark else -1, aside=aside)

    def mark(self, tx: Tx) -> Mark:
        """The mark behind a transaction."""
        resume = json.dumps({"after": tx.major}).encode()
        return Mark({STREAM: tx.major}, resume, self.era, tx.major * 1000, tx.barrier)


@dataclass
class ScriptedSource:
    """An open scripted source, behind the major ``after``; ``time`` holds what its world's clock says."""

    world: Scripted
    after: int
    time: list[float] = field(default_factory=lambda: [0.0])
    step: int = 0
    aside: Collection[str] = ()

    def read(self, *, limit: int, wait_s: float) -> Iterator[Item]:
        """Transactions with a mark each, until the script or the limit ends."""
        rows = 0
        while self.step < len(self.world.script):
            step = self.world.script[self.step]
            if isinstance(step, Exception):
                del self.world.script[self.step]
                raise step
            self.step += 1
            if isinstance(step, TableGap):
                yield step
            elif step.major > self.after:
                if f"{step.relation.schema}.{step.relation.table}" not in self.aside:
                    yield from self.runs(step)
                    rows += len(step.rows)
                yield self.world.mark(step)
                if rows >= limit:
                    return
        self.time[0] += wait_s

    def runs(self, tx: Tx) -> Iterator[Rows]:
        """The rows of a transaction, cut into runs."""
        for n in range(0, len(tx.rows), RUN_ROWS):
            yield self.run(tx, n, tx.rows[n : n + RUN_ROWS])

    def run(self, tx: Tx, first: int, rows: Sequence[Row]) -> Rows:
        """A run of a transaction's rows from its row ``first`` on."""
        return Rows(tx.relation, STREAM, self.world.era, tx.major, 2 * first, tx.major * 1000, tx.major, rows)

    def confirm(self, mark: Mark, _: Ends = NO_ENDS) -> None:
        """Remember the mark."""
        self.world.confirmed.append(mark)
