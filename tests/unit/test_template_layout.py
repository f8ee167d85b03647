"""Types in a layout: the contract that an Avro schema would be, each word at its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine import plan
from engine.contract import ContractColumn
from engine.plan import FlowPlan
from engine.template import editor
from tests.support.json_schema import valid
from tests.support.partners import FLOWS as MODELS_OF_FLOWS
from tests.support.partners import MODELS, built, flow, load, mistakes, project

GOLDEN = Path(__file__).parent / "golden"

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
SCHEMA: dict[str, Any] = {
    "type": "record", "name": "Order", "ecluse": {"decimal": ",", "blank": [""], "trim": "both"},
    "fields": [
        {"name": "number", "type": "long", "ecluse": {"blank": []}},
        {"name": "amount", "type": ["null", DECIMAL], "ecluse": {"thousands": " "}},
        {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}],
         "ecluse": {"pattern": "dd/MM/yyyy"}},
        {"name": "label", "type": ["null", "string"], "ecluse": {"length": 35}},
    ],
}  # fmt: skip
FORMATS = 'formats: {decimal: ",", blank: [""], trim: both}\n'
NUMBER = "type: bigint, nullable: false, format: {blank: []}"
AMOUNT = 'type: "decimal(12,2)", format: {thousands: " "}'
DAY = "type: date, format: dd/MM/yyyy"
LABEL = "format: {length: 35}"

FIXED = f"""\
unit: characters
{FORMATS}records:
  head:
    literal: H
    role: header
    fields: [{{name: kind, at: 1, width: 1}}, {{name: day, at: 2, width: 10}}]
  row:
    literal: D
    fields:
      - {{name: number, at: 2, width: 8, {NUMBER}}}
      - {{name: amount, at: 10, width: 12, {AMOUNT}}}
      - {{name: day, at: 22, width: 10, {DAY}}}
      - {{name: label, at: 32, width: 35, {LABEL}}}
"""
DELIMITED = f"""\
{FORMATS}columns:
  - {{name: number, {NUMBER}}}
  - {{name: amount, {AMOUNT}}}
  - {{name: day, {DAY}}}
  - {{name: label, {LABEL}}}
"""
OBJECTS = f"""\
{FORMATS}columns:
  number: {{path: its/number, {NUMBER}}}
  amount: {{{AMOUNT}}}
  day: {{path: null, {DAY}}}
  label: {{{LABEL}}}
"""
XML = "record: orders/order\n" + OBJECTS
LAYOUTS = {
    "partner_fixed_width": FIXED,
    "partner_csv": DELIMITED,
    "partner_jsonl": OBJECTS.replace("its/number", "its.number"),
    "partner_xml": XML,
}
FLOW = """\
apiVersion: ecluse/v1
kind: Flow
metadata: {name: lone}
spec:
  template: TEMPLATE@1
  params:
    {connection: drop, partner: lone, feed: lone, files: "LONE*.dat", layout: layouts/lone.yaml}
