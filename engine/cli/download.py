"""How a first start tells what it fetches: sizes before, a bar on a terminal, a line now and then in a pipe.

Rule: everything goes to stderr; this room fetches nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from engine.cli import show

_LINE_S: Final = 5.0
_MB: Final = 1_000_000


def announce(sizes: Mapping[str, int], cache: str) -> None:
    """What is about to be fetched, and where it is kept; nothing when all is there."""
    if sizes:
        parts = ", ".join(f"{name} {size / _MB:.0f} MB" for name, size in sorted(sizes.items()))
        show.note(f"first start: about {sum(sizes.values()) / _MB:.0f} MB to fetch ({parts})")
        show.note(f"kept in {cache}, used by every project from then on")


class Meter:
    """The progress of a download; called by the stack."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=console,
            transient=True,
        )
        self._shown = console.is_terminal
        self._tasks: dict[str, TaskID] = {}
        self._told = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Everything is there: the bars make room for what comes."""
        if self._tasks:
            self._bars.stop()
            self._tasks.clear()

    def __call__(self, what: str, done_bytes: int, total_bytes: int) -> None:
        """So much of ``what`` is there."""
        if self._shown:
            if not self._tasks:
                self._bars.start()
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what, total=total_bytes)
            self._bars.update(self._tasks[what], completed=done_bytes, total=total_bytes)
        elif time.monotonic() - self._told >= _LINE_S:
            self._told = time.monotonic()
            show.note(f"fetch={what} mb={done_bytes / _MB:.0f} of_mb={total_bytes / _MB:.0f}")
