"""A capture of partner files between real folders and topics in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from connectors.files.ledger import Entry, entry
from connectors.files.opening import open_source
from connectors.files.source import Clock
from engine.errors import EcluseError
from engine.pump import run
from engine.pump.kept import read
from engine.source import Kept, Mark, Source
from engine.supervise import Done, Parked
from tests.support.files_world import FilesWorld
from tests.support.memory import Bench

KEPT = "drop._files"


def bench_of(world: FilesWorld, partitions: int = 1) -> Bench:
    """The capture of a world's flows; its clock goes on by itself and nobody sleeps."""

    @contextmanager
    def open_(
        mark: Mark | None, out: Collection[str], asked: Mapping[str, int], kept: Kept
    ) -> Iterator[Source]:
        del asked
        tables = [one for one in world.tables if f"{one.schema}.{one.table}" not in out]
        time = bench.clock.clock()
        clock = Clock(time.monotonic, time.wall, lambda _: None)
        with open_source(world.config, tables, mark, kept, clock=clock, at=world.at) as source:
            yield source

    topics = {f"{one.schema}.{one.table}": partitions for one in world.tables}
    bench = Bench(open_, topics | {KEPT: 1}, frozenset({KEPT}))
    return bench


def entries(bench: Bench) -> list[Entry]:
    """The newest entry of each file, as an opening would find it."""
    found = {e.arrival: e for e in map(entry, read(bench.topic, bench.registry, bench.capture).rows)}
    return [found[arrival] for arrival in sorted(found)]


def settled(bench: Bench, files: int) -> Callable[[str], None]:
    """Stop the capture as soon as so many files lie where they belong."""

    def at(point: str) -> None:
        if point == "capture.after-confirm":
            known = entries(bench) if KEPT in bench.capture.topics else []
            if len(known) >= files and all(one.moved_to for one in known):
                bench.clock.stop.set()

    return at


def runs(bench: Bench, files: int) -> None:
    """Run the capture until so many files are settled."""
    bench.at = settled(bench, files)
    end = run(bench.capture, bench.doors)
    bench.clock.stop.clear()
    if isinstance(end, Parked):
        raise end.error
    assert end == Done(None)


def parked(bench: Bench, files: int = 1) -> EcluseError:
    """The error that the capture ends with."""
    bench.at = settled(bench, files)
    end = run(bench.capture, replace(bench.doors))
    assert isinstance(end, Parked)
    return end.error


def rows(bench: Bench, table: str = "acme.orders") -> list[dict[str, Any]]:
    """Every record of a feed's topic."""
    return [record for part in bench.records(table) for record in part]
