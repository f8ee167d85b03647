"""A small project on the shared stack: its own database, role, topics and lake, and its workers as processes.

Rule: two tables (``workload``), each landed twice, as a journal (append) and as the newest rows (scd1), so
that one run is judged from four sides. The role is no superuser; its password is a canary that must show
nowhere.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from engine import names
from tests.support import oracles_lake, oracles_topic, workload_postgres
from tests.support.flows_declared import TABLES, TEMPLATE, default_flows
from tests.support.flows_worker import KILLED, Worker
from tests.support.waits import NeverCame, wait_until
from tests.support.workload import (
    LISTS,
    Change,
    Mix,
    Row,
    Transaction,
    Truncate,
    finals,
    transactions,
)
from tests.support.workload_postgres import Traffic

REPOSITORY: Final = Path(__file__).parents[2]
CONNECTION: Final = "shop"
FLOWS: Final = tuple(f"{table}_{form}" for table in TABLES for form in ("log", "now"))
_KEPT: Final = (
    "PATH", "HOME", "LANG", "TMPDIR", "ECLUSE_CACHE", "XDG_CACHE_HOME", "JAVA_HOME", "JAVA_TOOL_OPTIONS",
)  # fmt: skip
_LIMIT_S: Final = 600.0
_STOPPED_MAX: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the shared stack is."""

    kafka: str
    registry: str
    postgres: str  # a superuser's dsn, host and port and password included, without dbname
    environment: Mapping[str, str]


