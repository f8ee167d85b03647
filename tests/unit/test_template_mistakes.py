"""Every mistake by its exact words: file, line, column, code, text, and the nearest known name.

``golden/mistakes.txt`` holds blocks: the file, what is replaced, by what, and what is told.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from engine.template import Code
from tests.support.declared import FLOWS, PROJECT, TEMPLATE, mistakes, project

GOLDEN = (Path(__file__).parent / "golden" / "mistakes.txt").read_text(encoding="utf-8")
FILES = {
    "ecluse.yaml": PROJECT,
    "flows/shop.yaml": FLOWS,
    "flows/lone.yaml": (
        "apiVersion: ecluse/v1\nkind: Flow\nmetadata: {name: lone}\nspec:\n  template: own@2\n"
        "  params: {connection: shop, table: public.order_line}\n"
    ),
    "templates/own.yaml": TEMPLATE,
}


@pytest.mark.parametrize("block", GOLDEN.split("\n\n"))
def test_a_mistake_says_where_it_is_and_what_was_meant(tmp_path: Path, block: str) -> None:
    path, old, new, *told = block.rstrip("\n").split("\n")
    name = path.removeprefix("@ ")
    before, after = ast.literal_eval(old[2:]), ast.literal_eval(new[2:])
    assert before in FILES[name]
    edited = FILES[name].replace(before, after, 1)

    assert mistakes(project(tmp_path, {**FILES, name: edited})) == [line[2:] for line in told]


def test_a_mistake_names_no_value_of_the_project(tmp_path: Path) -> None:  # I8
    canary = "S3CR3T-canary"
    for line in PROJECT.splitlines():
        key, colon, _ = line.partition(":")
        if not colon:
            continue
        for value in (f" {canary}", f" [{canary}]", f" {{{canary}: {canary}", f" '{canary}", f" @{canary}"):
            files = {"ecluse.yaml": PROJECT.replace(line, f"{key}:{value}", 1)}
            told = "\n".join(mistakes(project(tmp_path, files)))
            assert canary not in told.replace(f'unknown key "{canary}"', ""), told


@pytest.mark.parametrize(
    "place",
    [
        "password: {secret}",
        "password: |\n        {secret}",
        "password: '{secret}'",
        "password: !x {secret}",
        "password: &x {secret}",
        "password: {secret}: x",
        "password: [{secret}",
        "password: ${{secret.{secret}}}",
        "password: a${{env.KAFKA}}{secret}",
        "host: postgres://u:{secret}@db.example.org/shop",
        "host: u:{secret}@db.example.org",
        "port: {secret}",
        "sslmode: {secret}",
        "heartbeat: {secret}",
        "dsn: {secret}",
        "type: {secret}",
    ],
)
def test_a_literal_secret_is_refused_and_not_shown(tmp_path: Path, place: str) -> None:  # I8
    canary = "S3CR3T-canary"
    line = "password: ${secret.shop_password}"
    text = PROJECT.replace(line, place.format(secret=canary), 1)
    told = mistakes(project(tmp_path, {"ecluse.yaml": text}))

    assert told
    assert canary not in "\n".join(told)


def test_credentials_in_the_environment_are_refused_and_not_shown(tmp_path: Path) -> None:  # I8
    text = PROJECT.replace("https://registry.example.org/apis/ccompat/v7/", "${env.REGISTRY}")
    environment = {"KAFKA": "k:1", "LAKE": "/l", "REGISTRY": "https://u:S3CR3T-canary@registry.example.org"}
    told = mistakes(project(tmp_path, {"ecluse.yaml": text}), environment)

    assert [line.rsplit(": ", 1)[0] for line in told] == ["ecluse.yaml:19:19: template.literal-secret"]
    assert "S3CR3T" not in told[0]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            {"flows/x.yaml": ""},
            "flows/x.yaml:1:1: template.empty: the file is empty: Flow or FlowSet stands here",
        ),
        ({"flows/x.yaml": "# none\n"}, "flows/x.yaml:1:1: template.empty"),
        (
            {"flows/x.yaml": "a:\n\tb: 1\n"},
            "flows/x.yaml:2:1: template.syntax: found character that cannot start any token (indent",
        ),
        ({"flows/x.yaml": "- a\n"}, "flows/x.yaml:1:1: template.wrong-type: a document is a map"),
        ({"flows/x.yaml": FLOWS}, "flows/x.yaml:8:5: template.duplicate-name: there are two flows"),
        (
            {"templates/x.yaml": TEMPLATE},
            "templates/x.yaml:3:18: template.duplicate-name: there are two templates",
        ),
        ({"ecluse.yaml": PROJECT + "---\n" + PROJECT}, "ecluse.yaml:22:1: template.duplicate-name"),
        ({"ecluse.yaml": "x" * 1_000_001}, "ecluse.yaml:1:1: template.too-large"),
        ({f"flows/{'/'.join('d' * 22)}/x.yaml": ""}, f"flows/{'/'.join('d' * 21)}: template.too-deep"),
    ],
)
def test_files_that_hold_the_wrong_thing_are_told(tmp_path: Path, files: dict[str, str], told: str) -> None:
    found = mistakes(project(tmp_path, {**FILES, **files}))

    assert found
    assert found[0].startswith(told)


def test_every_code_of_a_mistake_is_told_by_some_test() -> None:
    tests = Path(__file__).parent
    texts = [GOLDEN, *(path.read_text(encoding="utf-8") for path in (tests / "hostile").glob("*.yaml"))]
    texts += [path.read_text(encoding="utf-8") for path in tests.glob("test_*.py")]

    assert [code.value for code in Code if not any(code.value in text for text in texts)] == []
