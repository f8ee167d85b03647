"""Controls: what a partner says of a file, and what becomes of a file that says something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.files.amounts import Amounts, DecimalFormat, day
from connectors.files.controlled import Control, Totals
from connectors.files.controls import Controls, next_in_sequence
from connectors.files.controls import Sequence as Numbers
from connectors.files.jsons import JsonDocument, read_document
from connectors.files.records import Lot, Problem, Refused, Text
from connectors.files.xmls import Xml, XmlRecord, read_xml

TODAY = date(2026, 11, 22)
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "header": ("day", "number"),
    "detail": ("account", "amount"),
    "trailer": ("count", "total", "hash"),
}
Rows = Sequence[tuple[str, ...] | None]
DETAILS: Rows = [("17", "1,50"), ("25", "-0,25"), ("99", "10,00")]
FILE: Sequence[tuple[str, Rows]] = [
    ("header", [("20261122", "0007")]),
    ("detail", DETAILS),
    ("trailer", [("3", "11,25", "41")]),
]
ALL: Mapping[str, Any] = {
    "count": {"field": "trailer.count"},
    "sums": {
        "amounts": {"field": "trailer.total", "column": "amount", "format": {"decimal": ","}},
        "accounts": {"field": "trailer.hash", "column": "account", "digits": 2},
    },
    "sequence": {"field": "header.number", "last": 9999, "gap": "refuse"},
    "day": {"field": "header.day", "format": "yyyyMMdd", "back": 3},
}


def lot(first: int, kind: str, rows: Rows) -> Lot:
    empty: tuple[Text, ...] = (None,) * len(COLUMNS[kind])
    texts = [empty if row is None else tuple(field.encode() for field in row) for row in rows]
    problems = {n: Problem("test.bad", "bad", b"?") for n, row in enumerate(rows) if row is None}
    return Lot(first, kind, len(rows), lambda: tuple(zip(*texts, strict=True)), problems)


def control(
    file: Sequence[tuple[str, Rows]],
    declared: Mapping[str, Any] = ALL,
    *,
    name: str = "f",
    last: int | None = 6,
) -> Totals:
    held = Control(Controls.model_validate(declared), COLUMNS, name=name, today=TODAY, last=last)
    first = 1
    for kind, rows in file:
        held.add(lot(first, kind, rows))
        first += len(rows)
    return held.totals()


def refusal(*words: Any, **named: Any) -> Refused:
    with pytest.raises(Refused) as refused:
        control(*words, **named)
    return refused.value


def test_a_file_that_keeps_its_word_comes_to_its_totals() -> None:
    assert control(FILE) == Totals(
        {"header": 1, "detail": 3, "trailer": 1},
        0,
        {"amounts": Decimal("11.25"), "accounts": Decimal(41)},
        7,
        TODAY,
    )


def with_(place: int, kind: str, rows: Rows) -> list[tuple[str, Rows]]:
    return [*FILE[:place], (kind, rows), *FILE[place + 1 :]]


HEADER, TRAILER = FILE[0], FILE[2]


@pytest.mark.parametrize(
    ("file", "code", "said"),
    [
        (with_(2, "trailer", [("4", "11,25", "41")]), "control.count", ("says 4", "has 3")),
        (with_(2, "trailer", [("three", "11,25", "41")]), "control.count", ("'three'",)),
        (with_(2, "trailer", [("", "11,25", "41")]), "control.count", ("''",)),
        (with_(2, "trailer", [("3", "11,26", "41")]), "control.sum", ("11.26", "11.25")),
        (with_(2, "trailer", [("3", "11.25", "41")]), "control.sum", ("'11.25'",)),
        (with_(2, "trailer", [("3", "11,25", "42")]), "control.sum", ("42", "41")),
        (with_(0, "header", [("20261122", "0009")]), "control.sequence", ("9", "7", "a gap")),
        (with_(0, "header", [("20261122", "0006")]), "control.sequence", ("6", "7", "the same")),
        (with_(0, "header", [("20261122", "0005")]), "control.sequence", ("5", "7", "before")),
        (with_(0, "header", [("20261122", "0000")]), "control.sequence", ("0", "1 to 9999")),
        (with_(0, "header", [("20261123", "0007")]), "control.date", ("2026-11-23", "2026-11-22")),
        (with_(0, "header", [("20261118", "0007")]), "control.date", ("2026-11-18", "2026-11-22")),
        (with_(0, "header", [("20261131", "0007")]), "control.date", ("'20261131'", "yyyyMMdd")),
        (with_(0, "header", [None]), "control.header-unfit", ("bad",)),
        (FILE[:2], "control.trailer-missing", ("1", "0")),
        (FILE[1:2], "control.header-missing", ("1", "0")),
        ([HEADER, *FILE], "control.header-twice", ("1", "2")),
        ([*FILE, TRAILER], "control.trailer-twice", ("1", "2")),
        ([FILE[1], HEADER, TRAILER], "control.header-place", ("record 4", "record 1")),
        ([HEADER, TRAILER, FILE[1]], "control.trailer-place", ("record 2", "record 3")),
        ([], "control.header-missing", ("1", "0")),
    ],
)
def test_a_file_that_says_something_else_is_refused_with_both(
    file: list[tuple[str, Rows]], code: str, said: Sequence[str]
) -> None:
    refused = refusal(file)
    assert refused.code == code
    assert all(word in refused.what for word in said), refused.what


@pytest.mark.parametrize(
    ("of", "count"),
    [("details", 3), ("records", 5), ("details_and_header", 4), ("details_and_trailer", 4)],
)
def test_a_count_says_what_it_counts(of: str, count: int) -> None:
    declared = {"header": True, "count": {"field": "trailer.count", "of": of}}
    control(with_(2, "trailer", [(f" {count:06}", "", "")]), declared)
    assert refusal(with_(2, "trailer", [(str(count + 1), "", "")]), declared).code == "control.count"


def test_a_record_that_is_not_fit_is_counted_and_missing_from_the_sum() -> None:
    file = with_(1, "detail", [*DETAILS[:2], None])
    refused = refusal(file)
    assert refused.code == "control.sum"
    assert "1 records have no number there (4)" in refused.what
    assert control(file, {"count": ALL["count"]}).problems == 1


def test_columns_that_no_control_reads_are_not_asked_for() -> None:
    held = Control(
        Controls.model_validate({"count": ALL["count"]}), COLUMNS, name="f", today=TODAY, last=None
    )

    def columns() -> Sequence[Sequence[Text]]:
        raise AssertionError("asked for")

    held.add(Lot(1, "detail", 3, columns))
    held.add(lot(4, "trailer", TRAILER[1]))
    assert held.totals().counts == {"detail": 3, "trailer": 1}


@pytest.mark.parametrize(
    ("number", "kept", "said"),
    [("0008", 8, ""), ("0009", 9, "8 was to come after 7: a gap"), ("0005", None, "before the last file")],
)
def test_a_number_that_does_not_follow_is_told_and_taken_unless_it_is_declared_otherwise(
    number: str, kept: int | None, said: str
) -> None:
    declared = {"sequence": {"field": "header.number", "last": 9999}}
    totals = control(with_(0, "header", [("20261122", number)]), declared, last=7)
    assert totals.sequence == kept
    assert said in totals.alarm
    assert bool(said) == bool(totals.alarm)


def test_the_number_of_the_last_file_is_refused_whatever_a_gap_is() -> None:
    file = with_(0, "header", [("20261122", "0007")])
    assert refusal(file, {"sequence": {"field": "header.number"}}, last=7).code == "control.sequence"


def test_number_and_day_may_stand_in_the_name() -> None:
    declared = {
        "sequence": {"name": r"_(?P<value>\d+)\.csv$"},
        "day": {"name": r"^orders_(?P<value>\d{8})_", "format": "yyyyMMdd"},
    }
    totals = control([], declared, name="orders_20261101_42.csv", last=41)
    assert (totals.sequence, totals.day) == (42, date(2026, 11, 1))
    assert refusal([], declared, name="orders.csv").code == "control.sequence"
    assert "nothing" in refusal([], {"day": declared["day"]}, name="x").what


@pytest.mark.parametrize(
    ("last", "this", "highest", "step", "expected"),
    [
        (None, 500, None, "next", 500),
        (1, 2, None, "next", 2),
        (1, 1, None, "same", 2),
        (5, 1, None, "before", 6),
        (5, 7, None, "gap", 6),
        (999, 1, 999, "next", 1),
        (999, 2, 999, "gap", 1),
        (1, 999, 999, "before", 2),
        (998, 1, 999, "gap", 999),
        (2, 1, 2, "next", 1),
    ],
)
def test_numbers_follow_each_other_and_come_round(
    last: int | None, this: int, highest: int | None, step: str, expected: int
) -> None:
    assert next_in_sequence(last, this, Numbers(field="header.number", last=highest)) == (step, expected)


@given(st.integers(0, 5), st.integers(2, 40), st.integers(0, 200))
def test_counting_round_and_round_is_always_next(first: int, length: int, times: int) -> None:
    declared = Numbers(field="header.number", first=first, last=first + length)
    here, there = (first + n % (length + 1) for n in (times, times + 1))
    assert next_in_sequence(here, there, declared) == ("next", there)
    assert next_in_sequence(here, here, declared)[0] == "same"


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        ({}, "12.50", "12.50"),
        ({}, " +0012 ", "12"),
        ({}, "12,50", None),
        ({}, "1e3", None),
        ({}, "1_000", None),
        ({}, "NaN", None),
        ({}, "١٢", None),
        ({}, "", None),
        ({}, "1.", None),
        ({}, "9" * 1_001, None),
        ({"decimal": ",", "thousands": "."}, "1.234.567,89", "1234567.89"),
        ({"decimal": ",", "thousands": "."}, "1.23,4", None),
        ({"decimal": ",", "thousands": "\u202f"}, "-1\u202f234", "-1234"),
        ({"implied": 2}, "0001250", "12.50"),
        ({"implied": 2}, "12.50", None),
        ({"implied": 2, "sign": "trailing"}, "000125-", "-1.25"),
        ({"sign": "trailing"}, "-1", None),
    ],
)
def test_a_decimal_is_of_its_format_or_none(declared: dict[str, Any], text: str, value: str | None) -> None:
    found = Amounts(DecimalFormat.model_validate(declared)).read(text.encode())
    assert found == (None if value is None else Decimal(value))


def twenty_places(number: int) -> str:
    digits = f"{abs(number):021}"
    return f"{'-' if number < 0 else ''}{digits[:-20]}.{digits[-20:]}"


@given(st.lists(st.integers(-(10**60), 10**60), max_size=20))
def test_a_sum_is_exact_whatever_its_length(amounts: list[int]) -> None:
    total = twenty_places(sum(amounts))
    declared = {"sums": {"s": {"field": "trailer.total", "column": "amount"}}}
    details: Rows = [("", twenty_places(amount)) for amount in amounts]
    file = [("detail", details)] if details else []
    control([*file, ("trailer", [("", total, "")])], declared)
    wrong = total[:-1] + str((int(total[-1]) + 1) % 10)
    assert refusal([*file, ("trailer", [("", wrong, "")])], declared).code == "control.sum"


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("dd/MM/yyyy", "02/11/2026", date(2026, 11, 2)),
        ("yyMMdd", "261102", date(2026, 11, 2)),
        ("yyyy-MM-dd'T'HH:mm:ss", "2026-11-02T23:59:59", date(2026, 11, 2)),
        ("dd/MM/yyyy", "2/11/2026", None),
        ("yyyyMMdd", "00000000", None),
        ("yyyyMMdd", "２０２６１１０２", None),
    ],
)
def test_a_day_is_of_its_pattern_or_none(pattern: str, text: str, found: date | None) -> None:
    assert day(text.encode(), pattern) == found


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": {"field": "trailer"}},
        {"count": {"field": "trailer.count", "of": "lines"}},
        {"sums": {"s": {"field": "trailer.total", "column": "amount", "digits": 0}}},
        {"sums": {"s": {"field": "t.t", "column": "a", "format": {"decimal": ",", "thousands": ","}}}},
        {"sequence": {}},
        {"sequence": {"field": "header.number", "name": "(?P<value>.)"}},
        {"sequence": {"name": "(.)"}},
        {"sequence": {"name": "("}},
        {"sequence": {"field": "header.number", "last": 1}},
        {"day": {"field": "header.day", "format": "yyyyDDD"}},
        {"day": {"field": "header.day", "format": "yyyyMM"}},
        {"counts": {}},
    ],
)
def test_a_mistake_in_declared_controls_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Controls.model_validate(wrong)


def test_a_field_that_no_record_has_is_found_before_any_file_comes() -> None:
    assert Controls.model_validate(ALL).missing(dict(COLUMNS)) == []
    less = {**COLUMNS, "trailer": ("count",), "detail": ()}
    found = ["detail.account", "detail.amount", "trailer.hash", "trailer.total"]
    assert Controls.model_validate(ALL).missing(less) == found


def test_an_xml_file_and_a_json_document_are_held_against_what_they_say() -> None:
    declared: Mapping[str, Any] = {
        "count": {"field": "trailer.n"},
        "sums": {"s": {"field": "trailer.sum", "column": "a"}},
    }
    xml = Xml(
        record="r/d",
        columns={"a": "@a"},
        trailer=XmlRecord(record="r/t", columns={"n": "@n", "sum": "@sum"}),
    )
    content = '<r><d a="1.5"/><d a="2"/><d/><t n="3" sum="3.50"/></r>'
    json = JsonDocument(columns={"a": None}, records="d", document={"n": None, "sum": "more.sum"})
    text = '{"n": 3, "d": [{"a": 1.5}, {"a": "2"}, {}], "more": {"sum": 3.50}}'
    beside = {"count": {"field": "document.n"}, "sums": {"s": {"field": "document.sum", "column": "a"}}}
    for controls, kinds, lots in (
        (declared, xml.kinds, read_xml([content.encode()], xml)),
        (beside, json.kinds, read_document([text.encode()], json)),
    ):
        checked = Controls.model_validate(controls)
        assert checked.missing(kinds) == []
        held = Control(checked, kinds, name="f", today=TODAY, last=None)
        for one in lots:
            held.add(one)
        assert held.totals().sums == {"s": Decimal("3.5")}