@dataclass
class World:
    """One project: ``folder`` holds its files, logs and lake; ``drop`` removes a database and its slots."""

    name: str
    folder: Path
    places: Places
    drop: Callable[[str], None]
    canary: str = field(default_factory=lambda: f"canary-{secrets.token_hex(12)}")
    seed: int = 1
    mix: Mix = field(default_factory=Mix)
    workers: list[Worker] = field(default_factory=list)
    poisoned: set[tuple[str, int, int]] = field(default_factory=set)
    _stood: dict[str, str] = field(default_factory=dict)
    _plan: Iterator[Transaction] | None = None
    _registry: oracles_topic.Registry | None = None
    _told: dict[str, list[Change]] = field(default_factory=dict)

    @property
    def registry(self) -> oracles_topic.Registry:
        """The registry as a reader who remembers what was once asked."""
        if self._registry is None:
            self._registry = oracles_topic.Registry(self.places.registry)
        return self._registry

    @property
    def plan(self) -> Iterator[Transaction]:
        """The one plan of this world's traffic: whoever plays takes it up where the last one left it."""
        if self._plan is None:
            self._plan = transactions(self.seed, 1_000_000, self.mix)
        return self._plan

    def play(self, count: int) -> None:
        """So many transactions, now."""
        workload_postgres.play(self.dsn, itertools.islice(self.plan, count))

    def traffic(self, *, truncates: bool = True) -> Traffic:
        """Transactions in the background; some of them may empty a table."""
        plan = self.plan
        if not truncates:
            plan = (t for t in plan if not any(isinstance(op, Truncate) for op in t.ops))
        return Traffic(self.dsn, plan)

    def poison(self, table: str, value: bytes, key: bytes | None = None, partition: int = 0) -> None:
        """Put a record into a topic that is none of ours."""
        topic = self.topic(table)
        offset = oracles_topic.produce(self.places.kafka, topic, partition, key, value)
        self.poisoned.add((topic, partition, offset))

    @property
    def lake(self) -> Path:
        """The root of its tables."""
        return self.folder / "lake"

    @property
    def admin(self) -> str:
        """A superuser's dsn of its database."""
        return f"{self.places.postgres} dbname={self.name}"

    @property
    def dsn(self) -> str:
        """The dsn of its own role, with the canary as the password."""
        parts = dict(p.split("=", 1) for p in self.places.postgres.split())
        where = f"host={parts['host']} port={parts['port']}"
        return f"{where} user={self.name} password={self.canary} dbname={self.name}"

    def topic(self, table: str) -> str:
        """The topic of a table; the connection's name makes it this world's own."""
        return names.topic(self.name, "public", table)

    def create(self, flows: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Make the database, the role, the tables and the project's files."""
        with psycopg.connect(f"{self.places.postgres} dbname=postgres", autocommit=True) as connection:
            role, password = sql.Identifier(self.name), sql.Literal(self.canary)
            connection.execute(sql.SQL("create role {} login replication password {}").format(role, password))
            connection.execute(sql.SQL("create database {} owner {}").format(role, role))
        workload_postgres.create(self.dsn)
        self.write_project(flows)

    def write_project(self, flows: Mapping[str, Mapping[str, Any]] | None = None, **connection: Any) -> None:
        """The project's files; ``connection`` overrides keys of the connection."""
        parts = dict(p.split("=", 1) for p in self.places.postgres.split())
        source = {
            "type": "postgres",
            "host": parts["host"],
            "port": int(parts["port"]),
            "database": self.name,
            "user": self.name,
            "password": "${secret.walk_password}",
            **connection,
        }
        project = {
            "apiVersion": "ecluse/v1",
            "kind": "Project",
            "metadata": {"name": self.name},
            "spec": {
                "connections": {self.name: source},
                "kafka": {"bootstrap_servers": [self.places.kafka]},
                "registry": {"url": self.places.registry},
                "lake": {"root": str(self.lake)},
            },
        }
        flow_set = {
            "apiVersion": "ecluse/v1",
            "kind": "FlowSet",
            "metadata": {"name": "walk"},
            "spec": {
                "template": "walk_table@1",
                "params": {"connection": self.name},
                "flows": {name: dict(params) for name, params in (flows or default_flows()).items()},
            },
        }
        # JSON is YAML, and needs no writer of YAML
        _write(self.folder / "ecluse.yaml", json.dumps(project, indent=1))
        _write(self.folder / "flows" / "walk.yaml", json.dumps(flow_set, indent=1))
        _write(self.folder / "templates" / "walk_table.yaml", TEMPLATE)
        secret = self.folder / "secrets" / "walk_password"
        _write(secret, self.canary + "\n")
        secret.chmod(0o600)

    # --- workers ------------------------------------------------------------------------------------------

    def capture(self, *, point: str = "", nth: int = 1, of: str = "") -> Worker:
        """``run capture``; with a point, one that kills itself there; ``of`` another connection."""
        return self._start("capture", ["run", "capture", of or self.name], point, nth)

    def reading_capture(self, of: str = "") -> Worker:
        """A capture that streams: what is written from now on it reads."""
        worker = self.capture(of=of)

        def reads() -> bool:
            assert worker.process.poll() is None, worker.text()[-3000:]
            return any(event.get("event") == "capturing" for event in worker.events())

        wait_until(reads, "the capture streams", limit_s=90)
        return worker

    def landing(self, *, until_done: bool = False, point: str = "", nth: int = 1) -> Worker:
        """``run landing``; with a point, one that kills itself (and its JVM) there."""
        words = ["run", "landing", *(["--available-now"] if until_done else [])]
        self._stood = {flow: self._state(flow) for flow in FLOWS}
        return self._start("landing", words, point, nth)

    def land(self) -> Worker:
        """Land all that there is, and end well."""
        worker = self.landing(until_done=True)
        code = worker.ended()
        assert code == 0, worker.text()[-3000:]
        return worker

    def ecluse(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A verb of the command, to its end."""
        command = [*_ECLUSE, "--project", str(self.folder), *words]
        return subprocess.run(
            command, capture_output=True, text=True, env=self._environment(), check=False, timeout=120
        )

    def killed_at(self, worker: Worker, point: str) -> None:
        """Assert that a worker reached its point and died there."""
        code = worker.ended()
        reached = self.record.read_text(encoding="utf-8") if self.record.exists() else ""
        last = reached.splitlines()[-1] if reached else "no point"
        assert last.startswith(point), f"{last} was reached; exit {code}: {worker.text()[-3000:]}"
        assert code == KILLED, worker.text()[-3000:]

    @property
    def record(self) -> Path:
        """Where a worker writes that it has reached its point."""
        return self.folder / "reached"

    def _start(self, kind: str, words: Sequence[str], point: str, nth: int) -> Worker:
        log = self.folder / "logs" / f"{kind}-{len(self.workers)}.log"
        log.parent.mkdir(exist_ok=True)
        program: Sequence[str] = _ECLUSE
        if point:
            self.record.unlink(missing_ok=True)
            program = [*_KILLED, point, str(nth), str(self.record)]
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*program, "--project", str(self.folder), *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                cwd=REPOSITORY,
            )
        worker = Worker(process, log)
        self.workers.append(worker)
        return worker

    def _environment(self) -> dict[str, str]:
        kept = {k: os.environ[k] for k in _KEPT if k in os.environ}
        return {**kept, **self.places.environment, "PYTHONPATH": str(REPOSITORY)}

    def close(self) -> None:
        """End every worker that still runs, and give its place in the source back: slots are few."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()
        self.drop(self.name)

    # --- what stands where ---------------------------------------------------------------------------------

    def source(self, table: str) -> dict[int, Row]:
        """The rows of the source."""
        return workload_postgres.rows(self.dsn, table)

    def told(self, table: str) -> list[Change]:
        """What the topic tells, duplicates included, in the order of each partition."""
        known, topic = self._told.setdefault(table, []), self.topic(table)
        after: dict[int, int] = {}
        for change in known:
            after[change.partition] = max(after.get(change.partition, -1), change.offset)
        try:
            raws = oracles_topic.read_raw(self.places.kafka, topic, after)
        except KeyError:
            return []  # there is no topic yet
        good = [r for r in raws if (topic, r.partition, r.offset) not in self.poisoned]
        known += oracles_topic.changes(self.registry, good)
        known.sort(key=lambda change: (change.partition, change.offset))
        return list(known)

    def table(self, flow: str) -> Path:
        """The folder of a flow's table."""
        return self.lake / "bronze" / flow

    def streamed(self) -> dict[str, list[Change]]:
        """What the topics tell, once they tell all that the source holds."""
        found: dict[str, list[Change]] = {}

        def complete() -> bool:
            for table in TABLES:
                found[table] = self.told(table)
                column = "items" if table == LISTS else "state"
                source = workload_postgres.as_source(self.source(table), column)
                if workload_postgres.as_source(finals(found[table]), column) != source:
                    return False
            return True

        self._wait(complete, "the topics tell all that the source holds")
        return found

    def _wait(self, state: Callable[[], bool], what: str) -> None:
        try:
            wait_until(state, what, limit_s=_LIMIT_S, every_s=0.5)
        except NeverCame as never:
            for worker in self.workers[-3:]:
                never.add_note(f"{worker.log.name}, {worker.process.poll()}: {worker.text()[-2000:]}")
            raise

    def landed(self, flows: Iterable[str] = FLOWS) -> dict[str, list[Change]]:
        """What the topics tell, once the ledger has booked all of it for these flows."""
        told = self.streamed()
        for flow in flows:
            self._wait(partial(self._caught_up_or_stopped, flow), f"{flow} has landed")
        return told

    def _caught_up_or_stopped(self, flow: str) -> bool:
        """Waiting for a flow that has stopped, and that nobody has answered since, helps nobody."""
        text = self._state(flow)
        state = json.loads(text) if text else {"state": "new"}
        # what stopped an earlier landing stands there until this one has landed its first batch
        if state["state"] == "stopped" and text != self._stood.get(flow, ""):
            assert datetime.now(UTC) - datetime.fromisoformat(state["since"]) < _STOPPED_MAX, state
        return self.caught_up(flow)

    def _state(self, flow: str) -> str:
        path = self.lake / "_ecluse" / "flows" / f"walk.{flow}.json"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def caught_up(self, flow: str) -> bool:
        """Whether the ledger of a flow has come to the end of its topic."""
        ends = oracles_topic.ends(self.places.kafka, self.topic(flow.rpartition("_")[0]))
        booked: dict[str, int] = {}
        for entry in self.ledger(flow):
            booked.update({p: end for p, (_, end) in entry["offsets"].items()})
        return all(booked.get(p, 0) == end for p, end in ends.items())

    def ledger(self, flow: str) -> list[Row]:
        """The ledger's rows of a flow, in the order of their seq."""
        rows = oracles_lake.table_rows(self.lake / "_ecluse" / "ledger")
        mine = [{**r, "offsets": _offsets(r["offsets"])} for r in rows if r["flow"] in (flow, f"walk.{flow}")]
        return sorted(mine, key=lambda r: (r["app_id"], r["seq"]))


_ECLUSE: Final = (sys.executable, "-m", "engine.cli")
_KILLED: Final = (sys.executable, "-m", "tests.support.programs")


def _offsets(stored: Any) -> dict[str, tuple[int, int]]:
    pairs = json.loads(stored) if isinstance(stored, str) else stored
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return {str(p): (r[0], r[1]) if isinstance(r, Sequence) else (r["start"], r["end"]) for p, r in items}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
