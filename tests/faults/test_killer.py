"""The hand that kills is itself tested: a fault test whose kill never came would be green for nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.flows import REPOSITORY
from tests.support.waits import NeverCame, wait_until

PROGRAM = """
import subprocess, sys
from pathlib import Path
from tests.support.killer import Killer
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
at = Killer(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
for n in range(3):
    at("a.one")
    at("a.two:left")
    at("a.two:right")
print("alive", flush=True)
child.kill()
"""


def run(tmp_path: Path, point: str, nth: int) -> tuple[int, int, str]:
    record = tmp_path / "reached"
    words = [sys.executable, "-c", PROGRAM, point, str(nth), str(record)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    child = int(done.stdout.split()[0])
    return done.returncode, child, record.read_text() if record.exists() else ""


@pytest.mark.parametrize(
    ("point", "nth", "told"),
    [("a.one", 2, "a.one 2\n"), ("a.two", 2, "a.two:right 2\n"), ("a.two:left", 2, "a.two:left 2\n")],
)
def test_it_kills_its_process_and_every_child_at_the_nth_time(
    tmp_path: Path, point: str, nth: int, told: str
) -> None:
    code, child, record = run(tmp_path, point, nth)
    assert (code, record) == (-signal.SIGKILL, told)
    wait_until(lambda: not Path(f"/proc/{child}").exists(), "the child is gone", limit_s=10)


@pytest.mark.parametrize(("point", "nth"), [("a.three", 1), ("a.one", 4), ("a.on", 1)])
def test_a_point_that_is_not_reached_kills_nothing_and_says_so(tmp_path: Path, point: str, nth: int) -> None:
    code, _, record = run(tmp_path, point, nth)
    assert (code, record) == (0, "")


def test_a_state_that_never_comes_is_told_with_what_was_seen_last() -> None:
    with pytest.raises(NeverCame, match="the moon: not within 0 s; last seen 0"):
        wait_until(lambda: 0, "the moon", limit_s=0)
