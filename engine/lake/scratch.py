"""Where Spark shuffles and spills: a folder for each run, and the end of those that a kill left behind.

Rule: a run locks its folder for as long as its process lives. Only folders that this room made are removed,
and only while nobody holds them: two landings may share a place, and a kill -9 may leave gigabytes there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

_PREFIX: Final = "run-"
_LOCK: Final = "lock"
_held: Final[list[int]] = []  # open until this process ends: so are the locks


def own(root: Path) -> Path:
    """A folder for this process alone under ``root``; what dead processes left there is removed."""
    root.mkdir(parents=True, exist_ok=True)
    door = _open(root)
    try:
        fcntl.flock(door, fcntl.LOCK_EX)  # between its making and its lock a folder looks like nobody's
        for folder in root.glob(f"{_PREFIX}*"):
            _remove_unless_held(folder)
        mine = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        lock = _open(mine)
        fcntl.flock(lock, fcntl.LOCK_EX)
        _held.append(lock)
    finally:
        os.close(door)
    return mine


def _remove_unless_held(folder: Path) -> None:
    lock = _open(folder)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass  # a landing that runs
    finally:
        os.close(lock)


def _open(folder: Path) -> int:
    return os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
