"""What a group of processes has used: processes come and go while they are looked at."""

from __future__ import annotations

import os
import subprocess
import time

from bench import measure

_CHURN = ["/bin/sh", "-c", "while :; do /bin/true; done"]
_LOOKS_S = 1.0


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