"""


def files(template: str, layout: str, **more: str) -> dict[str, str]:
    return {"flows/lone.yaml": FLOW.replace("TEMPLATE", template), "layouts/lone.yaml": layout, **more}


def lone(folder: Path, template: str, layout: str, **more: str) -> FlowPlan:
    return flow(built(folder, files(template, layout, **more)), "lone")


def untyped(template: str, layout: str) -> str:
    """The layout as it is without a word of a contract."""
    for word in (NUMBER, AMOUNT, DAY, LABEL):
        layout = layout.replace(f", {word}}}", "}").replace(f"{{{word}}}", "null")
    if template == "partner_csv":
        layout = layout.replace("{name: number}", "number")
    return layout.replace(FORMATS, "")


@pytest.mark.parametrize("template", LAYOUTS)
def test_a_layout_makes_the_contract_that_an_avro_schema_makes(tmp_path: Path, template: str) -> None:
    text = FLOW.replace("lone.yaml}", "lone.yaml, contract: {schema: schemas/lone.avsc}}").replace(
        "TEMPLATE", template
    )
    schema = {"flows/lone.yaml": text, "schemas/lone.avsc": json.dumps(SCHEMA)}
    by_layout = lone(tmp_path / "layout", template, LAYOUTS[template])
    by_schema = lone(tmp_path / "schema", template, untyped(template, LAYOUTS[template]), **schema)

    assert [column.name for column in by_schema.contract] == ["number", "amount", "day", "label"]
    assert by_layout.contract == by_schema.contract
    assert plan.as_json(by_layout) == plan.as_json(by_schema)


def test_the_plan_says_where_in_the_layout_each_word_of_the_contract_stands(tmp_path: Path) -> None:
    resolved = plan.resolve(load(project(tmp_path, files("partner_fixed_width", FIXED))))
    lines = [f"{path} = {value}    {place}\n" for path, value, place in resolved.lines()]
    told = "".join(line for line in lines if line.startswith("flows.lone.contract."))

    assert told == (GOLDEN / "layout_plan.txt").read_text(encoding="utf-8")


def test_a_layout_within_the_flow_is_a_contract_too(tmp_path: Path) -> None:
    text = FLOW.replace("TEMPLATE", "partner_csv").replace(
        "layouts/lone.yaml", "{columns: [id, {name: n, type: int}]}"
    )
    made = flow(built(tmp_path, {"flows/lone.yaml": text}), "lone")

    assert [(column.name, column.type) for column in made.contract] == [("id", "string"), ("n", "int")]
    assert made.table.said["delimited"]["columns"] == ["id", "n"]


def test_formats_alone_are_meant_of_texts(tmp_path: Path) -> None:
    made = lone(tmp_path, "partner_csv", 'formats: {blank: ["", "-"]}\ncolumns: [id, city]\n')

    assert made.contract == tuple(ContractColumn(name, blank=("", "-")) for name in ("id", "city"))


def test_flows_of_one_topic_may_differ_in_what_their_layouts_say_of_types(tmp_path: Path) -> None:
    text = """\
apiVersion: ecluse/v1
kind: FlowSet
metadata: {name: two}
spec:
  template: partner_csv@1
  params: {connection: drop, partner: lone, feed: lone, files: "LONE*.dat"}
  flows:
    first: {layout: {columns: [{name: day, type: date, format: MM/dd/yyyy}]}}
    mended: {layer: mended, layout: {columns: [{name: day, type: date, format: dd/MM/yyyy}]}}
"""
    first, mended = (
        flow(built(tmp_path, {"flows/lone.yaml": text}), name) for name in ("two.first", "two.mended")
    )

    assert first.topic == mended.topic
    assert first.table.said == mended.table.said
    assert first.contract != mended.contract


KINDS = """\
header: none
records:
  sale: {literal: S, columns: [kind, {name: amount, type: int}, {name: day, type: date}]}
  refund: {literal: R, columns: [kind, {name: amount, type: int}, day]}
  end: {literal: T, role: trailer, columns: [kind, count]}
