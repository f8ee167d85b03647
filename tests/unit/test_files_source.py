"""What becomes of a partner's files: taken whole, once, and each with a reason that can be read."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors.files import ready
from connectors.files.opening import feeds_of
from connectors.files.places import Listed, LocalPlace, Stat
from engine.errors import GapSuspected, SourceRefused
from engine.source import Mark
from tests.conformance.source_contract import Seen, drain, read
from tests.support.files_world import HEAD, FilesWorld, fates, names, settled, spec

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


def test_f1_a_file_is_taken_only_after_it_has_stayed_as_it_is() -> None:
    now = [100.0]
    watch = ready.Watch({"acme.orders": _feed(ready={"by": "stable", "stable_s": 30.0})}, lambda: now[0])
    grown = [Stat(1, 1), Stat(2, 1), Stat(2, 2), Stat(2, 2), Stat(2, 2)]
    seen = []
    for stat in grown:
        now[0] += 20
        seen += [s for s, _ in watch.look("in", [Listed("a.csv", stat)])]
    assert seen == ["arriving", "arriving", "arriving", "arriving", "ready"]


def test_f1_a_file_with_the_name_of_a_transfer_is_not_taken(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path, [spec(pattern="*")])
    (world.inbox / "a.csv.part").write_text(HEAD)
    settled(world)
    assert world.entries == []


def _feed(**more: Any) -> Any:
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


@dataclass
class TornFile:
    """An open file that somebody writes over, in its size, behind the first piece that is read of it."""

    opened: Any
    path: Path

    @property
    def file(self) -> Any:
        return self

    def stat(self) -> Stat:
        found: Stat = self.opened.stat()
        return found

    def read(self, _: int) -> bytes:
        got: bytes = self.opened.file.read(16)
        stat = self.path.stat()
        if got:
            self.path.write_bytes(b"x" * stat.st_size)
            os.utime(self.path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
        return got

    def close(self) -> None:
        self.opened.file.close()


class Torn(LocalPlace):
    """A folder whose file is written over, once, between two pieces that are read of it."""

    def __init__(self, world: FilesWorld) -> None:
        super().__init__(world.config.root, "")
        self.world, self.left = world, 1

    def open(self, folder: str, name: str) -> Any:
        opened = super().open(folder, name)
        if opened is not None and self.left:
            self.left -= 1
            return TornFile(opened, self.world.inbox / name)
        return opened


def test_f4_a_file_that_is_written_over_between_two_pieces_is_not_taken_for_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = FilesWorld(tmp_path)
    world.put("a.csv", HEAD + "1,Aix\n" * 5)
    monkeypatch.setattr("connectors.files.opening.place_of", lambda _: Torn(world))
    settled(world)
    assert fates(world) == [("a.csv", "refused", "header.mismatch")]
    assert world.entries[0].sha256 == hashlib.sha256(b"x" * 38).hexdigest()


def test_f4_the_copy_is_read_and_not_the_file(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    path = world.put("a.csv", HEAD + "1,Aix\n")
    with world.opened() as source:
        seen = Seen()
        for item in source.read(limit=10, wait_s=0.5):
            seen.take(item)
            if isinstance(item, Mark) and item.barrier:
                path.write_text(HEAD + "1,Elsewhere\n")
            elif seen.rows:
                break
    assert [row[2][1] for _, row in seen.rows if row[2]] == [b"Aix"]


# --- F5 and after a kill -----------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["gone", "another", "disguised"])
def test_f5_an_accepted_file_whose_bytes_are_lost_is_a_gap_by_name(then: str, tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    path = world.put("a.csv", HEAD + "1,Aix\n")
    with world.opened() as source:
        for item in source.read(limit=10, wait_s=0.5):
            if isinstance(item, Mark) and item.barrier:
                break
    for copy in (world.root / "staging").iterdir():
        copy.unlink()
    was = path.stat()
    path.unlink()
    if then == "disguised":  # of the same size, and with the same time
        path.write_text(HEAD + "2,Arl\n")
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    if then == "another":
        world.put("a.csv", HEAD + "2,Brest\n")
    settled(world)
    assert [(gap.schema, gap.table, gap.major) for gap in world.gaps] == [("acme", "orders", 1)]
    assert "a.csv" in world.gaps[0].text
    first, *more = fates(world)
    assert first == ("a.csv", "refused", "file.gone")
    assert more == ([("a.csv", "archived", "")] if then == "another" else [])


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


def test_f5_a_file_that_a_worker_before_archived_is_read_there(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    path = world.put("a.csv", HEAD + "1,Aix\n")
    with world.opened() as source:
        for item in source.read(limit=10, wait_s=0.5):
            if isinstance(item, Mark) and item.barrier:
                break
    for copy in (world.root / "staging").iterdir():
        copy.unlink()
    path.rename(world.root / "place" / "archive" / "1-a.csv")
    with world.opened() as source:
        source.confirm(drain(source, 1).marks[-1])
        drain(source, 0)
    assert world.gaps == []
    assert fates(world) == [("a.csv", "archived", "")]


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
    assert names(world.root / "place" / "archive") == [os.fsdecode(b"1-r\xe9f.csv")]


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
    assert place.list("in") == []
    for name in ("link.csv", "folder.csv", "pipe.csv", "../../secret.csv", "/etc/passwd", ".."):
        assert place.open("in", name) is None


def test_f8_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.csv").write_text(HEAD)
    (world.root / "place" / "led").symlink_to(outside)
    with pytest.raises(SourceRefused):
        LocalPlace(world.config.root, "").list("led")


# --- F20, and many files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-14, 0, 14])
def test_f20_the_clock_of_another_machine_decides_nothing(hours: int) -> None:
    now = [1_795_268_000.0]
    watch = ready.Watch({"acme.orders": _feed(ready={"by": "stable", "stable_s": 30.0})}, lambda: now[0])
    listed = [Listed("a.csv", Stat(2, int(now[0] + hours * 3600) * 1_000_000_000))]
    assert [standing for standing, _ in watch.look("in", listed)] == ["arriving"]
    now[0] += 29
    assert [standing for standing, _ in watch.look("in", listed)] == ["arriving"]
    now[0] += 1
    assert [standing for standing, _ in watch.look("in", listed)] == ["ready"]


def test_f20_ten_thousand_files_are_listed_once_and_each_is_asked_about_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = FilesWorld(tmp_path, settings={"poll_s": 1000.0})
    listings: list[int] = []
    real = LocalPlace.list

    def counted(place: LocalPlace, folder: str) -> Any:
        found = real(place, folder)
        listings.append(len(found))
        return found

    monkeypatch.setattr(LocalPlace, "list", counted)
    for n in range(600):
        (world.inbox / f"{n:05}.csv").write_text(f"{HEAD}{n},Aix\n")
    with world.opened() as source:
        drain(source, 600)
        assert listings == [600]


def test_files_of_a_group_share_one_barrier(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    for n in range(40):
        world.put(f"{n:02}.csv", f"{HEAD}{n},Aix\n")
    with world.opened() as source:
        seen = drain(source, 40)
    assert sum(mark.barrier for mark in seen.marks) == 1


def test_a_refused_file_is_put_aside_only_once_its_entry_is_durable(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    world.put("a.csv", "wrong\n")
    world.put("b.csv", HEAD + "1,Aix\n")
    decided: list[str] = []
    world.at = decided.append
    with world.opened() as source:
        mark = None
        while "files.decided" not in decided:
            mark = next((item for item in source.read(limit=1, wait_s=0) if isinstance(item, Mark)), mark)
        assert mark is not None
        source.confirm(mark)  # a keep-alive, while the other file is still looked at
        assert names(world.inbox) == ["a.csv", "b.csv"]
        source.confirm(drain(source, 1).marks[-1])
    assert names(world.inbox) == []
