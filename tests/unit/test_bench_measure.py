"""What a group of processes has used: processes come and go while they are looked at."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from bench import measure

_CHURN = ["/bin/sh", "-c", "while :; do /bin/true; done"]
_LOOKS_S = 1.0
_LONG_S = 0.2


def test_a_process_that_ends_while_its_tree_is_read_is_left_out() -> None:
    churn = subprocess.Popen(_CHURN)
    try:
        seen = set()
        until = time.monotonic() + _LOOKS_S
        while time.monotonic() < until:
            found = measure.tree(churn.pid)
            assert found[0] == churn.pid
            seen.update(found)
            assert measure.rss_bytes(churn.pid) > 0
    finally:
        churn.kill()
        churn.wait()
    assert len(seen) > 1, "no child was met"
    assert measure.rss_bytes(churn.pid) == 0


def test_a_tree_has_its_descendants() -> None:
    with subprocess.Popen(["/bin/sh", "-c", "sleep 60 & echo ready; wait"], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        found = measure.tree(os.getpid())
        _, child = measure.tree(parent.pid)
        for pid in (child, parent.pid):
            assert pid in found
            os.kill(pid, 9)


def test_a_meter_reads_what_a_tree_has_used_since_its_clock_started() -> None:
    with subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"]) as busy:
        with measure.Meter({"sut": busy.pid, "other": os.getpid()}) as meter:
            _used(busy.pid, _LONG_S)
            meter.restart()
            _used(busy.pid, _LONG_S)
            busy.send_signal(signal.SIGSTOP)
            used = meter.read()
        total_s = measure.cpu_s(busy.pid)
        busy.kill()
    assert _LONG_S - 0.02 <= used.cpu_s["sut"] <= total_s - _LONG_S + 0.02  # a tick on either side
    assert used.wall_s > 0
    assert used.peak_bytes["sut"] > 0
    assert "other" not in used.peak_bytes


def _used(pid: int, more_s: float) -> None:
    """Return when a process has used so much more of the processor."""
    enough_s = measure.cpu_s(pid) + more_s
    while measure.cpu_s(pid) < enough_s:
        time.sleep(0.01)
