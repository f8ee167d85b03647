"""The JSON Schema for editors says what the reader says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.template import editor
from tests.support.declared import FLOWS, MODELS, PROJECT, TEMPLATE
from tests.support.json_schema import valid

REPOSITORY = Path(__file__).parents[2]
SCHEMA = editor.json_schema(MODELS)
SHIPPED = sorted([*REPOSITORY.glob("templates/*.yaml"), *REPOSITORY.glob("examples/**/*.yaml")])


def parts(value: Any) -> list[dict[str, Any]]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return ([value] if isinstance(value, dict) else []) + [part for item in inner for part in parts(item)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_what_we_ship_fits_the_schema(path: Path) -> None:
    assert all(valid(SCHEMA, document) for document in yaml.safe_load_all(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        (PROJECT, "host:", "hots:"),
        (PROJECT, "${secret.shop_password}", "hunter2"),
        (PROJECT, "type: postgres", "type: postgress"),
        (PROJECT, "user: ecluse", "port: none"),
        (PROJECT, "SASL_SSL", "SASL"),
        (FLOWS, "postgres_table@1", "postgres_table"),
        (FLOWS, "  flows:", "  flwos:"),
        (FLOWS, "parcel:", "Parcel:"),
        (TEMPLATE, "mode: none", "mode: always"),
        (TEMPLATE, "mode: append", "mode: scd9"),
        (TEMPLATE, "version: 2.1.0", "version: two"),
        (TEMPLATE, "required: true", "required: maybe"),
        (TEMPLATE, "    sink:", "    alerts: {}\n    sink:"),
        (TEMPLATE, "    sink:", "    checks: {c: {column: a}}\n    sink:"),
        (TEMPLATE, "    sink:", "    checks: {c: {expr: a > 1, range: {min: 1}}}\n    sink:"),
        (TEMPLATE, "    sink:", "    checks: {c: {expr: a > 1, on_fail: park}}\n    sink:"),
        (FLOWS, "freshness: 500ms", "checks: {c: {column: a, one_of: [true]}}"),
        (TEMPLATE, "    sink:", "    landing: {freshness: 10}\n    sink:"),
    ],
)
def test_what_the_reader_refuses_the_schema_refuses(text: str, old: str, new: str) -> None:
    assert valid(SCHEMA, yaml.safe_load(text))
    assert not valid(SCHEMA, yaml.safe_load(text.replace(old, new, 1)))


def test_tokens_may_stand_where_their_values_are_not_known_yet() -> None:
    text = TEMPLATE.replace("    sink:", '    landing: {rows_per_commit: "${param.into}"}\n    sink:')

    assert valid(SCHEMA, yaml.safe_load(text))
    assert valid(
        SCHEMA, yaml.safe_load(PROJECT.replace("user: ecluse", "port: ${env.PORT}\n      user: ecluse"))
    )


def test_the_schema_keeps_to_what_old_editors_know() -> None:
    words = {key for part in parts(SCHEMA) for key in part}

    assert "$schema" in words
    assert not words & {"$defs", "prefixItems", "unevaluatedProperties", "discriminator", "dependentRequired"}
    assert set(SCHEMA["definitions"]) == {"Project", "FlowTemplate", "Flow", "FlowSet"}


def test_keys_are_explained() -> None:
    sink = SCHEMA["definitions"]["FlowTemplate"]["properties"]["spec"]["properties"]["flow"]["properties"][
        "sink"
    ]

    assert sink["properties"]["keys"]["default"] == "auto"
    assert sink["description"]


def test_checks_and_tests_fit_the_schema_where_they_may_stand() -> None:
    checks = "checks: {a: {expr: 'x > ${param.into}'}, b: {columns: [x, y], not_null: true, on_fail: warn}}"
    tests = "tests: {t: {columns: {x: int}, rows: [{row: {x: 1}, fails: [a], becomes: quarantined}]}}"

    assert valid(SCHEMA, yaml.safe_load(TEMPLATE.replace("    sink:", f"    {checks}\n    sink:")))
    assert valid(SCHEMA, yaml.safe_load(TEMPLATE + f"  {tests}\n"))
    entry = "{table: public.scan_event, " + f"{checks}, {tests}}}"
    assert valid(SCHEMA, yaml.safe_load(FLOWS.replace("{table: public.customer, deletes: soft}", entry)))
