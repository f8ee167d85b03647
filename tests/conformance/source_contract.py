"""What every connector's source must do: a list of checks, each a function of a ``World``.

Rule: a check reads only through the door. The suite itself is tested by liars (``test_liars``): a source that
breaks one promise must fail here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol

from engine.source import Item, Mark, Row, Rows, Source

Position = tuple[str, str, int, int, int]  # strand, table, era, major, minor
WAIT_S: Final = 0.2
SLACK_S: Final = 5.0
ROUNDS_MAX: Final = 200


class World(Protocol):
    """A source's own side: where changes are made."""

    def open(self, mark: Mark | None) -> AbstractContextManager[Source]:
        """The connector's ``open``."""
        ...

    def change(self, rows: int) -> None:
        """Commit one transaction that inserts so many rows in one table."""
        ...

    def now(self) -> float:
        """Time in seconds, as the source feels it."""
        ...


@dataclass
class Seen:
    """What came through the door."""

    rows: list[tuple[Position, Row]] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    uncovered: dict[str, tuple[int, int]] = field(default_factory=dict)  # strand → its newest row

    def take(self, item: Item) -> None:
        """Note an item and what is wrong with it."""
        if isinstance(item, Mark):
            self._mark(item)
        elif isinstance(item, Rows):
            self._rows(item)

    @property
    def positions(self) -> list[Position]:
        return [position for position, _ in self.rows]

    def _rows(self, run: Rows) -> None:
        table = f"{run.relation.schema}.{run.relation.table}"
        if not run.rows:
            self.faults.append("a run without rows")
        for n, row in enumerate(run.rows):
            position = (run.strand, table, run.era, run.major, run.first_minor + 2 * n)
            if any(p[:2] == position[:2] and p >= position for p in self.positions[-1:]):
                self.faults.append(f"{position} does not grow")
            if any((p[2], p[3]) > (run.era, run.major) for p in self.positions[-1:] if p[0] == run.strand):
                self.faults.append(f"{position} goes back in its strand")
            if self.marks and run.strand in self.marks[-1].at:
                mark = self.marks[-1]
                if (run.era, run.major) <= (mark.era, mark.at[run.strand]):
                    self.faults.append(f"{position} comes after a mark that covers it")
            self.rows.append((position, row))
        self.uncovered[run.strand] = (run.era, run.major)

    def _mark(self, mark: Mark) -> None:
        for strand, newest in self.uncovered.items():
            if (mark.era, mark.at.get(strand, -1)) < newest:
                self.faults.append(f"a mark at {dict(mark.at)} leaves rows at {newest} of {strand} uncovered")
        for before in self.marks[-1:]:
            if any((mark.era, mark.at.get(s, at)) < (before.era, at) for s, at in before.at.items()):
                self.faults.append("a mark goes back")
        self.uncovered = {}
        self.marks.append(mark)


def read(source: Source, seen: Seen, limit: int = 10_000) -> int:
    """One read; gives the number of rows."""
    before = len(seen.rows)
    for item in source.read(limit=limit, wait_s=WAIT_S):
        seen.take(item)
    return len(seen.rows) - before


def drain(source: Source, rows: int, *, limit: int = 10_000, confirm: bool = True) -> Seen:
    """Read until so many rows have come and a mark covers them."""
    seen = Seen()
    for _ in range(ROUNDS_MAX):
        read(source, seen, limit)
        if len(seen.rows) >= rows and not seen.uncovered:
            break
    assert len(seen.rows) >= rows, f"{len(seen.rows)} of {rows} rows came"
    assert not seen.uncovered, "no mark covers the last rows"
    if confirm:
        source.confirm(seen.marks[-1])
    return seen


def begun(world: World) -> Mark:
    """A mark behind the first row of a world: what is written from now on is read."""
    with world.open(None) as source:
        world.change(1)
        return drain(source, 1).marks[-1]


# --- the checks ------------------------------------------------------------------------------------------


def positions_grow_and_marks_cover_them(world: World) -> None:
    start = begun(world)
    for rows in (1, 5, 2):
        world.change(rows)
    with world.open(start) as source:
        seen = drain(source, 8)
    assert seen.faults == []
    assert len(seen.rows) == 8


