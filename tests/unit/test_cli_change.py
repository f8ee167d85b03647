"""The command: what it prints, where, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.cli import compose, main
from engine.errors import Exit
from tests.support.declared import ENVIRONMENT, FLOWS, PROJECT, project

Out = pytest.CaptureFixture[str]


def ecluse(*words: str | Path) -> int:
    return main.main([str(word) for word in words], environment=ENVIRONMENT)


def test_lint_of_a_good_project_ends_with_zero(tmp_path: Path, capsys: Out) -> None:
    assert ecluse("lint", project(tmp_path)) == Exit.OK
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == f"3 flows in 2 files of {tmp_path}: no mistakes\n"


def test_lint_prints_a_line_per_mistake_and_ends_with_two(tmp_path: Path, capsys: Out) -> None:
    folder = project(tmp_path, {"ecluse.yaml": PROJECT.replace("host:", "hots:")})

    assert ecluse("--project", folder, "lint") == Exit.AUTHOR
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        f'{folder}/ecluse.yaml:7:7: template.missing-key: "host" is missing in "shop"',
        f'{folder}/ecluse.yaml:8:7: template.unknown-key: unknown key "hots" (did you mean "host"?)',
    ]
    assert told.err == f"2 mistakes in 1 file of {folder}\n"


def test_lint_as_json_is_one_document(tmp_path: Path, capsys: Out) -> None:
    folder = project(tmp_path, {"flows/shop.yaml": FLOWS.replace("mode: append", "mode: apend")})

    assert ecluse("lint", folder, "--json") == Exit.AUTHOR
    assert json.loads(capsys.readouterr().out) == {
        "mistakes": [
            {
                "path": "flows/shop.yaml",
                "line": 9,
                "column": 44,
                "code": "template.bad-value",
                "text": '"mode" must be one of append, scd1',
                "hint": 'did you mean "append"?',
            }
        ]
    }
    assert ecluse("lint", project(tmp_path / "good"), "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out) == {"mistakes": []}


def test_render_prints_each_value_with_its_origin(tmp_path: Path, capsys: Out) -> None:
    assert ecluse("--project", project(tmp_path), "render", "shop.scan") == Exit.OK
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]

    assert lines[0] == ["key", "value", "from"]
    assert ["flows.shop.scan.sink.mode", "append", "flows/shop.yaml:9:44"] in lines
    assert ["flows.shop.scan.topic.name", "shop.public.scan_event", "derived"] in lines
    assert all(line[0].startswith("flows.shop.scan.") for line in lines[1:])


def test_render_masks_secrets_as_references(tmp_path: Path, capsys: Out) -> None:  # I8
    folder = project(tmp_path, {"secrets/shop_password": "S3CR3T"})
    for words in (("render",), ("render", "--json")):
        assert ecluse("--project", folder, *words) == Exit.OK
        told = capsys.readouterr()
        assert "${secret.shop_password}" in told.out
        assert "S3CR3T" not in told.out + told.err


def test_render_as_json_holds_the_plan_and_the_origins(tmp_path: Path, capsys: Out) -> None:
    folder = project(tmp_path)
    assert ecluse("--project", folder, "render", "shop.parcel", "--json") == Exit.OK
    told = json.loads(capsys.readouterr().out)

    assert told["plan"]["sink"]["table"] == "bronze.parcel"
    assert told["origins"]["table.table"] == "flows/shop.yaml:11:14"
    assert ecluse("--project", folder, "render", "--json") == Exit.OK
    assert [flow["name"] for flow in json.loads(capsys.readouterr().out)["plan"]["flows"]] == [
        "shop.customer",
        "shop.parcel",
        "shop.scan",
    ]


def test_an_unknown_flow_is_answered_with_the_nearest_name(tmp_path: Path, capsys: Out) -> None:
    assert ecluse("--project", project(tmp_path), "render", "shop.parcle") == Exit.AUTHOR
    told = capsys.readouterr()

    assert told.out == ""
    assert told.err.splitlines() == [
        "cli.missing: the project has no flow shop.parcle",
        f"  at   {tmp_path}",
        '  next did you mean "shop.parcel"?',
    ]


def test_an_error_as_json_is_one_line_on_stderr(tmp_path: Path, capsys: Out) -> None:
    assert ecluse("--project", project(tmp_path), "render", "nothing", "--json") == Exit.AUTHOR
    told = capsys.readouterr()

    assert told.out == ""
    assert json.loads(told.err)["error"]["code"] == "cli.missing"
    assert told.err.count("\n") == 1


def test_every_verb_shows_every_mistake_of_the_project(tmp_path: Path, capsys: Out) -> None:
    assert ecluse("--project", tmp_path, "render") == Exit.AUTHOR
    told = capsys.readouterr().err

    assert "template.missing-file" in told
    assert f"next mend them, then: ecluse lint {tmp_path}" in told


def test_templates_are_listed_with_the_projects_own(tmp_path: Path, capsys: Out) -> None:
    assert ecluse("--project", tmp_path, "template", "list", "--json") == Exit.OK
    shipped = [row["template"] for row in json.loads(capsys.readouterr().out)]
    assert shipped == [
        "partner_csv@1", "partner_fixed_width@1", "partner_jsonl@1", "partner_xml@1", "postgres_table@1",
    ]  # fmt: skip
    own = (Path(__file__).parents[2] / "templates" / "postgres_table.yaml").read_text(encoding="utf-8")
    folder = project(tmp_path, {"templates/own.yaml": own.replace("name: postgres_table", "name: ours")})
    assert ecluse("--project", folder, "template", "list") == Exit.OK
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "template", *sorted([*shipped, "ours@1"]),
    ]  # fmt: skip


def test_the_schema_goes_to_stdout_or_into_a_file(tmp_path: Path, capsys: Out) -> None:
    assert ecluse("template", "schema") == Exit.OK
    printed = json.loads(capsys.readouterr().out)
    assert ecluse("template", "schema", "--out", tmp_path / "ecluse.json") == Exit.OK
    assert json.loads((tmp_path / "ecluse.json").read_text(encoding="utf-8")) == printed


def test_a_schema_that_cannot_be_written_is_no_fault_of_ours(tmp_path: Path, capsys: Out) -> None:
    assert ecluse("template", "schema", "--out", tmp_path / "absent" / "ecluse.json") == Exit.AUTHOR
    assert f"mkdir -p {tmp_path / 'absent'}" in capsys.readouterr().err
    assert ecluse("template", "schema", "--out", tmp_path) == Exit.AUTHOR
    told = capsys.readouterr().err
    assert told.startswith("cli.unusable: the schema cannot be written: Is a directory")
    assert f"at   {tmp_path}" in told


def test_a_wrong_word_ends_with_two(capsys: Out) -> None:
    assert ecluse("lnit") == Exit.AUTHOR
    assert "lnit" in capsys.readouterr().err


def test_the_help_shows_the_verbs_by_group(capsys: Out) -> None:
    assert ecluse("--help") == Exit.OK
    told = capsys.readouterr().out
    assert "Change" in told
    assert all(verb in told for verb in ("lint", "render", "template"))


def test_a_fault_of_ours_shows_its_place_and_not_its_text(
    tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:  # I8
    def broken(_: object) -> None:
        raise KeyError("S3CR3T")

    monkeypatch.setattr(compose, "load", broken)

    assert ecluse("--project", tmp_path, "render") == Exit.BUG
    told = capsys.readouterr().err
    assert told.startswith("ecluse.bug: unexpected KeyError")
    assert "test_cli_change.py:" in told
    assert "S3CR3T" not in told
    assert "ECLUSE_TRACEBACK=1" in told
