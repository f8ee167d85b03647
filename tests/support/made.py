"""Files that were made up, taken by their connector: what was foretold of each, and what became of it.

Rule: the way is the real one: folders, ledger, both passes. What the landing makes of a text is asked of the
second reading of contracts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

from connectors.files.feeds import Feed
from engine.contract import ContractColumn
from engine.fake import Made, Order, fields_of, make
from engine.source import Mark, Rows, TableSpec
from tests.support import contracts
from tests.support.files_world import FilesWorld


@dataclass(frozen=True)
class Became:
    """What became of a file: its state and code, and by record why a row waits in quarantine."""

    state: str
    code: str
    rows: int
    waiting: Mapping[int, str]


WITH: Mapping[str, Any] = {
    "partner": "acme", "folder": "in", "ready": {"by": "rename", "suffix": ".part"},
}  # fmt: skip


def feed_of(said: Mapping[str, Any]) -> Feed:
    """A feed, as its flow says it."""
    return Feed.model_validate_json(json.dumps({**WITH, **said}))


def foretold(made: Made) -> Became:
    """What the report says of a file."""
    if made.fate.becomes == "refused":
        return Became("refused", made.fate.code, 0, {})
    waits = {
        record: one.fate.code for record, one in made.broken.items() if one.fate.becomes == "quarantined"
    }
    return Became("archived", made.fate.code, made.rows, waits)


def made(
    root: Path, said: Mapping[str, Any], order: Order, contract: Sequence[ContractColumn] = ()
) -> tuple[FilesWorld, list[Made]]:
    """The files of an order, in the folder that their connector looks at."""
    plain = {**WITH, **said}
    feed = feed_of(said)
    world = FilesWorld(root, [TableSpec("flow", "acme", "made", said=plain)])
    world.clock = at_noon(world, order)
    making = feed.making()
    files = list(make(making, fields_of(contract, making.rooms, keys=feed.keys), order, world.inbox))
    assert len({one.name for one in files}) == len(files), "two files have one name"
    for n, one in enumerate(files, 1):
        os.utime(world.inbox / one.name, ns=(n * 1_000_000_000,) * 2)
    return world, files


def at_noon(world: FilesWorld, order: Order) -> Any:
    """The clock of a machine on the day of the files."""
    noon = datetime.combine(order.day, time(12), UTC).timestamp()
    return replace(world.clock, wall=lambda: noon)


def taken(world: FilesWorld, contract: Sequence[ContractColumn] = ()) -> dict[str, Became]:
    """What becomes of the files, by their names."""
    runs: list[Rows] = []
    with world.opened() as source:
        for _ in range(4):
            items = list(source.read(limit=100_000, wait_s=0.1))
            runs += [item for item in items if isinstance(item, Rows)]
            for mark in [item for item in items if isinstance(item, Mark)][-1:]:
                source.confirm(mark)
    found = {}
    for one in world.entries:
        mine = [run for run in runs if run.major == one.arrival]
        waiting = {}
        for run in mine:
            names = [column.name for column in run.relation.columns]
            for n, (_, _, fields) in enumerate(run.rows):
                row = dict(zip(names, fields or (), strict=True))
                why = problem(row, contract, run.relation.key)
                if why:
                    waiting[run.first_minor // 2 + n] = why
        found[one.name] = Became(one.state, one.code, sum(len(run.rows) for run in mine), waiting)
    return found


def problem(row: Mapping[str, Any], contract: Sequence[ContractColumn], keys: Sequence[str]) -> str:
    """Why a row waits: what its source says, or that a text has no value."""
    if row["_problem"] is not None:
        return str(row["_problem"].decode().partition(":")[0])
    texts = {
        name: value.decode() for name, value in row.items() if isinstance(value, bytes) and name[0] != "_"
    }
    if any(contracts.refused(c, texts[c.name]) for c in contract if c.name in texts):
        return "unfit"
    empty = [c for c in contract if c.name not in texts or contracts.worth(c, texts[c.name]) is None]
    if any(c.name in keys for c in empty):
        return "key-null"
    return "null" if any(not c.nullable for c in empty) else ""
