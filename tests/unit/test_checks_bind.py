"""A check meets a table: it fits its columns, or says what does not."""

from __future__ import annotations

import pytest

from engine.checks import Check, Expression, Length, Misfit, NotNull, OneOf, OnFail, Pattern, Range, Rule
from engine.checks.bind import bind
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
)

SHAPE: Shape = {
    "id": Int64(), "n": Int32(), "weight": Decimal(10, 3), "ratio": Float64(), "name": String(),
    "ok": Boolean(), "day": Date(), "at": Timestamp(), "wall": TimestampNtz(), "raw": Binary(),
}  # fmt: skip


TEXT = "text does not compare with a whole number"
RANGE = "range is for numbers, dates and timestamps, and column name is string"
ONE_OF = "one_of is for text, numbers, dates and timestamps, and column ok is boolean"


def bound(rule: Rule) -> object:
    return bind(Check("c", OnFail.QUARANTINE, rule), SHAPE)


@pytest.mark.parametrize(
    "text",
    [
        "n + id > weight AND ratio < 1.5",
        "name || 'x' LIKE 'a%' OR length(name) = 3 OR length(raw) > 1",
        "ok AND NOT (name IS NULL)",
        "day < at AND wall <= TIMESTAMP '2026-01-31 00:00:00Z' AND days_between(day, at) < 3",
        "CASE WHEN ok THEN n ELSE weight END BETWEEN 1 AND 2.5",
        "coalesce(name, 'x') IN ('a', NULL) AND nullif(n, 0) = 1",
        "abs(weight) > round(ratio, 2) AND floor(weight) = ceil(ratio)",
        "raw = raw AND ok = TRUE",
        "NULL",
    ],
)
def test_an_expression_whose_kinds_meet_is_bound(text: str) -> None:
    assert bound(Expression(text))


@pytest.mark.parametrize(
    ("rule", "at", "said"),
    [
        (Expression("naem = 'x'"), 0, 'the table has no column "naem"'),
        (Expression("ok AND naem = 'x'"), 7, 'the table has no column "naem"'),
        (Expression("name > 5"), 7, "a whole number does not compare with text"),
        (Expression("day > '2026-01-31'"), 6, "text does not compare with a date"),
        (Expression("n + name = 1"), 4, "a number stands here, not text"),
        (Expression("n AND ok"), 0, "a condition stands here, not a whole number"),
        (Expression("ok < TRUE"), 3, "a condition is neither less nor greater than another"),
        (Expression("raw < raw"), 4, "bytes is neither less nor greater than another"),
        (Expression("hour(day) = 1"), 5, "a timestamp stands here, not a date"),
        (Expression("weight"), 0, "the expression is an exact number, not a condition"),
        (Expression("CASE WHEN ok THEN 1 ELSE name END = 1"), 25, TEXT),
        (NotNull(("id", "Name")), None, 'the table has no column "Name"'),
        (Range(("name",), 0, None), None, RANGE),
        (Range(("day",), 0, None), None, "a value of the check is none of column day, which is date"),
        (Range(("id",), "ten", None), None, "a value of the check is none of column id, which is bigint"),
        (Range(("id",), "NaN", None), None, "a number has at most 38 digits"),
        (Range(("day",), "2026-13-01", None), None, "this is no date"),
        (Length(("id",), 1, 2), None, "length is for text and bytes, and column id is bigint"),
        (Pattern(("day",), "x"), None, "pattern is for text, and column day is date"),
        (OneOf(("ok",), ("x",)), None, ONE_OF),
        (OneOf(("name",), (1,)), None, "a value of the check is none of column name, which is string"),
    ],
)  # fmt: skip
def test_a_check_that_does_not_fit_its_table_says_why(rule: Rule, at: int | None, said: str) -> None:
    with pytest.raises(Misfit) as told:
        bound(rule)
    assert (told.value.at, told.value.text) == (at, said)


def test_a_rule_on_many_columns_is_a_part_for_each() -> None:
    found = bind(Check("c", OnFail.WARN, NotNull(("id", "name"))), SHAPE)
    assert [part.columns for part in found.parts] == [("id",), ("name",)]
    both = bind(Check("c", OnFail.WARN, Expression("n > id AND n > 1")), SHAPE)
    assert [part.columns for part in both.parts] == [("n", "id")]


def test_the_kinds_of_a_deep_expression_are_found_once() -> None:
    assert bound(Expression("id" + " + id" * 90 + " > 1"))
    assert bound(Expression("-" + "(-" * 20 + "n" + ")" * 20 + " > 1"))
