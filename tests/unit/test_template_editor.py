"""The JSON Schema for editors says what the reader says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.template import editor
from tests.support import partners
from tests.support.declared import FLOWS, PROJECT, TEMPLATE
from tests.support.json_schema import valid
from tests.support.partners import MODELS

REPOSITORY = Path(__file__).parents[2]
SCHEMA = editor.json_schema(MODELS, partners.FLOWS)
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


def flow_part() -> dict[str, Any]:
    spec = SCHEMA["definitions"]["FlowTemplate"]["properties"]["spec"]["properties"]
    return dict(spec["flow"]["properties"])


def flow_of(kind: str) -> dict[str, Any]:
    options = flow_part()["source"]["oneOf"]
    return next(each for each in options if valid(each["properties"]["type"], kind))


def test_an_editor_knows_what_a_feed_may_say() -> None:
    said = flow_of("files")

    assert set(said["required"]) == {"type", "connection", "table", "partner", "pattern"}
    assert {"folder", "ready", "fixed_width", "record_max", "keys"} <= set(said["properties"])
    assert not {"on_truncate", "snapshot", "columns"} & set(said["properties"])
    assert "snapshot" in flow_of("postgres")["properties"]
    assert all(key.get("description") for key in said["properties"].values())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pattern: ${param.files}", "patern: x"),
        ("encoding: ${param.encoding}", "encoding: utf-9"),
        ("same_name: ${param.same_name}", "same_name: replace"),
        ("ready: ${param.ready}", "ready: {by: magic}"),
        ("ready: ${param.ready}", "ready: {stable: 30}"),
        ("container: ${param.container}", "container: gzip"),
        ("container: ${param.container}", "container: layouts/x.yaml"),
        ("ready: ${param.ready}", "ready: marker"),
        ("delimited: ${param.layout}", "delimited: {file: ../x.yaml}"),
        ("delimited: ${param.layout}", "delimited: ../x.yaml"),
        ("delimited: ${param.layout}", "delimited: {columns: id}"),
        ("delimited: ${param.layout}", "delimited: {columns: [id], header: 1}"),
        ("type: files", "type: postgres"),
    ],
)
def test_what_the_reader_refuses_of_a_feed_the_schema_refuses(tmp_path: Path, old: str, new: str) -> None:
    text = (Path(__file__).parents[2] / "templates" / "partner_csv.yaml").read_text(encoding="utf-8")
    own = text.replace("name: partner_csv", "name: own")

    assert valid(SCHEMA, yaml.safe_load(own))
    assert partners.mistakes(partners.project(tmp_path, {"templates/own.yaml": own})) == []
    assert not valid(SCHEMA, yaml.safe_load(own.replace(old, new, 1)))
    assert partners.mistakes(partners.project(tmp_path, {"templates/own.yaml": own.replace(old, new, 1)}))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("container: ${param.container}", "container: gz"),
        ("container: ${param.container}", "container: {kind: zip, member: '*.csv'}"),
        ("delimited: ${param.layout}", "delimited: layouts/returns.yaml"),
    ],
)
def test_a_word_or_a_path_that_stands_for_a_map_fits_the_schema(tmp_path: Path, old: str, new: str) -> None:
    text = (Path(__file__).parents[2] / "templates" / "partner_csv.yaml").read_text(encoding="utf-8")
    own = text.replace("name: partner_csv", "name: own").replace(old, new, 1).partition("  tests:")[0]

    assert valid(SCHEMA, yaml.safe_load(own))
    assert partners.mistakes(partners.project(tmp_path, {"templates/own.yaml": own})) == []


@pytest.mark.parametrize("name", partners.FILES)
def test_what_a_project_of_partner_files_holds_fits_the_schema(name: str) -> None:
    layouts = {"layouts/returns.yaml": "delimited", "layouts/scans.yaml": "fixed_width"}
    contract = flow_part()["contract"] if name == "layouts/scan_types.yaml" else SCHEMA
    schema = flow_of("files")["properties"][layouts[name]] if name in layouts else contract
    for document in yaml.safe_load_all(partners.FILES[name]):
        assert valid(schema, document, SCHEMA)
