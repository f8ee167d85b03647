"""Contracts as authors write them: in a flow's own words, and in an Avro schema of the project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import plan
from engine.contract import ContractColumn, Letters, Moment, Numeric, Truth
from engine.template import nodes
from engine.template.contracting import contract_of
from engine.template.files import File
from engine.template.mistakes import Mistakes, Place
from tests.support.declared import TEMPLATE, load, mistakes, project

FLOW = (
    "apiVersion: ecluse/v1\nkind: Flow\nmetadata: {name: lone}\nspec:\n  template: own@2\n"
    "  params: {connection: shop, table: acme.payment}\n"
)
COLUMNS = """\
    contract:
      formats: {decimal: ",", thousands: " ", date: dd/MM/yyyy, timestamp: dd/MM/yyyy HH:mm,
                zone: Europe/Paris, yes: [O], no: [N], blank: [""], trim: both}
      columns:
        number: {type: bigint, nullable: false, blank: []}
        amount: {type: "decimal(12, 2)"}
        rate: {type: double, decimal: "."}
        day: {type: date}
        short: {type: date, pattern: ddMMyy, years_from: 1970}
        at: {type: timestamp, overlap: earlier}
        sent: {type: timestamp, pattern: "yyyy-MM-dd'T'HH:mm:ssXXX"}
        wall: {type: timestamp_ntz}
        paid: {type: boolean}
        cents: {type: "decimal(9,2)", implied: 2, sign: trailing}
        note: {length: 35, trim: none}
    sink:"""
PARIS = "dd/MM/yyyy HH:mm"
SAID: dict[str, Any] = {"blank": ("",), "trim": "both"}
WANTED = (
    ContractColumn("number", "bigint", nullable=False, format=Numeric(",", " "), trim="both"),
    ContractColumn("amount", "decimal(12,2)", format=Numeric(",", " "), **SAID),
    ContractColumn("rate", "double", format=Numeric(".", " "), **SAID),
    ContractColumn("day", "date", format=Moment("dd/MM/yyyy"), **SAID),
    ContractColumn("short", "date", format=Moment("ddMMyy", years_from=1970), **SAID),
    ContractColumn("at", "timestamp", format=Moment(PARIS, "Europe/Paris", "earlier"), **SAID),
    ContractColumn("sent", "timestamp", format=Moment("yyyy-MM-dd'T'HH:mm:ssXXX"), **SAID),
    ContractColumn("wall", "timestamp_ntz", format=Moment(PARIS), **SAID),
    ContractColumn("paid", "boolean", format=Truth(("O",), ("N",)), **SAID),
    ContractColumn("cents", "decimal(9,2)", format=Numeric(",", " ", "trailing", 2), **SAID),
    ContractColumn("note", format=Letters(35), blank=("",)),
)
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
AVRO: dict[str, Any] = {
    "type": "record", "name": "Payment", "namespace": "acme",
    "ecluse": {"decimal": ",", "date": "dd/MM/yyyy", "blank": [""]},
    "fields": [
        {"name": "number", "type": "long", "ecluse": {"blank": []}},
        {"name": "amount", "doc": "with tax", "default": None,
         "type": ["null", DECIMAL]},
        {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
        {"name": "libell_", "type": ["null", "string"], "ecluse": {"name": "libellé", "length": 35}},
    ],
}  # fmt: skip


def own(contract: str) -> str:
    return TEMPLATE.replace("    sink:", contract)


def files(contract: str, **more: str) -> dict[str, str]:
    return {"templates/own.yaml": own(contract), "flows/lone.yaml": FLOW, **more}


def contracted(folder: Path, said: dict[str, str]) -> tuple[ContractColumn, ...]:
    made = plan.build(load(project(folder, said)))
    return next(flow for flow in made.flows if flow.name == "lone").contract


def test_columns_take_what_the_contract_says_of_all_and_say_it_otherwise(tmp_path: Path) -> None:
    assert contracted(tmp_path, files(COLUMNS)) == WANTED
    lines = {path: str(place) for path, _, place in plan.resolve(load(tmp_path)).lines()}
    at = lines["flows.lone.contract.cents.format.implied"]
    assert at.startswith("templates/own.yaml:")
    assert lines["flows.lone.contract.day.format.pattern"].startswith("templates/own.yaml:16:53")
    assert lines["flows.lone.contract.wall.format.zone"] == "derived"


def test_an_avro_schema_of_the_project_is_a_contract(tmp_path: Path) -> None:
    said = "    contract: {schema: schemas/acme/payment.avsc, formats: {date: yyyyMMdd}}\n    sink:"
    text = json.dumps(AVRO, indent=2, ensure_ascii=False)
    assert contracted(tmp_path, files(said, **{"schemas/acme/payment.avsc": text})) == (
        ContractColumn("number", "bigint", nullable=False, format=Numeric(",")),
        ContractColumn("amount", "decimal(12,2)", format=Numeric(","), blank=("",)),
        ContractColumn("day", "date", format=Moment("yyyyMMdd"), blank=("",)),
        ContractColumn("libellé", format=Letters(35), blank=("",)),
    )


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('"decimal(12, 2)"}', '"decimal(12, 2)", pattern: x}', '"pattern" says nothing of a column'),
        ("pattern: ddMMyy, years_from: 1970", "pattern: ddMMyy", "which century a year of two digits is of"),
        ("pattern: ddMMyy,", "pattern: ddMMMyy,", "'MMM' means nothing in a pattern"),
        ("{type: boolean}", "{type: bool}", '"bool" is no type of a column'),
        ("{type: boolean}", "{type: binary}", "no text is a value of binary"),
        ("        note:", "        _record:", 'the column name "_record" is ours'),
        ("        note:", "        Amount:", '"Amount" and "amount" differ by case only'),
        ("        note:", "        a b:", 'Delta refuses the column name "a b"'),
        ("implied: 2", "implied: 3", "3 digits behind the mark have no place in 2"),
        ("zone: Europe/Paris", "zone: Europe/Pariss", "there is no such zone"),
        ("implied: 2", "implide: 2", 'unknown key "implide"'),
    ],
)  # fmt: skip
def test_a_mistake_of_a_contract_is_told_where_it_stands(
    tmp_path: Path, before: str, after: str, told: str
) -> None:
    assert before in COLUMNS
    text = COLUMNS.replace(before, after)
    found = mistakes(project(tmp_path, files(text)))
    where = own(text)[: own(text).index(after)].count("\n") + 1
    assert [each for each in found if told in each], found
    assert any(each.startswith(f"templates/own.yaml:{where}:") for each in found), found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "template.syntax"),
        ("{}", "a contract is an Avro record"),
        ('{"type": "record", "fields": [{"name": "a", "type": "uuid"}]}', "this is no type of a column"),
        ('{"type": "record", "fields": [{"name": "a", "type": ["int", "string"]}]}', "this is no type"),
        ('{"type": "record", "fields": [{"name": "a",\n "type": "int", "ecluse": {"decimals": ","}}]}',
         'payment.avsc:2:28: template.unknown-key: unknown key "decimals"'),
        (json.dumps({**AVRO, "fields": [{"name": "a", "type": "int"}] * 2}), '"a" is given twice'),
        (json.dumps({**AVRO, "fields": [{"name": "a", "type": {**DECIMAL, "precision": 50}}]}), "no type of"),
    ],
)  # fmt: skip
def test_a_mistake_of_an_avro_schema_is_told_where_it_stands(tmp_path: Path, text: str, told: str) -> None:
    said = "    contract: {schema: schemas/payment.avsc}\n    sink:"
    found = mistakes(project(tmp_path, files(said, **{"schemas/payment.avsc": text})))
    assert [each for each in found if told in each and each.startswith("schemas/payment.avsc:")], found


def test_a_contract_has_a_schema_or_columns_and_the_file_is_there(tmp_path: Path) -> None:
    said = "    contract: {schema: schemas/pyment.avsc}\n    sink:"
    found = mistakes(project(tmp_path, files(said, **{"schemas/payment.avsc": json.dumps(AVRO)})))
    assert [
        'there is no file "schemas/pyment.avsc"' in each and "did you mean" in each for each in found
    ] == [True]
    for each in ("{formats: {}}", "{schema: schemas/payment.avsc, columns: {a: {}}}"):
        found = mistakes(project(tmp_path, files(f"    contract: {each}\n    sink:")))
        assert ["a contract names a schema, or its columns" in one for one in found] == [True]


def test_a_check_that_does_not_fit_the_contract_is_told_before_a_row_comes(tmp_path: Path) -> None:
    said = files(COLUMNS) | {
        "flows/lone.yaml": FLOW + "  checks: {light: {expr: 'amount > 0 AND dya < at'}}\n"
    }
    (told,) = mistakes(project(tmp_path, said))
    assert told.startswith("flows/lone.yaml:7:42: template.bad-expression")
    assert 'no column "dya", in the contract (did you mean "day"?)' in told
    said["flows/lone.yaml"] = said["flows/lone.yaml"].replace("dya < at", '"_record" > 1')
    assert mistakes(project(tmp_path, said)) == []


TESTS = """\
  tests:
    rows:
      rows:
        - row: {number: "1", amount: "1 234,50", day: "31/01/2026"}
        - {row: {number: "", amount: "1.5"}, unfit: [number, amount], becomes: quarantined}
