"""The scripted source as a world that the contract can be checked on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from engine.schema import Int64, String
from engine.source import Mark, Row, Source
from tests.conformance.source_contract import numbers
from tests.support import cells
from tests.support.scripted import Scripted, ScriptedSource, Tx

PARCEL = cells.relation(cells.column("id", Int64(), nullable=False), cells.column("town", String()))
Dress = type[ScriptedSource]


@dataclass
class ScriptedWorld:
    """``source`` is the class of open sources: an honest one, or a liar."""

    source: Dress = ScriptedSource
    script: Scripted = field(default_factory=lambda: Scripted([]))
    time: list[float] = field(default_factory=lambda: [1000.0])
    _keys: Iterator[int] = field(default_factory=numbers)

    def open(self, mark: Mark | None) -> AbstractContextManager[Source]:
        return self._open(mark)

    @contextmanager
    def _open(self, mark: Mark | None) -> Iterator[Source]:
        after = json.loads(mark.resume)["after"] if mark else -1
        yield self.source(self.script, after, self.time)

    def change(self, rows: int) -> None:
        major = 100 * (len(self.script.script) + 1)
        made: list[Row] = [("c", None, [cells.field(Int64(), next(self._keys)), None]) for _ in range(rows)]
        self.script.script.append(Tx(PARCEL, made, major))

    def now(self) -> float:
        return self.time[0]
