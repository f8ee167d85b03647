"""A capture of partner files: what a refusal says, what a row is, and what is kept between openings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from connectors.files.ledger import Entry, Ledger
from engine.errors import CaptureFenced, GapSuspected, SourceUnready
from engine.marks import Marks
from engine.pump import kept, run
from engine.source import STREAM, Mark, Packed, Rows
from engine.supervise import Parked
from tests.support.files_bench import bench_of, entries, parked, rows, runs
from tests.support.files_world import HEAD, FilesWorld, fates, settled, spec

KEPT = "shop.drop._files"


# --- what a refusal says -----------------------------------------------------------------------------------


def test_a_wrong_trailer_refuses_the_file_with_both_numbers_and_no_row(tmp_path: Path) -> None:
    layout = {
        "delimiter": ",",
        "header": "none",
        "records": {
            "detail": {"literal": "D", "columns": ["kind", "id"]},
            "trailer": {"literal": "T", "role": "trailer", "columns": ["kind", "count"]},
        },
    }
    world = FilesWorld(tmp_path, [spec(delimited=layout, controls={"count": {"field": "trailer.count"}})])
    world.put("a.csv", "D,1\nD,2\nT,3\n")
    world.put("b.csv", "D,1\nD,2\nT,2\n")
    bench = bench_of(world)
    runs(bench, 2)
    wrong, right = entries(bench)
    assert wrong.code == "control.count"
    assert "3 details, and the file has 2" in wrong.reason
    assert [(row["after"]["_file"], row["after"]["id"]) for row in rows(bench)] == [
        ("b.csv", "1"),
        ("b.csv", "2"),
    ]
    assert right.totals["counts"] == {"detail": 2, "trailer": 1}


def three_of_which_the_second_comes_last(tmp_path: Path, numbers: Mapping[str, str]) -> FilesWorld:
    world = FilesWorld(tmp_path, [spec(controls={"sequence": numbers})])
    mark: Mark | None = None
    for number, town in ((1, "Aix"), (3, "Caen"), (2, "Brest")):
        world.put(f"{number}.csv", HEAD + f"{number},{town}\n")
        mark = settled(world, mark)
    return world


def test_a_number_that_is_missing_in_a_sequence_is_seen_across_openings(tmp_path: Path) -> None:
    numbers = {"name": r"(?P<value>[0-9]+)\.csv", "gap": "refuse"}
    world = three_of_which_the_second_comes_last(tmp_path, numbers)
    assert [(n, s) for n, s, _ in fates(world)] == [
        ("1.csv", "archived"), ("3.csv", "refused"), ("2.csv", "archived"),
    ]  # fmt: skip
    assert "2 was to come after 1" in world.entries[1].reason


def test_a_gap_in_a_sequence_is_an_alarm_and_no_reason_to_wait(tmp_path: Path) -> None:
    world = three_of_which_the_second_comes_last(tmp_path, {"name": r"(?P<value>[0-9]+)\.csv"})
    assert fates(world) == [
        ("1.csv", "archived", ""),
        ("3.csv", "archived", "control.sequence"),
        ("2.csv", "archived", "control.sequence"),
    ]
    told = [(one.sequence, one.reason.rpartition(": ")[2]) for one in world.entries]
    assert told == [(1, ""), (3, "a gap"), (None, "before the last file")]
    # the next one follows the newest, not the one that was late
    world.put("4.csv", HEAD + "4,Dax\n")
    settled(world, settled(world))
    assert fates(world)[-1] == ("4.csv", "archived", "")


def test_a_file_that_two_flows_want_belongs_to_none(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path, [spec("orders"), spec("letters", pattern="a*")])
    world.put("a.csv", HEAD + "1,Aix\n")
    world.put("b.csv", HEAD + "2,Brest\n")
    settled(world)
    assert fates(world) == [("a.csv", "refused", "file.feeds"), ("b.csv", "archived", "")]


# --- rows --------------------------------------------------------------------------------------------------


def test_a_record_with_a_problem_is_a_row_with_its_reason_and_bytes(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path, [spec(keys=["id"])])
    world.put("a.csv", HEAD + "1,Aix\n2\n,Caen\n4,\n")
    bench = bench_of(world, partitions=4)
    runs(bench, 1)
    found = sorted((row["after"] for row in rows(bench)), key=lambda one: one["_record"])
    assert [(r["id"], r["town"], r["_file"], r["_record"]) for r in found] == [
        ("1", "Aix", "a.csv", 2), (None, None, "a.csv", 3), (None, None, "a.csv", 4), ("4", "", "a.csv", 5),
    ]  # fmt: skip
    assert [(r["_problem"], r["_raw"]) for r in found] == [
        (None, None),
        ("record.width: 1 fields, 2 are declared", b"2"),
        ("key.empty: a column of the key is empty", b'{"id": "", "town": "Caen"}'),
        (None, None),
    ]
    ends = bench.topic.offsets(["shop.acme.orders"])["shop.acme.orders"]
    stored = [one for n, end in ends.items() for one in bench.topic.read("shop.acme.orders", n, *end)]
    assert sum(one.key is None for one in stored) == 2
    assert entries(bench)[0].problems == 2


def test_packed_rows_are_the_same_one_by_one_and_column_by_column(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    world.put("a.csv", HEAD + "1,Aix\n2\n3,Caen\n")
    runs_: list[Rows] = []
    with world.opened() as source:
        runs_ += [i for i in source.read(limit=10, wait_s=0.5) if isinstance(i, Rows)]
    for given in runs_:
        if not isinstance(given.rows, Packed):
            continue
        columns = given.rows.columns()
        assert [list(row[2] or ()) for row in given.rows] == [list(c) for c in zip(*columns, strict=True)]
        assert [given.rows[n] for n in range(len(given.rows))] == list(given.rows)
        assert list(given.rows[1:]) == list(given.rows)[1:]
        assert {row[0] for row in given.rows} == {"c"}


# --- the pump and what is kept -----------------------------------------------------------------------------


def test_an_opening_that_read_too_early_begins_again(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    world.put("a.csv", HEAD + "1,Aix\n")
    bench = bench_of(world)
    runs(bench, 1)
    inner, calls = bench.open, []

    def slow(*words: Any) -> Any:
        calls.append(len(words[3]))
        if len(calls) == 1:  # while it opens, the writer before it keeps one more entry
            name = KEPT
            stored = list(bench.topic.read(name, 0, *bench.topic.offsets([name])[name][0]))[-1]
            bench.topic.send([(name, stored.value, stored.key, 0)])
            bench.topic.flush()
        return inner(*words)

    bench.open = slow
    world.put("b.csv", HEAD + "2,Brest\n")
    runs(bench, 2)
    assert len(calls) == 2
    assert [fate.state for fate in entries(bench)] == ["archived", "archived"]


def test_f2_of_two_workers_at_once_the_older_one_sends_no_row(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    world.put("a.csv", HEAD + "1,Aix\n")
    bench = bench_of(world)

    def at(point: str) -> None:
        if point == "capture.mark-sent" and any(one.state == "accepted" for one in entries(bench)):
            Marks(bench.topic, "demo", lambda: "now").send("shop", 9, None)  # a newer worker takes over
            bench.topic.flush()

    bench.at = at
    end = run(bench.capture, bench.doors)
    assert isinstance(end, Parked)
    assert isinstance(end.error, CaptureFenced)
    assert rows(bench) == []


def test_a_record_of_a_newer_writer_is_newer_wherever_it_lies(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    bench = bench_of(world)
    for number, name in enumerate(("a.csv", "b.csv"), 1):
        world.put(name, f"{HEAD}{number},Aix\n")
        runs(bench, number)
    stored = list(bench.topic.read(KEPT, 0, *bench.topic.offsets([KEPT])[KEPT][0]))
    old, new = stored[0], stored[-1]
    for key in (b"another key", new.key):  # a writer that was replaced sends what it had
        bench.topic.send([(KEPT, old.value, key, 0)])
    bench.topic.flush()
    rows_ = kept.read(bench.topic, bench.registry, bench.capture).rows
    assert rows_[-1]["name"] == "b.csv"
    assert [row["state"] for row in rows_ if row["name"] == "b.csv"] == ["archived"]


def test_an_entry_of_a_newer_writer_rules_whatever_lies_behind_it() -> None:
    # as the engine hands them over: by writer, then by place
    old = _entry(arrival=1, name="old.csv", sha256="aa", opening="1")
    new = _entry(arrival=1, name="new.csv", sha256="bb", opening="2")
    ledger = Ledger([_row(old), _row(new)], "3", 0, 0)
    assert [one.name for one in ledger] == ["new.csv"]


def _entry(**said: Any) -> Entry:
    whole: dict[str, Any] = {
        "arrival": 1, "opening": "", "change": 1, "state": "accepted", "partner": "acme",
        "feed": "acme.orders", "folder": "in", "name": "a.csv",
        "size": 1, "modified_ns": 1, "sha256": "aa", "decided_us": 1,
    }  # fmt: skip
    return Entry(**(whole | said))


def _row(one: Entry) -> dict[str, Any]:
    said = asdict(one)
    return said | {name: json.dumps(said[name]) for name in ("totals", "ends", "asked")}


def test_what_is_kept_and_cannot_be_read_stops_the_capture(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    world.put("a.csv", HEAD + "1,Aix\n")
    bench = bench_of(world)
    runs(bench, 1)
    bench.topic.send([(KEPT, b"none of ours", b"x", 0)])
    bench.topic.flush()
    assert isinstance(parked(bench), GapSuspected)


def test_a_feed_that_is_set_aside_stops_no_other(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path, [spec("orders"), spec("letters", folder="letters")])
    bench = bench_of(world)
    bench.unfit = {"acme.letters": SourceUnready("no folder", hint="mkdir")}
    world.put("a.csv", HEAD + "1,Aix\n")
    runs(bench, 1)
    assert [row["after"]["id"] for row in rows(bench)] == ["1"]


def test_a_mark_at_the_stream_names_the_newest_published_file(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    world.put("a.csv", HEAD + "1,Aix\n")
    world.put("b.csv", "wrong\n")
    assert settled(world).at[STREAM] == 1
