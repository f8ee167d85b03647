"""BENCH=latency: from the commit in PostgreSQL to a row that a foreign reader can query.

Ten flows, a hundred rows a second into each, by a hundred transactions a second that write a row into each of
the ten tables; ``freshness: 0s``, mode append unless another is asked for. The reader is a program of its own
(``latency_reader``). There is no peer here: the figures stand against limits.

Rule: everything is what a user runs: the shipped template, a plan, the capture's and the landing's process as
the command starts them. A row's commit is the server's own time of it, which lies before the client's answer;
all clocks are this machine's. Rows count from the end of the warm-up, and all that were written must be there
once, by a reader that looks at the tables' last versions.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from deltalake import DeltaTable, QueryBuilder

from bench import ours
from bench.backlog import PROJECT
from bench.measure import Meter, peak_rss_bytes
from bench.place import Place
from bench.readback import drop_topic, stamps
from bench.rounds import say
from engine import names

FLOWS: Final = 10
PER_S: Final = 100
WARM_S: Final = 300.0
MEASURED_S: Final = 180.0
_LEAST_S: Final = 4.0  # of each of the two, however small the scale
_POLL_S: Final = 0.05
_LATE_S: Final = 120.0  # what has not come so long after the last commit does not come
_LIMITS: Final = {"p50": 1.5, "p99": 5.0}
_AIMS: Final = {"p50": 0.8, "p99": 2.0}
_SHARES: Final[Mapping[str, float]] = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_PUT: Final = "CREATE FUNCTION put(n bigint) RETURNS void LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
_TABLE: Final = """
CREATE TABLE {table} (id bigint PRIMARY KEY, customer integer NOT NULL, weight numeric(8,3),
  price numeric(10,2), scanned_at timestamptz NOT NULL, express boolean NOT NULL,
  place text NOT NULL, note text)"""
_INSERT: Final = (
    "INSERT INTO {table} VALUES (n, n * 31 % 50000, n * 37 % 30000 * 0.001, n * 13 % 1000000 * 0.01, "
    "clock_timestamp(), n % 7 = 0, 'depot ' || n % 211, CASE WHEN n % 5 > 0 THEN 'scan ' || n END);"
)

_FLOWS_YAML: Final = """\
apiVersion: ecluse/v1
kind: FlowSet
metadata: {{name: events, owner: bench@example.org}}
spec:
  template: postgres_table@1
  params: {{connection: {connection}, mode: {mode}, snapshot: none, freshness: 0s}}
  flows:
{flows}
"""


class NotArrived(AssertionError):
    """Rows that were committed are not in the lake, or stand there twice."""


def run(place: Place, *, scale: float, modes: Sequence[str] = ("append",)) -> dict[str, Any]:
    """One run per mode; gives what goes into the result file. Raises NotArrived."""
    warm_s, measured_s = (max(_LEAST_S, full * scale) for full in (WARM_S, MEASURED_S))
    found = {mode: _run(place, mode, warm_s, measured_s) for mode in modes}
    return {"flows": FLOWS, "per_s": PER_S, "warm_s": warm_s, "measured_s": measured_s, "modes": found}


def lines(results: Mapping[str, Any]) -> list[str]:
    """The bench's last words; a limit is for mode append."""
    return [_line(mode, found) for mode, found in results["modes"].items()]


def _line(mode: str, found: Mapping[str, Any]) -> str:
    seconds = found["seconds"]
    figures = " ".join(f"{name}={value:.2f}" for name, value in seconds.items())
    verdict = ""
    if mode == "append":
        within = all(seconds[name] <= limit for name, limit in _LIMITS.items())
        limits = " ".join(f"{name}_limit={limit} {name}_aim={_AIMS[name]}" for name, limit in _LIMITS.items())
        verdict = f" {'within' if within else 'over'} {limits}"
    return f"latency/{mode} {figures}{verdict} rows={found['rows']} measured={found['measured']}"


# --- one run ---------------------------------------------------------------------------------------------


