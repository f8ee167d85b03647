"""The workers of a project as child processes: started, watched, started again, stopped.

Rule: a worker that ends with an error that may pass, or by a signal, starts again after a pause that doubles,
a bounded number of times; one that ends because a person must act stays down and says so. Every worker dies
with its crew, however that one ends. This room does not know what a worker does, and does not print.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from engine.embedded.child import Rights, launcher
from engine.errors import Exit

PAUSE_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
STARTS_MAX: Final = 10  # in a row; a worker that stays up for STEADY_S begins again at none
STEADY_S: Final = 60.0
STOP_S: Final = 30.0
_LINES: Final = 12
_TAIL_BYTES: Final = 64 * 1024


class Life(StrEnum):
    """How a worker is."""

    RUNNING = "running"
    PAUSED = "restarting"  # it ended, and starts again when its pause is over
    DOWN = "down"  # it ended, and a person must act
    STOPPED = "stopped"  # we stopped it


@dataclass(slots=True)
class Worker:
    """One child process and its history."""

    name: str
    words: tuple[str, ...]
    log: Path
    life: Life = Life.STOPPED
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    restarts: int = 0
    resume_at: float = 0.0
    exit_code: int | None = None

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self.process.pid if self.process and self.life is Life.RUNNING else None

    def last_words(self) -> str:
        """The end of the worker's log: why it ended, as it said it."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
                text = log.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.rstrip().splitlines()[-_LINES:])


@dataclass(slots=True)
class Crew:
    """All workers of a project; ``tick`` is called now and then by the one thread that owns them."""

    environment: Mapping[str, str]
    command: tuple[str, ...] = (sys.executable, "-m", "engine.cli")
    pauses_s: Sequence[float] = PAUSE_S
    workers: list[Worker] = field(default_factory=list)

    def start(self, name: str, words: Sequence[str], log: Path) -> Worker:
        """Start the command with these words as a worker."""
        worker = Worker(name, tuple(words), log)
        _rotate(log)
        self.workers.append(worker)
        self._spawn(worker)
        return worker

    def tick(self) -> list[tuple[Worker, str]]:
        """See who ended, start again whose pause is over; gives what happened, for people."""
        told = []
        for worker in self.workers:
            now = time.monotonic()
            if worker.life is Life.RUNNING and worker.process and worker.process.poll() is not None:
                told.append((worker, self._ended(worker, now)))
            elif worker.life is Life.PAUSED and now >= worker.resume_at:
                self._spawn(worker)
                worker.restarts += 1
                told.append((worker, f"started again, pid {worker.pid}"))
        return told

    def stop(self) -> None:
        """Ask every worker to end, and kill who does not in time."""
        alive = [w for w in self.workers if w.process and w.process.poll() is None]
        for worker in alive:
            worker.life = Life.STOPPED
            self._signal(worker, signal.SIGTERM)
        end = time.monotonic() + STOP_S
        for worker in alive:
            process = worker.process
            if process is None:
                continue
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._signal(worker, signal.SIGKILL)
                process.wait()
        for worker in self.workers:
            worker.life = Life.STOPPED

    def _ended(self, worker: Worker, now: float) -> str:
        code = worker.process.returncode if worker.process else 0
        worker.exit_code = code
        worker.failures = 1 if now - worker.started_at >= STEADY_S else worker.failures + 1
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        may_pass = code < 0 or code == Exit.FAILED
        if not may_pass or worker.failures >= STARTS_MAX:
            worker.life = Life.DOWN
            return f"{how} and stays down; see {worker.log}"
        pause_s = self.pauses_s[min(worker.failures, len(self.pauses_s)) - 1]
        worker.life, worker.resume_at = Life.PAUSED, now + pause_s
        return f"{how}; starts again in {pause_s:g} s"

    def _spawn(self, worker: Worker) -> None:
        worker.log.parent.mkdir(parents=True, exist_ok=True)
        words = (*launcher(Rights(), signal.SIGTERM), *self.command, *worker.words)
        with worker.log.open("ab") as log:
            worker.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**self.environment, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        worker.life, worker.started_at = Life.RUNNING, time.monotonic()

    @staticmethod
    def _signal(worker: Worker, how: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            if worker.process:
                os.kill(worker.process.pid, how)


def _rotate(log: Path) -> None:
    """Put away what an earlier run has written; one former file is kept."""
    with contextlib.suppress(FileNotFoundError):
        log.replace(log.with_name(f"{log.name}.1"))
