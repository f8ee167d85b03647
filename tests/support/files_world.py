"""Partner files in real folders, and a topic in memory for what their connector keeps.

Rule: the topic's part is played as the engine plays it: an entry is there for the next opening as soon as it
was given, and a later one takes the place of an earlier one with the same key.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro

from connectors.files.config import FilesConfig
from connectors.files.ledger import FILES, Entry, entry
from connectors.files.opening import CLOCK, nothing, open_source
from connectors.files.source import Clock
from engine.arrivals import Wish
from engine.schema import Int64, avro
from engine.source import NO_ENDS, Ends, Item, Mark, Rows, Source, TableGap, TableSpec

CSV: dict[str, Any] = {"delimiter": ",", "columns": ["id", "town"]}
READY: dict[str, Any] = {"by": "rename", "suffix": ".part"}


def feed(**more: Any) -> dict[str, Any]:
    """What a flow says of comma separated files that are ready as soon as they have their name."""
    return {"partner": "acme", "folder": "in", "pattern": "*.csv", "ready": READY, "delimited": CSV} | more


def spec(name: str = "orders", **more: Any) -> TableSpec:
    """A flow's table."""
    return TableSpec(f"flow.{name}", "acme", name, said=feed(**more))


def value(field: Any, name: str) -> Any:
    """What a field of an entry is, read from the bytes of its record."""
    type_ = next(c.type for c in FILES.columns if c.name == name)
    if field is None or type_ != Int64():
        return None if field is None else field.decode()
    return fastavro.schemaless_reader(io.BytesIO(field), fastavro.parse_schema(avro(type_)), None)


@dataclass
class FilesWorld:
    """A connection's folders, its flows, and what its topic holds."""

    root: Path
    tables: Sequence[TableSpec] = field(default_factory=lambda: [spec()])
    settings: Mapping[str, Any] = field(default_factory=dict)
    kept: dict[tuple[Any, Any], dict[str, Any]] = field(default_factory=dict)
    at: Callable[[str], None] = nothing
    clock: Clock = CLOCK
    made: int = 0
    gaps: list[TableGap] = field(default_factory=list)
    wishes: list[Wish] = field(default_factory=list)

    def __post_init__(self) -> None:
        for folder in ("place/in", "staging"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)

    @property
    def inbox(self) -> Path:
        return self.root / "place" / "in"

    @property
    def config(self) -> FilesConfig:
        settings: dict[str, Any] = {
            "root": str(self.root / "place"),
            "staging": str(self.root / "staging"),
            "poll_s": 0.01,
            "project": "demo",
            "connection": "drop",
        }
        return FilesConfig(**(settings | dict(self.settings)))

    @property
    def entries(self) -> list[Entry]:
        """The newest entry of each file, in the order of their numbers."""
        newest = {row["arrival"]: entry(row) for row in self.kept.values()}
        return [newest[arrival] for arrival in sorted(newest)]

    @contextmanager
    def opened(self, mark: Mark | None = None) -> Iterator[Source]:
        kept: list[Mapping[str, Any] | Wish] = [*self.kept.values(), *self.wishes]
        with open_source(self.config, self.tables, mark, kept, clock=self.clock, at=self.at) as source:
            yield KeptSource(self, source)

    def open(self, mark: Mark | None) -> Any:
        return self.opened(mark)

    def put(self, name: str, content: bytes | str) -> Path:
        """A file that has its final name at once."""
        path = self.inbox / name
        part = path.with_name(f"{name[:200]}.part")
        part.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.made += 1
        os.utime(part, ns=(self.made * 1_000_000_000,) * 2)
        part.rename(path)
        return path

    def change(self, rows: int) -> None:
        """A file with so many records."""
        lines = "".join(f"{self.made}.{n},town {n}\n" for n in range(rows))
        self.put(f"{self.made:06}.csv", "id,town\n" + lines)

    def now(self) -> float:
        return time.monotonic()

    def keep(self, run: Rows) -> None:
        """What the topic holds after a run of entries."""
        names = [column.name for column in run.relation.columns]
        for _, _, fields in run.rows:
            row = {name: value(one, name) for name, one in zip(names, fields or (), strict=True)}
            key = row["arrival"], row["opening"]
            self.kept.pop(key, None)
            self.kept[key] = row


@dataclass
class KeptSource:
    """A source whose entries have gone into their topic; what is left is what a flow sees."""

    world: FilesWorld
    source: Source

    def read(self, *, limit: int, wait_s: float) -> Iterator[Item]:
        """Rows of feeds and marks; a read that gave nothing but entries goes on."""
        entries = True
        while entries:
            entries = rows = False
            for item in self.source.read(limit=limit, wait_s=wait_s):
                if isinstance(item, Rows) and item.relation.table == FILES.table:
                    self.world.keep(item)
                    entries = True
                    continue
                if isinstance(item, TableGap):
                    self.world.gaps.append(item)
                rows = rows or isinstance(item, Rows)
                yield item
            entries = entries and not rows

    def confirm(self, mark: Mark, ends: Ends = NO_ENDS) -> None:
        self.source.confirm(mark, ends)


HEAD = "id,town\n"


def settled(world: FilesWorld, mark: Mark | None = None, rounds: int = 3) -> Mark:
    """Read, and confirm the newest mark, a few times."""
    with world.opened(mark) as source:
        for _ in range(rounds):
            marks = [item for item in source.read(limit=10_000, wait_s=0.1) if isinstance(item, Mark)]
            mark = marks[-1] if marks else mark
            if mark is not None:
                source.confirm(mark)
    assert mark is not None
    return mark


def fates(world: FilesWorld) -> list[tuple[str, str, str]]:
    """The name, state and code of each file."""
    return [(one.name, one.state, one.code) for one in world.entries]


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())