def _run(place: Place, mode: str, warm_s: float, measured_s: float) -> dict[str, Any]:
    connection = f"latency_{mode}"
    tables = [f"event_{n}" for n in range(FLOWS)]
    first, transactions = round(warm_s * PER_S), round((warm_s + measured_s) * PER_S)
    _database(place, connection, tables)
    folder = _project(place, connection, tables, mode)
    paths = {table: folder / "lake" / "bronze" / table for table in tables}
    files_ = {name: folder / f"{name}.json" for name in ("load", "reader")}
    reading = {
        "tables": [str(path) for path in paths.values()], "every_s": _POLL_S, "rows": transactions,
        "limit_s": warm_s + measured_s + _LATE_S, "out": str(files_["reader"]),
    }  # fmt: skip
    dsn = (
        f"host={place.host} port={place.port} dbname={connection} user={place.user} password={place.password}"
    )
    writing = {"dsn": dsn, "transactions": transactions, "per_s": PER_S, "out": str(files_["load"])}
    with ExitStack() as stack:
        capture = stack.enter_context(_worker(folder, "capture", connection))
        landing = stack.enter_context(_worker(folder, "landing"))
        _capturing(place, connection, capture, folder)
        reader = stack.enter_context(_program("bench.latency_reader", reading))
        load = stack.enter_context(_program("bench.latency_load", writing))
        trees = {"capture": capture, "landing": landing, "reader": reader, "load": load}
        workers = {"capture": capture, "landing": landing}
        with Meter({n: p.pid for n, p in trees.items()} | {**place.pids}, memory=()) as meter:
            _alive(workers, folder, load, warm_s)
            meter.restart()
            _alive(workers, folder, load, measured_s + _LATE_S)
            used = meter.read()
            _alive(workers, folder, reader, 2 * _LATE_S)
        peaks = {
            name: peak_rss_bytes(process.pid) for name, process in trees.items() if process.poll() is None
        }
        landed = _landed(folder)
    told, wrote = (json.loads(file.read_text()) for file in (files_["reader"], files_["load"]))
    whole(paths, transactions)
    topics = [names.topic(connection, "public", table) for table in tables]
    sent = {
        t: stamps(place.bootstrap, place.registry, topic) for t, topic in zip(tables, topics, strict=True)
    }
    for topic in topics:
        drop_topic(place.bootstrap, topic)
    found = figures(told["seen"], sent, wrote["committed_us"], first)
    say(f"{mode}: {found['seconds']}, stages {found['stages']}")
    return found | {
        "rows": transactions * FLOWS, "behind_s": wrote["behind_s"], "poll_s": round(told["every_s"], 4),
        "wall_s": used.wall_s, "cpu_s": dict(used.cpu_s), "peak_rss": peaks, "batches": landed,
    }  # fmt: skip


def figures(
    seen: Mapping[str, Sequence[Sequence[int]]],
    sent: Mapping[str, Mapping[int, int]],
    answered_us: Sequence[int],
    first: int,
) -> dict[str, Any]:
    """Seconds from commit to seen, and of each stage, over the rows behind the warm-up."""
    whole: list[float] = []
    stages: dict[str, list[float]] = {
        name: [] for name in ("commit_to_topic", "topic_to_batch", "batch_to_file", "file_to_seen")
    }
    ahead: list[float] = []
    for table, rows in seen.items():
        for number, committed_us, landed_us, written_us, seen_us in rows[first:]:
            whole.append((seen_us - committed_us) / 1e6)
            ahead.append((answered_us[number] - committed_us) / 1e6)
            at = (committed_us, sent[table][number], landed_us, written_us, seen_us)
            for values, before, after in zip(stages.values(), at[:-1], at[1:], strict=True):
                values.append((after - before) / 1e6)
    return {
        "measured": len(whole),
        "seconds": quantiles(whole),
        "stages": {name: quantiles(values) for name, values in stages.items()},
        "answered_after_s": quantiles(ahead),
    }


