"""Texts of a partner become typed rows by a contract; what has no value waits where it can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal as Exact
from pathlib import Path
from typing import Any

import pytest

from engine import ledger
from engine.checks import Check, Expression, OnFail
from engine.contract import ContractColumn, Letters, Moment, Numeric, Truth
from engine.errors import LakeUnreachable, SchemaBlocked
from engine.lake import append, native
from engine.state import State
from tests.support import partners
from tests.support.avro_records import Field
from tests.support.landing import Landing, Table

pytestmark = [pytest.mark.spark, pytest.mark.stack]

NAMES = ("number", "amount", "day", "at", "paid", "note")
CONTRACT = (
    ContractColumn("number", "bigint", nullable=False, format=Numeric()),
    ContractColumn("amount", "decimal(10,2)", format=Numeric(",", " "), blank=("",), trim="both"),
    ContractColumn("day", "date", format=Moment("dd/MM/yyyy")),
    ContractColumn("at", "timestamp", format=Moment("dd/MM/yyyy HH:mm", "Europe/Paris"), blank=("",)),
    ContractColumn("paid", "boolean", format=Truth(("O",), ("N",))),
    ContractColumn("note", "string", format=Letters(5)),
)
GOOD = ("1", "1 234,50", "31/01/2026", "01/07/2026 10:00", "O", "été")
ROW = {
    "number": 1, "amount": Exact("1234.50"), "day": date(2026, 1, 31),
    "at": datetime(2026, 7, 1, 8, 0, tzinfo=UTC), "paid": True, "note": "été",
    "_file": "a.csv",
}  # fmt: skip


def fields(names: Sequence[str] = NAMES) -> list[Field]:
    own = [
        Field("_file", "string"),
        Field("_record", "long"),
        Field("_problem", "string"),
        Field("_raw", "bytes"),
    ]
    return [*(Field(name, "string") for name in names), *own]


@dataclass
class Partner:
    """Sends records of a file, one after the other."""

    table: Table
    names: Sequence[str] = NAMES
    record: int = 0

    def send(self, *texts: str | None, problem: str | None = None, raw: bytes | None = None) -> None:
        self.record += 1
        row = dict(zip(self.names, texts or (None,) * len(self.names), strict=True))
        own = {"_file": "a.csv", "_record": self.record, "_problem": problem, "_raw": raw}
        self.table.change("c", {**row, **own})


def partner(
    landing: Landing, contract: Sequence[ContractColumn] = CONTRACT, name: str = "parcel", **more: Any
) -> Partner:
    table = landing.table(name, fields=fields(), keys=more.pop("keys", ()), **more)
    said = {"partner": "acme"} if not contract else {}
    flow = table.flow
    table.flow = replace(flow, contract=tuple(contract), table=replace(flow.table, said=said))
    return Partner(table)


def values(table: Table) -> list[dict[str, Any]]:
    shown = [
        {c: v for c, v in row.items() if c in (*NAMES, "_file", "_record", "more")} for row in table.rows()
    ]
    return sorted(shown, key=lambda row: row["_record"])


def held(table: Table) -> dict[int, tuple[str, str, dict[str, str | None]]]:
    return {r["offset"]: (r["stage"], r["reason"], dict(r["unfit"] or ())) for r in table.quarantined()}


def terms(table: Table) -> list[dict[str, int | None]]:
    return [{k: n for k, n in ledger.terms(e).items() if n} for e in table.entries()]


BAD: Sequence[tuple[tuple[str | None, ...], str, dict[str, str | None]]] = (
    (("2", "12.50", *GOOD[2:]), "unfit:amount", {"amount": "12.50"}),
    (("x", "1,505", "2026-01-31", "29/03/2026 02:30", "oui", "too long"),
     "unfit:number,amount,day,at,paid,note",
     {"number": "x", "amount": "1,505", "day": "2026-01-31", "at": "29/03/2026 02:30", "paid": "oui",
      "note": "too long"}),
    ((None, *GOOD[1:]), "null:number", {"number": None}),
    (("", *GOOD[1:]), "unfit:number", {"number": ""}),
)  # fmt: skip


@pytest.mark.parametrize("way", ["spark", "many", "few"])
def test_i5_texts_land_typed_and_what_has_no_value_waits_with_its_text(
    landing: Landing, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way != "few":
        monkeypatch.setattr(native, "ROWS_MAX" if way == "many" else "RECORD_BYTES_MAX", 0)
    ours = partner(landing)
    ours.send(*GOOD)
    for texts, _, _ in BAD:
        ours.send(*texts)
    ours.send("6", "  ", None, "", "N", "")
    ours.send(problem="ragged: 3 fields, not 6", raw=b"a;b;c")
    ours.send(problem="ragged: 2 fields, not 6", raw=b"\xff\xfe")
    landing.land()
    table = ours.table
    assert table.natively() == [way != "spark"]
    empty = {"number": 6, "amount": None, "day": None, "at": None, "paid": False, "note": ""}
    assert values(table) == [ROW | {"_record": 1}, empty | {"_file": "a.csv", "_record": 6}]
    assert list(table.rows()[0])[:8] == [*NAMES, "_file", "_record"]
    assert not {"_problem", "_raw"} & {*table.rows()[0]}
    wanted: dict[int, tuple[str, str, dict[str, str | None]]] = {
        n: ("type", reason, {"_file": "a.csv", "_record": str(n + 1), **wrong})
        for n, (_, reason, wrong) in enumerate(BAD, 1)
    }
    for n, what, raw in ((6, "3 fields", "a;b;c"), (7, "2 fields", "FFFE")):
        about: dict[str, str | None] = {
            "_file": "a.csv",
            "_record": str(n + 1),
            "_problem": f"ragged: {what}, not 6",
            "_raw": raw,
        }
        wanted[n] = ("record", "ragged", about)
    assert held(table) == wanted
    assert terms(table) == [{"landed": 2, "quarantined": 6}]
    assert all(row["op"] == "c" and row["position"] for row in table.quarantined())


LAYOUT = """\
apiVersion: ecluse/v1
kind: Flow
metadata: {name: lone}
spec:
  template: partner_csv@1
  params:
    connection: drop
    partner: lone
    feed: lone
    files: LONE*.dat
    layout:
      columns:
        - {name: number, type: bigint, nullable: false}
        - name: amount
          type: decimal(10,2)
          format: {decimal: ",", thousands: " ", blank: [""], trim: both}
        - {name: day, type: date, format: dd/MM/yyyy}
        - {name: at, type: timestamp, format: {pattern: dd/MM/yyyy HH:mm, zone: Europe/Paris, blank: [""]}}
        - {name: paid, type: boolean, format: {yes: [O], no: [N]}}
        - {name: note, format: {length: 5}}
