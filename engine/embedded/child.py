"""One service as a child process: started, watched until it is ready, stopped, killed.

Rule: a service has its own session, its log in the state folder, and dies with the process that started it,
even when that one is killed; a detached one outlives it and is found again by pid and start time. Ready
means that the service answered in its own protocol. This room knows no service by name.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.errors import StackFailed

ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC"}  # nothing of ours leaks in
_LAUNCH: Final = Path(__file__).with_name("launch.py")
_POLL_S: Final = 0.05
_KILL_S: Final = 10.0
_TAIL_LINES: Final = 25
_STAT_STATE, _STAT_PARENT, _STAT_THREADS, _STAT_STARTED = (
    0,
    1,
    17,
    19,
)  # fields of /proc/<pid>/stat after the name


@dataclass(frozen=True, slots=True)
class Rights:
    """As whom a service runs. ``uid`` 0 means: as the user that we are."""

    uid: int = 0
    search: bool = False  # as another user, still pass through folders that only root may enter


@dataclass(frozen=True, slots=True)
class Service:
    """Everything there is to know about starting and stopping one service."""

    name: str
    port: int
    words: tuple[str, ...]
    log: Path
    prepare: Callable[[], None]  # makes its data folder when there is none
    answers: Callable[[], bool]  # whether it is ready, by its own protocol
    settle: Callable[[], None]  # what it must be told once it is ready
    death_signal: signal.Signals = signal.SIGKILL  # what it gets when its owner is gone
    rights: Rights = Rights()


@dataclass(frozen=True, slots=True)
class Identity:
    """A process by pid and start time: a pid alone may come to mean another process."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether this very process still runs.

        One that only waits to be buried does not, unless a thread of it is left that holds files and ports.
        """
        stat = _stat(self.pid)
        if stat is None or int(stat[_STAT_STARTED]) != self.started:
            return False
        return stat[_STAT_STATE] not in "ZX" or int(stat[_STAT_THREADS]) > 1


def identity(pid: int) -> Identity | None:
    """The process that has this pid now."""
    stat = _stat(pid)
    return None if stat is None else Identity(pid, int(stat[_STAT_STARTED]))


def launcher(rights: Rights, death_signal: int = 0) -> tuple[str, ...]:
    """The words before a command that give it its user and bind its life to our thread's (0: not bound)."""
    search = "search" if rights.search else "-"
    owner = (str(death_signal), str(os.getpid()), str(rights.uid), search)
    return (sys.executable, "-I", "-S", str(_LAUNCH), *owner)


def spawn(service: Service, starter: ThreadPoolExecutor | None) -> Identity:
    """Start a service. ``starter`` is the one thread whose end ends it; None for one that outlives us."""
    service.log.parent.mkdir(parents=True, exist_ok=True)
    words = (*launcher(service.rights, service.death_signal if starter else 0), *service.words)
    pid = starter.submit(_spawn, words, service.log).result() if starter else _spawn(words, service.log)
    child = identity(pid)
    if child is None:
        raise StackFailed(
            f"{service.name} ended at once: {tail(service.log)}", where=str(service.log), hint=_mend(service)
        )
    return child


def _spawn(words: Sequence[str], log: Path) -> int:
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(words[0], list(words), ENVIRONMENT, file_actions=files, setsid=True)


def wait_ready(service: Service, child: Identity, within_s: float) -> None:
    """Return when the service answers. Raises StackFailed with the end of its log when it does not."""
    deadline = time.monotonic() + within_s
    while not service.answers():
        if not child.alive:
            raise StackFailed(
                f"{service.name} ended while it started: {tail(service.log)}",
                where=str(service.log),
                hint=_mend(service),
            )
        if time.monotonic() > deadline:
            raise StackFailed(
                f"{service.name} did not answer within {within_s:g} s: {tail(service.log)}",
                where=str(service.log),
                hint="is the machine busy or out of memory? otherwise: ecluse down --delete",
            )
        time.sleep(_POLL_S)


def _mend(service: Service) -> str:
    return f"less {service.log}; to begin anew, without the data of the stack: ecluse down --delete"


def stop(child: Identity, how: signal.Signals, within_s: float) -> None:
    """Ask a process to end, and kill it when it does not do so in time."""
    if child.alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, how)
        if not _gone([child], within_s):
            kill(child)
    _bury(child)


def kill(child: Identity) -> None:
    """SIGKILL to a process and to all that it has started; returns when none of them is left."""
    family = [child, *_below(child)]
    for member in family:
        if member.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)
    if not _gone(family, _KILL_S):
        raise StackFailed(f"process {child.pid} does not end, even killed", hint=f"ps -p {child.pid}")
    _bury(child)


def _gone(family: Sequence[Identity], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while any(member.alive for member in family):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _below(child: Identity) -> list[Identity]:
    """The children of a process, and theirs."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        stat = _stat(int(entry.name)) if entry.name.isdigit() else None
        if stat is not None:
            parents.setdefault(int(stat[_STAT_PARENT]), []).append(int(entry.name))
    found, ahead = [], list(parents.get(child.pid, []))
    while ahead:
        pid = ahead.pop()
        ahead += parents.get(pid, [])
        member = identity(pid)
        found += [member] if member else []
    return found


def _bury(child: Identity) -> None:
    with contextlib.suppress(ChildProcessError):  # somebody else's child: its own parent does it
        os.waitpid(child.pid, os.WNOHANG)


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def tail(log: Path) -> str:
    """The end of a log, for an error."""
    if not log.is_file():
        return "(no log)"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    return "\n" + "\n".join(f"    {line}" for line in lines)
