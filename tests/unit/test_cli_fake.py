"""The verb ``fake``: files of a flow in a folder, rows of a table on stdout, and what becomes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.cli.main import main
from tests.support import declared
from tests.support.partners import project


def told(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> tuple[int, str, str]:
    code = main(["-p", str(folder), "fake", *words], environment=declared.ENVIRONMENT)
    found = capsys.readouterr()
    return code, found.out, found.err


def report(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> Any:
    code, out, err = told(capsys, folder, *words, "--json", "--day", "2026-11-02")
    assert code == 0, err
    return json.loads(out)


def test_files_lie_in_their_folder_and_the_report_says_what_becomes_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = project(tmp_path / "project"), tmp_path / "out"
    words = ("acme.returns", "--out", str(out), "--files", "3", "--records", "20")
    said = report(capsys, folder, *words, "--defect", "wrong_count=1", "--defect", "ragged=2")

    assert [one["becomes"] for one in said["files"]].count("refused") == 1
    for one in said["files"]:
        assert (out / one["name"]).stat().st_size == one["bytes"]
        assert (out / f"{one['name']}.done").exists()
        assert one["defects"] == {"ragged": 2}
        good = one["becomes"] == "accepted"
        assert (one["code"], one["lands"]) == ((None, 18) if good else ("control.count", 0))
        assert [each["code"] for each in one["broken"]] == ["record.width" if good else None] * 2


def test_without_json_each_file_is_a_line_for_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = project(tmp_path / "project"), tmp_path / "out"
    words = ("acme.orders", "--out", str(out), "--defect", "bad_type=2", "--day", "2026-11-02")
    code, said, err = told(capsys, folder, *words)

    assert code == 0
    assert "98 records will land, 2 wait in quarantine: 2 unfit" in said
    assert err == "1 file, 100 records; 0 of the files will be refused\n"


def test_rows_of_a_table_are_statements_or_json_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = declared.project(tmp_path)
    columns = (
        "--column",
        "id=bigint",
        "--column",
        "na'me=string",
        "--column",
        "at=timestamp",
        "--records",
        "3",
    )
    code, out, _ = told(capsys, folder, "shop.parcel", *columns)
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 3
    assert all(
        line.startswith('INSERT INTO "public"."parcel" ("id", "na\'me", "at") VALUES (') for line in lines
    )
    code, out, _ = told(capsys, folder, "shop.parcel", *columns, "--format", "jsonl")
    assert code == 0
    assert [set(json.loads(line)) for line in out.splitlines()] == [{"id", "na'me", "at"}] * 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("acme.ordres",), "there is no flow acme.ordres"),
        (("acme.orders",), "files need a folder"),
        (("acme.orders", "--out", "OUT", "--defect", "wrong_count=1"), "wrong_count: this flow has no place"),
        (("acme.orders", "--out", "OUT", "--defect", "ragged"), "ragged is no defect and its amount"),
        (("acme.orders", "--out", "OUT", "--defect", "ragged=101%"), "ragged=101% is no defect"),
        (("acme.orders", "--out", "OUT", "--day", "2.11."), "2.11. is no day"),
        (("acme.orders", "--out", "OUT", "--locale", "xx_XX"), "there are no names and places of xx_XX"),
    ],
)
def test_what_cannot_be_made_is_said_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    folder = project(tmp_path / "project")
    given = [str(tmp_path / "out") if word == "OUT" else word for word in words]
    code, out, err = told(capsys, folder, *given)

    assert code == 2
    assert said in err
    assert out == ""


def test_a_table_whose_columns_nobody_says_is_refused_with_what_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = told(capsys, declared.project(tmp_path), "shop.parcel")
    assert code == 2
    assert "--column id=bigint" in err
