"""One hostile file through the whole path of a capture, in a process of its own with little memory.

Rule: the process may take so much memory and no more (``RLIMIT_AS``): whoever asks for more gets an error,
which fails the case. Work is counted in bytes of content.
"""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from connectors.files import reading
from connectors.files.containers import content
from connectors.files.ledger import Entry
from engine.source import TableSpec
from tests.support.files_bench import bench_of, entries, rows, runs
from tests.support.files_world import READY, FilesWorld
from tests.support.hostile import CONTAINERS, Case
from tests.support.hostile_texts import TEXTS

MEMORY: Final = 64 << 20
"""What a case may take beyond what the process takes when it has done nothing."""

_CPU_S: Final = 300  # what never ends is killed; no case is judged by it

CORPUS: Final = {case.name: case for case in (*CONTAINERS, *TEXTS)}
BAD, GOOD = "bad", "good"


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of the file and of the good one behind it, and how many bytes of content were looked at."""

    entries: dict[str, Entry]
    rows: list[dict[str, Any]]
    content: int
    size: int


def fate(name: str, folder: Path) -> Fate:
    """The fate of a case; raises what its process ended with."""
    here, there = multiprocessing.Pipe(duplex=False)
    known = multiprocessing.get_context("forkserver")
    known.set_forkserver_preload(["tests.support.hostile_child"])
    child = known.Process(target=_answer, args=(name, folder, there))
    child.start()
    there.close()
    try:
        found: Fate | str = here.recv()
    except EOFError:
        found = ""
    child.join()
    assert isinstance(found, Fate), found or f"the process ended with {child.exitcode}"
    return found


def _answer(name: str, folder: Path, answer: Connection) -> None:
    try:
        answer.send(_fate(CORPUS[name], folder))
    except BaseException as error:
        answer.send(f"{type(error).__name__}: {error}")
        raise


def _fate(case: Case, folder: Path) -> Fate:
    world = FilesWorld(folder, [TableSpec("flow.orders", "acme", "orders", said=_said(case))])
    size = world.put(BAD, case.make()).stat().st_size
    world.put(GOOD, case.good)
    bench = bench_of(world)
    bench.row_bytes_max = 8 << 20  # as the templates have it
    counted = _count_content()
    _little_memory()
    runs(bench, 2)
    return Fate({one.name: one for one in entries(bench)}, rows(bench), sum(counted), size)


def _said(case: Case) -> dict[str, Any]:
    return {"partner": "acme", "folder": "in", "ready": READY, **case.feed}


def _count_content() -> list[int]:
    """From now on the sizes of all pieces of content end up here."""
    sizes: list[int] = []

    def counted(*words: Any) -> Iterator[bytes]:
        for piece in content(*words):
            sizes.append(len(piece))
            yield piece

    patch.object(reading, "content", counted).start()
    return sizes


def _little_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
