"""What the stack is made of: fetched once, whole or not at all, by one process at a time."""

from __future__ import annotations

import doctest
import hashlib
import json
import os
import shutil
import struct
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pytest

from engine.embedded import jars, java, kafka, trust
from engine.embedded.java import Java
from engine.errors import DownloadFailed, StackFailed

IVY = """#!/bin/sh
# stands in for a JVM that runs Ivy: counts itself, keeps one file, delivers one jar
pattern=; cache=
while [ $# -gt 0 ]; do
  case "$1" in -retrieve) pattern=$2; shift;; -cache) cache=$2; shift;; esac; shift
done
echo run >> {home}/runs
mkdir -p "$cache"; echo half > "$cache/half-way"
if [ -e {home}/no-network ]; then
  echo "	Server access error at url https://example.org/a.pom (java.net.ConnectException: refused)"; exit 1
fi
sleep 0.2
printf 'bytes' > "$(dirname "$pattern")/a-1.0.jar"
"""


@pytest.fixture
def ivy(tmp_path: Path) -> Java:
    home = tmp_path / "java home"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").write_text(IVY.format(home=f"'{home}'"))
    (home / "bin" / "java").chmod(0o755)
    return Java(home)


def runs(ivy: Java) -> int:
    return len((ivy.home / "runs").read_text().splitlines())


def test_what_is_finished_is_not_fetched_again(ivy: Java, tmp_path: Path) -> None:
    first = jars.fetch(["spark"], cache=tmp_path, java=ivy)
    again = jars.fetch(["spark"], cache=tmp_path, java=ivy)
    assert runs(ivy) == 1
    assert first == again
    assert [jar.name for jar in again["spark"].jars] == ["a-1.0.jar"]
    assert jars.missing_bytes(["spark", "broker"], tmp_path) == {"broker": jars.DOWNLOAD_BYTES["broker"]}


def test_the_manifest_holds_the_digest_of_every_file(ivy: Java, tmp_path: Path) -> None:
    folder = jars.fetch(["spark"], cache=tmp_path, java=ivy)["spark"].path
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest == {"a-1.0.jar": {"size": 5, "sha256": hashlib.sha256(b"bytes").hexdigest()}}


@pytest.mark.parametrize("harm", ["truncate", "remove", "manifest"])
def test_a_harmed_folder_is_fetched_anew(harm: str, ivy: Java, tmp_path: Path) -> None:
    folder = jars.fetch(["spark"], cache=tmp_path, java=ivy)["spark"].path
    match harm:
        case "truncate":
            os.truncate(folder / "a-1.0.jar", 2)
        case "remove":
            (folder / "a-1.0.jar").unlink()
        case _:
            (folder / "manifest.json").write_text("{")
    assert jars.finished("spark", tmp_path) is None
    jars.fetch(["spark"], cache=tmp_path, java=ivy)
    assert (folder / "a-1.0.jar").read_bytes() == b"bytes"
    assert runs(ivy) == 2


def test_a_failed_download_names_its_reason_and_keeps_what_it_has(ivy: Java, tmp_path: Path) -> None:
    (ivy.home / "no-network").touch()
    with pytest.raises(
        DownloadFailed, match=r"files of spark could not be fetched: java\.net\.ConnectException: refused"
    ) as caught:
        jars.fetch(["spark"], cache=tmp_path, java=ivy)
    assert "what is finished is kept" in caught.value.hint
    assert jars.finished("spark", tmp_path) is None
    assert (tmp_path / "ivy" / "spark" / "half-way").is_file()
    (ivy.home / "no-network").unlink()
    jars.fetch(["spark"], cache=tmp_path, java=ivy)
    assert not (tmp_path / "ivy" / "spark").exists()  # a finished one needs it no more


def test_two_at_once_fetch_once(ivy: Java, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: jars.fetch(["spark"], cache=tmp_path, java=ivy), range(2)))
    assert found[0] == found[1]
    assert runs(ivy) == 1


def test_progress_is_told_up_to_the_total(ivy: Java, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    jars.fetch(
        ["spark", "broker"],
        cache=tmp_path,
        java=ivy,
        progress=lambda _, done, total: told.append((done, total)),
    )
    total = jars.DOWNLOAD_BYTES["spark"] + jars.DOWNLOAD_BYTES["broker"]
    assert told[-1] == (total, total)
    assert all(0 <= done <= total for done, _ in told)


def test_only_a_changed_configuration_is_another_one(tmp_path: Path) -> None:
    text = jars.IVY_XML.read_text()
    changed = tmp_path / "ivy.xml"
    changed.write_text(text.replace('name="kafka_2.13" rev="4.3.1"', 'name="kafka_2.13" rev="4.3.2"'))
    same = {c: jars.identity(c) == jars.identity(c, changed) for c in get_args(jars.Configuration)}
    assert same == {"spark": True, "broker": False, "registry": True, "postgres": True, "connect": True}


def jdk(home: Path, version: str) -> Path:
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").write_text("#!/bin/sh\n")
    (home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return home


def test_a_java_home_is_used_when_it_is_a_21(tmp_path: Path) -> None:
    home = jdk(tmp_path / "jdk", "21.0.4")
    assert java.find(tmp_path / "cache", {"JAVA_HOME": str(home)}).home == home
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("version", ["17.0.15", "1.8.0_452", "25"])
def test_another_java_is_passed_over(version: str, tmp_path: Path) -> None:
    home = jdk(tmp_path / "jdk", version)
    found = java.find(tmp_path / "cache", {"JAVA_HOME": str(home)})
    assert found.home.parent == tmp_path / "cache" / "java"
    assert found == java.find(tmp_path / "cache", {})
    assert (found.home / "release").is_file()


def test_the_wheels_java_stands_on_an_archive_of_its_own_classes(tmp_path: Path) -> None:
    found = java.find(tmp_path, {})
    # told to take an archive or not to start, it starts
    words = [str(found.binary), "-Xshare:on", "-Xlog:class+load", "-version"]
    said = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "java.lang.String source: shared objects file" in said.stdout


def test_without_any_java_the_way_to_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StackFailed, match="no Java 21") as caught:
        java.find(tmp_path, {})
    assert "ecluse[embedded]" in caught.value.hint


def test_java_trusts_what_python_trusts(tmp_path: Path) -> None:
    options = trust.java_options(tmp_path, {})
    (store,) = tmp_path.iterdir()
    assert f"-Djavax.net.ssl.trustStore={store}" in options
    assert options == trust.java_options(tmp_path, {})
    (count,) = struct.unpack_from(">I", store.read_bytes(), 8)
    assert count > 0


def test_the_examples_in_docstrings_run() -> None:
    results = [doctest.testmod(room) for room in (trust, kafka)]
    assert [result.attempted for result in results] == [2, 1]
    assert not any(result.failed for result in results)


def test_progress_passes_over_folders_that_are_finished_and_removed_meanwhile(tmp_path: Path) -> None:
    done, folder = threading.Event(), tmp_path / "ivy"

    def come_and_go() -> None:
        while not done.is_set():
            for n in range(20):
                (folder / f"{n}" / "jars").mkdir(parents=True)
                (folder / f"{n}" / "jars" / "a.jar").write_bytes(b"12345")
            shutil.rmtree(folder)

    worker = threading.Thread(target=come_and_go)
    worker.start()
    try:
        seen = [jars._bytes_of(folder) for _ in range(300)]  # noqa: SLF001 - what the meter calls
    finally:
        done.set()
        worker.join()
    assert 0 <= min(seen) <= max(seen) <= 100
