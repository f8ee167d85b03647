"""One performance of the demo: four acts, what each looks at and does, and the verdict.

Rule: an act says nothing that it has not looked at. What it could not show is kept and told at the end, and
the play has then failed, whatever the verdict. It writes to the sample database only.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import psycopg
from psycopg import sql

from engine import names
from engine.cli import curtain, places, screen, show
from engine.cli.crew import Life, Worker
from engine.cli.partner import FLOW as FILES
from engine.cli.partner import Partner
from engine.cli.running import Eyes, Running, wait
from engine.cli.stage import SECONDS, STEP_S, Stage
from engine.cli.traffic import Traffic
from engine.errors import Exit, StackFailed
from engine.plan import FlowPlan
from engine.registry import way
from engine.state import State
from engine.watch import quarantine
from engine.watch.observe import Look

RATE: Final = 150.0
_BEFORE_S: Final = 2.0  # the company has worked so long, as fast as it can, before anybody captures
_BEFORE_SEED: Final = 7
_READY_S: Final = 600.0  # a busy machine takes minutes for what takes seconds
_DRAIN_S: Final = 600.0
_ACTS: Final = (0.25, 0.45, 0.6)  # shares of the traffic's time at which acts 2, 3 and 4 begin
_BOLD: Final = "bold cyan"
_COLUMN: Final = "loyalty text NOT NULL DEFAULT 'standard'"
_PROGRAM_S: Final = 120.0
_TRAFFIC_BOUND: Final = 4.0
_ANSWER_S: Final = 5.0
_SPOILED: Final = ("shop.parcels", "shop.invoices")
_STRAYED: Final = "shop.scans"
_ANSWERS: Final = frozenset({"active", "there"})  # a slot that is held, a folder that can be listed


def standing(look: Look | None) -> list[str]:
    """The flows that wait for somebody."""
    flows = look.flows if look else ()
    return [
        f"{flow.flow} ({flow.state.value})" for flow in flows if flow.state in (State.PARKED, State.STOPPED)
    ]


def starts(workers: Sequence[Worker]) -> dict[str, int]:
    """How often each worker has been started again."""
    return {worker.name: worker.restarts for worker in workers}


def ended(workers: Sequence[Worker], before: Mapping[str, int]) -> list[str]:
    """The workers that do not run, or have been started again since."""
    return [
        worker.name
        for worker in workers
        if worker.life is not Life.RUNNING or worker.restarts > before.get(worker.name, 0)
    ]


@dataclass(slots=True)
class Play:
    """One performance."""

    project: Running
    seconds: float
    extra: dict[str, int] = field(default_factory=dict)  # by flow: rows from before, changes of the acts
    stray: int = 0  # records that are no change of the source
    unmet: list[str] = field(default_factory=list)  # what an act says and has not shown
    on: Stage | None = None
    partner: Partner = field(init=False)

    def __post_init__(self) -> None:
        self.partner = Partner(self.project, self._program)

    @property
    def stage(self) -> Stage:
        """The screen."""
        if self.on is None:
            raise RuntimeError("the play has not begun")
        return self.on

    def run(self) -> bool:
        """All of it; gives whether every act has shown what it says, and the verdict holds."""
        project = self.project
        sample = project.samples[0]
        held = self.history()
        project.start_workers()
        # on a machine so busy that the acts take minutes, the traffic ends before them
        bound_s = _TRAFFIC_BOUND * self.seconds
        traffic = Traffic(project.call.environment, sample.app, rate=RATE, seconds=bound_s)
        with Eyes(project.call, project.plan) as eyes:
            self.on = Stage(project.crew, eyes, changes=lambda: self._changes(traffic))
            with self.on as stage:
                stage.say("waiting for the capture to hold its replication slot, and for Spark")
                self._until(self._captured, _READY_S, "the capture did not start")
                stage.say(f"the capture reads the {screen.count(held)} rows that the tables hold")
                self._until(self._read, _READY_S, "not all rows were read")
                stage.say("all of them are in Kafka, the source's log follows")
                self._until(self._spark, _READY_S, "Spark did not start")
                with traffic:
                    try:
                        self._acts(traffic)
                    except KeyboardInterrupt:
                        stage.say("Ctrl-C: the traffic ends, what is under way lands")
                stage.say("the traffic has ended; everything that was committed lands", _BOLD)
                if not self._wait(lambda: self._drained(traffic), _DRAIN_S):
                    stage.say(f"not all has landed within {_DRAIN_S:.0f} s", "bold red")
            stage.say("an independent reader compares every row")
        holds = self._verdict()
        fates = self.partner.judged()
        curtain.fates(fates)
        return self.shown(holds=holds and bool(fates["holds"]))

    def history(self) -> int:
        """The company was at work before anybody captured: its tables hold rows. How many."""
        environment, sample = self.project.call.environment, self.project.samples[0]
        show.note("the parcel company works for a moment, and nobody captures yet …")
        with Traffic(environment, sample.app, rate=0, seconds=_BEFORE_S, seed=_BEFORE_SEED) as before:
            wait(lambda: before.over, _PROGRAM_S, lambda: time.sleep(STEP_S))
        if before.failed or not before.over:
            raise StackFailed(f"the traffic ended: {before.failed}", hint="pip install 'ecluse[demo]'")
        with psycopg.connect(sample.superuser, autocommit=True) as db:
            db.execute("CALL witness.begin()")
            for flow in self._tables():
                of = sql.Identifier(flow.table.schema, flow.table.table)
                found = db.execute(sql.SQL("SELECT count(*) FROM {}").format(of)).fetchone()
                self._count(flow.name, found[0] if found else 0)
        return sum(self.extra.values())

    def shown(self, *, holds: bool) -> bool:
        """Whether the verdict holds and nothing that an act says was left unshown; that is printed."""
        for text in self.unmet:
            show.line(f"NOT SHOWN: {text}")
        return holds and not self.unmet

    def _acts(self, traffic: Traffic) -> None:
        stage = self.stage
        stage.say("act 1  flows fill: the rows that were there, then every change → Kafka → Delta", _BOLD)
        self._until(self._landing, _READY_S, "nothing has landed", traffic)
        stage.say("the first rows are in Delta")
        began = time.monotonic()
        self._files(traffic)
        length_s = self.seconds or SECONDS
        for at, act in zip(_ACTS, (self.alter, self.spoil, self.kill), strict=True):
            self._until(lambda at=at: time.monotonic() - began >= at * length_s, length_s, "", traffic)  # type: ignore[misc]
            act()
        while not self.seconds or time.monotonic() - began < length_s:
            self._step(traffic)

    # --- the acts, and what goes on beside them ---

    def _files(self, traffic: Traffic) -> None:
        """A partner sends five files."""
        stage = self.stage
        stage.say("meanwhile  a partner sends five files: each is taken whole, or refused whole", _BOLD)
        self._count(FILES, self.partner.send())
        self._until(self.partner.decided, _READY_S, "the partner's files were not decided about", traffic)
        for text in self.partner.told():
            stage.say(text, "yellow" if " refused: " in text else "green")

    def alter(self) -> None:
        """Act 2: a column is added in mid-traffic, and rows use it."""
        stage, flow = self.stage, self._flow("shop.customers")
        stage.say(f"act 2  ALTER TABLE customers ADD COLUMN {_COLUMN}, live", _BOLD)
        before, lives = self._schemas(flow), starts(self.project.crew.workers)
        self._execute("SET lock_timeout = '10s'", f"ALTER TABLE customers ADD COLUMN {_COLUMN}")
        altered_us = time.time_ns() // 1000
        self._touch("gold")
        if not self._wait(lambda: self._schemas(flow) > before, _READY_S):
            self.fail(f"{flow.name}: no second schema was registered")
            return

        def stopped() -> list[str]:
            return standing(stage.look) + ended(self.project.crew.workers, lives)

        goes_on = self._wait(lambda: self._landed_after(altered_us, flow.name) or bool(stopped()), _READY_S)
        if found := stopped():
            self.fail(f"{flow.name}: the new column stopped {', '.join(found)}")
        elif not goes_on:
            self.fail(f"{flow.name}: nothing has landed behind the new column")
        else:
            stage.say(f"{flow.name}: schema {before} → {self._schemas(flow)}, nothing stopped", "green")

    def spoil(self) -> None:
        """Act 3: two rows whose values have no place in their types, and a record that nobody can decode."""
        stage, flow = self.stage, self._flow(_STRAYED)
        stage.say("act 3  a weight of NaN, a payment at infinity, a stray record: three bad rows", _BOLD)
        found = places.find(self.project.call, self.project.plan)
        where = ("--bootstrap", found.kafka["bootstrap.servers"], "--topic", flow.topic.name)
        self._program("examples.demo.poison", *where)
        for name in _SPOILED:
            self._count(name, 1)
        self.stray = 1
        if not self._wait(lambda: self._quarantined() >= len(_SPOILED) + self.stray, _READY_S):
            self.fail("not every bad row was quarantined")
        for group in (g for g in quarantine.groups(found.lake) if g.flow != FILES):
            stage.say(f"{group.flow}: {group.records} quarantined, {group.stage}: {group.reason}", "yellow")
        stage.say(f"see it: {show.command()} -p {self.project.call.folder} quarantine show shop.parcels")

    def kill(self) -> None:
        """Act 4: the landing dies before the reader's eyes, and comes back by itself."""
        stage, worker = self.stage, self._worker("landing")
        pid = worker.pid
        if pid is None:
            self.fail("the landing does not run: nothing to kill")
            return
        stage.say(f"act 4  kill -9 {pid}: the landing dies; watch the Kafka lag", _BOLD)
        os.kill(pid, signal.SIGKILL)
        killed, killed_us = time.monotonic(), time.time_ns() // 1000
        self._touch("silver")  # something waits, even where a busy machine has outlasted the traffic
        most, left = 0, self._waiting()

        def watch() -> bool:
            nonlocal most, left
            left = self._waiting()
            most = max(most, left or 0)
            back = worker.pid not in (None, pid) and self._landed_after(killed_us)
            return back and left is not None and left < max(most, 1)

        back = self._wait(watch, _READY_S)
        after = screen.seconds(time.monotonic() - killed)
        if back and most:
            stage.say(f"back after {after}, {screen.count(most)} records had waited: the lag falls", "green")
        elif back:
            self.fail("the landing came back, and nothing had waited for it")
        else:
            self.fail(f"after {after} the landing was not back, or {screen.count(left)} records still waited")

    # --- what the acts look at ---

    def _captured(self) -> bool:
        look = self.stage.look
        return look is not None and all(f.source_state in _ANSWERS for f in look.flows)

    def _read(self) -> bool:
        """Whether every row that was there before is in Kafka."""
        look = self.stage.look
        return look is not None and all((f.in_kafka or 0) >= self.extra.get(f.flow, 0) for f in look.flows)

    def _spark(self) -> bool:
        """Whether the landing's Spark is up: the first thing that it makes is the quarantine."""
        lake = places.lake_root(self.project.call, self.project.plan)
        return (quarantine.folder(lake) / "_delta_log").is_dir()

    def _landing(self) -> bool:
        look = self.stage.look
        return look is not None and any(f.in_delta for f in look.flows)

    def _landed_after(self, at_us: int, flow: str = "") -> bool:
        look = self.stage.look
        return look is not None and any(
            (f.landed_at_us or 0) > at_us for f in look.flows if flow in ("", f.flow)
        )

    def _waiting(self) -> int | None:
        look = self.stage.look
        counts = [f.lag.kafka_records for f in look.flows] if look else []
        return None if None in counts else sum(n for n in counts if n is not None)

    def _quarantined(self) -> int:
        look = self.stage.look
        return sum(f.quarantined or 0 for f in look.flows if f.flow != FILES) if look else 0

    def _drained(self, traffic: Traffic) -> bool:
        """Whether every committed change is in Kafka, and all that is in Kafka has landed."""
        look = self.stage.look
        expected = {**self._changes(traffic)}
        expected[_STRAYED] += self.stray
        return look is not None and all(
            (f.in_kafka or 0) >= expected[f.flow] and f.lag.kafka_records == 0 for f in look.flows
        )

    def _changes(self, traffic: Traffic) -> Mapping[str, int]:
        by_table = traffic.changes
        return {
            flow.name: by_table.get(flow.table.table, 0) + self.extra.get(flow.name, 0)
            for flow in self.project.plan.flows
        }

    # --- what the acts do ---

    def fail(self, text: str) -> None:
        """An act has not shown what it says: the demo goes on, and its exit code tells."""
        self.unmet.append(text)
        self.stage.say(text, "bold red")

    def _touch(self, loyalty: str) -> None:
        """Change twenty customers."""
        self._count(
            "shop.customers",
            self._execute(
                f"UPDATE customers SET loyalty = '{loyalty}'"  # noqa: S608 - a constant
                " WHERE id IN (SELECT id FROM customers ORDER BY id LIMIT 20)"
            ),
        )

    def _execute(self, *statements: str) -> int:
        """Statements in the source, one transaction each; the rows of the last."""
        with psycopg.connect(self.project.samples[0].superuser, autocommit=True) as db:
            return [db.execute(statement.encode()).rowcount for statement in statements][-1]

    def _count(self, flow: str, changes: int) -> None:
        self.extra[flow] = self.extra.get(flow, 0) + changes

    def _tables(self) -> list[FlowPlan]:
        return [flow for flow in self.project.plan.flows if flow.name != FILES]

    def _flow(self, name: str) -> FlowPlan:
        return next(flow for flow in self.project.plan.flows if flow.name == name)

    def _worker(self, kind: str) -> Worker:
        return next(w for w in self.project.crew.workers if w.name.startswith(kind))

    def _schemas(self, flow: FlowPlan) -> int:
        """How many schemas the registry knows of a topic's records."""
        found = places.find(self.project.call, self.project.plan)
        subject = quote(names.subject(flow.topic.name, "value", 1), safe="")
        url = f"{found.registry}/subjects/{subject}/versions"
        try:
            with way(url).open(url, timeout=_ANSWER_S) as answer:
                return len(json.load(answer))
        except (OSError, ValueError):
            return 0

    # --- time passes ---

    def _step(self, traffic: Traffic | None = None) -> None:
        if traffic is not None and traffic.failed:
            raise StackFailed(f"the traffic ended: {traffic.failed}", hint="pip install 'ecluse[demo]'")
        down = [w for w in self.project.crew.workers if w.life is Life.DOWN]
        if down:
            log = down[0].log  # its end is on the screen already
            raise StackFailed(f"{down[0].name} is down", where=str(log), hint=f"less {log}")
        self.stage.step()

    def _wait(self, condition: Callable[[], bool], within_s: float) -> bool:
        return wait(condition, within_s, self._step)

    def _until(
        self, condition: Callable[[], bool], within_s: float, trouble: str, traffic: Traffic | None = None
    ) -> None:
        if not wait(condition, within_s, lambda: self._step(traffic)) and trouble:
            logs = self.project.state / "logs"
            raise StackFailed(
                f"{trouble} within {within_s:.0f} s", where=str(logs), hint=f"less {logs}/*.log"
            )

    # --- programs beside us ---

    def _program(self, module: str, *words: str, given: str = "") -> str:
        """Run one of the example's programs; its output. ``given`` is what it reads."""
        environment = {**self.project.call.environment, "ECLUSE_DEMO_DSN": self.project.samples[0].superuser}
        with subprocess.Popen(
            (sys.executable, "-m", module, *words),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as program:
            out, trouble = program.communicate(given, timeout=_PROGRAM_S)
        if program.returncode not in (Exit.OK, Exit.UNMET):
            raise StackFailed(f"{module} ended: {trouble.strip()[-400:]}", where=module, hint="ecluse demo")
        return out

    def _verdict(self) -> bool:
        folder = self.project.call.folder
        lake = places.lake_root(self.project.call, self.project.plan)
        out = self._program("examples.demo.verdict", "--project", str(folder), "--lake", lake)
        said: dict[str, Any] = json.loads(out)
        curtain.verdict(said)
        return bool(said["holds"])
