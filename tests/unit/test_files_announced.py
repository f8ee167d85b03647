"""What is announced of a file, and what is looked at before anything is taken."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors.files import CONNECTOR
from connectors.files.announcing import announce
from connectors.files.ledger import FILES
from connectors.files.opening import feeds_of
from connectors.files.seeing import waiting
from engine.errors import SourceUnready, Unusable
from engine.source import TableSpec
from tests.support.files_world import HEAD, FilesWorld, fates, names, settled, spec

MARKER = {"by": "marker", "suffix": ".done"}


def announced(world: FilesWorld, name: str = "a.csv", **more: Any) -> str:
    config = world.config
    feed = feeds_of(world.tables)["acme.orders"]
    return announce(config, feed, Path(name), **more)


@pytest.mark.parametrize("by", [MARKER, {"by": "stable", "stable_s": 1000.0}])
def test_an_announced_file_is_taken_at_once_and_its_sidecar_goes_along(
    by: dict[str, Any], tmp_path: Path
) -> None:
    world = FilesWorld(tmp_path, [spec(ready=by)])
    world.put("a.csv", HEAD + "1,Aix\n")
    mark = settled(world)
    assert fates(world) == []
    sidecar = announced(world, records=1)
    settled(world, mark)
    assert fates(world) == [("a.csv", "archived", "")]
    assert names(world.inbox) == []
    assert names(world.root / "place" / "archive") == ["1-a.csv", f"1-{sidecar}"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"partner": "other"}, "announced.partner"),
        ({"size": 7}, "announced.size"),
        ({"sha256": "00"}, "announced.hash"),
        ({"records": 2}, "announced.records"),
        ({"records": "two"}, "announced.kind"),
        ({"announced": 9}, "announced.kind"),
        ({"more": 1}, "announced.kind"),
    ],
)
def test_a_file_that_is_not_what_was_announced_is_refused(
    wrong: dict[str, Any], code: str, tmp_path: Path
) -> None:
    world = FilesWorld(tmp_path, [spec(ready=MARKER)])
    world.put("a.csv", HEAD + "1,Aix\n")
    sidecar = world.inbox / announced(world, records=1)
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | wrong))
    settled(world)
    assert fates(world) == [("a.csv", "refused", code)]


@pytest.mark.parametrize("content", ["", "OK\n", "[]", '{"rows": 1}', "[" * 50_000])
def test_a_plain_marker_may_hold_anything(content: str, tmp_path: Path) -> None:
    world = FilesWorld(tmp_path, [spec(ready=MARKER)])
    world.put("a.csv", HEAD + "1,Aix\n")
    (world.inbox / "a.csv.done").write_text(content)
    settled(world)
    assert fates(world) == [("a.csv", "archived", "")]


@pytest.mark.parametrize("name", ["none.csv", "..", "link.csv"])
def test_what_is_no_file_is_not_announced(name: str, tmp_path: Path) -> None:
    world = FilesWorld(tmp_path)
    (world.inbox / "link.csv").symlink_to("/etc/passwd")
    with pytest.raises(Unusable):
        announced(world, name)
    assert names(world.inbox) == ["link.csv"]


def test_what_waits_is_told_with_how_it_stands(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path, [spec(ready=MARKER)])
    world.put("a.csv", HEAD)
    world.put("b.csv", HEAD)
    world.put("b.csv.done", "")
    world.put("c.txt", HEAD)
    found = [(one.name, one.state, one.feed, one.size) for one in waiting(world.config, world.tables)]
    assert found == [("a.csv", "arriving", "acme.orders", 8), ("b.csv", "announced", "acme.orders", 8)]


def test_a_missing_folder_is_a_finding_about_its_flow_and_a_folder_to_be_made(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path, [spec(), spec("letters", folder="letters")])
    findings = [one for one in CONNECTOR.preflight(world.config, world.tables) if one.level == "fail"]
    assert [(one.table, one.code) for one in findings] == [("acme.letters", SourceUnready.code)]
    needs = CONNECTOR.compare(world.config, world.tables)
    assert [(need.name, need.standing) for need in needs] == [
        ("in", "there"), ("letters", "missing"), ("archive", "missing"), ("errors", "missing"),
    ]  # fmt: skip
    assert len(CONNECTOR.provision(world.config, world.tables)) == 4
    assert findings[0].fix in CONNECTOR.provision(world.config, world.tables)


@pytest.mark.parametrize(
    ("folder", "lacking", "said"),
    [("in", os.R_OK | os.X_OK, "read"), ("in", os.W_OK, "write"), ("archive", os.W_OK, "write")],
)
def test_a_folder_that_we_may_not_use_is_a_finding_with_its_fix(
    folder: str, lacking: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = FilesWorld(tmp_path)
    (world.root / "place" / "archive").mkdir()
    there = (world.root / "place" / folder).stat()

    def access(_: str, mode: int, *, dir_fd: int) -> bool:
        return not (os.path.samestat(os.fstat(dir_fd), there) and mode == lacking)

    monkeypatch.setattr(os, "access", access)
    (finding,) = [one for one in CONNECTOR.preflight(world.config, world.tables) if one.level != "ok"]
    assert (finding.level, finding.code, finding.subject) == ("fail", SourceUnready.code, folder)
    assert f"we may not {said} in it" in finding.text
    assert finding.fix.startswith(f"chmod u+rwx {world.root}/place/{folder}")
    assert finding.table == ("acme.orders" if folder == "in" else "")


def test_an_archive_on_another_file_system_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = FilesWorld(tmp_path)
    (world.root / "place" / "archive").mkdir()
    archive = (world.root / "place" / "archive").stat()
    fstat = os.fstat

    def moved(number: int) -> Any:
        found = fstat(number)
        return SimpleNamespace(st_dev=-1) if os.path.samestat(found, archive) else found

    monkeypatch.setattr(os, "fstat", moved)
    (finding,) = [one for one in CONNECTOR.preflight(world.config, world.tables) if one.level != "ok"]
    assert "another file system than in" in finding.text


def test_a_place_that_is_not_there_is_a_finding_and_no_error(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path, settings={"root": str(tmp_path / "nowhere")})
    (finding,) = CONNECTOR.preflight(world.config, [TableSpec("f", "acme", "x", said=dict(spec().said))])
    assert (finding.level, finding.code) == ("fail", "source.refused")
    assert finding.fix


def test_the_connector_keeps_its_ledger() -> None:
    assert CONNECTOR.keeps is FILES
    assert CONNECTOR.measure.__module__.endswith("looking")
