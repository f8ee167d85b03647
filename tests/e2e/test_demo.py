"""The demo and `up`, as a user runs them: from an empty folder, in a pipe, with nothing left running."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from engine.cli.running import owner
from engine.embedded import record
from engine.embedded.stack import Stack, cache_folder
from engine.errors import Exit
from tests.support.waits import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.spark, pytest.mark.timeout(1800)]
MINUTES_10 = 600
FATES = re.compile(
    r'^fate=(\w+) file=(\S+) sent=".*" landed=(\d+) quarantined=(\d+) reason="(.*)" holds=yes$', re.MULTILINE
)
CUT = "container.truncated: the gzip file ends within a member (byte …)"
BAD = "fee = 12.50 · day = 31/02/2026 · record.width: 5 fields, 6 are declared"
TRAILER = "control.count: trailer.count says 41 details, and the file has 40"


def command(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engine.cli", *words],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def left_running(state: Path) -> list[str]:
    return [name for name, entry in record.read(state).items() if entry.process.alive]


def test_the_demo_plays_four_acts_and_its_verdict_holds(tmp_path: Path) -> None:
    played = command(tmp_path, "demo", DEMO_SECONDS="12")
    shown = played.stdout + played.stderr
    assert played.returncode == 0, shown
    assert f"writes only into {tmp_path / '.ecluse' / 'demo'}" in played.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".ecluse"]
    assert "schema 1 → 2, nothing stopped" in played.stdout
    assert re.search(r"shop\.parcels: 1 quarantined, type: unfit", played.stdout)
    assert re.search(r"shop\.scans: 1 quarantined, decode: ", played.stdout)
    assert re.search(r"landing default was ended by signal 9; starts again", played.stdout)
    assert re.search(r"back after .*: the lag falls", played.stdout)
    verdicts = re.findall(r"verdict=(\w+) flow=(\S+) .* missing=0 different=0 extra=0", played.stdout)
    assert sorted(verdicts) == [
        ("holds", "shop.customers"), ("holds", "shop.invoices"), ("holds", "shop.parcels"),
        ("holds", "shop.scans"),
    ]  # fmt: skip
    assert "flow=shop.parcels" in played.stdout
    assert FATES.findall(re.sub(r"\(byte \d+\)", "(byte …)", played.stdout)) == [
        ("accepted", "HANDOVERS_1.csv.gz", "40", "0", ""),
        ("refused", "HANDOVERS_2.csv.gz", "0", "0", "file.duplicate: the same bytes came as arrival 1"),
        ("refused", "HANDOVERS_3.csv.gz", "0", "0", CUT),
        ("accepted", "HANDOVERS_4.csv.gz", "37", "3", BAD),
        ("refused", "HANDOVERS_5.csv.gz", "0", "0", TRAILER),
    ]  # fmt: skip
    assert "waiting=1" in next(
        line for line in played.stdout.splitlines() if "flow=shop.parcels source" in line
    )
    project = tmp_path / ".ecluse" / "demo"
    assert left_running(project / ".ecluse") == []
    shows_quarantine(tmp_path, project)
    runs_the_printed_query(tmp_path, played.stdout)
    judges_a_damaged_copy(tmp_path, project)
    finds_the_partners_rows_where_they_landed(project)


def finds_the_partners_rows_where_they_landed(project: Path) -> None:
    rows = (
        DeltaTable(str(project / ".ecluse" / "lake" / "bronze" / "handovers")).to_pyarrow_table().to_pylist()
    )
    assert Counter(row["_file"] for row in rows) == {"HANDOVERS_1.csv.gz": 40, "HANDOVERS_4.csv.gz": 37}
    assert sorted(path.name for path in (project / "drop").glob("*/*.gz")) == [
        f"{n}-HANDOVERS_{n}.csv.gz" for n in range(1, 6)
    ]


def shows_quarantine(folder: Path, project: Path) -> None:
    told = command(folder, "-p", str(project), "quarantine", "show", "shop.parcels", "--json")
    (record_,) = json.loads(told.stdout)
    assert record_["unfit"] == {"weight_kg": "NaN"}
    assert json.loads(record_["key"]) == {"tracking": "ZZ000000005GB"}


def runs_the_printed_query(folder: Path, shown: str) -> None:
    line = next(line for line in shown.splitlines() if "from deltalake import" in line)
    told = subprocess.run(line.strip(), shell=True, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S602
    assert "delivered" in told.stdout, told.stderr


def judges_a_damaged_copy(folder: Path, project: Path) -> None:
    """The verdict holds of a copy, and no more once a file is out of one of its tables."""
    copy = shutil.copytree(project / ".ecluse" / "lake", folder / "copy")
    environment = dict(os.environ)
    with Stack(project / ".ecluse", cache_folder(environment), environment=environment) as stack:
        server = stack.start({"postgres"}).postgres
        assert server is not None
        dsn = (
            f"host={server.host} port={server.port} user={server.user} password={server.password} dbname=shop"
        )
        code, said = judged(project, copy, dsn)
        assert (code, said["holds"]) == (0, True)
        take_a_file_out(copy / "bronze" / "scan_events")
        code, said = judged(project, copy, dsn)
    (wrong,) = [flow for flow in said["flows"] if not flow["holds"]]
    assert (code, wrong["flow"]) == (Exit.UNMET, "shop.scans")
    assert wrong["lost"] > 0
    assert wrong["keys"]["lost"]


def judged(project: Path, lake: Path, dsn: str) -> tuple[int, dict[str, Any]]:
    told = subprocess.run(
        [sys.executable, "-m", "examples.demo.verdict", "--project", str(project), "--lake", str(lake)],
        env={**os.environ, "ECLUSE_DEMO_DSN": dsn}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.stdout, told.stderr
    return told.returncode, json.loads(told.stdout)


def take_a_file_out(table: Path) -> None:
    """The newest commit that adds a file forgets it; checkpoints, which would remember, are gone."""
    log = table / "_delta_log"
    for checkpoint in (*log.glob("*.checkpoint*"), log / "_last_checkpoint"):
        checkpoint.unlink(missing_ok=True)
    for commit in sorted(log.glob("*.json"), reverse=True):
        lines = commit.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if "add" not in json.loads(line)]
        if len(kept) < len(lines):
            commit.write_text("\n".join(kept) + "\n", encoding="utf-8")
            return
    raise AssertionError("the table holds no file")


@contextmanager
def up(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with (folder.parent / "up.out").open("w") as out:
        running = subprocess.Popen(
            [sys.executable, "-m", "engine.cli", "-p", str(folder), "up"], stdout=out, stderr=out, text=True
        )
    try:
        yield running
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGTERM)
            running.wait(MINUTES_10)


def in_delta(folder: Path) -> list[int]:
    """What has landed of each flow."""
    told = command(folder, "status", "--json")
    flows = json.loads(told.stdout)["flows"] if told.stdout else []
    return [flow["in_delta"] or 0 for flow in flows]


def landed(folder: Path) -> bool:
    counts = in_delta(folder)
    return bool(counts) and all(counts)


def survives_its_broker(folder: Path) -> None:
    """Kafka is killed: `up` starts it again, and what was captured since lands."""
    killed = record.read(folder / ".ecluse")["kafka"].process
    os.kill(killed.pid, signal.SIGKILL)
    wait_until(lambda: record.read(folder / ".ecluse")["kafka"].process != killed, "Kafka is started again")
    before = sum(in_delta(folder))
    wait_until(lambda: sum(in_delta(folder)) > before, "rows land again", limit_s=MINUTES_10, every_s=2)


def test_a_project_of_init_runs_with_up_and_ends_with_down_from_another_terminal(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert command(tmp_path, "init", "mine").returncode == 0
    with up(folder) as running:
        wait_until(lambda: landed(folder), "every flow has landed something", limit_s=MINUTES_10, every_s=2)
        again = command(folder, "up")
        assert again.returncode == 3
        assert "runs already" in again.stderr
        survives_its_broker(folder)
        assert command(folder, "down").returncode == 0
        assert running.wait(MINUTES_10) == 0
    assert owner(folder / ".ecluse") is None
    assert left_running(folder / ".ecluse") == []
    assert (folder / ".ecluse" / "lake" / "bronze" / "parcels").is_dir()
    assert command(folder, "down", "--delete").returncode == 0
    assert not (folder / ".ecluse").exists()
