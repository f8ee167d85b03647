"""A doctor looks at every part, whatever the others say, and every finding comes with its fix."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from connectors.postgres import budget
from engine.cli import asking, doctor, start
from engine.cli.main import main
from engine.embedded import fitness as machine
from engine.errors import LakeUnreachable, SourceRefused
from engine.source import Finding
from engine.watch import fitness
from tests.support.declared import project
from tests.unit.test_watch_lake import ENTRY, FLOW, book

Out = pytest.CaptureFixture[str]
FINE = Finding("ok", "connection", "there")


def fine() -> Iterator[Finding]:
    yield FINE


def refused() -> Iterator[Finding]:
    yield FINE
    raise SourceRefused("password refused", where="shop", hint="set the secret")


def broken() -> Iterator[Finding]:
    raise ZeroDivisionError("s3cret")


def test_i9_a_look_that_fails_is_a_finding_and_the_others_go_on(capsys: Out) -> None:
    first = {"connection": refused, "tables": broken, "slot": fine}
    (one, two) = doctor.examine({"source shop": first, "kafka": {"brokers": fine}})
    assert one[0] == "source shop"
    assert [(f.level, f.subject, f.code) for f in one[1]] == [
        ("ok", "connection", ""), ("fail", "connection", "source.refused"),
        ("fail", "tables", "ecluse.bug"), ("ok", "connection", ""),
    ]  # fmt: skip
    assert one[1][1].fix == "set the secret"
    assert "s3cret" not in str(one)  # I8
    assert two == ("kafka", [FINE])
    assert capsys.readouterr().err == ""


def test_i9_a_part_that_gives_no_answer_is_told_and_holds_up_no_other(
    capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hangs() -> Iterator[Finding]:
        yield FINE
        released.wait()

    monkeypatch.setattr(asking, "_QUIET_S", 0.01)
    silent = {"registry": fine, "hangs": hangs}
    found = dict(doctor.examine({"registry": silent, "kafka": {"brokers": fine}}, limit_s=0.2))
    assert found["kafka"] == [FINE]
    assert [(f.level, f.text) for f in found["registry"]] == [
        ("ok", "there"), ("fail", "no answer within 0.2 s"),
    ]  # fmt: skip
    assert found["registry"][-1].fix
    assert capsys.readouterr().err.startswith("looking at registry: 0 s\n")
    released.set()


def ecluse(folder: Path, *words: str) -> int:
    return main(["-p", str(folder), *words], environment={})


def test_a_project_that_nobody_has_started_yet_is_no_trouble(tmp_path: Path, capsys: Out) -> None:
    start.write_project(tmp_path)
    assert ecluse(tmp_path, "doctor") == 0
    said = capsys.readouterr()
    assert "  warn  brokers  the embedded Kafka does not run\n        fix      ecluse up" in said.out
    assert "  ok    folder" in said.out
    assert " 0 failed" in said.err


def test_a_look_that_fails_ends_with_4_and_all_of_it_is_json(
    tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    start.write_project(tmp_path)
    (tmp_path / ".ecluse").mkdir()
    (tmp_path / ".ecluse" / "lake").write_text("a file in the way")
    assert ecluse(tmp_path, "doctor", "--json") == 4
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert (told["ok"], told["failed"] > 0) == (False, True)
    parts = {each["part"]: each["findings"] for each in told["parts"]}
    assert list(parts) == ["source shop", "kafka", "registry", "lake", "this machine"]
    (folder,) = [f for f in parts["lake"] if f["subject"] == "folder"]
    assert (folder["level"], folder["code"]) == ("fail", "lake.unreachable")
    assert json.loads(said.err)["error"]["code"] == "cli.unmet"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert ecluse(tmp_path, "doctor") == 4
    assert "FAIL" in capsys.readouterr().out


def test_a_secret_without_a_value_is_told_with_its_fix(tmp_path: Path) -> None:
    from engine.cli import compose
    from engine.cli.compose import Call
    from tests.support.declared import ENVIRONMENT

    here = Call(project(tmp_path), ENVIRONMENT)
    sources = {n: p for n, p in doctor.parts(here, compose.build(here)).items() if n.startswith("source")}
    ((_, (found,)),) = doctor.examine(sources)
    assert (found.level, found.code) == ("fail", "secret.missing")
    assert "ECLUSE_SECRET_SHOP_PASSWORD" in found.fix


# --- the lake, and this machine


def look(root: Path, name: str) -> list[Finding]:
    return list(fitness.looks(root, [FLOW], root / "scratch")[name]())


def test_a_lake_is_looked_at_part_by_part(tmp_path: Path) -> None:
    book(tmp_path, ENTRY)
    assert list(fitness.looks(tmp_path, [FLOW], tmp_path)) == [
        "folder", "disk", "checkpoint of default", "scratch of default", "ledger", "quarantine",
        FLOW.sink.table,
    ]  # fmt: skip
    assert [f.text for f in look(tmp_path, "ledger")] == ["ledger is readable, version 0"]
    assert [f.text for f in look(tmp_path, "quarantine")] == [
        "quarantine is not there yet: the landing makes it"
    ]
    write_deltalake(str(tmp_path / "bronze" / "parcels"), pa.table({"id": [1]}))
    (log,) = (tmp_path / "bronze" / "parcels" / "_delta_log").glob("*.json")
    assert [f.level for f in look(tmp_path, FLOW.sink.table)] == ["ok"]
    log.write_text("{torn")
    with pytest.raises(LakeUnreachable):
        look(tmp_path, FLOW.sink.table)


def test_a_folder_that_cannot_be_made_is_told_with_what_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "_ecluse").write_text("no folder")
    (found,) = look(tmp_path, "checkpoint of default")
    assert (found.level, found.fix) == ("fail", f"move {tmp_path / '_ecluse'} away")
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize(("free", "level"), [(0.5, "fail"), (5, "warn"), (50, "ok")])
def test_a_disk_that_fills_up_is_told_before_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, level: str
) -> None:
    disk = SimpleNamespace(free=int(free * 2**30), total=100 * 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk)
    (found,) = look(tmp_path, "disk")
    assert (found.level, bool(found.fix)) == (level, level != "ok")


def test_a_machine_without_spark_is_told_and_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    found = {f.subject: f for f in machine.look(tmp_path / "cache", {})}
    assert {name: f.level for name, f in found.items()} == {"spark": "warn", "java": "warn", "jars": "ok"}
    assert "pip install" in found["spark"].fix
    assert "24 MB" in found["jars"].text
    assert not (tmp_path / "cache").exists()


# --- the server's log


def spent(*row: Any) -> Finding:
    side: Any = SimpleNamespace(execute=lambda *_: SimpleNamespace(fetchone=lambda: row))
    (found,) = budget.findings(side, "ecluse_shop")
    return found


GIB: int = 1 << 30


@pytest.mark.parametrize(
    ("row", "level", "word"),
    [
        ((-1, None, None, None), "warn", "is not set"),
        ((-1, None, "reserved", 5 * GIB), "warn", "holds back 5.0 GiB"),
        ((8 * GIB, None, None, None), "ok", "at most 8.0 GiB"),
        ((8 * GIB, 7 * GIB, "reserved", GIB), "ok", "holds back 1.0 GiB"),
        ((8 * GIB, GIB, "extended", 7 * GIB), "warn", "after 1.0 GiB more it is lost"),
        ((8 * GIB, -GIB, "unreserved", 9 * GIB), "warn", "after 0.0 MiB more it is lost"),
    ],
)
def test_what_a_slot_holds_back_is_told_before_it_is_too_much(
    row: Sequence[Any], level: str, word: str
) -> None:
    found = spent(*row)
    assert found.level == level
    assert word in found.text
    assert bool(found.fix) == (level == "warn")
