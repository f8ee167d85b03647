"""The verbs of files, as far as they need no broker: what is meant, what is announced, what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.cli import compose, shelves
from engine.cli.compose import Call
from engine.cli.main import main
from engine.errors import Missing
from tests.support.partner_project import FLOWS, PROJECT

Out = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    words = {
        "name": "drop", "root": tmp_path / "drop", "staging": tmp_path / "staging", "kafka": "localhost:1",
        "registry": "http://localhost:1", "lake": tmp_path / "lake",
        "layout": "{columns: [id, town], delimiter: ','}", "controls": "{}",
    }  # fmt: skip
    for name in ("drop", "lake", "flows"):
        (tmp_path / name).mkdir()
    (tmp_path / "ecluse.yaml").write_text(PROJECT.format(**words))
    (tmp_path / "flows" / "acme.yaml").write_text(FLOWS.format(**words))
    return tmp_path


def ecluse(folder: Path, *words: str) -> int:
    return main(["-p", str(folder), *words], environment={})


def test_a_connection_or_a_flow_is_named_and_nothing_means_all(folder: Path) -> None:
    here = Call(folder, {})
    plan = compose.build(here)
    for name, flows in {
        None: ["acme.letters", "acme.orders"],
        "drop": ["acme.letters", "acme.orders"],
        "acme.orders": ["acme.orders"],
    }.items():
        ((capture, found),) = shelves.chosen(here, plan, name)
        assert (capture.name, [flow.name for flow in found]) == ("drop", flows)
    with pytest.raises(Missing) as missing:
        shelves.chosen(here, plan, "acme.order")
    assert missing.value.hint == 'did you mean "acme.orders"?'


def test_a_mover_announces_a_file_without_a_broker(folder: Path, capsys: Out) -> None:
    (folder / "drop" / "LETTERS_1.csv").write_text("id,town\n1,Aix\n")
    words = ("files", "announce", "drop", "letters", "LETTERS_1.csv", "--records", "1")
    assert ecluse(folder, *words, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "connection": "drop", "feed": "acme.letters", "file": "LETTERS_1.csv",
        "sidecar": "LETTERS_1.csv.done",
    }  # fmt: skip
    said = json.loads((folder / "drop" / "LETTERS_1.csv.done").read_text())
    assert (said["partner"], said["size"], said["records"]) == ("acme", 14, 1)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("announce", "drop", "letter", "a.csv"), "cli.missing"),
        (("announce", "drop", "letters", "a.csv"), "cli.unusable"),
        (("announce", "nowhere", "letters", "a.csv"), "cli.missing"),
        (("ls", "--state", "lost"), "cli.unusable"),
        (("ls", "--since", "soon"), "cli.unusable"),
        (("ls", "acme.nothing"), "cli.missing"),
    ],
)
def test_what_cannot_be_meant_says_what_could_be(
    words: tuple[str, ...], code: str, folder: Path, capsys: Out
) -> None:
    assert ecluse(folder, "files", *words, "--json") == 2
    told = json.loads(capsys.readouterr().err)["error"]
    assert told["code"] == code
    assert told["hint"]


def test_a_place_that_does_not_answer_is_told_and_nothing_else_is_kept_back(
    folder: Path, capsys: Out
) -> None:
    (folder / "drop").rmdir()
    here = Call(folder, {})
    (capture,) = compose.build(here).captures
    assert shelves.waiting(here, capture) == []
    assert "what waits in drop is not known: source.refused" in capsys.readouterr().err
