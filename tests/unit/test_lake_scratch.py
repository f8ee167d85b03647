"""Spark's scratch folders: one a run, and none that a kill leaves behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from engine.lake import scratch

_RUN = """\
import signal, sys
from pathlib import Path
from engine.lake import scratch
folder = scratch.own(Path(sys.argv[1]))
(folder / "spill").write_bytes(b"x" * 1000)
print(folder, flush=True)
signal.pause()
"""


def test_a_run_that_was_killed_leaves_no_scratch_to_the_next(tmp_path: Path) -> None:
    with subprocess.Popen((sys.executable, "-c", _RUN, str(tmp_path)), stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().decode().strip())
        try:
            mine = scratch.own(tmp_path)
            assert (theirs / "spill").is_file(), "a landing that runs keeps its folder"
        finally:
            other.send_signal(signal.SIGKILL)
    again = scratch.own(tmp_path)
    assert not theirs.exists()
    assert mine.is_dir()
    assert again != mine


def test_only_folders_of_runs_are_removed(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    scratch.own(tmp_path)
    assert (tmp_path / "notes" / "mine.txt").read_text() == "keep"
