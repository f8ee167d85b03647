"""A file that takes the place of another says so behind its last record, once that is what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from connectors.files.ledger import Entry, Ledger, entry
from engine.pump import run
from engine.source import STREAM, Mark, Rows
from tests.support.files_bench import bench_of, entries, rows, runs
from tests.support.files_bench import settled as settled_bench
from tests.support.files_world import HEAD, FilesWorld, fates, settled, spec
from tests.support.memory import Bench

Told = tuple[str, str, int, str | None]


def told(found: list[dict[str, Any]]) -> list[Told]:
    """Op, strand, arrival and key of each record."""
    return [
        (r["op"], r["source"]["strand"], r["position"]["major"], (r["after"] or {}).get("id")) for r in found
    ]


def world_of(tmp_path: Path, **more: Any) -> FilesWorld:
    return FilesWorld(tmp_path, [spec(same_name="supersede", keys=["id"], **more)])


def items(world: FilesWorld, mark: Mark | None) -> list[Any]:
    """What one opening gives, until it has nothing more."""
    with world.opened(mark) as source:
        return [item for _ in range(3) for item in source.read(limit=10_000, wait_s=0.1)]


def test_the_withdrawal_stands_behind_all_rows_and_before_their_mark(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    world.put("a.csv", HEAD + "1,Aix\n2,Brest\n")
    mark = settled(world)
    world.put("a.csv", HEAD + "2,Brest\n" + "".join(f"{n},Caen\n" for n in range(3, 9000)))
    seen = [item for item in items(world, mark) if isinstance(item, Rows | Mark)]
    at = next(n for n, item in enumerate(seen) if isinstance(item, Rows) and item.strand != STREAM)
    control = seen[at]
    assert isinstance(control, Rows)
    assert (control.strand, control.era, control.major, control.first_minor) == ("supersedes.2", 0, 1, 0)
    assert [*control.rows] == [("w", None, None)]
    before = [item for item in seen[:at] if isinstance(item, Rows)]
    assert sum(len(run.rows) for run in before) == 8998
    assert not any(isinstance(item, Rows) for item in seen[at + 1 :])
    behind = seen[at + 1]
    assert isinstance(behind, Mark)
    assert (behind.at[STREAM], behind.at["supersedes.2"]) == (2, 1)


def test_only_supersede_withdraws_and_each_file_of_a_chain_the_one_before_it(tmp_path: Path) -> None:
    for policy, wanted in (("append", []), ("supersede", [1, 2])):
        world = FilesWorld(tmp_path / policy, [spec(same_name=policy)])
        bench = bench_of(world, partitions=2)
        for n in range(3):
            world.put("a.csv", f"{HEAD}{n},Aix\n")
            world.put(f"b{n}.csv", f"{HEAD}9{n},Brest\n")
            runs(bench, 2 * n + 2)
        names = {one.arrival: one.name for one in entries(bench)}
        gone = [major for op, _, major, _ in told(rows(bench)) if op == "w"]
        assert [names[major] for major in gone] == ["a.csv"] * len(wanted)
        assert len(set(gone)) == len(wanted)


def test_a_file_without_a_record_takes_the_place_of_one_that_had_some(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    bench = bench_of(world)
    world.put("a.csv", HEAD + "1,Aix\n")
    runs(bench, 1)
    world.put("a.csv", HEAD)
    runs(bench, 2)
    assert told(rows(bench)) == [("c", "stream", 1, "1"), ("w", "supersedes.2", 1, None)]


class Killed(BaseException):
    """The process is gone."""


STEPS = ("files.decided", "files.rows-given", "files.withdrawn", "capture.after-produce",
         "capture.after-flush", "capture.mark-sent", "files.published", "files.moved")  # fmt: skip


def killed(world: FilesWorld, bench: Bench, step: str, files: int) -> None:
    stop = settled_bench(bench, files)

    def at(now: str) -> None:
        if now == step:
            raise Killed
        stop(now)

    world.at = bench.at = at
    with pytest.raises(Killed):
        run(bench.capture, bench.doors)
    bench.topic.close()  # what was not flushed is gone with the process
    world.at = lambda _: None


@pytest.mark.parametrize("step", STEPS)
def test_i7_a_capture_killed_at_any_step_of_a_second_file_withdraws_the_first(
    step: str, tmp_path: Path
) -> None:
    world = world_of(tmp_path)
    bench = bench_of(world)
    world.put("a.csv", HEAD + "1,Aix\n2,Brest\n")
    runs(bench, 1)
    world.put("a.csv", HEAD + "2,Arles\n")
    killed(world, bench, step, 2)
    runs(bench, 2)
    found = told(rows(bench))
    assert set(found) == {
        ("c", "stream", 1, "1"), ("c", "stream", 1, "2"), ("c", "stream", 2, "2"),
        ("w", "supersedes.2", 1, None),
    }  # fmt: skip
    assert [one.state for one in entries(bench)] == ["archived", "archived"]
    last = {r["writer"] for r in rows(bench) if r["op"] == "w"}
    assert max(r["writer"] for r in rows(bench) if r["position"]["major"] == 2) in last


def test_a_file_that_was_lost_after_it_was_accepted_withdraws_nothing_and_the_next_one_what_it_would_have(
    tmp_path: Path,
) -> None:
    world = world_of(tmp_path)
    world.put("a.csv", HEAD + "1,Aix\n")
    mark = settled(world)
    path = world.put("a.csv", HEAD + "2,Brest\n")
    with world.opened(mark) as source:
        for item in source.read(limit=10, wait_s=0.5):
            if isinstance(item, Mark) and item.barrier:
                break
    path.unlink()
    for copy in (world.root / "staging").iterdir():
        copy.unlink()
    lost = [item for item in items(world, mark) if isinstance(item, Rows)]
    assert lost == []
    assert fates(world)[1][1:] == ("refused", "file.gone")
    world.put("a.csv", HEAD + "3,Caen\n")
    found = [item for item in items(world, mark) if isinstance(item, Rows) and item.strand != STREAM]
    assert [(run.strand, run.major) for run in found] == [("supersedes.3", 1)]


def test_a_file_of_an_earlier_era_is_withdrawn_in_that_era(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    world.put("a.csv", HEAD + "1,Aix\n")
    mark = settled(world)
    assert world.entries[0].era == 0
    later = mark._replace(era=3)
    world.put("a.csv", HEAD + "2,Brest\n")
    found = [item for item in items(world, later) if isinstance(item, Rows)]
    assert [(run.era, run.major) for run in found] == [(3, 2), (0, 1)]


def test_an_entry_of_before_there_were_eras_in_it_is_read(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    world.put("a.csv", HEAD + "1,Aix\n")
    settled(world)
    kept = next(iter(world.kept.values()))
    for name in ("era", "superseded_era"):
        del kept[name]
    one: Entry = entry(kept)
    assert (one.arrival, one.era) == (1, None)
    assert Ledger([kept], "o", 0, 0).same_name("acme.orders", "a.csv") == (1, None)
