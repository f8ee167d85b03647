"""Which records a batch reads: offsets per partition, and the arithmetic on them.

Rule: pure. A range is fixed before anything is read, and is never longer than the plan's bound. This room
does not know where offsets come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Offsets = Mapping[int, int]
"""Per partition, the next offset that is not applied."""

Range = Mapping[int, tuple[int, int]]
"""Per partition, the first offset to read and the first one after."""


def backlog(start: Offsets, ends: Offsets) -> int:
    """How many offsets lie between.

    >>> backlog({0: 5, 1: 0}, {0: 7, 1: 0, 2: 3})
    5
    """
    return sum(max(0, end - start.get(p, 0)) for p, end in ends.items())


def plan(start: Offsets, ends: Offsets, limit: int) -> dict[int, tuple[int, int]]:
    """The next range: at most ``limit`` offsets, shared by backlog, every waiting partition moves.

    >>> plan({0: 0, 1: 0}, {0: 30, 1: 10}, 8)
    {0: (0, 5), 1: (0, 2)}
    >>> plan({0: 4}, {0: 4, 1: 1}, 8)
    {1: (0, 1)}
    """
    waiting = {p: end - start.get(p, 0) for p, end in sorted(ends.items()) if end > start.get(p, 0)}
    total = sum(waiting.values())
    if total > limit:
        # one offset for every partition, so that none starves, and the rest by backlog
        rest, among = max(0, limit - len(waiting)), max(1, total - len(waiting))
        waiting = {p: 1 + (n - 1) * rest // among for p, n in waiting.items()}
    return {p: (start.get(p, 0), start.get(p, 0) + n) for p, n in waiting.items()}


def size(span: Range) -> int:
    """How many offsets a range covers."""
    return sum(b - a for a, b in span.values())


def holds(span: Range, partition: int, offset: int) -> bool:
    """Whether a range covers a record.

    >>> holds({0: (3, 5)}, 0, 4), holds({0: (3, 5)}, 0, 5), holds({0: (3, 5)}, 1, 4)
    (True, False, False)
    """
    first, end = span.get(partition, (0, 0))
    return first <= offset < end


def shorten(span: Range, partition: int, offset: int) -> dict[int, tuple[int, int]]:
    """The range up to a record that must not be applied; partitions left empty drop out.

    >>> shorten({0: (0, 6), 1: (0, 2)}, 0, 4), shorten({0: (0, 6), 1: (0, 2)}, 0, 0)
    ({0: (0, 4), 1: (0, 2)}, {1: (0, 2)})
    """
    cut = {p: (a, min(b, offset) if p == partition else b) for p, (a, b) in span.items()}
    return {p: (a, b) for p, (a, b) in cut.items() if b > a}


def advance(start: Offsets, span: Range) -> dict[int, int]:
    """Where a flow stands after a range.

    >>> advance({0: 1, 1: 5}, {0: (1, 4)})
    {0: 4, 1: 5}
    """
    return {**start, **{p: b for p, (_, b) in span.items()}}


@dataclass(frozen=True, slots=True)
class Loss:
    """Records that a topic no longer holds, and that were not applied."""

    partition: int
    first: int
    end: int


def losses(start: Offsets, earliest: Offsets) -> tuple[Loss, ...]:
    """What retention removed before it was applied.

    >>> losses({0: 5, 1: 9}, {0: 8, 1: 2, 2: 1})
    (Loss(partition=0, first=5, end=8), Loss(partition=2, first=0, end=1))
    """
    return tuple(
        Loss(p, start.get(p, 0), first) for p, first in sorted(earliest.items()) if first > start.get(p, 0)
    )


def rewound(start: Offsets, latest: Offsets) -> tuple[int, ...]:
    """Partitions whose end lies before what was applied: the log is another one.

    >>> rewound({0: 5, 1: 9}, {0: 5, 1: 3})
    (1,)
    """
    return tuple(p for p, next_ in sorted(start.items()) if latest.get(p, 0) < next_)
