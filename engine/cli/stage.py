"""The screen of ``up`` and ``demo``: on a terminal one table that moves, in a pipe a line per flow.

Rule: one thread owns the crew and the screen, and ``step`` is its clock. What was said stays: below the table
on a terminal, as lines in a pipe. This room starts nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from engine.cli import screen, show
from engine.cli.crew import Crew, Life
from engine.cli.running import Eyes
from engine.watch.observe import Look

SECONDS: Final = 45.0  # of traffic, unless somebody asks for others
STEP_S: Final = 0.5
LINES_S: Final = 5.0
_KEPT: Final = 20  # lines below the table
_LEAST: Final = 4
_AROUND: Final = 10  # of the table without flows, of the workers, and where two lines need another
_STYLES: Final = {
    Life.RUNNING: "green",
    Life.PAUSED: "yellow",
    Life.DOWN: "bold red",
    Life.STOPPED: "dim",
}


class Stage:
    """What people see while a project runs; ``changes`` are the source's committed changes by flow."""

    def __init__(
        self,
        crew: Crew,
        eyes: Eyes,
        *,
        changes: Callable[[], Mapping[str, int]] | None = None,
        console: Console | None = None,
    ) -> None:
        self._crew, self._eyes, self._changes = crew, eyes, changes
        self._console = console or Console(file=sys.stdout)
        self._began = self._told = time.monotonic()
        self._said: list[Text] = []
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.update(self._picture(), refresh=True)
            self._live.stop()

    @property
    def look(self) -> Look | None:
        """The newest look at the project."""
        return self._eyes.look

    def say(self, text: str, style: str = "") -> None:
        """Something happened that a person wants to know."""
        clock = int(time.monotonic() - self._began)
        self._said = [*self._said, Text(f"{clock:>4} s  {show.clean(text)}", style=style)][-_KEPT:]
        if not self._live:
            show.line(f"at_s={clock} {text}")
            sys.stdout.flush()

    def step(self) -> None:
        """One tick: workers, screen, a short rest."""
        for worker, what in self._crew.tick():
            self.say(f"{worker.name} {what}", "yellow" if worker.life is not Life.DOWN else "bold red")
            if worker.life is Life.DOWN:
                for line in worker.last_words().splitlines():
                    self.say(f"  {line}", "red")
        if self._live:
            self._live.update(self._picture(), refresh=True)
        elif time.monotonic() - self._told >= LINES_S and self.look:
            self._told = time.monotonic()
            for line in screen.lines(self.look, changes=self._changes() if self._changes else None):
                show.line(line)
            sys.stdout.flush()
        time.sleep(STEP_S)

    def _picture(self) -> RenderableType:
        look = self.look
        changes = self._changes() if self._changes else None
        parts: list[RenderableType] = [Text("no flow was looked at yet")]
        if look is not None:
            parts = [screen.live(look, changes=changes)]
            parts += [Text(line, style="magenta") for line in screen.silent(look)]
        # what does not fit is cut off at the end, where the newest line stands
        room = self._console.height - _AROUND - (len(look.flows) if look else 0)
        return Group(*parts, self._workers(), *self._said[-max(_LEAST, room) :])

    def _workers(self) -> Text:
        text = Text("workers  ")
        for n, worker in enumerate(self._crew.workers):
            detail = f"pid {worker.pid}" if worker.pid else worker.life.value
            again = f", restarted {worker.restarts} ×" if worker.restarts else ""
            text.append(" · " if n else "")
            text.append(f"{worker.name} ({detail}{again})", style=_STYLES[worker.life])
        return text