def from_any_mark_no_gap_and_no_overlap(world: World) -> None:
    start = begun(world)
    for rows in (1, 3, 1, 2):
        world.change(rows)
    with world.open(start) as source:
        whole = drain(source, 7, limit=1, confirm=False)
    for mark in (start, *whole.marks):
        at = next(iter(mark.at.values()))
        rest = [p for p in whole.positions if p[3] > at]
        with world.open(mark) as source:
            again = drain(source, len(rest), confirm=False) if rest else _idle(source)
        assert again.faults == []
        assert again.positions == rest


def _idle(source: Source) -> Seen:
    seen = Seen()
    for _ in range(3):
        read(source, seen)
    return seen


def rows_read_again_are_the_same(world: World) -> None:
    start = begun(world)
    world.change(4)
    world.change(2)
    found = []
    for _ in range(2):
        with world.open(start) as source:
            found.append(drain(source, 6, confirm=False))
    assert found[0].rows == found[1].rows


def a_group_left_in_its_middle_comes_again_with_the_same_positions(world: World) -> None:
    start = begun(world)
    world.change(3000)
    first = Seen()
    with world.open(start) as source:
        for item in source.read(limit=1, wait_s=WAIT_S):
            first.take(item)
            if first.rows:
                break
    with world.open(start) as source:
        whole = drain(source, 3000)
    assert whole.faults == []
    assert len(whole.rows) == 3000
    assert whole.rows[: len(first.rows)] == first.rows


def idle_returns_in_time(world: World) -> None:
    start = begun(world)
    with world.open(start) as source:
        _idle(source)
        for _ in range(2):
            before = world.now()
            read(source, Seen())
            assert world.now() - before <= WAIT_S + SLACK_S, "an idle read did not return in time"


def a_read_ends_at_the_first_mark_behind_its_limit(world: World) -> None:
    start = begun(world)
    for _ in range(5):
        world.change(4)
    with world.open(start) as source:
        for _ in range(ROUNDS_MAX):
            rows, marks_behind = 0, 0
            for item in source.read(limit=4, wait_s=WAIT_S):
                assert not marks_behind, "the read went on behind the mark that was to end it"
                rows += len(item.rows) if isinstance(item, Rows) else 0
                marks_behind += isinstance(item, Mark) and rows >= 4
            if not rows:
                return
    raise AssertionError("the rows never ended")


def what_arrives_late_is_read(world: World) -> None:
    start = begun(world)
    with world.open(start) as source:
        _idle(source)
        world.change(2)
        seen = drain(source, 2)
    assert seen.faults == []
    assert len(seen.rows) == 2


def a_mark_may_be_confirmed_again_and_again(world: World) -> None:
    start = begun(world)
    world.change(2)
    with world.open(start) as source:
        seen = drain(source, 2)
        for _ in range(3):
            source.confirm(seen.marks[-1])
        world.change(1)
        assert len(drain(source, 1).rows) == 1


def what_was_confirmed_does_not_come_again(world: World) -> None:
    start = begun(world)
    world.change(2)
    with world.open(start) as source:
        mark = drain(source, 2).marks[-1]
    with world.open(mark) as source:
        assert _idle(source).rows == []
        world.change(1)
        assert len(drain(source, 1).rows) == 1


def a_resume_is_text_that_people_can_read(world: World) -> None:
    assert begun(world).resume.decode("utf-8")


Check = Callable[[World], None]
CHECKS: Final[dict[str, Check]] = {
    check.__name__: check
    for check in (
        positions_grow_and_marks_cover_them,
        from_any_mark_no_gap_and_no_overlap,
        rows_read_again_are_the_same,
        a_group_left_in_its_middle_comes_again_with_the_same_positions,
        idle_returns_in_time,
        a_read_ends_at_the_first_mark_behind_its_limit,
        what_arrives_late_is_read,
        a_mark_may_be_confirmed_again_and_again,
        what_was_confirmed_does_not_come_again,
        a_resume_is_text_that_people_can_read,
    )
}


def numbers() -> Iterator[int]:
    """Keys for rows that nobody has used."""
    return itertools.count(1)
