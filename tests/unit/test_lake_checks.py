"""Checks as SQL text, kept with their plan, and the breaker: what needs no Spark to be seen."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.checks import Check, Expression, Misfit, NotNull, OneOf, OnFail, Range
from engine.checks.bind import bind
from engine.lake import batch, book, breaker, decode, ranges, sieve
from engine.lake.batch import Batch
from engine.lake.compile import Checker, compiled
from engine.lake.desk import Standing
from engine.plan import FlowPlan, QuarantinePlan, SchemaPolicy, SinkPlan, TopicPlan
from engine.schema import Int32, Shape, String
from engine.source import TableSpec
from tests.support.avro_records import Field, envelope

FLOW = FlowPlan(
    name="shop.parcel", group="default", owner="o", template="t@1.0.0", connection="shop",
    table=TableSpec("shop.parcel", "public", "parcel"),
    topic=TopicPlan("shop.public.parcel", 2, 1, 1, "backward", 1 << 20),
    schema=SchemaPolicy("evolve", "evolve", "keep", "park", "park"),
    sink=SinkPlan("bronze.parcel", "append", (), "hard"), freshness_s=10, rows_per_commit=100,
)  # fmt: skip
BATCH = Batch(
    flow=FLOW,
    app_id="a",
    seq=1,
    span={0: (0, 9)},
    topic_id="t",
    driver="d",
    landed_at_us=1,
    waters={},
    next={0: 9},
)

CHECKS = (
    Check("a", OnFail.QUARANTINE, Range(("n",), 0, "9.5")),
    Check("b", OnFail.DROP, OneOf(("s",), ("it's", "x"))),
    Check("c", OnFail.FAIL, Expression("n > 1 OR s IS NULL")),
    Check("d", OnFail.WARN, NotNull(("n", "s"))),
)
COLUMNS: Shape = {"n": Int32(), "s": String()}


def checker(*checks: Check, **more: Any) -> Checker:
    return compiled([bind(check, COLUMNS) for check in checks], COLUMNS, **more)


def test_a_plan_with_checks_comes_back_from_the_lake_as_it_was(tmp_path: Path) -> None:
    flow = replace(FLOW, checks=CHECKS, quarantine=QuarantinePlan(0.25, 7))
    book.store_plan(tmp_path, flow)
    assert book.load_plan(tmp_path, flow.hash) == flow
    assert flow.hash != FLOW.hash


def test_a_row_that_fails_nothing_costs_its_conditions_and_no_more() -> None:
    text = checker(*CHECKS).failed("_again")
    fast, _, slow = text.partition(" THEN 0L WHEN ")
    assert fast == (
        "CASE WHEN coalesce(((i.`n` >= 0) AND (i.`n` <= 9.5BD)) AND (i.`s` IN ('it\\'s', 'x')) AND "
        "((i.`n` > 1) OR (i.`s` IS NULL)) AND (NOT (i.`n` IS NULL)) AND (NOT (i.`s` IS NULL)), true)"
    )
    assert "unchanged" in slow
    assert checker().failed("_again") == "0L"


def test_the_worst_of_the_checks_that_a_row_fails_says_what_becomes_of_it() -> None:
    made = checker(*CHECKS)
    assert made.held == "(_failed & 5L) <> 0L"
    assert made.dropped == "((_failed & 2L) <> 0L AND NOT (_failed & 5L) <> 0L)"
    assert made.lands == "NOT (_failed & 7L) <> 0L"
    assert "ecluse!check!" in made.failed("_again")
    answered = checker(*CHECKS, refused=frozenset({(1, 7)})).failed("_again")
    assert "if(partition = 1 AND offset = 7L, 4L, cast(raise_error" in answered
    warned = checker(CHECKS[3])
    assert (warned.held, warned.lands) == ("false", "NOT false")


def test_a_column_that_a_record_was_written_without_fails_nothing() -> None:
    text = json.dumps(envelope("shop.public.parcel", [Field("n", "int")], ["n"]))
    lacks = decode.parse(7, text, "shop.public.parcel")
    assert lacks is not None
    sql = checker(CHECKS[1], writers=[lacks]).failed("_late")
    assert f"AND NOT coalesce(substring(value, 1, 5) IN (X'{decode.header(7)}'), false)" in sql


@pytest.mark.parametrize(("rows", "sums"), [(2**21 - 1, 2), (2**21, 4)])
def test_the_counts_of_checks_come_back_out_of_their_sums(rows: int, sums: int) -> None:
    made = checker(*CHECKS)
    texts = {alias: text for alias, text in made.counters(rows).items() if alias.startswith("k")}
    assert len(texts) == sums
    counts = {"a": rows, "b": 0, "c": 1, "d": rows - 1}
    got = {
        alias: sum(
            counts[CHECKS[int(n)].name] << int(shift)
            for n, shift in re.findall(r"shiftright\(_failed, (\d+)\) & 1L, (\d+)\)", text)
        )
        for alias, text in texts.items()
    }
    assert max(got.values()) < 2**63
    assert made.counted(got, rows) == {"a": rows, "c": 1, "d": rows - 1}
    assert made.counted(dict.fromkeys(texts), rows) == {}  # no row was read


def test_an_expression_whose_sql_would_be_too_large_is_refused() -> None:
    text = "n"
    for _ in range(12):
        text = f"CASE WHEN {text} BETWEEN 1 AND 2 THEN 1 ELSE 2 END"
    with pytest.raises(Misfit, match="too large"):
        checker(Check("c", OnFail.WARN, Expression(f"{text} = 1")))


@pytest.mark.parametrize(
    ("read", "quarantined", "trips"),
    [(10, 6, True), (10, 5, False), (9, 9, False), (10, None, False), (None, 6, False)],
)
def test_a_batch_trips_the_breaker_above_its_ratio_if_it_is_large_enough(
    read: int | None, quarantined: int | None, *, trips: bool
) -> None:
    standing = Standing(replace(FLOW, quarantine=QuarantinePlan(0.5, 10)), "a")
    assert breaker.tripped(standing) is None
    entry = batch.entry(BATCH, batch.Seen(read=0, bad=0), version=1, landed=0, quarantined=0, now_us=1)
    standing.last = replace(entry, read=read, quarantined=quarantined)
    assert (breaker.tripped(standing) is not None) is trips
    standing.flow = FLOW  # which never stops
    assert breaker.tripped(standing) is None


def test_small_batches_trip_the_breaker_together_and_each_window_begins_anew() -> None:
    flow = replace(FLOW, quarantine=QuarantinePlan(0.5, 10))
    standing, stops = Standing(flow, "a"), []
    for seq, held in enumerate((1, 3, 4, 0, 0, 0, 4, 4, 4), 1):
        before = batch.EMPTY if standing.last is None else batch.after(standing.last).window
        planned = replace(BATCH, flow=flow, seq=seq, window=before)
        seen = batch.Seen(read=4, bad=held)
        standing.last = batch.entry(planned, seen, version=1, landed=4 - held, quarantined=held, now_us=1)
        if breaker.tripped(standing) is not None:
            stops.append(seq)
    assert stops == [3, 9]


@given(
    span=st.dictionaries(
        st.integers(0, 3), st.tuples(st.integers(0, 9), st.integers(100, 100_000)), min_size=1, max_size=3
    ),
    data=st.data(),
)
def test_a_sieve_lets_every_bad_record_through(span: dict[int, tuple[int, int]], data: st.DataObject) -> None:
    spans = {p: (first, first + length) for p, (first, length) in span.items()}
    bad = {p: data.draw(st.sets(st.integers(a, b - 1), max_size=5)) for p, (a, b) in spans.items()}
    got = {f"s{p}": bitmap(bad[p], *spans[p]) for p in spans}
    look = sieve.look(spans, got)
    assert all(spans[p][0] <= a < b <= spans[p][1] for p, (a, b) in look.span.items())
    words = words_of(look.condition)
    for p, offsets in bad.items():
        stride = -(-(spans[p][1] - spans[p][0]) // 32_768)
        for offset in offsets:
            assert ranges.holds(look.span, p, offset)
            word, bit = divmod((offset - spans[p][0]) // stride, 64)
            assert look.condition == "true" or words[p][word] >> bit & 1
        if offsets:  # and hardly more is read
            first, end = look.span[p]
            assert min(offsets) - first < stride
            assert end - max(offsets) <= stride
        else:
            assert p not in look.span or not any(bad.values())


def words_of(condition: str) -> list[list[int]]:
    """The words of the bitmaps that a condition looks into, by partition."""
    lists = condition.partition("getbit(get(get(array(")[2].partition("), partition)")[0]
    return [
        [int(word) for word in each.split(",")] if each else []
        for each in re.findall(r"NULL|cast\(split\('([^']*)', ','\) AS array<bigint>\)", lists)
    ]


def bitmap(offsets: set[int], first: int, end: int) -> bytes:
    """As Spark makes it: the least bit of the first byte is the first position."""
    found = bytearray(4096)
    for offset in offsets:
        at = (offset - first) // -(-(end - first) // 32_768)
        found[at // 8] |= 1 << at % 8
    return bytes(found)


def test_a_range_of_which_much_is_bad_is_looked_at_whole() -> None:
    span = {0: (0, 65_536)}
    assert sieve.look(span, {"s0": b"\xff" * 4096}) == sieve.Look(span)
    assert sieve.look(span, {}) == sieve.Look(span)
    assert sieve.look(span, {"s0": bytes(4096)}) == sieve.Look(span)  # nothing was seen: nothing is left out
    few = sieve.look({**span, 1: (7, 99)}, {"s0": b"\x81" + bytes(4094) + b"\x80", "s1": bytes(4096)})
    assert few.span == span
    assert words_of(few.condition) == [[0x81, *[0] * 510, -(2**63)]]
    assert len(sieve.counters(dict.fromkeys(range(32), (0, 9)), "true")) == 32
    assert sieve.counters(dict.fromkeys(range(33), (0, 9)), "true") == {}


def test_of_a_range_with_little_that_is_bad_only_that_part_is_read_again() -> None:
    found = bitmap({70_000, 70_100, 70_300}, 7, 100_007)
    look = sieve.look({0: (7, 100_007), 1: (0, 50_000)}, {"s0": found, "s1": bytes(4096)})
    assert look.span == {0: (69_999, 70_303)}
