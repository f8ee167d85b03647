"""An act of the demo that has not shown what it says makes the demo fail, whatever the verdict."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.cli import play as performance
from engine.cli.crew import Life, Worker
from engine.cli.play import Play
from engine.state import State
from engine.watch.lag import Health, Lag
from engine.watch.observe import FlowLook, Look

FLOW = FlowLook(
    flow="shop.customers", table="bronze.customers", topic="shop.public.customers", capture="shop",
    state=State.STREAMING, health=Health.OK, lag=Lag(0.0, 0, 0, 0.0, 0.1), in_kafka=9, in_delta=9,
    quarantined=0, landed_at_us=1, end_to_end_p50_s=None, end_to_end_p95_s=None, source_state="active",
    retention_used=None,
)  # fmt: skip


def look(waiting: int, landed_at_us: int, state: State = State.STREAMING) -> Look:
    lag = replace(FLOW.lag, kafka_records=waiting)
    return Look(0, (replace(FLOW, lag=lag, landed_at_us=landed_at_us, state=state),))


class Scene:
    """A stage on which each step brings the next look; with the last one a worker that was killed is back."""

    killed = False

    def __init__(self, worker: Worker, *looks: Look) -> None:
        self.worker, self.looks = worker, [look(0, 1), *looks]
        self.said: list[str] = []

    @property
    def look(self) -> Look:
        return self.looks[0]

    def say(self, text: str, style: str = "") -> None:
        del style
        self.said.append(text)

    def step(self) -> None:
        self.looks = self.looks[1:] or self.looks
        if self.killed and len(self.looks) == 1 and isinstance(self.worker.process, subprocess.Popen):
            again: Any = SimpleNamespace(pid=self.worker.process.pid + 1)
            self.worker.process.wait()
            self.worker.process = again


class Quiet(Play):
    """A play without a source."""

    schemas = 1

    def _execute(self, *statements: str) -> int:
        self.schemas += any("ALTER" in statement for statement in statements)
        return 20

    def _schemas(self, flow: Any) -> int:
        del flow
        return self.schemas


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        yield Worker("landing default", (), tmp_path / "log", life=Life.RUNNING, process=process)
        process.kill()


def playing(worker: Worker, *looks: Look) -> tuple[Quiet, Scene]:
    flow: Any = SimpleNamespace(name="shop.customers")
    project: Any = SimpleNamespace(
        crew=SimpleNamespace(workers=[worker]), plan=SimpleNamespace(flows=[flow]), samples=[None]
    )
    stage: Any = Scene(worker, *looks)
    play = Quiet(project, 1.0)
    play.on = stage
    return play, stage


LATER = time.time_ns()  # in microseconds: long after anything that is killed here


def test_a_landing_that_comes_back_to_what_waited_makes_the_lag_fall(worker: Worker) -> None:
    play, stage = playing(worker, look(7, 1), look(27, 1), look(2, LATER))
    stage.killed = True
    play.kill()
    assert play.unmet == []
    assert "27 records had waited: the lag falls" in stage.said[-1]
    assert play.extra == {"shop.customers": 20}


def test_a_landing_that_nothing_had_waited_for_has_shown_nothing(worker: Worker) -> None:
    play, stage = playing(worker, look(0, 1), look(0, LATER))
    stage.killed = True
    play.kill()
    assert play.unmet == stage.said[-1:]
    assert "nothing had waited" in play.unmet[0]


def test_a_lag_that_does_not_fall_is_no_fall(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance, "_READY_S", 0.05)
    play, stage = playing(worker, look(7, 1), look(7, LATER))
    stage.killed = True
    play.kill()
    assert "7 records still waited" in play.unmet[0]


def test_a_new_column_that_stops_nothing_says_so(worker: Worker) -> None:
    play, stage = playing(worker, look(3, LATER))
    play.alter()
    assert play.unmet == []
    assert stage.said[-1] == "shop.customers: schema 1 → 2, nothing stopped"


def test_a_new_column_that_stops_its_flow_is_told_as_a_stop(worker: Worker) -> None:
    play, _ = playing(worker, look(3, LATER, State.STOPPED))
    play.alter()
    assert play.unmet == ["shop.customers: the new column stopped shop.customers (stopped)"]


def test_a_worker_that_was_started_again_meanwhile_had_stopped(worker: Worker) -> None:
    before = performance.starts([worker])
    worker.restarts += 1
    assert performance.ended([worker], before) == ["landing default"]


def test_a_play_whose_act_was_not_shown_fails_though_the_verdict_holds() -> None:
    play, _ = playing(Worker("landing default", (), Path("log")))
    assert play.shown(holds=True)
    play.fail("nothing had waited")
    assert not play.shown(holds=True)
