"""The landing's pure parts: ranges, batches, commits, schemas, SQL text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import LedgerDisagrees, SchemaBlocked
from engine.lake import append, batch, book, commits, decode, evolve, fold, ranges
from engine.lake.answer import Answer
from engine.lake.batch import Batch, Water
from engine.lake.evolve import Added, Target
from engine.plan import FlowPlan, SchemaPolicy, SinkPlan, TopicPlan
from engine.schema import Change, Decimal, Int32, Int64, String, Type
from engine.source import TableSpec
from engine.template import grammar
from engine.template.shapes import Choice, Fields
from tests.support.avro_records import DATE, TIMESTAMP, Field, decimal, envelope

POLICY = SchemaPolicy("evolve", "evolve", "keep", "park", "park")
FLOW = FlowPlan(
    name="shop.parcel", group="default", owner="o", template="t@1.0.0", connection="shop",
    table=TableSpec("shop.parcel", "public", "parcel"),
    topic=TopicPlan("shop.public.parcel", 2, 1, 1, "backward", 1 << 20), schema=POLICY,
    sink=SinkPlan("bronze.parcel", "append", (), "hard"), freshness_s=10, rows_per_commit=100,
)  # fmt: skip

offsets = st.dictionaries(st.integers(0, 4), st.integers(0, 50), max_size=5)


# --- ranges


@given(start=offsets, more=offsets, limit=st.integers(5, 60))
def test_a_range_begins_where_the_flow_stands_and_keeps_its_bound(
    start: dict[int, int], more: dict[int, int], limit: int
) -> None:
    ends = {p: start.get(p, 0) + n for p, n in more.items()}
    span = ranges.plan(start, ends, limit)
    assert ranges.size(span) <= limit
    assert all(a == start.get(p, 0) and a < b <= ends[p] for p, (a, b) in span.items())
    assert set(span) == {p for p, n in more.items() if n}


@given(start=offsets, more=offsets, limit=st.integers(5, 20))
def test_ranges_one_after_the_other_reach_the_ends_without_hole_or_overlap(
    start: dict[int, int], more: dict[int, int], limit: int
) -> None:  # I3
    ends = {p: start.get(p, 0) + n for p, n in more.items()}
    at, read = dict(start), 0
    while span := ranges.plan(at, ends, limit):
        read += ranges.size(span)
        at = ranges.advance(at, span)
    assert read == sum(more.values())
    assert {p: at.get(p, 0) for p in ends} == ends


# --- batches and commits


def a_batch(**more: Any) -> Batch:
    given: dict[str, Any] = {
        "flow": FLOW, "app_id": "ecluse:shop.parcel:1", "seq": 4, "span": {0: (3, 9)}, "topic_id": "t",
        "driver": "me", "landed_at_us": 17, "waters": {0: Water(2, (1, 8, 4))}, "next": {0: 9, 1: 5},
    }  # fmt: skip
    return Batch(**(given | more))


def write_log(table: Path, *versions: list[dict[str, Any]]) -> None:
    (table / "_delta_log").mkdir(parents=True)
    for number, actions in enumerate(versions):
        text = "\n".join(json.dumps(action) for action in actions)
        (table / "_delta_log" / f"{number:020d}.json").write_text(text, encoding="utf-8")


def landed(batch_: Batch, **metrics: int) -> list[dict[str, Any]]:
    return [
        {"commitInfo": {"timestamp": 1, "userMetadata": batch_.metadata(),
                        "operationMetrics": {k: str(v) for k, v in metrics.items()}}},
        {"txn": {"appId": batch_.app_id, "version": batch_.seq}},
        {"add": {"path": "x", "size": 10}},
    ]  # fmt: skip


def test_a_batch_can_be_completed_from_its_commit_alone(tmp_path: Path) -> None:
    made = a_batch(dedupe=True, foreign=frozenset({9}), floor=(1, 2, 3), floors_in_batch=True,
                   stubs=frozenset({(0, 4)}), aside={7: "schema-blocked:why"})  # fmt: skip
    write_log(tmp_path, landed(made, numOutputRows=6))
    commit = commits.newest(tmp_path, made.app_id)
    assert commit is not None
    assert batch.again(commit, FLOW, "me") == made
    assert batch.landed_rows(commit) == 6


def test_maintenance_that_copies_our_metadata_is_not_ours(tmp_path: Path) -> None:
    one, two = a_batch(seq=1), a_batch(seq=2)
    optimize = [action for action in landed(two) if "txn" not in action]
    write_log(tmp_path, landed(one), optimize)
    commit = commits.newest(tmp_path, one.app_id)
    assert commit is not None
    assert (commit.version, commit.seq) == (0, 1)


def test_the_read_back_sees_only_what_came_after_the_version_it_knew(tmp_path: Path) -> None:
    write_log(tmp_path, landed(a_batch(seq=1)), landed(a_batch(seq=2, driver="zombie")))
    assert commits.since(tmp_path, 1, a_batch().app_id) == (1, None)
    version, commit = commits.since(tmp_path, 0, a_batch().app_id)
    assert commit is not None
    assert (version, commit.writer) == (1, "zombie")


def test_a_merge_counts_what_it_put_in_not_what_it_deleted(tmp_path: Path) -> None:
    metrics = {"numTargetRowsInserted": 2, "numTargetRowsUpdated": 5, "numTargetRowsMatchedUpdated": 3,
               "numTargetRowsDeleted": 7, "numOutputRows": 99}  # fmt: skip
    write_log(tmp_path, landed(a_batch(), **metrics))
    commit = commits.newest(tmp_path, a_batch().app_id)
    assert commit is not None
    assert batch.landed_rows(commit) == 5


@pytest.mark.parametrize("deleted", [0, 2, 4])
def test_i4_a_merge_that_deleted_other_rows_than_were_seen_stops_the_flow(
    tmp_path: Path, deleted: int
) -> None:
    write_log(tmp_path, landed(a_batch(), numTargetRowsInserted=0, numTargetRowsDeleted=deleted))
    commit = commits.newest(tmp_path, a_batch().app_id)
    assert commit is not None
    batch.check_deleted(a_batch(), batch.Seen(read=3, bad=0, leaving=deleted), commit)
    with pytest.raises(LedgerDisagrees, match="deleted"):
        batch.check_deleted(a_batch(), batch.Seen(read=3, bad=0, leaving=3), commit)


def test_a_plan_comes_back_by_its_hash(tmp_path: Path) -> None:
    book.store_plan(tmp_path, FLOW)
    assert book.load_plan(tmp_path, FLOW.hash) == FLOW


def test_a_state_is_readable_by_anybody_and_an_answer_is_recorded(tmp_path: Path) -> None:
    state = book.FlowState(
        "shop.parcel", code="landing.offsets-gone", where="[3, 5)", first_unapplied={"0": 3}
    )
    book.store_state(tmp_path, state)
    book.accept(tmp_path, state, by="anna", at="2026-01-01T00:00:00")
    found = book.load_state(tmp_path, "shop.parcel")
    assert found.accepted == (Answer("landing.offsets-gone", "[3, 5)", "anna", "2026-01-01T00:00:00"),)


# --- schemas

TOPIC = "shop.public.parcel"


def writer(schema_id: int, *fields: Field, key: tuple[str, ...] = ("id",)) -> decode.Writer:
    found = decode.parse(schema_id, json.dumps(envelope(TOPIC, fields, key)), TOPIC)
    assert found is not None
    return found


ID, NAME = Field("id", "int"), Field("name", "string")
BEFORE = Target({"id": Int32(), "name": String()}, ("id",))


def test_a_schema_that_is_no_envelope_is_nobodys() -> None:
    assert decode.parse(1, "not json", TOPIC) is None
    assert decode.parse(1, '{"type": "record", "name": "X", "fields": []}', TOPIC) is None
    assert decode.parse(1, '"string"', TOPIC) is None


@pytest.mark.parametrize(
    ("avro", "default"),
    [(DATE, "infinity"), (DATE, "0044-03-15 BC"), (decimal(6, 2), "NaN"), (TIMESTAMP, "-infinity")],
)
def test_i5_a_new_column_whose_default_has_no_place_is_blocked_by_name(avro: Any, default: str) -> None:
    new = writer(2, Field("id", "int"), NAME, Field("late", avro, default=default))
    with pytest.raises(SchemaBlocked, match=f"default {default}, which has no place"):
        evolve.judge(BEFORE, new, POLICY, where="f")


def test_i9_a_schema_of_another_topic_is_nobodys_and_brings_no_columns() -> None:
    text = json.dumps(envelope("shop.public.invoice", [ID, NAME], ("id",)))
    assert decode.parse(1, text, TOPIC) is None
    assert decode.parse(1, text, "shop.public.invoice") is not None


def test_a_new_column_and_a_wider_one_evolve_the_table() -> None:
    new = writer(2, Field("id", "long"), NAME, Field("fee", decimal(6, 2), default="1.5"))
    verdict = evolve.judge(BEFORE, new, POLICY, where="")
    assert [(s.column, s.default) for s in verdict.steps] == [("id", None), ("fee", "1.5")]
    assert verdict.target.columns == {"id": Int64(), "name": String(), "fee": Decimal(6, 2)}
    assert verdict.target.added == {"fee": Added(2, "1.5")}


def test_an_older_or_narrower_schema_is_no_change() -> None:
    wide = Target({"id": Int64(), "name": String(), "fee": String()}, ("id",), {"fee": Added(5, "x")})
    old = writer(4, ID, NAME)
    strict = replace(POLICY, drop_column="park")
    assert evolve.judge(wide, old, strict, where="") == evolve.Verdict(wide, ())
    assert evolve.initial(wide, old, "fee") == "cast('x' as string)"
    with pytest.raises(SchemaBlocked, match="drop_column"):
        evolve.judge(wide, replace(old, schema_id=6), strict, where="")
    assert evolve.initial(wide, replace(old, schema_id=6), "fee") == "cast(NULL as string)"


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (writer(2, ID, Field("name", "long")), "column name: string → bigint"),
        (writer(2, ID, NAME, key=("name",)), "name becomes the key"),
        (writer(2, ID, NAME, Field("_op", "string")), "is ours"),
        (writer(2, ID, NAME, Field("NAME", "string")), "differ by case"),
        (writer(2, Field("ID", "int"), NAME), "id is called ID now"),
        (writer(2, ID, NAME, Field("a b", "string", avro_name="a_b")), "Delta refuses"),
    ],
)
def test_what_a_table_cannot_follow_is_blocked_by_name(new: decode.Writer, said: str) -> None:
    with pytest.raises(SchemaBlocked, match=said):
        evolve.judge(BEFORE, new, POLICY, where="")


@pytest.mark.parametrize("kind", Change)
def test_a_stop_names_a_policy_only_where_it_can_be_set(kind: Change) -> None:
    policies = cast("Fields", grammar.FLOW.keys["schema"].shape)
    others = [v for v in cast("Choice", policies.keys[kind.value].shape).values if v != "park"]
    said = evolve.follow(kind)
    assert bool(said) == bool(others)
    assert all(f"schema.{kind.value}: {value} in the template" in said for value in others)


# --- SQL


@given(st.text())
def test_no_text_leaves_its_quotes(text: str) -> None:
    body = decode.quote(text)[1:-1]
    assert "'" not in body.replace("\\\\", "").replace("\\'", "")


def test_what_a_batch_brings_with_it_stands_in_arrays_that_generated_code_is_given() -> None:
    waters = {0: Water(2, (1, 8, 4)), 1: Water(3, (1, 8, 6)), 7: Water(9, (9, 9, 9))}
    text = append.again(waters, {0: (0, 1), 1: (0, 1)})
    assert "NOT (writer <=> get(array(2L, 3L), partition))" in text
    assert "_position.minor <= get(array(4L, 6L), partition)" in text
    other = {p: Water(w.writer + 77, (5, 55, 555)) for p, w in waters.items()}
    arrays = re.compile(r"array\([^)]*\)")
    assert arrays.sub("", append.again(other, {0: (5, 9), 1: (6, 9)})) == arrays.sub("", text)


def test_bounds_are_literals_of_the_keys_types_where_files_can_be_skipped() -> None:
    types: dict[str, Type] = {"id": Int64(), "name": String()}
    got = {"lo0": "1", "hi0": "5", "lo1": "a'b", "hi1": "z"}
    assert fold.bounds(["id", "name"], types, got) == (
        " AND t.`id` BETWEEN cast('1' AS bigint) AND cast('5' AS bigint)"
        " AND t.`name` BETWEEN cast('a\\'b' AS string) AND cast('z' AS string)"
    )
    assert fold.bounds(["id"], types, {"lo0": None, "hi0": None}) == ""
