"""BENCH=landing: a topic of records into a Delta table, ours against a plain Spark append.

Ours lands it three times per round: without checks, with twenty that every row meets, and with twenty of
which one row in a hundred fails one, of three reasons. The peer checks nothing in any of them.

Rule: each side is one program with its own JVM, started once and warmed by as many passes before the first
round (what the cold one took is published): what a JVM has learned from another side would slow down its
own. A run is a new table from the same topic, beginning to end, in as many files.
The lake around the tables, with its ledger and its quarantine, is made once, in the cold pass. Ours is the
real dispatch, with types checked, offsets in the commit, quarantine and ledger. Both tables are read by a
third party and compared with the rows as they are defined.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deltalake import DeltaTable

from bench import change, checks, records, rounds, tally
from bench.checks import CLEAN, FAILING, PLAIN
from bench.measure import Meter, Used
from bench.place import Place
from bench.readback import PARTITIONS, make_topic
from bench.rounds import OURS, Run, say
from bench.spark_program import Program, program
from bench.tally import Plain
from bench.web import ask

RECORDS: Final = 2_000_000
COMMITS: Final = 4
_COMMIT_ROWS: Final = 20_000  # with fewer than that a look at small scale would be a series of crumbs
PEER: Final = "spark_append"
TOPIC: Final = "bench.public.parcel"
LAYER: Final = "raw"
CHECKED: Final = "ecluse_20_checks"
BAD: Final = "ecluse_20_checks_1_percent_bad"
_OURS: Final[Mapping[str, str]] = {OURS: PLAIN, CHECKED: CLEAN, BAD: FAILING}  # what their tables are called
_WARM_UPS: Final = 6  # a JVM of two cores still gets faster in its fifth pass; a landing runs for months


class FilesDiffer(AssertionError):
    """The sides wrote different numbers of files."""


@dataclass(frozen=True, slots=True)
class Lake:
    """One side: its program, and where it may write."""

    name: str
    child: Program
    folder: Path
    pids: Mapping[str, int]
    table: str  # what its tables are called: our program knows by it which checks are meant

    def run(self, _number: int) -> Run:
        """A new table from the whole topic; gone when it has been read."""
        table, used = self._land()
        found = DeltaTable(str(table))
        files = len(found.file_uris())
        rows = tally.of(_rows(found))
        shutil.rmtree(table)
        return Run(used, rows, {"files": files, "commits": found.version() + 1})

    def warm(self) -> float:
        """The same, read by nobody; the seconds that it took."""
        table, used = self._land()
        shutil.rmtree(table)
        return used.wall_s

    def _land(self) -> tuple[Path, Used]:
        table = self.folder / LAYER / f"{self.table}_{time.monotonic_ns()}"
        with Meter({"sut": self.child.process.pid, **self.pids}) as meter:
            self.child.ask(table)
            self.child.wait()
            return table, meter.read()


def run(place: Place, *, scale: float, pairs: int, peers: Iterable[str]) -> dict[str, Any]:
    """The whole bench; gives what goes into the result file. Raises ResultsDiffer and FilesDiffer."""
    count = round(RECORDS * scale)
    expected = tally.of(records.rows(count))
    say(f"every side has to write {expected}")
    make_topic(place.bootstrap, TOPIC, PARTITIONS)
    started = time.perf_counter()
    records.fill(place.bootstrap, place.registry, TOPIC, PARTITIONS, count)
    say(f"{count:,} records in {PARTITIONS} partitions: written in {time.perf_counter() - started:.0f} s")
    results: dict[str, Any] = {"records": count, "pairs": pairs, "cold": {}}
    with ExitStack() as stack:
        lakes = [stack.enter_context(_lake(place, name, count)) for name in (*_OURS, *peers)]
        for lake in lakes:
            warm = [lake.warm() for _ in range(max(1, round(_WARM_UPS * scale)))]
            results["cold"][lake.name] = warm[0]
            say(f"{lake.name}: cold {warm[0]:.2f} s, then {', '.join(f'{s:.2f}' for s in warm[1:])} s")
        runs = rounds.play({lake.name: lake.run for lake in lakes}, rounds=pairs, rows=count)
    rounds.same_rows({name: mine for name, mine in runs.items() if name != BAD}, expected)
    rounds.same_rows({BAD: runs[BAD]}, tally.of(row for row in records.rows(count) if checks.meets(row)))
    _same_files(runs)
    say(f"every run but the bad: {expected}, {runs[OURS][0].notes['files']} files")
    sides = {
        side: {OURS: runs[side], **{peer: runs[peer] for peer in peers}} for side in (OURS, CHECKED, BAD)
    }
    return results | {"ratios": {s: rounds.ratios(r, count) for s, r in sides.items()}, "runs": runs}


def lines(results: Mapping[str, Any]) -> list[str]:
    """The bench's last words."""
    return [
        ratio.line(side.replace(OURS, "landing"))
        for side, ratios in results["ratios"].items()
        for ratio in ratios
    ]


@contextmanager
def _lake(place: Place, name: str, count: int) -> Iterator[Lake]:
    folder = place.folder / name
    tables = folder / "tables"
    tables.mkdir(parents=True)
    given = {
        "java_home": str(place.java_home),
        "jars": [str(jar) for jar in place.spark_jars],
        "scratch": str(folder / "scratch"),
        "bootstrap": place.bootstrap,
        "registry": place.registry,
        "topic": TOPIC,
        "schema": _schema(place.registry),
        "partitions": PARTITIONS,
        # a limit is split by partition and rounded down: without the slack a crumb makes one more commit
        "rows_per_commit": max(count // COMMITS, _COMMIT_ROWS) + PARTITIONS,
    }
    module = "bench.our_landing" if name in _OURS else "bench.plain_append"
    with program(module, given, log=folder / "log", environment=os.environ) as child:
        yield Lake(name, child, tables, {"kafka": place.pids["kafka"]}, _OURS.get(name, PLAIN))


def _schema(registry: str) -> str:
    """The schema that the topic's records were written with."""
    return str(ask(f"{registry}/subjects/{TOPIC}-value/versions/latest")["schema"])


def _same_files(runs: Mapping[str, list[Run]]) -> None:
    counts = {name: {run.notes["files"] for run in of_side} for name, of_side in runs.items()}
    if len(set.union(*counts.values())) > 1:
        raise FilesDiffer(f"files per run: {counts}")


def _rows(table: DeltaTable) -> Iterator[Plain]:
    """The table's rows as plain values."""
    for batch in table.to_pyarrow_dataset().to_batches(columns=["_op", *change.COLUMNS]):
        arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
        arrays["updated_at"] = arrays["updated_at"].cast("int64")
        arrays["day"] = arrays["day"].cast("int32")
        columns = {name: array.to_pylist() for name, array in arrays.items()}
        for name, scale in change.SCALES.items():
            columns[name] = [None if v is None else int(v.scaleb(scale)) for v in columns[name]]
        yield from zip(*(columns[name] for name in ("_op", *change.COLUMNS)), strict=True)
