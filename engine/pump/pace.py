"""How long the rest of a snapshot takes, at the pace so far.

Rule: the pace is what this opening has done since a table was first told, waiting included; where nothing is
known of a table's size, or nothing has moved yet, there is no answer, which is not zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.source import Reading


@dataclass(slots=True)
class Pace:
    """Where this opening found each table, and when.

    >>> pace = Pace()
    >>> pace.left_s("t", Reading("s", "t", 0, 50, 300), 10.0)  # what was read before is not known yet
    >>> pace.left_s("t", Reading("s", "t", 0, 100, 300), 20.0)
    40.0
    """

    _first: dict[str, tuple[int, float]] = field(default_factory=dict)

    def left_s(self, table: str, told: Reading, now: float) -> float | None:
        """Seconds until a table is read; None: not known."""
        rows, at = self._first.setdefault(table, (told.rows, now))
        if told.expected is None or told.done or told.rows <= rows or now <= at:
            return None
        return (told.expected - told.rows) * (now - at) / (told.rows - rows)
