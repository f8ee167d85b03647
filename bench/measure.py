"""What a group of processes has used: CPU-seconds of whole trees, and their peak resident memory.

Rule: read from /proc, by process id, from outside; the measured program does nothing for it. CPU counts
children that have ended, because their parent has reaped them. Memory is the sum of resident sizes: exact
for the trees of one process that are measured here, and cheap to ask of a large JVM.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_SAMPLE_S: Final = 0.2


def tree(pid: int) -> list[int]:
    """The process and all its living descendants."""
    found = [pid]
    for parent in found:
        # any of them may end between two looks; ``suppress`` keeps what was found before
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                children = (task / "children").read_text()
                found += [int(child) for child in children.split()]
    return found


def cpu_s(pid: int) -> float:
    """CPU-seconds, user and system, of a tree, its reaped children included; 0 when it is gone."""
    total = 0
    for member in tree(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(fields[n]) for n in (11, 12, 13, 14))  # utime, stime, cutime, cstime
    return total / _TICKS


def rss_bytes(pid: int) -> int:
    """Resident memory of a tree now."""
    total = 0
    for member in tree(pid):
        try:
            total += int(Path(f"/proc/{member}/statm").read_text().split()[1]) * _PAGE_BYTES
        except OSError:
            continue
    return total


def peak_rss_bytes(pid: int) -> int:
    """The kernel's own high-water mark of one living process: no sample can miss it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


@dataclass(frozen=True, slots=True)
class Used:
    """What a run took: wall seconds, and per named tree CPU-seconds and peak memory."""

    wall_s: float
    cpu_s: Mapping[str, float]
    peak_bytes: Mapping[str, int]


@dataclass
class Meter:
    """Measures named trees between ``start`` and ``stop``; memory is sampled in a thread meanwhile.

    Only the trees named in ``memory`` are sampled.
    """

    trees: Mapping[str, int]
    memory: tuple[str, ...] = ("sut",)
    _peak: dict[str, int] = field(default_factory=dict)
    _before: dict[str, float] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)
    _started: float = 0.0
    _done: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._before = {name: cpu_s(pid) for name, pid in self.trees.items()}
        self._started = time.perf_counter()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def restart(self) -> None:
        """The clock starts here: what was used until now belongs to the start-up."""
        self._before = {name: cpu_s(pid) for name, pid in self.trees.items()}
        self._started = time.perf_counter()

    def read(self, at: float | None = None) -> Used:
        """What was used since the clock started; ``at`` is the end when it is already past."""
        wall_s = (time.perf_counter() if at is None else at) - self._started
        self._observe()
        spent = {name: round(self._last.get(name, 0.0) - self._before[name], 2) for name in self.trees}
        return Used(round(wall_s, 3), spent, dict(self._peak))

    def _sample(self) -> None:
        while not self._done.wait(_SAMPLE_S):
            self._observe()

    def _observe(self) -> None:
        for name, pid in self.trees.items():
            # a tree that has ended keeps what was last seen of it
            self._last[name] = max(self._last.get(name, 0.0), cpu_s(pid))
            if name in self.memory:
                self._peak[name] = max(self._peak.get(name, 0), rss_bytes(pid))
