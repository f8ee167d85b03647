"""The foreign reader of the latency bench, as a program: it sees when a row can be read.

Rule: nothing of ours is used. Every table is polled at a fixed interval: whether its log has another file,
and only then by the ``deltalake`` package, whose own idle look takes more than a millisecond of a core. A row
counts as seen once its file has been read, and the clock is read after that. A row that was there before (a
file that maintenance has rewritten) keeps its first time.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pyarrow.parquet as pq
from deltalake import DeltaTable

_COLUMNS: Final = ["id", "_committed_at", "_landed_at"]


@dataclass
class Watched:
    """One table: the files that were read, and per row when it was committed, landed, written and seen."""

    path: Path
    table: DeltaTable | None = None
    version: int = -1
    files: set[str] = field(default_factory=set)
    seen: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)

    def poll(self) -> None:
        """Read what is new."""
        if self.table is None:
            if not DeltaTable.is_deltatable(str(self.path)):
                return
            self.table = DeltaTable(str(self.path))
        elif (self.path / "_delta_log" / f"{self.version + 1:020d}.json").exists():
            self.table.update_incremental()
        if self.table.version() == self.version:
            return
        self.version = self.table.version()
        now = {unquote(uri.removeprefix("file://")) for uri in self.table.file_uris()}
        for file in now - self.files:
            self._read(Path(file))
        self.files = now

    def _read(self, file: Path) -> None:
        ids, *instants = pq.read_table(file, columns=_COLUMNS, partitioning=None).columns
        times = [column.cast("int64").to_pylist() for column in instants]
        written_us, seen_us = file.stat().st_mtime_ns // 1000, time.time_ns() // 1000
        for number, committed_us, landed_us in zip(ids.to_pylist(), *times, strict=True):
            self.seen.setdefault(number, (committed_us, landed_us, written_us, seen_us))


def main(given: dict[str, Any]) -> None:
    """Poll until every table shows the rows that it must have, or the time is over; then write all times."""
    tables = [Watched(Path(path)) for path in given["tables"]]
    polls, begun = 0, time.monotonic()
    end = begun + given["limit_s"]
    while time.monotonic() < end and any(len(table.seen) < given["rows"] for table in tables):
        due = time.monotonic() + given["every_s"]
        for table in tables:
            table.poll()
        polls += 1
        time.sleep(max(0.0, due - time.monotonic()))
    told = {
        "seen": {table.path.name: sorted((n, *at) for n, at in table.seen.items()) for table in tables},
        "every_s": (time.monotonic() - begun) / max(polls, 1),
    }
    Path(given["out"]).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
