"""The folder of copies: bounded, and one capture's own."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from engine.source import Rows
from tests.support.files_world import HEAD, FilesWorld, settled


def test_two_projects_of_one_name_do_not_clear_each_others_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shared := tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    one, other = (FilesWorld(tmp_path / name, settings={"staging": ""}) for name in ("one", "other"))
    one.put("a.csv", HEAD + "1,Aix\n")
    settled(one)
    (ours,) = shared.iterdir()
    copy = ours / ("0" * 64)
    copy.write_bytes(b"of a file that is being read")
    settled(other)
    assert copy.exists()
    settled(one)
    assert not copy.exists(), "what no entry of ours names is cleared"


def test_staging_is_bounded_and_a_file_beyond_it_is_refused_with_both_numbers(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path, settings={"staging_max_bytes": 1 << 20})
    world.put("a.csv", HEAD + "1,Aix\n" * 180_000)
    world.put("b.csv", HEAD + "".join(f"{n},B\n" for n in range(100_000)))
    world.put("c.csv", HEAD + "".join(f"{n},C\n" for n in range(100_000)))
    most: list[int] = []
    staging = world.root / "staging"
    world.at = lambda _: most.append(sum(path.stat().st_size for path in staging.iterdir()))
    with world.opened() as source:
        items = list(source.read(limit=1_000_000, wait_s=0.5))
    assert sum(len(item.rows) for item in items if isinstance(item, Rows)) == 200_000
    assert [one.code for one in world.entries] == ["file.size", "", ""]
    assert "1080008" in world.entries[0].reason
    assert "1048576" in world.entries[0].reason
    assert max(most) <= 1 << 20