"""


def test_a_test_of_a_flow_with_a_contract_has_texts_and_no_columns(tmp_path: Path) -> None:
    said = files(COLUMNS) | {"flows/lone.yaml": FLOW + TESTS}
    (trial,) = (each for each in load(project(tmp_path, said)).trials if each.about == "lone")
    assert trial.contract == WANTED
    assert trial.rows[1].unfit == ("number", "amount")
    said["flows/lone.yaml"] = FLOW + TESTS.replace('"1 234,50"', "1234.5").replace(
        "      rows:", "      columns: {number: bigint}\n      rows:"
    )
    found = mistakes(project(tmp_path, said))
    assert any("the contract says the columns" in each for each in found), found
    said["flows/lone.yaml"] = FLOW + TESTS.replace('"1 234,50"', "1234.5")
    found = mistakes(project(tmp_path, said))
    assert any('this is no value of "amount", which is string' in each for each in found), found


WORDS = st.sampled_from(
    ["record", "null", "int", "bytes", "decimal", "date", "a", "", "fields", "ecluse", "yyyy", "union", ","]
)
KEYS = st.sampled_from(
    [
        "type",
        "name",
        "fields",
        "ecluse",
        "logicalType",
        "precision",
        "scale",
        "decimal",
        "blank",
        "pattern",
        "date",
    ]
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 60), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=6)),
    max_leaves=25,
)


@given(st.one_of(JSON, st.lists(st.dictionaries(KEYS, JSON), max_size=3)))
def test_whatever_stands_in_an_avro_schema_gives_a_contract_or_a_mistake(said: Any) -> None:
    wrapped = {"type": "record", "fields": said} if isinstance(said, list) else said
    file = File("schemas/a.avsc", json.dumps(wrapped).encode())
    node = nodes.node_of({"schema": file.path, "formats": {}}, Place("flows/a.yaml", 1, 1))
    mistakes = Mistakes()
    made = contract_of(node, {file.path: file}, mistakes)
    assert bool(made.columns) or len(mistakes) > 0
