"""Whether the lake can be landed in: its folder, its disk, its tables, the places beside them.

Rule: it reads and never writes, so that whether a folder can be written is asked of its rights and not
tried. Each look is a function of its own: one that raises hides no other.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from engine.errors import LakeUnreachable
from engine.names import OWN_FOLDER, table_folder
from engine.plan import FlowPlan
from engine.source import Finding
from engine.watch.lake import opened, translated

Look = Callable[[], Iterator[Finding]]

FREE_BYTES_MIN: Final = 1 << 30  # below it a landing's next compaction may not fit
_FREE_SHARE_MIN: Final = 0.1
_GIB: Final = 1 << 30
_CODE: Final = LakeUnreachable.code


def looks(root: Path, flows: Sequence[FlowPlan], scratch: Path) -> dict[str, Look]:
    """What there is to be looked at, by name; ``scratch`` is where the landing's Spark works."""
    found: dict[str, Look] = {"folder": lambda: _folder(root), "disk": lambda: _disk(root)}
    for group in dict.fromkeys(flow.group for flow in flows):
        places = {"checkpoint": root / OWN_FOLDER / "checkpoints" / group, "scratch": scratch / group}
        for name, place in places.items():
            found[f"{name} of {group}"] = lambda name=name, place=place: _place(name, place)  # type: ignore[misc]
    for name in ("ledger", "quarantine"):
        found[name] = lambda name=name: _table(name, name, root / OWN_FOLDER / name)  # type: ignore[misc]
    for table in sorted({flow.sink.table for flow in flows}):
        found[table] = lambda table=table: _table("table", table, root / table_folder(table))  # type: ignore[misc]
    return found


def _nearest(path: Path) -> Path:
    """The folder itself, or the nearest above it that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _place(subject: str, path: Path) -> Iterator[Finding]:
    """Whether a folder can be written, or made."""
    there = _nearest(path)
    if not there.is_dir():
        yield Finding("fail", subject, f"{there} is no folder", fix=f"move {there} away", code=_CODE)
    elif not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        fix = f"chown {os.getuid()} {there}, or run the landing as its owner"
        yield Finding("fail", subject, f"{there} cannot be written by us", fix=fix, code=_CODE)
    else:
        said = "can be written" if there == path else "is not there yet: the landing makes it"
        yield Finding("ok", subject, f"{path} {said}")


def _folder(root: Path) -> Iterator[Finding]:
    yield from _place("folder", root)


def _disk(root: Path) -> Iterator[Finding]:
    disk = shutil.disk_usage(_nearest(root))
    text = f"{disk.free / _GIB:.1f} GiB of {disk.total / _GIB:.1f} GiB free"
    fix = f"make room on the disk of {root}: a full one parks every flow"
    if disk.free < FREE_BYTES_MIN:
        yield Finding("fail", "disk", text, fix=fix, code=_CODE)
    elif disk.free < _FREE_SHARE_MIN * disk.total:
        yield Finding("warn", "disk", text, fix=fix)
    else:
        yield Finding("ok", "disk", text)


def _table(subject: str, name: str, folder: Path) -> Iterator[Finding]:
    """Whether a table's log can be read; raises where it cannot."""
    with translated(str(folder)):
        table = opened(folder)
        if table is None:
            yield Finding("ok", subject, f"{name} is not there yet: the landing makes it")
        else:
            yield Finding("ok", subject, f"{name} is readable, version {table.version()}")
