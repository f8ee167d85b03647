"""What people want of files: taken again, or put aside unread; done once, whatever is killed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from connectors.files import seeing
from connectors.files.ledger import Entry
from engine.arrivals import Verb, Wish
from engine.marks import Marks
from engine.pump import run
from tests.support.files_bench import bench_of, entries, rows, runs, settled
from tests.support.files_world import FilesWorld, names, spec
from tests.support.memory import Bench

MARKER = {"by": "marker", "suffix": ".done"}
GOOD, BAD = "id,town\n1,Aix\n", "id,city\n1,Aix\n"


def marks(bench: Bench) -> Marks:
    found = Marks(bench.topic, "demo", lambda: "12:00")
    found.prepare(1)
    return found


def wish(bench: Bench, verb: Verb, path: Path, arrival: int | None = None, why: str = "") -> Wish:
    """What ana wants of a file as it lies there now."""
    stat = path.stat()
    asked = Wish(
        number=0, verb=verb, folder="in", name=path.name.removeprefix(f"{arrival}-"), size=stat.st_size,
        modified_ns=stat.st_mtime_ns, arrival=arrival, by="ana", why=why,
    )  # fmt: skip
    return marks(bench).wish("shop", asked)


def fates(bench: Bench) -> list[tuple[int, str, str, str]]:
    return [(one.arrival, one.name, one.state, one.code) for one in entries(bench)]


def shown(one: Entry) -> str:
    said = asdict(one)
    row = {name: json.dumps(v) if isinstance(v, dict) else v for name, v in said.items()}
    return seeing.read(row).state


@pytest.fixture
def refused(tmp_path: Path) -> tuple[FilesWorld, Bench]:
    """A file that was refused for its header, and a flow that would take it by now."""
    world = FilesWorld(tmp_path, [spec(ready=MARKER)])
    world.put("a.csv", BAD)
    world.put("a.csv.done", "")
    bench = bench_of(world)
    runs(bench, 1)
    assert fates(bench) == [(1, "a.csv", "refused", "header.mismatch")]
    assert names(world.root / "place" / "errors") == ["1-a.csv", "1-a.csv.done"]
    world.tables = [spec(ready=MARKER, delimited={"delimiter": ",", "columns": ["id", "city"]})]
    return world, bench


def test_a_refused_file_is_taken_again_with_its_marker_under_a_number_of_its_own(
    refused: tuple[FilesWorld, Bench],
) -> None:
    world, bench = refused
    wish(bench, "requeue", world.root / "place" / "errors" / "1-a.csv", 1, "the header is right now")
    runs(bench, 2)
    assert fates(bench) == [(1, "a.csv", "refused", "header.mismatch"), (2, "a.csv", "archived", "")]
    first = entries(bench)[0]
    assert (first.moved_to, first.asked["by"], first.asked["done"]) == ("in/a.csv", "ana", True)
    assert [shown(one) for one in entries(bench)] == ["requeued", "archived"]
    assert [(r["position"]["major"], r["after"]["id"]) for r in rows(bench)] == [(2, "1")]
    assert names(world.root / "place" / "archive") == ["2-a.csv", "2-a.csv.done"]
    runs(bench, 2)  # a wish that is done stays, and nothing is done again
    assert len(entries(bench)) == 2
    assert entries(bench)[0] == first


STEPS = (
    "files.back", "files.decided", "files.entries-given", "files.rows-given", "files.published",
    "files.moved",
    "capture.after-flush", "capture.mark-sent", "capture.mark-acknowledged", "capture.after-confirm",
)  # fmt: skip


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("step", STEPS)
def test_i7_a_capture_killed_while_it_takes_a_file_again_takes_it_once(
    step: str, times: int, refused: tuple[FilesWorld, Bench]
) -> None:
    world, bench = refused
    wish(bench, "requeue", world.root / "place" / "errors" / "1-a.csv", 1)
    passed = 0
    stop = settled(bench, 2)

    def at(now: str) -> None:
        nonlocal passed
        passed += now == step
        if now == step and passed == times:
            raise Killed
        stop(now)

    world.at = bench.at = at
    try:
        run(bench.capture, bench.doors)
    except Killed:
        bench.topic.close()
    else:
        assert times > 1
    world.at = lambda _: None
    bench.clock.stop.clear()
    runs(bench, 2)
    assert [(n, state) for n, _, state, _ in fates(bench)] == [(1, "refused"), (2, "archived")]
    assert {(r["position"]["major"], r["after"]["id"]) for r in rows(bench)} == {(2, "1")}
    assert names(world.inbox) == []


def test_a_file_that_cannot_go_back_says_why_and_stays(refused: tuple[FilesWorld, Bench]) -> None:
    world, bench = refused
    kept = world.root / "place" / "errors" / "1-a.csv"
    wish(bench, "requeue", kept, 1)
    world.put("a.csv", "another\n")  # still arriving: its marker is not there
    runs(bench, 1)
    (one,) = entries(bench)
    assert (one.moved_to, one.asked["done"]) == ("errors/1-a.csv", False)
    assert one.asked["text"] == "another file of its name lies in in"
    assert kept.exists()
    (world.inbox / "a.csv").unlink()
    wish(bench, "requeue", kept, 1)
    runs(bench, 2)
    assert fates(bench)[1][2] == "archived"


def test_a_wish_for_a_file_that_looks_otherwise_by_now_is_for_no_file(
    refused: tuple[FilesWorld, Bench],
) -> None:
    world, bench = refused
    kept = world.root / "place" / "errors" / "1-a.csv"
    asked = wish(bench, "requeue", kept, 1)
    Marks(bench.topic, "demo", lambda: "").wish(
        "shop", Wish(**{name: getattr(asked, name) for name in asked.__slots__} | {"size": 1})
    )
    runs(bench, 1)
    assert kept.exists()
    assert entries(bench)[0].asked == {}


def test_a_name_that_is_no_text_goes_back_as_it_came(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    odd = b"r\xe9f.csv"
    name = os.path.join(os.fsencode(world.inbox), odd)  # noqa: PTH118 - a path of bytes
    Path(os.fsdecode(name)).write_text(BAD)
    bench = bench_of(world)
    runs(bench, 1)
    (one,) = entries(bench)
    asked = Wish(
        number=0, verb="requeue", folder="in", name=one.name, size=one.size, modified_ns=one.modified_ns,
        arrival=1,
    )  # fmt: skip
    marks(bench).wish("shop", asked)
    world.tables = [spec(pattern="nothing*")]
    runs(bench, 1)
    assert [os.fsencode(path.name) for path in world.inbox.iterdir()] == [odd]


def test_a_file_that_a_person_rejects_is_put_aside_unread(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path, [spec(ready=MARKER)])
    path = world.put("a.csv", GOOD)  # it is arriving
    bench = bench_of(world)
    wish(bench, "reject", path, why="sent by mistake")
    runs(bench, 1)
    (one,) = entries(bench)
    assert (one.code, one.reason, one.sha256) == ("file.rejected", "rejected by ana: sent by mistake", "")
    assert (one.state, one.asked["verb"]) == ("refused", "reject")
    assert names(world.root / "place" / "errors") == ["1-a.csv"]
    assert rows(bench) == []
    # and what was rejected can be taken again: the newest wish for a name counts
    kept = world.root / "place" / "errors" / "1-a.csv"
    wish(bench, "requeue", kept, 1)
    world.tables = [spec()]
    runs(bench, 2)
    assert fates(bench)[1] == (2, "a.csv", "archived", "")


def test_a_file_that_has_grown_since_it_was_rejected_is_another_one(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    path = world.put("a.csv", GOOD)
    bench = bench_of(world)
    wish(bench, "reject", path)
    world.put("a.csv", GOOD + "2,Brest\n")
    runs(bench, 1)
    assert fates(bench) == [(1, "a.csv", "archived", "")]


def test_a_rejection_that_is_done_holds_for_no_file_that_comes_back(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    path = world.put("a.csv", GOOD)
    bench = bench_of(world)
    wish(bench, "reject", path)
    runs(bench, 1)
    (world.root / "place" / "errors" / "1-a.csv").rename(path)
    runs(bench, 2)
    assert fates(bench)[1] == (2, "a.csv", "archived", "")


def test_a_wish_reaches_a_capture_that_runs(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path, [spec(ready=MARKER)])
    path = world.put("a.csv", GOOD)
    bench = bench_of(world)
    stop = settled(bench, 1)
    asked = False

    def at(point: str) -> None:
        nonlocal asked
        stop(point)
        if point == "capture.after-confirm" and not asked:
            asked = bool(wish(bench, "reject", path))

    bench.at = at
    run(bench.capture, bench.doors)
    assert fates(bench) == [(1, "a.csv", "refused", "file.rejected")]
    assert bench.log.facts("opening again")
