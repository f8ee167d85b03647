"""The archive of Spark's classes: another Java or jar is another file, and nothing needs one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.lake import archive
from engine.lake.archive import Archive


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """An archive of a made-up Java and one jar; a training writes it."""
    (tmp_path / "java" / "bin").mkdir(parents=True)
    (tmp_path / "java" / "bin" / "java").write_text("java")
    (tmp_path / "java" / "release").write_text("21")
    (tmp_path / "a.jar").write_text("jar")
    monkeypatch.setattr(archive, "class_path", tuple)
    monkeypatch.setattr(Archive, "_train", lambda _, path: path.write_text("classes"))
    return Archive(tmp_path / "kept", tmp_path / "java", [tmp_path / "a.jar"])


def test_a_jvm_takes_it_once_it_is_there(kept: Archive) -> None:
    assert kept.options() == ()
    assert kept.make()
    assert kept.options() == (f"-XX:SharedArchiveFile={kept.path}", *archive.QUIET)


def test_it_is_made_once(kept: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept.make()
    monkeypatch.setattr(Archive, "_train", lambda *_: pytest.fail("it is there"))
    assert kept.make()


@pytest.mark.parametrize("changed", ["a.jar", "java/bin/java", "java/release"])
def test_another_java_or_jar_has_another_archive(changed: str, kept: Archive, tmp_path: Path) -> None:
    before = kept.path
    (tmp_path / changed).write_text("another one")
    assert kept.path != before


def test_where_none_can_be_made_spark_starts_without_and_it_is_tried_once(
    kept: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(archive, "class_path", tuple)
    tried: list[object] = []  # a training that leaves nothing
    monkeypatch.setattr("subprocess.run", lambda words, **_: tried.append(words))
    assert kept.wanted
    assert [kept.make(), kept.make()] == [False, False]
    assert (len(tried), kept.wanted, kept.options()) == (1, False, ())


def test_archives_of_environments_that_were_left_go(kept: Archive) -> None:
    kept.folder.mkdir()
    others = [kept.folder / f"classes-{n}.jsa" for n in range(4)]
    for age, other in enumerate(others):
        other.touch()
        os.utime(other, (age, age))
    assert kept.make()
    assert sorted(kept.folder.glob("*.jsa")) == sorted([*others[2:], kept.path])
