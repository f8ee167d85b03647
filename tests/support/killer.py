"""A hand that kills its own process at a named point, the n-th time it is reached.

Rule: "reached" is on disk before the kill, so that a test never mistakes a run that missed the point for one
that survived it. The kill is SIGKILL, to every descendant first (a landing has a JVM), then to itself.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Killer:
    """Called as ``at(point)``; kills at the ``nth`` time of ``point`` (``a.b`` stands for ``a.b:x`` too)."""

    point: str
    nth: int
    record: Path
    seen: dict[str, int] = field(default_factory=dict)

    def __call__(self, point: str) -> None:
        """Pass a point, or die at it."""
        if self.point not in (point, point.partition(":")[0]):
            return
        self.seen[self.point] = self.seen.get(self.point, 0) + 1
        if self.seen[self.point] == self.nth:
            remember(self.record, f"{point} {self.nth}")
            kill_tree(os.getpid())


def remember(record: Path, text: str) -> None:
    """Write a line that survives whatever comes next."""
    with record.open("a", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def descendants(pid: int) -> list[int]:
    """Every living process below ``pid``, the deepest first."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(encoding="utf-8")
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: list[int] = []
    level = [pid]
    while level:
        level = [child for child, parent in parents.items() if parent in level]
        found = level + found
    return found


def kill_tree(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal every descendant of ``pid``, then ``pid``."""
    for one in (*descendants(pid), pid):
        try:
            os.kill(one, number)
        except ProcessLookupError:
            continue
