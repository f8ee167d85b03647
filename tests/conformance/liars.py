"""Sources that break one promise each: the suite must catch every one of them, and so must the pump."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from engine.source import STREAM, Item, Mark, Row, Rows
from tests.support.scripted import ScriptedSource, Tx


class RepeatsAPosition(ScriptedSource):
    """Every run of a transaction starts at minor 0."""

    def run(self, tx: Tx, first: int, rows: Sequence[Row]) -> Rows:
        return super().run(tx, first, rows)._replace(first_minor=0)


class GoesBack(ScriptedSource):
    """Gives each pair of transactions in the wrong order."""

    def read(self, *, limit: int, wait_s: float) -> Iterator[Item]:
        held: list[Item] = []
        for item in super().read(limit=limit, wait_s=wait_s):
            if isinstance(item, Rows) and item.major % 200 == 0:
                held.append(item._replace(major=item.major - 150))
            else:
                yield from held
                held = []
                yield item
        yield from held


class MarksTooEarly(ScriptedSource):
    """Says complete before the last run of a transaction."""

    def read(self, *, limit: int, wait_s: float) -> Iterator[Item]:
        held: Item | None = None
        for item in super().read(limit=limit, wait_s=wait_s):
            if isinstance(item, Mark) and held is not None:
                yield item
                yield held
                held = None
            elif held is not None:
                yield held
                held = item
            else:
                held = item
        if held is not None:
            yield held


class MarksTooLow(ScriptedSource):
    """Its marks lie one behind the rows that they follow."""

    def read(self, *, limit: int, wait_s: float) -> Iterator[Item]:
        for item in super().read(limit=limit, wait_s=wait_s):
            yield item._replace(at={STREAM: item.at[STREAM] - 1}) if isinstance(item, Mark) else item


class ForgetsItsStrand(ScriptedSource):
    """Its marks do not name the strand of the rows."""

    def read(self, *, limit: int, wait_s: float) -> Iterator[Item]:
        for item in super().read(limit=limit, wait_s=wait_s):
            yield item._replace(at={"other": item.at[STREAM]}) if isinstance(item, Mark) else item


class ReadsOn(ScriptedSource):
    """Does not stop at its limit."""

    def read(self, *, limit: int, wait_s: float) -> Iterator[Item]:
        return super().read(limit=limit * 1_000_000, wait_s=wait_s)


class Sleeps(ScriptedSource):
    """Waits for two minutes where it was given a moment."""

    def read(self, *, limit: int, wait_s: float) -> Iterator[Item]:
        yield from super().read(limit=limit, wait_s=wait_s)
        self.time[0] += 120


class GivesEmptyRuns(ScriptedSource):
    """Gives runs without rows."""

    def runs(self, tx: Tx) -> Iterator[Rows]:
        yield from super().runs(tx)
        yield self.run(tx, len(tx.rows), [])


class Renumbers(ScriptedSource):
    """Counts rows from wherever it was opened, not from the start of the transaction's log."""

    def run(self, tx: Tx, first: int, rows: Sequence[Row]) -> Rows:
        run = super().run(tx, first, rows)
        return run._replace(first_minor=run.first_minor + 2 * max(0, self.after // 100))


class LosesWhatWasOpen(ScriptedSource):
    """Keeps in the source what belongs into a mark: a transaction left in its middle never comes again."""

    def read(self, *, limit: int, wait_s: float) -> Iterator[Item]:
        begun = self.world.__dict__.setdefault("begun", set())
        for item in super().read(limit=limit, wait_s=wait_s):
            if isinstance(item, Rows):
                if item.first_minor == 0 and item.major in begun:
                    continue
                begun.add(item.major)
            yield item


@dataclass
class Overlaps(ScriptedSource):
    """Gives the last transaction of its mark again."""

    def __post_init__(self) -> None:
        self.after -= 1


@dataclass
class Skips(ScriptedSource):
    """Leaves out the transaction behind its mark."""

    def __post_init__(self) -> None:
        if self.after > 0:
            self.after += 100


CAUGHT_LIVE: Final = (
    RepeatsAPosition, GoesBack, MarksTooEarly, MarksTooLow, ForgetsItsStrand, ReadsOn, Sleeps, GivesEmptyRuns,
)  # fmt: skip
"""What shows in one opening. The others show only to somebody who opens twice: to the suite."""

LIARS: Final = (*CAUGHT_LIVE, Renumbers, LosesWhatWasOpen, Overlaps, Skips)