def quantiles(values: Iterable[float]) -> dict[str, float]:
    """Median, 90 and 99 of a hundred, and the greatest.

    >>> quantiles(n / 100 for n in range(1, 101))
    {'p50': 0.51, 'p90': 0.91, 'p99': 1.0, 'max': 1.0}
    """
    ordered = sorted(values)
    found = {
        name: ordered[min(int(share * len(ordered)), len(ordered) - 1)] for name, share in _SHARES.items()
    }
    return {name: round(value, 3) for name, value in {**found, "max": ordered[-1]}.items()}


def whole(paths: Mapping[str, Path], transactions: int) -> None:
    """Every row that was written stands in its table once. Raises NotArrived."""
    for table, path in paths.items():
        query = QueryBuilder().register("rows", DeltaTable(str(path)))
        ids = Counter(query.execute("SELECT id FROM rows").read_all().column("id").to_pylist())
        missing = [n for n in range(transactions) if n not in ids]
        doubled = [n for n, times in ids.items() if times > 1]
        if missing or doubled or len(ids) != transactions:
            raise NotArrived(
                f"{table}: {len(missing)} rows missing, {len(doubled)} doubled, {len(ids)} in all"
            )
    say(f"every one of {transactions:,} rows stands once in each of {len(paths)} tables")


# --- what it runs on -------------------------------------------------------------------------------------


def _database(place: Place, database: str, tables: Sequence[str]) -> None:
    with place.connect("postgres") as admin:
        admin.execute(f"CREATE DATABASE {database}")
    with place.connect(database) as session:
        for table in tables:
            session.execute(_TABLE.format(table=table))
        session.execute(_PUT.format(body="\n".join(_INSERT.format(table=table) for table in tables)))


def _project(place: Place, connection: str, tables: Sequence[str], mode: str) -> Path:
    """A project as a user writes it: a set of ten flows of the shipped template."""
    folder = ours.project(place, connection=connection, database=connection)
    (folder / "flows" / "parcel.yaml").unlink()
    flows = "\n".join(f"    {table}: {{table: public.{table}}}" for table in tables)
    text = _FLOWS_YAML.format(connection=connection, mode=mode, flows=flows)
    (folder / "flows" / "events.yaml").write_text(text, encoding="utf-8")
    return folder


@contextmanager
def _worker(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of the project as the command starts it; told to stop in the end, as an operator does."""
    command = [sys.executable, "-m", "engine.cli", "--project", str(folder), "run", *words]
    with (folder / f"{words[0]}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ})
    try:
        yield process
        ours.stop(process)
    finally:
        _kill(process)


@contextmanager
def _program(module: str, given: Mapping[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", module, json.dumps(given)])
    try:
        yield process
    finally:
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


def _capturing(place: Place, database: str, worker: subprocess.Popen[bytes], folder: Path) -> None:
    """Return once the capture holds its slot: nothing of the load lies before it."""
    slot = names.slot(PROJECT, database)
    with place.connect(database) as session:
        query = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
        deadline = time.monotonic() + _LATE_S
        while not (session.execute(query, (slot,)).fetchone() or (False,))[0]:
            _alive({"capture": worker}, folder, worker, _POLL_S)
            if time.monotonic() > deadline:
                raise ours.WorkerFailed(f"the slot {slot} is not active after {_LATE_S:g} s")


def _alive(
    workers: Mapping[str, subprocess.Popen[bytes]],
    folder: Path,
    until: subprocess.Popen[bytes],
    most_s: float,
) -> None:
    """Return when the program ends, or after so long. Raises WorkerFailed when a worker ends meanwhile."""
    deadline = time.monotonic() + most_s
    while (until.poll() is None or until in workers.values()) and time.monotonic() < deadline:
        for name, worker in workers.items():
            if worker.poll() is not None:
                raise ours.WorkerFailed((folder / f"{name}.log").read_text(errors="replace")[-4000:])
        time.sleep(_POLL_S)


def _landed(folder: Path) -> dict[str, Any]:
    """What the landing said of its batches."""
    said = [json.loads(line) for line in (folder / "landing.log").read_text().splitlines() if line[:1] == "{"]
    batches = [event for event in said if event.get("event") == "landed"]
    return {
        "count": len(batches),
        "rows": round(statistics.mean(event["landed"] for event in batches), 1),
        "ms": statistics.median(event["ms"] for event in batches),
    }
