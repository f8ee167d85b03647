"""A capture of partner files killed between any two steps: nothing lost, nothing twice, no id changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.pump import run
from tests.support.files_bench import bench_of, entries, rows, runs
from tests.support.files_world import FilesWorld, spec
from tests.support.memory import Bench

STEPS = (
    "files.decided", "files.entries-given", "files.rows-given", "files.published", "files.moved",
    "capture.after-read", "capture.after-produce", "capture.after-flush", "capture.mark-sent",
    "capture.mark-acknowledged", "capture.after-confirm",
)  # fmt: skip


class Killed(BaseException):
    """The process is gone."""


def killed(world: FilesWorld, bench: Bench, step: str, times: int) -> bool:
    """Run until a step has come so many times; False where it never does before all is settled."""
    passed = 0

    def at(now: str) -> None:
        nonlocal passed
        passed += now == step
        if passed == times and now == step:
            raise Killed

    from tests.support.files_bench import settled

    stop = settled(bench, 4)

    def both(now: str) -> None:
        at(now)
        stop(now)

    world.at, bench.at = at, both
    try:
        run(bench.capture, bench.doors)
    except Killed:
        bench.topic.close()  # what was not flushed is gone with the process
        return True
    finally:
        world.at = lambda _: None
        bench.clock.stop.clear()
    return False


def filled(tmp_path: Path) -> FilesWorld:
    world = FilesWorld(tmp_path, [spec("orders", keys=["id"])])
    world.put("a.csv", "id,town\n1,Aix\n2,Brest\n")
    world.put("b.csv", "id,town\n3,Caen\n")
    world.put("a-again.csv", "id,town\n1,Aix\n2,Brest\n")
    world.put("c.csv", "id,town\n4,Dax\n5\n")
    return world


def ids(found: list[dict[str, Any]]) -> set[tuple[int, int, str]]:
    return {
        (r["position"]["major"], r["position"]["minor"], f"{r['after']['_file']}:{r['after']['id']}")
        for r in found
    }


WHOLE = {
    (1, 4, "a.csv:1"), (1, 6, "a.csv:2"), (2, 4, "b.csv:3"), (4, 4, "c.csv:4"), (4, 6, "c.csv:None"),
}  # fmt: skip


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("step", STEPS)
def test_f5_i7_a_capture_killed_at_any_step_loses_no_record_and_changes_no_id(
    step: str, times: int, tmp_path: Path
) -> None:
    world = filled(tmp_path)
    bench = bench_of(world)
    was_killed = killed(world, bench, step, times)
    assert was_killed or times > 1
    runs(bench, 4)
    assert ids(rows(bench)) == WHOLE
    assert [(one.state, one.code) for one in entries(bench)] == [
        ("archived", ""),
        ("archived", ""),
        ("refused", "file.duplicate"),
        ("archived", ""),
    ]
    assert sorted(path.name for path in world.inbox.iterdir()) == []
    assert sorted(p.name for p in (world.root / "place" / "archive").iterdir()) == [
        "1-a.csv", "2-b.csv", "4-c.csv",
    ]  # fmt: skip
    assert [p.name for p in (world.root / "place" / "errors").iterdir()] == ["3-a-again.csv"]


def test_nothing_of_a_file_is_sent_before_its_entry_is_durable(tmp_path: Path) -> None:
    world = filled(tmp_path)
    bench = bench_of(world)
    seen: list[list[str]] = []
    world.at = lambda step: seen.append([e.state for e in entries(bench)]) if "rows-given" in step else None
    runs(bench, 4)
    assert seen[0] == ["accepted", "accepted", "refused", "accepted"]
    assert bench.clock.waited == []  # nothing had to be tried again


def test_an_entry_says_where_the_topic_ended_behind_its_file(tmp_path: Path) -> None:
    world = filled(tmp_path)
    bench = bench_of(world)
    runs(bench, 4)
    ends = [one.ends for one in entries(bench) if one.taken]
    assert [end["0"] for end in ends] == [2, 3, 5]
    assert all(one.published_us for one in entries(bench) if one.taken)
