"""Files as a person looks at them from outside: ledger, folders and lake together, and what may be asked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.files import seeing
from engine.arrivals import Done, File, Wish
from engine.cli import filed, files
from engine.errors import FileDecided, GapSuspected, Unusable
from engine.marks import Marks
from engine.pump import run
from engine.pump.kept import read
from engine.source import TableSpec
from engine.watch.files import FileLook, Shelf, Wanted, look, tally
from engine.watch.lag import LandingReading
from tests.support.files_bench import bench_of, entries, runs
from tests.support.files_world import HEAD, FilesWorld, names, spec
from tests.support.memory import Bench

KEPT = "shop.drop._files"


def flow(name: str = "orders", mode: str = "append") -> Any:
    table = TableSpec(f"acme.{name}", "acme", name)
    return SimpleNamespace(name=f"acme.{name}", table=table, sink=SimpleNamespace(mode=mode))


def shelf(bench: Bench, **more: Any) -> Shelf:
    return Shelf(bench.capture, [flow()], bench.topic, bench.registry, seeing.read, **more)


def waiting(world: FilesWorld) -> list[File]:
    return list(seeing.waiting(world.config, world.tables))


def states(bench: Bench, world: FilesWorld, **wanted: Any) -> list[tuple[str, str]]:
    found = look(shelf(bench), waiting(world), Wanted(**wanted))
    return [(one.file.name, one.file.state) for one in found.files]


@pytest.fixture
def world(tmp_path: Path) -> FilesWorld:
    return FilesWorld(tmp_path, [spec()])


def test_a_file_that_waits_comes_first_and_then_the_newest(world: FilesWorld) -> None:
    world.put("a.csv", HEAD + "1,Aix\n")
    world.put("b.csv", "wrong\n")
    bench = bench_of(world)
    runs(bench, 2)
    world.put("c.csv", HEAD)
    (world.inbox / "d.csv.part").write_text("not yet\n")
    assert states(bench, world) == [("c.csv", "ready"), ("b.csv", "refused"), ("a.csv", "archived")]
    assert states(bench, world, states=["refused"]) == [("b.csv", "refused")]
    assert states(bench, world, feeds=["acme.other"]) == []
    assert states(bench, world, named="1") == [("a.csv", "archived")]
    assert states(bench, world, named="errors/2-b.csv") == [("b.csv", "refused")]
    assert look(shelf(bench), waiting(world), Wanted(limit=2)).fitting == 3
    assert states(bench, world, limit=2) == [("c.csv", "ready"), ("b.csv", "refused")]
    decided = look(shelf(bench), [], Wanted(named="1")).files[0].at_us
    assert states(bench, world, since_us=decided + 1) == [("b.csv", "refused")]


def test_a_file_that_is_decided_about_and_not_put_away_yet_is_shown_once(world: FilesWorld) -> None:
    world.put("a.csv", "wrong\n")
    bench = bench_of(world)

    def at(point: str) -> None:
        if point == "capture.mark-acknowledged" and entries(bench):
            raise KeyboardInterrupt

    bench.at = at
    with pytest.raises(KeyboardInterrupt):
        run(bench.capture, bench.doors)
    assert names(world.inbox) == ["a.csv"]
    assert states(bench, world) == [("a.csv", "refused")]


@pytest.mark.parametrize(
    ("landings", "landed"),
    [
        (None, None),
        ({}, False),
        ({"acme.orders": LandingReading({0: 0})}, False),
        ({"acme.orders": LandingReading({0: 1})}, True),
    ],
)
def test_a_file_has_landed_when_every_flow_stands_behind_its_last_record(
    landings: Any, landed: Any, world: FilesWorld
) -> None:
    world.put("a.csv", HEAD + "1,Aix\n")
    bench = bench_of(world)
    runs(bench, 1)
    (one,) = look(shelf(bench, landings=landings), [], Wanted()).files
    assert (one.file.ends, one.landed, "landed" in one.states) == ({0: 1}, landed, landed is True)


def test_what_was_counted_is_shown_with_what_the_file_says(tmp_path: Path) -> None:
    layout = {
        "delimiter": ",", "header": "none",
        "records": {
            "detail": {"literal": "D", "columns": ["kind", "id", "amount"]},
            "trailer": {"literal": "T", "role": "trailer", "columns": ["kind", "count", "total"]},
        },
    }  # fmt: skip
    controls = {
        "count": {"field": "trailer.count"},
        "sums": {"paid": {"field": "trailer.total", "column": "amount"}},
        "sequence": {"name": r"(?P<value>[0-9]+)\.csv"},
    }
    world = FilesWorld(tmp_path, [spec(delimited=layout, controls=controls)])
    world.put("7.csv", "D,1,1.50\nD,2,2.25\nT,2,3.75\n")
    bench = bench_of(world)
    runs(bench, 1)
    (one,) = look(shelf(bench), [], Wanted()).files
    told = dict(filed.lines(one, [flow()], "")[0][1])
    assert [(c.name, c.said, c.found) for c in one.file.controls] == [
        ("details", "trailer.count: 2", "2"),
        ("sum paid of amount", "trailer.total: 3.75", "3.75"),
        ("sequence", "the file's name: 7", "7"),
    ]
    assert told["controls"] == "details: trailer.count: 2, found 2"
    assert one.as_dict()["counts"] == {"detail": 2, "trailer": 1}


def test_files_are_counted_by_feed_and_one_that_was_taken_again_is_not_refused(world: FilesWorld) -> None:
    world.put("a.csv", HEAD + "1,Aix\n2\n")
    world.put("b.csv", "wrong\n")
    bench = bench_of(world)
    runs(bench, 2)
    world.put("c.csv", HEAD)
    (found,) = tally(shelf(bench), waiting(world)).values()
    assert (found.waiting, found.refused, found.problems, found.newest_refused) == (1, 1, 1, 2)
    assert found.oldest_us == 3_000_000
    assert list(filed.tallied(found, 63_000_000, "")) == [
        "files of acme.orders: 1 accepted, 1 refused, 1 waiting (the oldest for 1 min 00)",
        "  next ecluse files show 2",
    ]
    assert found.as_dict()["states"] == {"archived": 1, "refused": 1, "ready": 1}


def test_a_wish_that_nobody_has_done_is_shown_with_its_file_and_with_no_other(world: FilesWorld) -> None:
    world.put("a.csv", "wrong\n")
    bench = bench_of(world)
    runs(bench, 1)
    (one,) = look(shelf(bench), [], Wanted()).files
    wish = Wish(
        number=3, verb="requeue", folder="in", name="a.csv", size=one.file.size, by="ana", at="12:00",
        modified_ns=one.file.modified_ns, arrival=1,
    )  # fmt: skip
    (asked,) = look(shelf(bench, wishes=[wish]), [], Wanted()).files
    assert asked.wish == wish
    assert filed.row(asked)[1] == "refused, requeue asked"
    for other in (replace(wish, arrival=2), replace(wish, size=1)):
        assert look(shelf(bench, wishes=[other]), [], Wanted()).files[0].wish is None


def test_a_record_of_the_ledger_that_is_none_of_ours_stops_the_look(world: FilesWorld) -> None:
    bench = bench_of(world)
    world.put("a.csv", HEAD + "1,Aix\n")
    runs(bench, 1)
    bench.topic.send([(KEPT, b"none of ours", b"x", 0)])
    bench.topic.flush()
    with pytest.raises(GapSuspected):
        look(shelf(bench), [], Wanted())


def test_of_two_entries_under_one_number_the_newer_writers_is_shown_and_no_other(world: FilesWorld) -> None:
    world.put("a.csv", HEAD + "1,Aix\n")
    bench = bench_of(world)

    def at(point: str) -> None:
        if point == "capture.mark-acknowledged" and entries(bench):
            raise KeyboardInterrupt

    bench.at = at  # the next opening writes under a key of its own
    with pytest.raises(KeyboardInterrupt):
        run(bench.capture, bench.doors)
    runs(bench, 1)
    assert len(read(bench.topic, bench.registry, bench.capture).rows) == 2
    assert states(bench, world) == [("a.csv", "archived")]
    (found,) = tally(shelf(bench), []).values()
    assert found.states == {"archived": 1}


# --- what may be asked -------------------------------------------------------------------------------------


def shown(state: Any = "refused", **more: Any) -> FileLook:
    said: dict[str, Any] = {
        "feed": "acme.orders", "partner": "acme", "folder": "in", "name": "a b.csv", "size": 8,
        "modified_ns": 1, "lies": "errors/7-a b.csv", "arrival": 7, "records": 0, "problems": 0,
    }  # fmt: skip
    return FileLook("drop", File(state=state, **(said | more)), ("acme.orders",))


@pytest.mark.parametrize(
    ("one", "what"),
    [
        (shown(), None),
        (shown("arriving"), "nobody has decided"),
        (shown("archived", published_us=1), "would come twice"),
        (shown("accepted"), "would come twice"),
        (shown("requeued"), "taken again already"),
        (shown(code="file.duplicate", reason="the same bytes came as arrival 3"), "as arrival 3"),
        (shown(lies="gone"), "taken it away"),
        (shown(sent=True), "acme.orders would keep both"),
    ],
)
def test_only_a_refused_file_of_which_nothing_was_sent_is_taken_again(
    one: FileLook, what: str | None
) -> None:
    found = filed.no_requeue(one, [flow()])
    assert found is None if what is None else found is not None and what in found[0]


def test_where_newest_rows_are_kept_a_file_of_which_some_was_sent_is_taken_again() -> None:
    assert filed.no_requeue(shown(sent=True), [flow(mode="scd1")]) is None


@pytest.mark.parametrize(
    ("state", "what"),
    [
        ("arriving", None), ("announced", None), ("ready", None), ("refused", "refused already"),
        ("requeued", "taken again"), ("accepted", "cannot be called back"), ("archived", "cannot be called"),
    ],
)  # fmt: skip
def test_only_a_file_that_nobody_has_decided_about_is_rejected(state: str, what: str | None) -> None:
    found = filed.no_reject(shown(state))
    assert found is None if what is None else found is not None and what in found[0]


def test_of_two_files_of_one_name_the_first_that_was_asked_for_goes_first(world: FilesWorld) -> None:
    world.put("a.csv", "wrong\n")
    bench = bench_of(world)
    runs(bench, 1)
    world.put("a.csv", "wrong again\n")
    runs(bench, 2)
    found = look(shelf(bench), [], Wanted()).files
    first, second = found[1], found[0]
    marks = Marks(bench.topic, "demo", lambda: "12:00")
    asked = files._wish(marks, shelf(bench), first, "requeue", "")  # noqa: SLF001
    with pytest.raises(FileDecided, match="arrival 1 of the same name") as refused:
        files._possible(second, "requeue", shelf(bench, wishes=[asked]), "")  # noqa: SLF001
    assert refused.value.hint == "ecluse files show 2"


def test_what_was_done_about_a_wish_is_told_with_who_and_why() -> None:
    done = Done(1, "requeue", "ana", "12:00", "mended", done=False, text="another file lies there")
    told = dict(filed.lines(shown(asked=done), [flow()], " -p x")[0][1])
    assert told["asked"] == "requeue by ana, 12:00 (mended): not done: another file lies there"
    assert told["next"] == "ecluse -p x files requeue 7  # once flow or file is mended"


def test_a_name_is_quoted_where_a_command_names_it() -> None:
    commands = list(filed.following(shown("arriving", arrival=None), [flow()], ""))
    assert commands[0] == "ecluse files announce drop acme.orders 'a b.csv'  # when it is whole"


@pytest.mark.parametrize("text", ["yesterday", "12", "99999999999d", "1y"])
def test_a_moment_that_is_none_says_what_would_be_one(text: str) -> None:
    with pytest.raises(Unusable) as refused:
        files._since(text, datetime.now(UTC))  # noqa: SLF001
    assert "2026-11-22" in refused.value.hint