"""


def test_i5_texts_land_by_the_types_of_their_layout(landing: Landing, tmp_path: Path) -> None:
    declared = partners.flow(partners.built(tmp_path, {"flows/lone.yaml": LAYOUT}), "lone")
    ours = partner(landing, declared.contract)
    ours.send(*GOOD)
    for texts, _, _ in BAD:
        ours.send(*texts)
    landing.land()

    assert declared.contract == CONTRACT
    assert values(ours.table) == [ROW | {"_record": 1}]
    assert {n: reason for n, (_, reason, _) in held(ours.table).items()} == {
        n: reason for n, (_, reason, _) in enumerate(BAD, 1)
    }


def test_checks_read_typed_columns_and_say_where_the_row_stood(landing: Landing) -> None:
    checks = [
        Check("positive", OnFail.QUARANTINE, Expression("amount >= 0 AND number < 100")),
        Check("recent", OnFail.DROP, Expression("day >= DATE '2026-01-01'")),
        Check("early", OnFail.WARN, Expression('"_record" < 3')),
    ]
    ours = partner(landing, checks=checks)
    ours.send(*GOOD)
    ours.send("2", "-1,00", *GOOD[2:])
    ours.send("3", "1,00", "31/12/2025", *GOOD[3:])
    ours.send("4", "-x", *GOOD[2:])
    landing.land()
    assert [row["_record"] for row in values(ours.table)] == [1]
    assert held(ours.table) == {
        1: ("check", "check:positive", {"_file": "a.csv", "_record": "2", "amount": "-1.00", "number": "2"}),
        3: ("type", "unfit:amount", {"_file": "a.csv", "_record": "4", "amount": "-x"}),
    }
    assert terms(ours.table) == [{"landed": 1, "dropped": 1, "quarantined": 2}]
    assert ours.table.entries()[0].checks == {"positive": 1, "recent": 1, "early": 1}


def test_i4_one_key_in_two_texts_and_two_partitions_is_one_row_and_the_newest(landing: Landing) -> None:
    ours = partner(landing, mode="scd1", keys=("number",), partitions=2)
    table = ours.table
    own = {"_file": "a.csv", "_problem": None, "_raw": None}

    def send(partition: int, number: str | None, amount: str, major: int) -> None:
        row = dict(zip(NAMES, (number, amount, *GOOD[2:]), strict=True)) | own | {"_record": major}
        table.change("c", row, partition=partition, position=(0, major, 2))

    send(0, "7", "1,00", 1)
    send(1, "007", "2,00", 2)
    send(0, "8", "3,00", 3)
    send(0, None, "4,00", 4)
    landing.land()
    assert {row["number"]: row["amount"] for row in table.rows()} == {7: Exact("2.00"), 8: Exact("3.00")}
    assert [reason for _, reason, _ in held(table).values()] == ["key-null:number"]
    send(0, "7", "9,00", 6)
    landing.land()
    send(1, "+7", "5,00", 5)  # late, though its own partition is not so far yet
    send(1, "9", "x", 7)
    landing.land()
    assert {row["number"]: row["amount"] for row in table.rows()} == {7: Exact("9.00"), 8: Exact("3.00")}
    assert terms(table) == [
        {"landed": 2, "merged_away": 1, "quarantined": 1}, {"landed": 1}, {"late": 1, "quarantined": 1},
    ]  # fmt: skip
    assert {row["key_json"] for row in table.quarantined()} == {"{}", '{"number":9}'}


def test_without_a_contract_every_column_lands_as_its_text(landing: Landing) -> None:
    ours = partner(landing, ())
    ours.send(*BAD[1][0])
    ours.send(problem="ragged: 1", raw=b"x")
    landing.land()
    (row,) = values(ours.table)
    assert row == dict(zip(NAMES, BAD[1][0], strict=True)) | {"_file": "a.csv", "_record": 1}
    assert held(ours.table)[1][:2] == ("record", "ragged")


def test_a_mended_pattern_is_for_new_rows_and_a_second_flow_lands_them_all(landing: Landing) -> None:
    ours = partner(landing)
    ours.send(*GOOD)
    ours.send("2", "1,00", "2026-02-01", *GOOD[3:])
    landing.land()
    mended = tuple(replace(c, format=Moment("yyyy-MM-dd")) if c.name == "day" else c for c in CONTRACT)
    table = ours.table
    table.flow = replace(table.flow, contract=mended)
    ours.send("3", "1,00", "2026-02-01", *GOOD[3:])
    landing.land()
    assert [row["number"] for row in values(table)] == [1, 3]
    assert [reason for _, reason, _ in held(table).values()] == ["unfit:day"]  # it stays, with its bytes
    beside = landing.table("beside", fields=fields(), keys=(), create=False)
    beside.flow = replace(
        beside.flow, topic=table.flow.topic, contract=mended,
        table=replace(table.flow.table, flow=beside.flow.name),
    )  # fmt: skip
    landing.land()
    assert [row["number"] for row in values(beside)] == [2, 3]
    assert [(at, reason) for at, (_, reason, _) in held(beside).items()] == [(0, "unfit:day")]


def test_a_column_more_grows_the_table_and_another_type_parks_its_flow(landing: Landing) -> None:
    ours = partner(landing)
    ours.send(*GOOD)
    landing.land()
    table = ours.table

    def rows() -> list[Any]:  # a wider column is not known to every reader
        found = landing.spark.read.format("delta").load(str(table.path)).collect()
        return sorted(found, key=lambda row: row["_record"])

    wider = [replace(c, type="decimal(12,2)") if c.name == "amount" else c for c in CONTRACT]
    table.flow = replace(table.flow, contract=(*wider, ContractColumn("more", "int", format=Numeric())))
    ours.names = (*NAMES, "more")
    table.evolve(fields(ours.names), ())
    ours.send("2", "1234567890,50", *GOOD[2:], "7")
    landing.land()
    assert [(row["number"], row["amount"], row["more"]) for row in rows()] == [
        (1, Exact("1234.50"), None), (2, Exact("1234567890.50"), 7),
    ]  # fmt: skip
    # a narrower contract asks less of the table than it has
    table.flow = replace(table.flow, contract=(*CONTRACT, table.flow.contract[-1]))
    ours.send("3", "1234567890,50", *GOOD[2:], "8")
    ours.send("4", "1,00", *GOOD[2:], "9")
    landing.land()
    assert [row["number"] for row in rows()] == [1, 2, 4]
    # a column that it leaves out stays in the table, empty for what comes now
    table.flow = replace(table.flow, contract=tuple(c for c in CONTRACT if c.name != "paid"))
    ours.send("5", "1,00", *GOOD[2:], "9")
    landing.land()
    assert [(row["number"], row["paid"], row["more"]) for row in rows()][-2:] == [
        (4, True, 9),
        (5, None, None),
    ]
    other = replace(CONTRACT[2], type="string", format=Letters())
    table.flow = replace(table.flow, contract=(*CONTRACT[:2], other, *CONTRACT[3:]))
    ours.send("6", "1,00", *GOOD[2:], "9")
    state = landing.land()[table.flow.name]
    assert (state.state, state.code) == (State.STOPPED, SchemaBlocked.code)
    assert "column day: date → string" in state.what
    assert "put the contract back" in state.hint
    assert [row["number"] for row in rows()] == [1, 2, 4, 5]


def test_a_contract_for_a_source_that_has_types_parks_its_flow(landing: Landing) -> None:
    table = landing.table()
    table.flow = replace(table.flow, contract=(ContractColumn("name"),))
    table.change("c", {"id": 1, "name": "a", "weight": None, "at": None, "day": None, "ok": None})
    state = landing.land()[table.flow.name]
    assert (state.state, state.code, table.rows()) == (State.STOPPED, SchemaBlocked.code, [])
    assert "no records of a partner's files" in state.what


@pytest.mark.parametrize("mode", ["append", "scd1"])
def test_i7_a_batch_is_completed_with_the_contract_that_it_began_with(landing: Landing, mode: str) -> None:
    ours = partner(landing, mode=mode, keys=("number",))
    table = ours.table
    ours.send(*GOOD)
    ours.send(*BAD[0][0])
    ours.send(problem="ragged: 1", raw=b"x")

    def dies(point: str) -> None:
        if point == f"landing.after-table:{table.flow.name}":
            landing.at = lambda _point: None
            no_amount = tuple(c for c in CONTRACT if c.name != "amount")
            table.flow = replace(table.flow, contract=no_amount)
            raise LakeUnreachable("no answer")

    landing.at = dies
    landing.land()
    landing.land()
    assert [(e.state, e.quarantined) for e in table.entries()] == [("completed", 2)]
    assert {at: reason for at, (_, reason, _) in held(table).items()} == {1: "unfit:amount", 2: "ragged"}
    assert [row["amount"] for row in table.rows()] == [Exact("1234.50")]


def test_a_cell_is_made_once_outside_of_the_decoding_and_no_batch_brings_code(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    positive = Check("positive", OnFail.QUARANTINE, Expression("amount >= 0"))
    ours = partner(landing, checks=[positive], partitions=2, rows_per_commit=20_002)
    table = ours.table
    own = {"_file": "a.csv", "_problem": None, "_raw": None}
    texts = (GOOD, ("2", "-1,00", *GOOD[2:]), BAD[0][0], BAD[1][0])
    rows = [dict(zip(NAMES, each, strict=True)) | own for each in texts]
    for partition in (0, 1):
        kinds = (0 if n % 499 else n // 499 % len(rows) for n in range(31_000))
        values_ = (table.maker.value("c", rows[kind] | {"_record": n}) for n, kind in enumerate(kinds))
        table.send(*values_, partition=partition)
    jvm: Any = landing.spark._jvm  # noqa: SLF001 - it counts what Spark compiles
    compiled_by: list[int] = []

    def count(point: str) -> None:
        if point == f"landing.before-ledger:{table.flow.name}":
            metrics = jvm.org.apache.spark.metrics.source.CodegenMetrics
            compiled_by.append(metrics.METRIC_COMPILATION_TIME().getCount())

    plans: list[str] = []
    made = append.rows

    def seen(*given: Any, **more: Any) -> Any:
        rows = made(*given, **more)
        plans.append(rows.frame._jdf.queryExecution().executedPlan().toString())  # noqa: SLF001 - what Spark runs
        return rows

    monkeypatch.setattr(append, "rows", seen)
    landing.at = count
    landing.land()
    cells = [line for line in plans[1].splitlines() if "decimal(10,2)" in line and "RLIKE" in line]
    assert len(cells) == 1, plans[1]
    assert plans[1].count("[0-9]{1,3}(?:") == cells[0].count("[0-9]{1,3}(?:") == 1  # that of the amount
    assert "*(" not in cells[0].partition("Project")[0], plans[1]
    assert "*(" in plans[1]
    assert "from_avro" not in cells[0]
    assert [bool(e.quarantined) for e in table.entries()[:3]] == [True] * 3
    assert compiled_by[2] - compiled_by[1] == 0
