"""Files that take each other's place, from their folder through a broker into a journal and newest rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from connectors.files.opening import open_source
from engine.contract import ContractColumn, Letters, Numeric
from engine.pump import run
from engine.source import Kept, Mark, Source
from engine.supervise import Done
from tests.e2e.test_files_kafka import Real
from tests.support.files_bench import bench_of
from tests.support.files_world import HEAD, FilesWorld, spec
from tests.support.landing import Landing, Table
from tests.support.oracles import same_state
from tests.support.oracles_log import ledger_balances
from tests.support.services import Services

pytestmark = [pytest.mark.spark, pytest.mark.stack, pytest.mark.timeout(1200)]

CONTRACT = (ContractColumn("id", "bigint", nullable=False, format=Numeric()),
            ContractColumn("town", "string", format=Letters(10)))  # fmt: skip
FEED = "acme.orders"


class Killed(BaseException):
    """The process is gone."""


class Capture(Real):
    """A capture of one feed with two partitions."""

    def __init__(self, world: FilesWorld, services: Services, prefix: str) -> None:
        super().__init__(world, services, prefix)
        self.bench = bench_of(world, partitions=2)
        topics = {t: replace(p, name=f"{prefix}.{p.name}") for t, p in self.bench.capture.topics.items()}
        self.capture = replace(self.bench.capture, name=f"{prefix}.drop", topics=topics)

    def killed(self, step: str) -> None:
        """Run up to a step, and no further."""

        def at(now: str) -> None:
            if now == step:
                raise Killed

        @contextmanager
        def opened(mark: Mark | None, out: Any, asked: Any, kept: Kept) -> Iterator[Source]:
            del out, asked
            with open_source(self.world.config, self.world.tables, mark, kept, at=at) as source:
                yield source

        doors = replace(
            self.bench.doors, project=self.project, open=opened, topic=self.topic, registry=self.registry
        )
        with pytest.raises(Killed):
            assert run(self.capture, doors) == Done(None)


def tables_of(landing: Landing, capture: Capture) -> Sequence[Table]:
    """A table of newest rows and a journal of the feed's topic."""
    made = []
    for mode in ("scd1", "append"):
        table = landing.table(mode, mode=mode, partitions=2, create=False)
        flow = table.flow
        topic = replace(flow.topic, name=capture.capture.topics[FEED].name)
        table.flow = replace(flow, topic=topic, contract=CONTRACT)
        made.append(table)
    return made


def towns(table: Table) -> list[tuple[int, str, str]]:
    return sorted((row["id"], row["town"], row["_file"]) for row in table.rows())


@pytest.mark.parametrize("step", ["files.rows-given", "files.withdrawn"])
def test_of_files_of_one_name_the_lake_has_the_rows_of_the_last(
    landing: Landing, services: Services, prefix: str, tmp_path: Path, step: str
) -> None:
    """The kills are those between the last row of the new file and what it says of the old one."""
    world = FilesWorld(tmp_path, [spec(same_name="supersede", keys=["id"])])
    capture = Capture(world, services, prefix)
    world.put("a.csv", HEAD + "1,Aix\n2,Brest\n3,Caen\n4,Dax\n5,\n")
    world.put("other.csv", HEAD + "1,Albi\n9,Issy\n")
    capture.runs(2)
    newest, journal = tables = tables_of(landing, capture)
    landing.land(schemas=capture.registry)
    assert len(journal.rows()) == 7
    world.put("third.csv", HEAD + "4,Douai\n")
    capture.runs(3)
    world.put("a.csv", HEAD + "2,Bayeux\n6,Foix\n")
    capture.killed(step)
    capture.runs(4)
    landing.land(schemas=capture.registry)
    assert towns(newest) == [
        (1, "Albi", "other.csv"), (2, "Bayeux", "a.csv"), (4, "Douai", "third.csv"), (6, "Foix", "a.csv"),
        (9, "Issy", "other.csv"),
    ]  # fmt: skip
    assert towns(journal) == towns(newest)
    world.put("a.csv", HEAD + "4,Dijon\n")  # a chain: it takes the place of the second, the first is gone
    capture.runs(5)
    landing.land(schemas=capture.registry)
    assert towns(newest) == [(1, "Albi", "other.csv"), (4, "Dijon", "a.csv"), (9, "Issy", "other.csv")]
    assert towns(journal) == [
        (1, "Albi", "other.csv"), (4, "Dijon", "a.csv"), (4, "Douai", "third.csv"), (9, "Issy", "other.csv"),
    ]  # fmt: skip
    assert [table.quarantined() for table in tables] == [[], []]
    for table in tables:
        assert ledger_balances([asdict(entry) for entry in table.entries()]) == []
    comes_to_the_same(landing, capture, tmp_path, tables)


def comes_to_the_same(landing: Landing, capture: Capture, tmp_path: Path, before: Sequence[Table]) -> None:
    """The topic from its beginning, few records at a time, into another lake."""
    other = Landing(landing.spark, landing.kafka, tmp_path / "again", landing.prefix, landing.schemas)
    again = tables_of(other, capture)
    for table in again:
        table.flow = replace(table.flow, rows_per_commit=8)
    other.land(schemas=capture.registry)
    for first, second in zip(before, again, strict=True):
        assert same_state(first.rows(), second.rows(), ["_landed_at"]) == []
