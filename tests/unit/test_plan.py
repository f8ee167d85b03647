"""The plan: everything resolved, printable, and the same for the same files (I6)."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import plan
from tests.support.declared import ENVIRONMENT, FLOWS, PROJECT, load, project

GOLDEN = Path(__file__).parent / "golden"
REPOSITORY = Path(__file__).parents[2]


def golden(folder: Path) -> tuple[str, str]:
    """The plan as lines and as JSON, the folder's name taken out."""
    resolved = plan.resolve(load(project(folder)))
    lines = "".join(f"{path} = {value}    {place}\n" for path, value, place in resolved.lines())
    text = plan.as_json(resolved.plan) + "\n"
    return lines.replace(str(folder), "<folder>"), text.replace(str(folder), "<folder>")


def test_the_plan_says_every_value_and_where_it_came_from(tmp_path: Path) -> None:
    assert golden(tmp_path)[0] == (GOLDEN / "plan.txt").read_text(encoding="utf-8")


def test_the_plan_as_json_is_what_it_was(tmp_path: Path) -> None:
    assert golden(tmp_path)[1] == (GOLDEN / "plan.json").read_text(encoding="utf-8")


def test_an_origin_is_where_the_value_stands(tmp_path: Path) -> None:
    resolved = plan.resolve(load(project(tmp_path)))
    stood = 0
    for path, value, place in resolved.lines():
        file = tmp_path / place.path
        if place.line and file.exists() and not path.endswith(("table.schema", "table.table", "template")):
            written = file.read_text().splitlines()[place.line - 1][place.column - 1 :]
            stood += 1
            word = re.split(r"[,}\s\"]", written.removeprefix('"').removeprefix("["))[0].rstrip(":/")
            assert word in value or value.endswith(word) or word.startswith("${env.") or word == "500ms", path
    assert stood > 20


def test_a_plan_holds_references_never_secrets(tmp_path: Path) -> None:  # I8
    environment = {
        **ENVIRONMENT,
        "ECLUSE_SECRET_SHOP_PASSWORD": "S3CR3T",
        "ECLUSE_SECRET_KAFKA_PASSWORD": "S3CR3T",
    }
    folder = project(tmp_path, {"secrets/shop_password": "S3CR3T"})
    resolved = plan.resolve(load(folder, environment))

    assert "S3CR3T" not in plan.as_json(resolved.plan)
    assert "S3CR3T" not in repr(resolved)
    assert "${secret.shop_password}" in resolved.plan.captures[0].config.values()
    assert resolved.plan.kafka.options["sasl.password"] == "${secret.kafka_password}"


def shuffled(value: object, order: random.Random) -> object:
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key], order) for key in keys}
    return [shuffled(item, order) for item in value] if isinstance(value, list) else value


@given(order=st.randoms(use_true_random=False), noise=st.dictionaries(st.sampled_from("abcdef"), st.text()))
@settings(max_examples=25)
def test_i6_the_order_of_keys_files_and_variables_changes_no_byte(
    tmp_path_factory: pytest.TempPathFactory, order: random.Random, noise: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("project")
    expected = plan.as_json(plan.build(load(project(folder))))
    documents = {
        name: yaml.safe_dump(shuffled(yaml.safe_load(text), order), sort_keys=False)
        for name, text in {"ecluse.yaml": PROJECT, "flows/shop.yaml": FLOWS}.items()
    }
    variables = [*ENVIRONMENT.items(), *((name, value) for name, value in noise.items())]
    order.shuffle(variables)

    assert plan.as_json(plan.build(load(project(folder, documents), dict(variables)))) == expected


def test_i6_neither_place_nor_process_changes_a_byte(tmp_path: Path) -> None:
    folder = project(tmp_path / "project")
    program = (
        "import sys; from pathlib import Path; from engine import plan;"
        "from tests.support.declared import load;"
        "sys.stdout.write(plan.as_json(plan.build(load(Path(sys.argv[1])))))"
    )
    plans = set()
    for seed, cwd, given_as in (
        ("1", tmp_path, "project"),
        ("2", folder, "."),
        ("3", Path("/"), str(folder)),
    ):
        environment = {"PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": seed, "PATH": os.environ["PATH"]}
        command = [sys.executable, "-c", program, given_as]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, check=True, text=True)
        plans.add(done.stdout)

    assert len(plans) == 1
    assert json.loads(plans.pop())["folder"] == str(folder)


def test_i6_a_flows_identity_moves_with_its_settings_only(tmp_path: Path) -> None:
    before = {flow.name: flow.hash for flow in plan.build(load(project(tmp_path))).flows}
    edited = FLOWS.replace("freshness: 500ms", "freshness: 600ms")
    after = {f.name: f.hash for f in plan.build(load(project(tmp_path, {"flows/shop.yaml": edited}))).flows}

    assert {name for name in before if before[name] != after[name]} == {"shop.scan"}


def test_a_plan_of_many_flows_is_made_in_a_moment(tmp_path: Path) -> None:
    flows = "".join(f"    t{n}: {{table: public.t{n}}}\n" for n in range(500))
    made = plan.build(load(project(tmp_path, {"flows/shop.yaml": FLOWS.split("    customer")[0] + flows})))

    assert len(made.flows) == len(made.captures[0].tables) == 500
