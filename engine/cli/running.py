"""A project that runs on this machine: the embedded stack where it is needed, its workers, eyes on them.

Rule: everything is started in one place and ends with it, in the reverse order; one project runs once. What
the project names itself is neither started nor stopped. ``up`` and ``demo`` are this, with a screen.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Final, Self

from engine.cli import compose, places, sample, show
from engine.cli.compose import Call
from engine.cli.crew import PAUSE_S, Crew
from engine.cli.look import looker
from engine.cli.sample import Sample
from engine.embedded import child
from engine.embedded.jars import Progress
from engine.embedded.record import Endpoints
from engine.embedded.stack import Part, ServiceName, Stack, cache_folder, to_download
from engine.errors import StackFailed
from engine.lake.archive import Archive
from engine.plan import ProjectPlan
from engine.watch.observe import Look

_PID: Final = "up.json"
_PAUSE_S: Final = 1.5


@dataclass(slots=True)
class Running:
    """A project that runs, as long as the ``with`` block lasts; ``keep`` leaves the stack behind.

    ``lasting``: it is to run for long, so that what makes each next start faster is worth its time now.
    """

    call: Call
    progress: Progress
    keep: bool = False
    lasting: bool = True
    plan: ProjectPlan = field(init=False)
    crew: Crew = field(init=False)
    samples: list[Sample] = field(default_factory=list)
    endpoints: Endpoints | None = None
    stack: Stack = field(init=False)
    _close: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.plan = compose.build(self.call)
        self.crew = Crew({**self.call.environment})

    @property
    def state(self) -> Path:
        """The folder that everything is written into."""
        return places.state_folder(self.call)

    @property
    def parts(self) -> frozenset[Part]:
        """What the embedded stack has to bring: what the project does not name, and Spark's files."""
        found: set[Part] = {"spark"}
        if not self.plan.kafka.bootstrap_servers:
            found.add("kafka")
        if not self.plan.registry.url:
            found.add("registry")
        if sample.embedded(self.plan):
            found.add("postgres")
        return frozenset(found)

    def download_bytes(self) -> dict[str, int]:
        """What starting would fetch first, in bytes; empty when all is in the cache."""
        return {str(k): v for k, v in to_download(self.parts, cache_folder(self.call.environment)).items()}

    def __enter__(self) -> Self:
        self.state.mkdir(parents=True, exist_ok=True)
        self._alone()
        try:
            self._start()
        except BaseException:
            self._close.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close.close()

    def _start(self) -> None:
        self.stack = Stack(
            self.state,
            cache_folder(self.call.environment),
            environment=self.call.environment,
            progress=self.progress,
            detached=self.keep,
        )
        self._close.enter_context(self.stack)
        self.endpoints = self.stack.start(self.parts)
        if self.lasting:
            self._prepare_java(self.endpoints)
        if not self.plan.lake.root:
            Path(places.lake_root(self.call, self.plan)).mkdir(exist_ok=True)
        self.samples = sample.prepare(self.call, self.plan)
        self._close.callback(self.crew.stop)

    def _prepare_java(self, at: Endpoints) -> None:
        """Have Java keep Spark's classes parsed, once: every landing starts faster from then on."""
        kept = Archive(places.archives(self.call), at.java_home, at.spark_jars)
        if kept.wanted:
            show.note(f"first start: Java reads Spark's classes once for all, into {kept.folder} (200 MB)")
            show.note("that takes up to a minute; every landing starts faster from then on")
            kept.make()

    def start_workers(self) -> None:
        """Every capture, and the landing of every group; returns at once."""
        project = ("--project", str(self.call.folder.resolve()), "run")
        for capture in (c for c in self.plan.captures if c.tables):
            name = f"capture {capture.name}"
            self.crew.start(name, (*project, "capture", capture.name), self._log(f"capture-{capture.name}"))
        for group in dict.fromkeys(lane.group for lane in self.plan.lanes):
            self.crew.start(f"landing {group}", (*project, "landing", group), self._log(f"landing-{group}"))

    def _log(self, name: str) -> Path:
        return self.state / "logs" / f"{name}.log"

    def _alone(self) -> None:
        """Take the project, or raise when somebody runs it already."""
        path = self.state / _PID
        other = owner(self.state)
        if other is not None:
            raise StackFailed(
                f"this project runs already, pid {other.pid}",
                where=str(self.state),
                hint=f"ecluse -p {self.call.folder} down",
            )
        me = child.identity(os.getpid())
        if me is not None:
            path.write_text(json.dumps(asdict(me)), encoding="utf-8")
        self._close.callback(lambda: path.unlink(missing_ok=True))


def owner(state: Path) -> child.Identity | None:
    """The process that runs the project of this state folder, if it lives."""
    try:
        found = child.Identity(**json.loads((state / _PID).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.alive else None


class _Beside:
    """Work in a thread of its own, as long as the ``with`` block lasts.

    With ``awaited`` the block is left only when the work has ended too.
    """

    def __init__(self, name: str, work: Callable[[], None], *, awaited: bool) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(target=work, name=name, daemon=True)
        self._awaited = awaited

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._awaited:
            self._thread.join()


class Eyes(_Beside):
    """Looks at a project again and again beside the one who shows it: a slow answer freezes no screen."""

    def __init__(self, call: Call, plan: ProjectPlan) -> None:
        super().__init__("eyes", self._go_on, awaited=False)
        self._take = looker(call, plan)
        self._look: Look | None = None

    @property
    def look(self) -> Look | None:
        """The newest look; None before the first."""
        return self._look

    def _go_on(self) -> None:
        while not self._done.wait(_PAUSE_S if self._look else 0.0):
            self._look = self._take(self._look)


class Keeper(_Beside):
    """Starts an embedded service again that has ended by itself, beside the one who shows it."""

    def __init__(self, stack: Stack, pauses_s: Sequence[float] = PAUSE_S) -> None:
        # a service that starts while the stack stops would be left behind
        super().__init__("keeper", self._go_on, awaited=True)
        self._stack, self._pauses_s = stack, pauses_s
        self._failures = 0
        self._told: SimpleQueue[str] = SimpleQueue()

    def told(self) -> list[str]:
        """What happened since the last call, for people."""
        return [self._told.get() for _ in range(self._told.qsize())]

    def _go_on(self) -> None:
        while not self._done.wait(self._pauses_s[min(self._failures, len(self._pauses_s) - 1)]):
            for name in self._stack.ended():
                self._restart(name)

    def _restart(self, name: ServiceName) -> None:
        self._told.put(f"{name} has ended; it starts again, on its data")
        try:
            self._stack.restart(name)
        except StackFailed as error:
            self._failures += 1
            self._told.put(f"{name}: {error.what}")
        else:
            self._failures = 0
            self._told.put(f"{name} runs again, pid {self._stack.pid(name)}")


def wait(condition: Callable[[], bool], within_s: float, step: Callable[[], None]) -> bool:
    """Call ``step`` until the condition holds; False when it did not in time."""
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            return False
        step()
    return True
