"""What becomes of a partner's files: taken whole, once, and each with a reason that can be read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from connectors.files import ready
from connectors.files.ledger import Entry
from connectors.files.places import LocalPlace, Stat
from engine.errors import GapSuspected
from engine.source import STREAM, Mark, Rows
from tests.conformance.source_contract import Seen, drain, read
from tests.support.files_bench import bench_of, entries, parked, rows, runs
from tests.support.files_world import FilesWorld, spec

HEAD = "id,town\n"


def settled(world: FilesWorld, mark: Mark | None = None, rounds: int = 3) -> Mark:
    """Read, and confirm the newest mark, a few times."""
    with world.opened(mark) as source:
        for _ in range(rounds):
            seen = Seen()
            read(source, seen)
            mark = seen.marks[-1] if seen.marks else mark
            if mark is not None:
                source.confirm(mark)
    assert mark is not None
    return mark


def fates(world: FilesWorld) -> list[tuple[str, str, str]]:
    return [(one.name, one.state, one.code) for one in world.entries]


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# --- F1: a file that is still being written ----------------------------------------------------------------


def test_f1_a_file_waits_for_its_marker_and_takes_it_along(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path, [spec(ready={"by": "marker", "suffix": ".done"})])
    world.put("a.csv", HEAD + "1,Aix\n")
    mark = settled(world)
    assert world.entries == []
    world.put("a.csv.done", "")
    settled(world, mark)
    assert fates(world) == [("a.csv", "archived", "")]
    assert names(world.inbox) == []
    assert names(world.root / "place" / "archive") == ["1-a.csv", "1-a.csv.done"]


def test_f1_a_file_is_taken_only_after_it_has_stayed_as_it_is(tmp_path: Path) -> None:
    now = [100.0]
    watch = ready.Watch({"acme.orders": _feed(ready={"by": "stable", "stable_s": 30.0})}, lambda: now[0])
    grown = [Stat(1, 1), Stat(2, 1), Stat(2, 2), Stat(2, 2), Stat(2, 2)]
    seen = []
    for stat in grown:
        now[0] += 20
        seen += [s for s, _ in watch.look("in", [ready.Listed("a.csv", stat)])]
    assert seen == ["arriving", "arriving", "arriving", "arriving", "ready"]


def test_f1_a_file_with_the_name_of_a_transfer_is_not_taken(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path, [spec(pattern="*")])
    (world.inbox / "a.csv.part").write_text(HEAD)
    settled(world)
    assert world.entries == []


def _feed(**more: Any) -> Any:
    from connectors.files.opening import feeds_of

    return feeds_of([spec(**more)])["acme.orders"]


# --- F2, F3: the same bytes, the same name -----------------------------------------------------------------


def test_f2_the_same_bytes_under_another_name_are_a_duplicate_and_no_rows(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    world.put("a.csv", HEAD + "1,Aix\n")
    mark = settled(world)
    world.put("b.csv", HEAD + "1,Aix\n")
    with world.opened(mark) as source:
        seen = Seen()
        read(source, seen)
        source.confirm(seen.marks[-1])
        read(source, seen)
    assert seen.rows == []
    assert fates(world) == [("a.csv", "archived", ""), ("b.csv", "refused", "file.duplicate")]
    assert "arrival 1" in world.entries[1].reason
    assert names(world.root / "place" / "errors") == ["2-b.csv"]


@pytest.mark.parametrize(
    ("policy", "fate"),
    [("reject", ("refused", "file.name", None)), ("append", ("archived", "", None)),
     ("supersede", ("archived", "", 1))],
)  # fmt: skip
def test_f3_the_same_name_with_new_bytes_follows_the_flows_policy(
    policy: str, fate: tuple[str, str, int | None], tmp_path: Path
) -> None:
    world = FilesWorld(tmp_path, [spec(same_name=policy)])
    world.put("a.csv", HEAD + "1,Aix\n")
    mark = settled(world)
    world.put("a.csv", HEAD + "1,Arles\n")
    settled(world, mark)
    second = world.entries[1]
    assert (second.state, second.code, second.supersedes) == fate


def test_a_refused_file_may_be_sent_again_once_it_can_be_read(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    world.put("a.csv", "nr,town\n1,Aix\n")
    mark = settled(world)
    world.tables = [spec(delimited={"delimiter": ",", "columns": ["nr", "town"]})]
    world.put("a.csv", "nr,town\n1,Aix\n")
    settled(world, mark)
    assert fates(world) == [("a.csv", "refused", "header.mismatch"), ("a.csv", "archived", "")]


# --- F4: a file that changes under the reader --------------------------------------------------------------


class Shifting(LocalPlace):
    """A folder whose file is rewritten while it is read, so many times."""

    def __init__(self, world: FilesWorld, times: int) -> None:
        super().__init__(world.config.root, "")
        self.world, self.times = world, times

    def open(self, folder: str, name: str) -> Any:
        opened = super().open(folder, name)
        if opened is not None and name.endswith(".csv") and self.times:
            self.times -= 1
            path = self.world.inbox / name
            path.write_bytes(path.read_bytes() + b"9,More\n")
        return opened


def test_f4_a_file_that_is_rewritten_while_it_is_read_is_still_arriving(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = FilesWorld(tmp_path)
    world.put("a.csv", HEAD + "1,Aix\n")
    monkeypatch.setattr("connectors.files.opening.place_of", lambda _: Shifting(world, 2))
    with world.opened() as source:
        seen = drain(source, 3)
    assert [row[2][0] for _, row in seen.rows if row[2]] == [b"1", b"9", b"9"]
    assert len(world.entries) == 1
    assert world.entries[0].records == 3


def test_f4_the_copy_is_read_and_not_the_file(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    path = world.put("a.csv", HEAD + "1,Aix\n")
    world.at = lambda step: _replaced(path) if step == "files.entries-given" else None
    with world.opened() as source:
        seen = drain(source, 1)
    assert [row[2][1] for _, row in seen.rows if row[2]] == [b"Aix"]


def _replaced(path: Path) -> None:
    path.write_text(HEAD + "1,Elsewhere\n")


# --- F5 and after a kill -----------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["gone", "another"])
def test_f5_an_accepted_file_whose_bytes_are_lost_is_a_gap_by_name(then: str, tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    path = world.put("a.csv", HEAD + "1,Aix\n")
    with world.opened() as source:
        for item in source.read(limit=10, wait_s=0.5):
            if isinstance(item, Mark) and item.barrier:
                break
    for copy in (world.root / "staging").iterdir():
        copy.unlink()
    path.unlink()
    if then == "another":
        world.put("a.csv", HEAD + "2,Brest\n")
    settled(world)
    assert [(gap.schema, gap.table, gap.major) for gap in world.gaps] == [("acme", "orders", 1)]
    assert "a.csv" in world.gaps[0].text
    first, *more = fates(world)
    assert first == ("a.csv", "refused", "file.gone")
    assert more == ([] if then == "gone" else [("a.csv", "archived", "")])


def test_f5_a_copy_that_is_left_is_as_good_as_the_file(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    path = world.put("a.csv", HEAD + "1,Aix\n")
    with world.opened() as source:
        for item in source.read(limit=10, wait_s=0.5):
            if isinstance(item, Mark) and item.barrier:
                break
    path.unlink()
    with world.opened() as source:
        assert len(drain(source, 1).rows) == 1
    assert world.gaps == []


def test_a_ledger_that_knows_less_than_the_mark_stops_the_capture(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    world.put("a.csv", HEAD + "1,Aix\n")
    mark = settled(world)
    world.kept.clear()
    with pytest.raises(GapSuspected) as found, world.opened(mark):
        pass
    accepted = json.loads(mark.resume) | {"accepted": [(found.value.code, found.value.what)]}
    world.put("b.csv", HEAD + "2,Brest\n")
    settled(world, mark._replace(resume=json.dumps(accepted).encode()))
    assert [one.arrival for one in world.entries] == [2]


# --- F8: names are data ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["-rf.csv", "a b;$(x)`.csv", "é" * 120 + ".csv", "CON.csv", "..x.csv"])
def test_f8_a_name_is_data_whatever_it_looks_like(name: str, tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    (world.inbox / name).write_text(HEAD + "1,Aix\n")
    settled(world)
    taken = not name.startswith(".")
    assert fates(world) == ([(name, "archived", "")] if taken else [])
    if taken:
        (kept,) = names(world.root / "place" / "archive")
        assert kept.startswith("1-")
        assert kept in (f"1-{name}", f"1-{name}"[: len(kept)])


def test_f8_a_name_that_is_no_text_is_shown_and_moved(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    (Path(os.fsdecode(os.fsencode(world.inbox) + b"/r\xe9f.csv"))).write_text(HEAD + "1,Aix\n")
    settled(world)
    assert fates(world) == [("r\\xe9f.csv", "archived", "")]
    assert os.listdir(os.fsencode(world.root / "place" / "archive")) == [b"1-r\xe9f.csv"]


def test_f8_links_folders_and_pipes_are_no_files(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    secret = tmp_path / "secret.csv"
    secret.write_text(HEAD + "1,Secret\n")
    (world.inbox / "link.csv").symlink_to(secret)
    (world.inbox / "folder.csv").mkdir()
    os.mkfifo(world.inbox / "pipe.csv")
    settled(world)
    assert world.entries == []
    place = LocalPlace(world.config.root, "")
    for name in ("link.csv", "folder.csv", "pipe.csv", "../../secret.csv", "/etc/passwd", ".."):
        assert place.open("in", name) is None


def test_f8_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    from engine.errors import SourceRefused

    world = FilesWorld(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.csv").write_text(HEAD)
    (world.root / "place" / "led").symlink_to(outside)
    with pytest.raises(SourceRefused):
        LocalPlace(world.config.root, "").list("led")


# --- F20, and many files -----------------------------------------------------------------------------------


def test_f20_ten_thousand_files_are_listed_once_and_each_is_asked_about_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = FilesWorld(tmp_path)
    listings: list[int] = []
    real = LocalPlace.list

    def counted(place: LocalPlace, folder: str) -> Any:
        found = real(place, folder)
        listings.append(len(found))
        return found

    monkeypatch.setattr(LocalPlace, "list", counted)
    for n in range(1200):
        (world.inbox / f"{n:05}.csv").write_text(f"{HEAD}{n},Aix\n")
    with world.opened() as source:
        drain(source, 1200)
        assert listings == [1200]


def test_files_of_a_group_share_one_barrier(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    for n in range(40):
        world.put(f"{n:02}.csv", f"{HEAD}{n},Aix\n")
    with world.opened() as source:
        seen = drain(source, 40)
    assert sum(mark.barrier for mark in seen.marks) == 1


def test_staging_is_bounded_and_a_file_beyond_it_is_refused_with_both_numbers(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path, settings={"staging_max_bytes": 1 << 20})
    world.put("a.csv", HEAD + "1,Aix\n" * 180_000)
    world.put("b.csv", HEAD + "".join(f"{n},B\n" for n in range(100_000)))
    world.put("c.csv", HEAD + "".join(f"{n},C\n" for n in range(100_000)))
    most: list[int] = []
    staging = world.root / "staging"
    world.at = lambda _: most.append(sum(path.stat().st_size for path in staging.iterdir()))
    with world.opened() as source:
        drain(source, 200_000, limit=1_000_000)
    assert [one.code for one in world.entries] == ["file.size", "", ""]
    assert "1080008" in world.entries[0].reason
    assert "1048576" in world.entries[0].reason
    assert max(most) <= 1 << 20


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


def test_a_number_that_is_missing_in_a_sequence_is_seen_across_openings(tmp_path: Path) -> None:
    controls = {"sequence": {"name": r"(?P<value>[0-9]+)\.csv"}}
    world = FilesWorld(tmp_path, [spec(controls=controls)])
    world.put("1.csv", HEAD + "1,Aix\n")
    mark = settled(world)
    world.put("3.csv", HEAD + "3,Caen\n")
    mark = settled(world, mark)
    world.put("2.csv", HEAD + "2,Brest\n")
    settled(world, mark)
    assert [(n, s) for n, s, _ in fates(world)] == [
        ("1.csv", "archived"), ("3.csv", "refused"), ("2.csv", "archived"),
    ]  # fmt: skip
    assert "2 was to come after 1" in world.entries[1].reason


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
        ("key.empty: a column of the key is empty", '{"id": "", "town": "Caen"}'.encode()),
        (None, None),
    ]
    keys = [
        stored.key is None
        for n in range(4)
        for stored in bench.topic.read(
            "shop.acme.orders", n, *bench.topic.offsets(["shop.acme.orders"])["shop.acme.orders"][n]
        )
    ]
    assert sorted(keys) == [False, False, True, True]
    assert entries(bench)[0].problems == 2


def test_packed_rows_are_the_same_one_by_one_and_column_by_column(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    world.put("a.csv", HEAD + "1,Aix\n2\n3,Caen\n")
    runs_: list[Rows] = []
    with world.opened() as source:
        runs_ += [i for i in source.read(limit=10, wait_s=0.5) if isinstance(i, Rows)]
    for run in runs_:
        columns = run.rows.columns()  # type: ignore[attr-defined]
        assert [list(row[2] or ()) for row in run.rows] == [list(c) for c in zip(*columns, strict=True)]
        assert [run.rows[n] for n in range(len(run.rows))] == list(run.rows)
        assert list(run.rows[1:]) == list(run.rows)[1:]
        assert {row[0] for row in run.rows} == {"c"}


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
            name = "shop.drop._files"
            stored = list(bench.topic.read(name, 0, 0, 1))[0]
            bench.topic.send(name, 0, [{"key": stored.key, "value": stored.value or b""}])
            bench.topic.flush()
        return inner(*words)

    bench.open = slow
    world.put("b.csv", HEAD + "2,Brest\n")
    runs(bench, 2)
    assert len(calls) == 2
    assert [fate.state for fate in entries(bench)] == ["archived", "archived"]


def test_f2_of_two_workers_at_once_the_older_one_sends_no_row(tmp_path: Path) -> None:
    from engine.marks import Marks

    world = FilesWorld(tmp_path)
    world.put("a.csv", HEAD + "1,Aix\n")
    bench = bench_of(world)

    def at(point: str) -> None:
        if point == "capture.mark-sent":  # a newer worker takes over between our mark and the first row
            marks = Marks(bench.topic, "demo", lambda: "now")
            marks.send("shop", 9, None)
            bench.topic.flush()

    stop = bench.at
    del stop
    from engine.errors import CaptureFenced
    from engine.pump import run
    from engine.supervise import Parked

    seen = []

    def once(point: str) -> None:
        seen.append(point)
        if any(e.state == "accepted" for e in entries(bench)):
            at(point)

    bench.at = once
    end = run(bench.capture, bench.doors)
    assert isinstance(end, Parked)
    assert isinstance(end.error, CaptureFenced)
    assert rows(bench) == []


def test_an_entry_of_a_newer_writer_rules_whatever_lies_behind_it() -> None:
    # as the engine hands them over: by writer, then by place
    from connectors.files.ledger import Ledger

    old = _entry(arrival=1, name="old.csv", sha256="aa", opening="1")
    new = _entry(arrival=1, name="new.csv", sha256="bb", opening="2")
    ledger = Ledger([_row(old), _row(new)], "3", 0, 0)
    assert [one.name for one in ledger] == ["new.csv"]


def _entry(**said: Any) -> Entry:
    whole = {
        "arrival": 1, "opening": "", "change": 1, "state": "accepted", "partner": "acme", "feed": "acme.orders",
        "folder": "in", "name": "a.csv", "size": 1, "modified_ns": 1, "sha256": "aa", "decided_us": 1,
    }  # fmt: skip
    return Entry(**(whole | said))


def _row(one: Entry) -> dict[str, Any]:
    from dataclasses import asdict

    said = asdict(one)
    return said | {"totals": json.dumps(said["totals"]), "ends": json.dumps(said["ends"])}


def test_what_is_kept_and_cannot_be_read_stops_the_capture(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    world.put("a.csv", HEAD + "1,Aix\n")
    bench = bench_of(world)
    runs(bench, 1)
    bench.topic.send("shop.drop._files", 0, [{"key": b"x", "value": b"none of ours"}])
    bench.topic.flush()
    assert isinstance(parked(bench), GapSuspected)


def test_a_feed_that_is_set_aside_stops_no_other(tmp_path: Path) -> None:
    from engine.errors import SourceUnready

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
