"""The SQL of a landing with a contract, and without one: what needs no Spark to be seen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.contract import ContractColumn, Numeric
from engine.errors import SchemaBlocked
from engine.lake import book, decode, quarantine, texts
from engine.lake.decode import Decoder
from engine.lake.texts import Texts
from engine.schema import Decimal, Int32, Shape, String
from tests.support.avro_records import Field, envelope
from tests.unit.test_lake_checks import BATCH, CHECKS, FLOW, checker

GOLDEN = Path(__file__).parent / "golden" / "landing_sql.txt"
TOPIC = "shop.public.parcel"
OWN = [
    Field("_file", "string"),
    Field("_record", "long"),
    Field("_problem", "string"),
    Field("_raw", "bytes"),
]
CONTRACT = (
    ContractColumn("a", "int", nullable=False, format=Numeric()),
    ContractColumn("b", "decimal(5,2)", format=Numeric(","), blank=("",)),
    ContractColumn("c"),
)


def parsed(*fields: Field) -> decode.Writer:
    found = decode.parse(7, json.dumps(envelope(TOPIC, fields, ["a"])), TOPIC)
    assert found is not None
    return found


def test_a_flow_without_a_contract_runs_the_sql_that_it_ran_before() -> None:
    writer = parsed(Field("a", "int"), Field("s", "string"))
    decoder = Decoder(
        columns={"a": Int32(), "s": String()}, writers=[writer], foreign=frozenset({3}), keys=("a",),
        gap=(1, 2), stubs=frozenset({(0, 4)}), nonce=b"n" * 16,
    )  # fmt: skip
    found = [decoder.record(), *decoder.fields(), decoder.reason(), *decoder.values()]
    found += [*quarantine.columns(BATCH, ["a"], 5), checker(*CHECKS).failed("_again")]
    assert "\n".join([*found, ""]).replace(FLOW.hash, "HASH") == GOLDEN.read_text(encoding="utf-8")


def test_a_plan_with_a_contract_comes_back_from_the_lake_as_it_was(tmp_path: Path) -> None:
    flow = replace(FLOW, contract=CONTRACT)
    book.store_plan(tmp_path, flow)
    assert book.load_plan(tmp_path, flow.hash) == flow
    assert flow.hash != FLOW.hash != replace(flow, contract=CONTRACT[:1]).hash


def test_a_plan_from_before_there_were_contracts_is_read(tmp_path: Path) -> None:
    book.store_plan(tmp_path, FLOW)
    (path,) = tmp_path.rglob(f"{FLOW.hash}.json")
    said = json.loads(path.read_text(encoding="utf-8"))
    del said["contract"], said["table"]["said"]
    path.write_text(json.dumps(said), encoding="utf-8")
    assert book.load_plan(tmp_path, FLOW.hash) == FLOW


def test_a_row_that_lands_pays_one_condition_for_each_column_that_can_be_wrong() -> None:
    columns: Shape = {"a": Int32(), "b": Decimal(7, 2), "c": String(), "old": Int32()}
    made = Texts(contract=CONTRACT, columns=columns)
    fast = made.reason().partition(" THEN NULL ")[0]
    assert fast == (
        "CASE WHEN _reason IS NOT NULL THEN _reason WHEN _problem IS NULL AND _c0 IS NOT NULL AND "
        "(_c1 IS NOT NULL OR i.`b` IS NULL OR i.`b` IN (''))"
    )
    assert made.image() == (
        "named_struct('a', _c0, 'b', cast(_c1 AS decimal(7,2)), 'c', _c2, 'old', cast(NULL AS int))"
    )
    assert not made.zoned()


def test_a_writer_of_texts_has_the_columns_of_the_contract_and_where_a_record_stood() -> None:
    flow = replace(FLOW, contract=CONTRACT)
    plain = [Field(name, "string") for name in ("a", "b", "x")]
    found = texts.writer(parsed(*plain, *OWN), flow)
    assert list(found.columns) == ["a", "b", "c", "_file", "_record"]
    assert list(texts.writer(parsed(*plain, *OWN), FLOW).columns) == ["a", "b", "x", "_file", "_record"]
    for wrong in ([*plain, *OWN[:3]], [Field("a", "int"), *OWN], plain):
        with pytest.raises(SchemaBlocked, match="no records of a partner's files"):
            texts.writer(parsed(*wrong), flow)


@pytest.mark.parametrize(
    ("column", "two"),
    [(ContractColumn("a"), False), (ContractColumn("a", trim="right"), True), (CONTRACT[0], True)],
)
def test_only_a_key_that_is_its_text_has_one_text(column: ContractColumn, two: bool) -> None:  # noqa: FBT001
    assert texts.two_texts(replace(FLOW, contract=(column,)), ["a"]) is two
    assert texts.two_texts(FLOW, ["a"]) is False
