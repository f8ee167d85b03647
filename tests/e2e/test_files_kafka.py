"""Partner files through a real broker and registry: what is kept comes back, whoever reads it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.files.ledger import Entry, entry
from connectors.files.opening import open_source
from engine.envelope import decode, schema_id
from engine.marks import MARK_BYTES_MAX
from engine.plan import CapturePlan
from engine.pump import Doors, run
from engine.pump.kept import read
from engine.registry import HttpRegistry
from engine.source import Kept, Mark, Source
from engine.supervise import Done
from engine.topic import KafkaTopic
from tests.support.files_bench import bench_of
from tests.support.files_world import HEAD, FilesWorld
from tests.support.services import Services

pytestmark = pytest.mark.stack


class Real:
    """A capture of a world's files between a broker and a registry."""

    def __init__(self, world: FilesWorld, services: Services, prefix: str) -> None:
        self.world, self.services = world, services
        self.registry = HttpRegistry(services.registry)
        self.bench = bench_of(world)
        plan = self.bench.capture
        topics = {t: replace(p, name=f"{prefix}.{p.name}") for t, p in plan.topics.items()}
        self.capture: CapturePlan = replace(plan, name=f"{prefix}.drop", topics=topics)
        self.project = prefix

    def topic(self) -> KafkaTopic:
        return KafkaTopic({"bootstrap.servers": self.services.kafka}, row_bytes_max=MARK_BYTES_MAX)

    def entries(self) -> list[Entry]:
        with closing(self.topic()) as topic:
            rows = read(topic, self.registry, self.capture).rows
        found = {one.arrival: one for one in map(entry, rows)}
        return [found[arrival] for arrival in sorted(found)]

    def runs(self, files: int) -> None:
        """Run until so many files are settled."""

        @contextmanager
        def opened(
            mark: Mark | None, out: Collection[str], asked: Mapping[str, int], kept: Kept
        ) -> Iterator[Source]:
            del out, asked
            with open_source(self.world.config, self.world.tables, mark, kept) as source:
                yield source

        def at(point: str) -> None:
            if point == "capture.after-confirm":
                known = self.entries()
                if len(known) == files and all(one.moved_to for one in known):
                    self.bench.clock.stop.set()

        doors: Doors = replace(
            self.bench.doors,
            project=self.project,
            open=opened,
            topic=self.topic,
            registry=self.registry,
            at=at,
        )
        assert run(self.capture, doors) == Done(None)
        self.bench.clock.stop.clear()

    def rows(self) -> list[tuple[int, int, str]]:
        """Position and first column of every record, in the order of the topic."""
        name = self.capture.topics["acme.orders"].name
        with closing(self.topic()) as topic:
            stored = list(topic.read(name, 0, *topic.offsets([name])[name][0]))
        found = []
        for one in stored:
            record = decode(one.value or b"", self.registry.schema(schema_id(one.value or b"")) or "")
            at = record["position"]
            found.append((at["major"], at["minor"], record["after"]["id"]))
        return found


def test_the_ledger_of_files_comes_back_from_a_broker(
    services: Services, prefix: str, tmp_path: Path
) -> None:
    world = FilesWorld(tmp_path)
    real = Real(world, services, prefix)
    world.put("a.csv", HEAD + "1,Aix\n2,Brest\n")
    real.runs(1)
    world.put("again.csv", HEAD + "1,Aix\n2,Brest\n")
    world.put("b.csv", HEAD + "3,Caen\n")
    real.runs(3)
    assert real.rows() == [(1, 4, "1"), (1, 6, "2"), (3, 4, "3")]
    assert [(one.name, one.state, one.code) for one in real.entries()] == [
        ("a.csv", "archived", ""),
        ("again.csv", "refused", "file.duplicate"),
        ("b.csv", "archived", ""),
    ]
    assert [one.ends for one in real.entries()] == [{"0": 2}, {}, {"0": 3}]
    with closing(real.topic()) as topic:
        kept = real.capture.topics["drop._files"]
        assert topic.prepare([kept]) == {}  # it is compacted, as it was planned
