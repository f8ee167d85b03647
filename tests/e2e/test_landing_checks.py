"""Checks while rows land: what each kind says of a row, and what becomes of the row, in both modes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal as Exact
from typing import Any

import pytest

from engine import ledger
from engine.checks import Check, Expression, Length, NotNull, OneOf, OnFail, Pattern
from engine.checks.bind import bind
from engine.checks.parse import check_pattern
from engine.errors import CheckFailed, CheckUnbound, LakeUnreachable, QuarantineTooFull
from engine.lake import book, sieve
from engine.lake.compile import compiled
from engine.lake.decode import quote
from engine.names import avro_name
from engine.plan import QuarantinePlan
from engine.schema import (
    Binary,
    Boolean,
    Date,
    Decimal,
    Float64,
    Int32,
    Int64,
    Shape,
    String,
    Timestamp,
    TimestampNtz,
    delta,
)
from engine.state import State
from tests.support.avro_records import Field, decimal
from tests.support.landing import Landing, Table

pytestmark = [pytest.mark.spark, pytest.mark.stack]

FIELDS = [
    Field("id", "long", nullable=False), Field("name", "string"), Field("weight", decimal(10, 3)),
    Field("note", "string"),
]  # fmt: skip
POSITIVE = Check("positive", OnFail.QUARANTINE, Expression("weight >= 0"))
NAMED = Check("named", OnFail.WARN, NotNull(("name",)))
NO_TEST = Check("no_test", OnFail.DROP, Expression("name NOT LIKE 'test%'"))
SHORT = Check("short", OnFail.QUARANTINE, Length(("name", "note"), 1, 5))
SOUND = Check("sound", OnFail.FAIL, Expression("weight < 1000"))


def row(number: int, weight: Any = "1", name: str | None = "n", note: str | None = "t") -> dict[str, Any]:
    return {
        "id": number, "name": name, "note": note, "weight": None if weight is None else Exact(weight),
    }  # fmt: skip


def terms(table: Table) -> list[dict[str, int | None]]:
    return [{k: n for k, n in ledger.terms(e).items() if n} for e in table.entries()]


def held(table: Table) -> dict[int, tuple[str, str, dict[str, str]]]:
    return {r["offset"]: (r["stage"], r["reason"], dict(r["unfit"] or ())) for r in table.quarantined()}


# --- what a check says of a row

COLUMNS: Shape = {
    "n": Int32(), "big": Int64(), "weight": Decimal(10, 3), "ratio": Float64(), "name": String(),
    "ok": Boolean(), "day": Date(), "at": Timestamp(), "wall": TimestampNtz(), "raw": Binary(),
    "a`b": Int32(),
}  # fmt: skip
VALUES = {
    "n": "2147483647", "big": str(-(2**63)), "weight": "-0.5", "ratio": "0.1", "name": "it's \\ 1é",
    "ok": "false", "day": "2026-01-31", "at": "2026-01-31 23:30:00", "wall": "2026-02-01 00:30:00",
    "raw": "ab", "a`b": "7",
}  # fmt: skip
CASES: Sequence[tuple[str, bool | None]] = (
    ("n + 1 > 0", True),  # no overflow of 32 bits
    ("big - 1 < 0", None),  # an overflow of 64 is NULL
    ("-big > 0", None),
    ("abs(big) > 0", True),
    ("n / 0 = 1", None),
    ("n % 10 = 7", True),
    ("weight * 2 = -1", True),
    ("weight BETWEEN -0.5 AND 0", True),
    ("weight IN (1, -0.5)", True),
    ("weight > -0.5", False),
    ("weight * 100 % 1 = 0 AND -weight * 3 - n <= -weight % 0.4", True),
    ("weight % (n - n) = 0", None),
    ("nothing * 1.5 > weight", None),
    ("ratio = 0.1", True),
    ("ratio < 1e-2", False),
    ("n = 2147483647 AND big = -9223372036854775808", True),
    ("big < 99999999999999999999", True),
    ("name = 'it''s \\ 1é'", True),
    ("name LIKE 'it''s \\\\ 1_'", True),
    ("name LIKE '%\\_%'", False),
    ("matches(name, '.*[0-9]é')", True),
    ("matches(name, 'it')", False),
    ("length(name) = 9 AND length(raw) = 2", True),
    ("position('s' , name) = 4 AND substring(name, 1, length(name) - 7) = 'it'", True),
    ("left(name, 2) || right(name, 1) = 'ité' AND upper(name) LIKE 'IT%'", True),
    ("starts_with(name, 'it') AND NOT ends_with(name, 'x') AND contains(name, '1')", True),
    ("NOT ok", True),
    ("ok OR nothing IS NULL", True),
    ("ok AND nothing = 1", False),
    ("nothing = 1", None),
    ("nothing = 1 OR ok", None),
    ("nothing IS NOT NULL", False),
    ("coalesce(nothing, 3) = 3 AND nullif(n, n) IS NULL", True),
    ("greatest(n, 1, weight) > least(weight, 3)", True),
    ("day = DATE '2026-01-31' AND date(at) = day", True),
    ("at < TIMESTAMP '2026-02-01 00:00:00Z' AND at > TIMESTAMP '2026-02-01 00:00:00+01:00'", True),
    ("wall = TIMESTAMP '2026-02-01 00:30:00' AND wall > at", True),
    ("year(day) = 2026 AND month(wall) = 2 AND day(at) = 31 AND hour(at) = 23 AND minute(wall) = 30", True),
    ("day_of_week(day) = 7 AND day_of_year(day) = 31 AND quarter(at) = 1 AND second(at) = 0", True),
    ("days_between(day, wall) = 1 AND add_days(day, n - 2147483646) = DATE '2026-02-01'", True),
    ("day < at", True),
    ("CASE WHEN ok THEN 1 WHEN n > 1 THEN 2.5 ELSE 0 END = 2.5", True),
    ("round(weight, 0) = -1 AND floor(weight) = -1 AND ceil(ratio) = 1 AND sign(weight) = -1", True),
    ("trim(' a ') = 'a' AND replace('aba', 'b', 'c') = 'aca' AND ltrim(' a') = rtrim('a ')", True),
    ('"a`b" = 7 AND `a``b` < 8', True),
    ("lower('A') = 'a' AND TRUE AND NOT FALSE", True),
    ("NULL", None),
)  # fmt: skip


def test_an_expression_says_of_a_row_what_sql_says_and_never_raises(landing: Landing) -> None:
    columns: Shape = {**COLUMNS, "nothing": Int32()}
    bounds = [
        bind(Check(f"c{n}", OnFail.WARN, Expression(text)), columns) for n, (text, _) in enumerate(CASES)
    ]
    made = compiled(bounds, columns)
    values = {c: quote(VALUES[c]) if c in VALUES else "NULL" for c in columns}
    fields = [f"{quote(avro_name(c))}, cast({values[c]} AS {delta(type_)})" for c, type_ in columns.items()]
    session = landing.spark.newSession()
    for compiles in ("true", "false"):
        session.conf.set("spark.sql.codegen.wholeStage", compiles)
        frame = session.range(1, 2, 1, 1).selectExpr(f"named_struct({', '.join(fields)}) AS i")
        found = frame.selectExpr(*(f"{made.sql[b.name][0]} AS {b.name}" for b in bounds)).collect()[0]
        assert {text: found[n] for n, (text, _) in enumerate(CASES)} == dict(CASES)


# --- what becomes of the row


def test_a_row_that_fails_a_check_comes_to_what_the_check_says(landing: Landing) -> None:
    table = landing.table(fields=FIELDS, checks=[NAMED, NO_TEST, POSITIVE, SHORT])
    table.change("c", row(1))
    table.change("c", row(2, "-3"))
    table.change("c", row(3, None, None))
    table.change("c", row(4, "-1", "test-4", "also too long"))
    table.change("c", row(5, name="test"))
    table.change("d", row(6, "-1"))
    table.change("t")
    table.change("u", row(7, None), unchanged=["weight"])
    landing.land()
    assert [r["id"] for r in table.rows() if r["_op"] != "t"] == [1, 3, 6, 7]
    assert terms(table) == [{"landed": 5, "dropped": 1, "quarantined": 2}]
    (entry,) = table.entries()
    assert entry.checks == {"named": 1, "no_test": 2, "positive": 2, "short": 1}
    assert held(table) == {
        1: ("check", "check:positive", {"weight": "-3.000"}),
        3: ("check", "check:positive,short", {"weight": "-1.000", "name": "test-4", "note": "also too long"}),
    }
    assert table.quarantined()[0]["key_json"] == '{"id":2}'
    assert table.quarantined()[0]["op"] == "c"


def test_i4_every_change_is_checked_and_the_newest_good_one_is_the_row(landing: Landing) -> None:
    checks = [replace(NAMED, on_fail=OnFail.QUARANTINE), NO_TEST, POSITIVE]
    table = landing.table(mode="scd1", fields=FIELDS, checks=checks)
    table.change("c", row(1, "5"))
    table.change("u", row(1, "6"))
    table.change("u", row(1, "-7"))
    table.change("c", row(2, "-1"))
    table.change("c", row(3, name="test"))
    table.change("c", row(4))
    landing.land()
    assert {k: r["weight"] for k, r in table.by_id().items()} == {1: Exact(6), 4: Exact(1)}
    assert terms(table) == [{"landed": 2, "merged_away": 1, "dropped": 1, "quarantined": 2}]
    table.maker.begin()
    table.change("u", row(1, "-8"))
    table.change("u", row(4, "2", None), unchanged=["name"])
    table.change("d", {"id": 3})
    table.change("c", row(8, "-1"), early=True)
    table.change("u", row(2, "1", "n", None), unchanged=["note"])
    landing.land()
    assert {k: r["weight"] for k, r in table.by_id().items()} == {1: Exact(6), 4: Exact(2)}
    assert terms(table)[1] == {"landed": 2, "late": 1, "quarantined": 2}
    assert {r["key_json"]: r["reason"] for r in table.quarantined()} == {
        '{"id":1}': "check:positive", '{"id":2}': "unchanged-without-row:note",
    } | {r["key_json"]: r["reason"] for r in table.quarantined() if r["seq"] == 1}  # fmt: skip


def test_a_row_that_came_before_is_a_duplicate_whatever_it_fails(landing: Landing) -> None:
    table = landing.table(fields=FIELDS, checks=[POSITIVE, SOUND])
    sent = [table.maker.value("c", row(n, "-1" if n else "1")) for n in range(3)]
    table.send(*sent)
    landing.land()
    table.maker.writer = 2
    table.send(*(table.maker.value("c", row(n, "-1"), position=(1, 8, 2 * n)) for n in range(4)))
    landing.land()
    assert terms(table) == [{"landed": 1, "quarantined": 2}, {"duplicates": 3, "quarantined": 1}]


@pytest.mark.parametrize("mode", ["append", "scd1"])
def test_a_check_that_fails_stops_its_flow_at_the_row_until_a_person_answers(
    landing: Landing, mode: str
) -> None:
    table = landing.table(mode=mode, fields=FIELDS, checks=[POSITIVE, SOUND])
    other = landing.table("other", mode=mode, fields=FIELDS)
    for number, weight in enumerate(("1", "-1", "2", "1000", "3", "2000")):
        table.change("c", row(number, weight))
    other.change("c", row(1, "1000"))
    state = landing.land()[table.flow.name]
    assert (state.state, state.code) == (State.STOPPED, CheckFailed.code)
    assert state.where.endswith(f"{table.topic}[0] offset 3")
    assert "check sound" in state.what
    assert sorted(r["id"] for r in table.rows()) == [0, 2]
    assert len(other.rows()) == 1
    book.accept(landing.lake, table.state(), by="anna", at="now")
    state = landing.land()[table.flow.name]
    assert state.where.endswith(f"{table.topic}[0] offset 5")
    assert sorted(r["id"] for r in table.rows()) == [0, 2, 4]
    assert held(table)[3] == ("check", "check:sound", {"weight": "1000.000"})
    assert "anna accepted landing.check-failed" in table.entries()[1].reasons[0]
    assert terms(table) == [{"landed": 2, "quarantined": 1}, {"landed": 1, "quarantined": 1}]


def test_i9_a_check_that_does_not_fit_stops_its_flow_and_no_other(landing: Landing) -> None:
    wrong = Check("c", OnFail.DROP, Expression("id > 0 AND wieght > 0"))
    table = landing.table(fields=FIELDS, checks=[wrong])
    other = landing.table("other", fields=FIELDS, checks=[POSITIVE])
    for each in (table, other):
        each.change("c", row(1))
    state = landing.land()[table.flow.name]
    assert (state.state, state.code) == (State.STOPPED, CheckUnbound.code)
    assert state.where == f"{table.flow.name}, check c, character 12 of its expression"
    assert state.hint.startswith('did you mean "weight"?')
    assert (table.rows(), len(other.rows())) == ([], 1)


def test_checks_are_bound_again_when_the_schema_changes(landing: Landing) -> None:
    table = landing.table(fields=FIELDS, checks=[replace(NAMED, on_fail=OnFail.QUARANTINE), POSITIVE])
    table.change("c", row(1, "-1"))
    landing.land()
    table.maker.begin()
    table.evolve([f for f in FIELDS if f.name != "name"])
    table.change("c", {"id": 2, "weight": Exact(1), "note": "t"})
    table.evolve([*FIELDS, Field("more", "long")])
    table.change("c", row(3, "-2") | {"more": 1})
    table.change("c", row(4, "2", None) | {"more": 1})
    landing.land()
    assert [r["id"] for r in table.rows()] == [2]  # its schema has no name: nothing was sent that could fail
    reasons = {r["offset"]: r["reason"] for r in table.quarantined()}
    assert reasons == {0: "check:positive", 2: "check:positive", 3: "check:named"}


def test_i4_the_few_bad_records_of_a_large_batch_are_found_again(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = landing.table(fields=FIELDS, checks=[POSITIVE], partitions=2, rows_per_commit=50_000)
    bad = {(partition, offset) for partition in (0, 1) for offset in range(7, 11_000, 501)}
    for partition in (0, 1):
        weights = ("-1" if (partition, offset) in bad else "1" for offset in range(11_000))
        table.send(
            *(table.maker.value("c", row(n, weight)) for n, weight in enumerate(weights)), partition=partition
        )
    table.send(b"junk", partition=1)
    looked: list[sieve.Look] = []
    look = sieve.look

    def seen(*given: Any) -> sieve.Look:
        looked.append(look(*given))
        return looked[-1]

    monkeypatch.setattr(sieve, "look", seen)
    landing.land()
    assert [(r["partition"], r["offset"]) for r in table.quarantined() if r["stage"] == "decode"] == [
        (1, 11_000)
    ]
    assert {(r["partition"], r["offset"]) for r in table.quarantined() if r["stage"] == "check"} == bad
    assert terms(table) == [{"landed": 22_000 - len(bad), "quarantined": len(bad) + 1}]
    assert looked[0].span == {0: (7, 10_529), 1: (7, 11_001)}
    assert "getbit" in looked[0].condition


def test_a_batch_like_the_one_before_it_brings_nothing_to_compile(landing: Landing) -> None:
    table = landing.table(
        fields=FIELDS, checks=[POSITIVE, NAMED, NO_TEST, SOUND], partitions=2, rows_per_commit=20_002
    )
    for partition in (0, 1):
        weights = ("-1" if offset % 997 == partition else "1" for offset in range(31_000))
        table.send(
            *(table.maker.value("c", row(n, weight)) for n, weight in enumerate(weights)), partition=partition
        )
    jvm: Any = landing.spark._jvm  # noqa: SLF001 - it counts what Spark compiles
    compiled_by: list[int] = []

    def count(point: str) -> None:
        if point == f"landing.before-ledger:{table.flow.name}":
            metrics = jvm.org.apache.spark.metrics.source.CodegenMetrics
            compiled_by.append(metrics.METRIC_COMPILATION_TIME().getCount())

    landing.at = count
    landing.land()
    entries = table.entries()
    assert [e.quarantined is not None and e.quarantined > 0 for e in entries[:3]] == [True] * 3
    # the second is the first that finds a table and a quarantine with rows in them
    assert compiled_by[2] - compiled_by[1] == 0


# --- when too much of it fails


def test_a_batch_with_too_much_in_quarantine_is_whole_and_the_last_one(landing: Landing) -> None:
    limit = QuarantinePlan(0.5, 4)
    table = landing.table(fields=FIELDS, checks=[POSITIVE], quarantine=limit, rows_per_commit=4)
    for number in range(12):
        table.change("c", row(number, "-1" if number % 4 else "1"))
    state = landing.land()[table.flow.name]
    assert (state.state, state.code) == (State.STOPPED, QuarantineTooFull.code)
    assert (state.where, len(table.entries())) == (f"{table.flow.name}, batch 1", 1)
    assert "3 of 4 records up to batch 1" in state.what
    assert [(r["id"], len(table.quarantined())) for r in table.rows()] == [(0, 3)]
    landing.land()  # a restart finds it again
    assert (table.state().code, len(table.entries())) == (QuarantineTooFull.code, 1)
    book.accept(landing.lake, table.state(), by="anna", at="now")
    landing.land()
    assert (table.state().where, len(table.entries())) == (f"{table.flow.name}, batch 2", 2)
    table.flow = replace(table.flow, quarantine=QuarantinePlan(0.8, 4))
    assert landing.land()[table.flow.name].state is State.STREAMING
    assert sorted(r["id"] for r in table.rows()) == [0, 4, 8]
    assert len(table.quarantined()) == 9


# --- when it is killed


@pytest.mark.parametrize("mode", ["append", "scd1"])
def test_i7_a_batch_is_completed_with_the_checks_that_it_began_with(landing: Landing, mode: str) -> None:
    table = landing.table(mode=mode, fields=FIELDS, checks=[NAMED, NO_TEST, POSITIVE, SOUND])
    for number in range(6):
        table.change("c", row(number, str(number - 2), "test" if number == 5 else None))
    table.change("c", row(6, "1000"))
    landing.land()
    book.accept(landing.lake, table.state(), by="anna", at="now")

    def dies(point: str) -> None:
        if point == f"landing.after-table:{table.flow.name}":
            landing.at = lambda _point: None
            # whoever comes back has other checks: none of them may touch what has landed
            table.flow = replace(table.flow, checks=(Check("none", OnFail.DROP, Expression("id < 0")),))
            raise LakeUnreachable("no answer")

    landing.at = dies
    table.change("c", row(7, "-1"))
    lane = landing.lane()
    assert lane.flows[0].checks
    landing.land()
    landing.land()
    entries = table.entries()
    assert [e.state for e in entries] == ["landed", "completed"]
    assert entries[0].plan == entries[1].plan != table.flow.hash
    assert terms(table) == [{"landed": 3, "dropped": 1, "quarantined": 2}, {"quarantined": 2}]
    assert entries[1].checks == {"positive": 1, "sound": 1}
    assert {at: reason for at, (_, reason, _) in held(table).items()} == {
        0: "check:positive", 1: "check:positive", 6: "check:sound", 7: "check:positive",
    }  # fmt: skip


# --- what Spark and Java have the last word on


def test_a_pattern_that_only_java_refuses_is_found_before_a_row_is_read(landing: Landing) -> None:
    known = Check("o", OnFail.WARN, OneOf(("name",), ("n",)))
    check_pattern("b{1")  # to Python these are three characters
    table = landing.table(fields=FIELDS, checks=[known, Check("p", OnFail.WARN, Pattern(("name",), "b{1"))])
    table.change("c", row(1))
    state = landing.land()[table.flow.name]
    assert (state.state, state.code, table.rows()) == (State.STOPPED, CheckUnbound.code, [])
    assert "Unclosed counted closure" in state.what
