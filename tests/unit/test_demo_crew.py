"""Workers as child processes: restarted, or kept down for a person, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.cli.crew import STARTS_MAX, Crew, Life, Worker
from engine.embedded.child import identity
from tests.support.waits import wait_until

WAITS = "import signal; print('ready', flush=True); signal.pause()"


@pytest.fixture
def crew() -> Iterator[Crew]:
    made = Crew(os.environ, command=(sys.executable, "-c"), pauses_s=(0.01,))
    yield made
    made.stop()


def ticking(crew: Crew, condition: Callable[[], bool]) -> Callable[[], bool]:
    def look() -> bool:
        crew.tick()
        return condition()

    return look


def ready(worker: Worker) -> Callable[[], bool]:
    return lambda: "ready" in worker.last_words()


def test_a_worker_that_is_killed_starts_again(crew: Crew, tmp_path: Path) -> None:
    worker = crew.start("landing", [WAITS], tmp_path / "log")
    wait_until(ready(worker), "the worker is up")
    first = worker.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_until(ticking(crew, lambda: worker.restarts == 1 and worker.pid not in (None, first)), "a new one")
    assert worker.life is Life.RUNNING


def test_a_worker_that_needs_a_person_stays_down_and_says_why(crew: Crew, tmp_path: Path) -> None:
    worker = crew.start("capture", ["print('source.refused'); raise SystemExit(3)"], tmp_path / "log")
    wait_until(ticking(crew, lambda: worker.life is Life.DOWN), "the worker is down")
    assert (worker.exit_code, worker.restarts) == (3, 0)
    assert "source.refused" in worker.last_words()


def test_a_log_begins_anew_with_each_crew_and_one_former_is_kept(crew: Crew, tmp_path: Path) -> None:
    log, former = tmp_path / "landing.log", tmp_path / "landing.log.1"
    log.write_text("an earlier run\n")
    former.write_text("one long gone\n")
    worker = crew.start("landing", ["print('first'); raise SystemExit(1)"], log)
    wait_until(ticking(crew, lambda: worker.restarts == 1), "it started again")
    assert former.read_text() == "an earlier run\n"
    assert log.read_text().startswith("first\n"), "a worker that starts again writes on"


def test_the_last_words_of_a_long_log_are_read_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "landing.log"
    log.write_text("x" * (1 << 20) + " refusé\n")
    said = Worker("landing", (), log).last_words()
    assert said.endswith("x refusé")
    assert len(said) < 1 << 17


def test_a_worker_that_never_gets_up_is_given_up(crew: Crew, tmp_path: Path) -> None:
    worker = crew.start("capture", ["raise SystemExit(1)"], tmp_path / "log")
    wait_until(ticking(crew, lambda: worker.life is Life.DOWN), "the worker is down")
    assert worker.failures == STARTS_MAX


def test_a_crew_that_stops_leaves_nobody_behind(crew: Crew, tmp_path: Path) -> None:
    workers = [crew.start(name, [WAITS], tmp_path / name) for name in ("a", "b")]
    pids = [worker.pid for worker in workers]
    for worker in workers:
        wait_until(ready(worker), "the worker is up")
    crew.stop()
    assert all(pid is not None and identity(pid) is None for pid in pids)
    assert crew.tick() == []


def test_workers_die_with_a_crew_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from engine.cli.crew import Crew\n"
        "crew = Crew(os.environ, command=(sys.executable, '-c'))\n"
        f"worker = crew.start('w', [{WAITS!r}], Path({str(tmp_path / 'log')!r}))\n"
        "print(worker.pid, flush=True); signal.pause()"
    )
    log = tmp_path / "log"
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        child = identity(int(parent.stdout.readline()))
        assert child is not None
        wait_until(lambda: log.is_file() and "ready" in log.read_text(), "the worker is up")
    finally:
        parent.kill()
        parent.communicate()
    wait_until(lambda: not child.alive, "the worker is gone")