"""


def test_a_column_of_several_kinds_of_rows_has_one_type(tmp_path: Path) -> None:
    made = lone(tmp_path / "good", "partner_csv", KINDS)
    told = mistakes(
        project(tmp_path / "bad", files("partner_csv", KINDS.replace("int}, day]", "bigint}, day]")))
    )

    assert [(column.name, column.type) for column in made.contract] == [
        ("kind", "string"), ("amount", "int"), ("day", "date"),
    ]  # fmt: skip
    (one,) = told
    assert one == (
        'layouts/lone.yaml:4:40: template.duplicate-name: "amount" has another type or format at '
        "layouts/lone.yaml:3:38, in flow lone at flows/lone.yaml:3:18 (say it once, or twice the same)"
    )


@pytest.mark.parametrize(
    ("template", "before", "after", "told"),
    [
        ("partner_fixed_width", "type: date", "type: dat",
         '13:46: template.bad-value: "dat" is no type of a column'),
        ("partner_fixed_width", "format: dd/MM/yyyy", "format: dd/MMM/yyyy",
         "13:60: template.bad-value: column \"day\": 'MMM' means nothing in a pattern"),
        ("partner_fixed_width", "format: dd/MM/yyyy", "format: {patern: dd}",
         '13:61: template.unknown-key: unknown key "patern"'),
        ("partner_fixed_width", "{length: 35}", "{decimal: ','}",
         '14:60: template.unknown-key: "decimal" says nothing of a column that is string'),
        ("partner_fixed_width", "nullable: false", "nullable: no",
         '11:65: template.wrong-type: "nullable" must be true or false, not text'),
        ("partner_fixed_width", "at: 2, width: 10}", "at: 2, width: 10, type: date}",
         '7:45: template.unknown-key: "day" is of no row here: only the columns of rows have types'),
        ("partner_fixed_width", 'decimal: ","', 'decimals: ","',
         '2:11: template.unknown-key: unknown key "decimals"'),
        ("partner_csv", "{name: number, ", "{nam: number, ",
         '3:6: template.unknown-key: unknown key "nam"'),
        ("partner_csv", "{name: number, type: bigint", "{name: number, type: 7",
         '3:26: template.wrong-type: "type" must be a type such as bigint'),
        ("partner_csv", "{name: label", "{name: number", '"delimited": detail has two columns number'),
        ("partner_csv", "- {name: day", "- {name: _file", "_file is a column that every record has"),
        ("partner_xml", "path: its/number", "path: its//number", "a path names an element in the record"),
        ("partner_jsonl", "path: its.number", "path: 7", '3:18: template.wrong-type: "path" must be text'),
    ],
)  # fmt: skip
def test_a_mistake_in_the_words_of_a_layout_is_told_where_it_stands(
    tmp_path: Path, template: str, before: str, after: str, told: str
) -> None:
    layout = LAYOUTS[template]
    assert before in layout
    found = mistakes(project(tmp_path, files(template, layout.replace(before, after, 1))))

    assert all(each.startswith("layouts/lone.yaml:") for each in found), found
    assert [each for each in found if told in each], found


def test_a_flow_says_its_types_in_its_layout_or_in_a_contract(tmp_path: Path) -> None:
    text = FLOW.replace("lone.yaml}", "lone.yaml, contract: {columns: {number: {type: int}}}}")
    said = files("partner_csv", DELIMITED)
    said["flows/lone.yaml"] = text.replace("TEMPLATE", "partner_csv")

    (told,) = mistakes(project(tmp_path, said))
    assert told == (
        "flows/lone.yaml:7:108: template.bad-value: the types of this flow stand in its layout already, at "
        "layouts/lone.yaml:3:5 (one of the two says them)"
    )


def test_a_check_is_held_against_the_types_of_a_layout(tmp_path: Path) -> None:
    said = files("partner_csv", DELIMITED)
    said["flows/lone.yaml"] += "  checks: {light: {expr: 'amount > 0 AND dya < 1'}}\n"
    (told,) = mistakes(project(tmp_path, said))

    assert 'no column "dya", in the contract (did you mean "day"?)' in told


def test_an_editor_knows_the_words_beside_a_column() -> None:
    schema = editor.json_schema(MODELS, MODELS_OF_FLOWS)
    document = {
        "apiVersion": "ecluse/v1", "kind": "FlowTemplate", "metadata": {"name": "t", "version": "1.0.0"},
        "spec": {"flow": {
            "source": {"type": "files", "connection": "drop", "table": "a.b", "partner": "a", "pattern": "*",
                       "delimited": {"columns": ["id", {"name": "day", "type": "date", "format": "yyyy"}]}},
            "sink": {"type": "delta", "table": "x.y", "mode": "append"},
        }},
    }  # fmt: skip
    assert valid(schema, document)
    columns = document["spec"]["flow"]["source"]["delimited"]["columns"]  # type: ignore[index]
    for wrong in ({"type": "date"}, {"name": "day", "typ": "date"}, {"name": "day", "nullable": "no"}, 7):
        columns[1] = wrong
        assert not valid(schema, document), wrong
