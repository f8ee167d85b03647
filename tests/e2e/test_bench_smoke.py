"""The benches, our side alone and small: what they measure works, and they would see a row that differs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from bench import capture, change, files, files_many, landing, latency, partner, rounds, snapshot, tally
from bench.measure import Used
from bench.place import Place
from bench.rounds import OURS, ResultsDiffer, Run
from bench.tally import Tally
from engine.embedded.stack import cache_folder
from tests.support.services import Services

SCALE = float(os.environ.get("BENCH_SCALE") or 0.002)


@pytest.fixture
def place(services: Services, tmp_path: Path) -> Place:
    at = psycopg.conninfo.conninfo_to_dict(services.superuser)
    return Place(
        folder=tmp_path,
        cache=cache_folder(os.environ),
        java_home=services.java_home,
        pids={name: services.stack.pid(name) for name in ("postgres", "kafka", "registry")},
        bootstrap=services.kafka,
        registry=services.registry,
        spark_jars=services.spark_jars,
        host=str(at["host"]),
        port=int(str(at["port"])),
        user=str(at["user"]),
        password=str(at["password"]),
    )


@pytest.mark.stack
def test_our_capture_writes_every_change_of_the_series(place: Place) -> None:
    results = capture.run(place, scale=SCALE, pairs=1, connect_jars=None, peers=())
    assert sorted(results["sizes"]) == sorted(capture.PER_TRANSACTION)
    for size in results["sizes"].values():
        (run,) = size["runs"][OURS]
        assert run.tally.rows == results["rows"]
        # all of so short a run can lie in front of the clock's start, so what it took is not asked here
        assert run.notes["start_s"] > 0
        assert run.notes["peak_rss"] > 0


@pytest.mark.stack
def test_our_snapshot_writes_every_row_of_the_table(place: Place) -> None:
    results = snapshot.run(place, scale=SCALE, pairs=1, peers=())
    (run,) = results["runs"][OURS]
    assert run.tally.rows == results["rows"] > 0
    assert run.notes["peak_rss"] > 0


@pytest.mark.stack
def test_our_files_write_every_line_of_theirs_and_lie_in_the_archive(place: Place) -> None:
    results = files.run(place, scale=SCALE, pairs=1, peers=())
    assert set(results["forms"]) == set(partner.KINDS)
    for of_form in results["forms"].values():
        (run,) = of_form["runs"][OURS]
        assert run.tally.rows == results["lines"] > 0
        assert run.notes["peak_rss"] > 0
    assert {one["container"] for one in results["memory"]} == {"none", "gz"}
    assert all(one["peak_mb"] > 0 for one in results["memory"])
    assert [one["files"] for one in results["many"]] == [round(n * SCALE) for n in files_many.COUNTS]
    assert all(one["files_per_s"] > 0 for one in results["many"])


@pytest.mark.stack
@pytest.mark.spark
def test_our_landing_writes_every_record_of_the_topic(place: Place) -> None:
    results = landing.run(place, scale=SCALE, pairs=1, peers=())
    (run,) = results["runs"][OURS]
    assert run.tally.rows == results["records"]
    assert run.notes["files"] > 0
    (checked,), (bad,) = (results["runs"][side] for side in (landing.CHECKED, landing.BAD))
    assert checked.tally == run.tally
    assert 0 < run.tally.rows - bad.tally.rows < run.tally.rows / 50


@pytest.mark.stack
@pytest.mark.spark
def test_every_row_of_the_load_is_seen_by_the_reader_after_its_commit(place: Place) -> None:
    results = latency.run(place, scale=SCALE)
    found = results["modes"]["append"]
    measured = round(results["measured_s"] * latency.PER_S) * latency.FLOWS
    assert found["measured"] == measured > 0
    assert 0 < found["seconds"]["p50"] <= found["seconds"]["p99"] <= found["seconds"]["max"]
    assert all(stage["max"] >= stage["p50"] for stage in found["stages"].values())
    assert set(found["cpu_s"]) == {"capture", "landing", "reader", "load", "postgres", "kafka", "registry"}
    assert found["batches"]["count"] >= latency.FLOWS


def _runs(*tallies: Tally) -> dict[str, list[Run]]:
    used = Used(2.0, {"sut": 1.0}, {"sut": 1})
    return {OURS: [Run(used, found, {}) for found in tallies]}


def test_a_missing_a_doubled_and_a_different_row_fail_a_bench() -> None:
    rows = list(change.expected(40))
    expected = tally.of(rows)
    rounds.same_rows(_runs(tally.of(reversed(rows))), expected)
    for other in (rows[1:], [*rows, rows[0]], [*rows[1:], (*rows[0][:-1], "elsewhere")]):
        with pytest.raises(ResultsDiffer):
            rounds.same_rows(_runs(expected, tally.of(other)), expected)


def test_a_ratio_is_taken_inside_a_round_and_above_one_when_ours_is_the_faster() -> None:
    runs = _runs(Tally(), Tally())
    peer = [
        replace(run, used=Used(wall_s, {"sut": 3.0}, {}))
        for run, wall_s in zip(*runs.values(), (1.0, 4.0), strict=True)
    ]
    (ratio,) = rounds.ratios({**runs, "peer": peer}, rows=8)
    assert ratio.line("x").startswith("x ratio=1.250 min=0.500 max=2.000 peer=peer ")
