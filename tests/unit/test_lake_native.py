"""The native append: what it commits, what it leaves to Spark, and who it lets commit beside it."""

# ruff: noqa: SLF001 - what is tried are parts of the log

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

from engine.errors import LakeUnreachable
from engine.lake import batch, commits, native
from engine.lake.batch import Seen
from engine.lake.log import Log
from tests.support.native_tables import AT, SCHEMA, append, create, ids, rows, unanswered


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return create(tmp_path / "table")


def stats(path: Path) -> dict[str, Any]:
    actions = commits.read(path, commits.head(path)) or []
    found: dict[str, Any] = json.loads(next(a["add"]["stats"] for a in actions if "add" in a))
    return found


def test_a_commit_has_the_rows_the_seq_and_what_the_batch_says_of_itself(path: Path) -> None:
    assert append(path, 1, 7, 8, 9)
    version, commit = commits.since(path, 0, "a")
    assert commit is not None
    assert (version, commit.seq, commit.writer, commit.files) == (1, 1, "d", 1)
    assert batch.landed_rows(commit) == 3  # I4: by the footer of the file that was added
    assert ids(path) == [7, 8, 9]


def test_a_batch_without_rows_moves_the_seq_and_adds_no_file(path: Path) -> None:
    assert append(path, 1)
    _, commit = commits.since(path, 0, "a")
    assert commit is not None
    assert (commit.seq, commit.files, batch.landed_rows(commit)) == (1, 0, 0)
    assert list(path.glob("*.parquet")) == []


@pytest.mark.parametrize("seq", [1, 2])
def test_i2_a_seq_that_is_there_is_not_committed_again(path: Path, seq: int) -> None:
    append(path, 1, 1)
    append(path, 2, 2, driver="the other")
    assert append(path, seq, 3)
    version, commit = commits.since(path, 1, "a")
    assert commit is not None
    assert (version, commit.writer, ids(path)) == (2, "the other", [1, 2])


def test_i2_where_seqs_have_gaps_one_that_is_there_or_behind_is_not_committed(path: Path) -> None:
    for seq, each in ((2, 20), (7, 70), (7, 71), (5, 50), (8, 80)):
        file = native.save(rows(each), path)
        assert native.commit(Log(path), [file], app_id="a", seq=seq, metadata="{}", gaps=True)
    assert ids(path) == [20, 70, 80]
    assert append(path, 10, 100)  # a table to which each seq comes has none left out
    assert ids(path) == [20, 70, 80]


def test_i2_of_two_landings_that_commit_one_seq_at_once_one_does(path: Path) -> None:
    def another() -> None:
        append(path, 1, 2, driver="the other")

    assert append(path, 1, 1, ready=another)
    version, commit = commits.since(path, 0, "a")
    assert commit is not None
    assert (version, commit.writer, ids(path)) == (1, "the other", [2])


def test_a_commit_of_another_kind_in_between_does_not_stand_in_the_way(path: Path) -> None:
    append(path, 1, 1)
    append(path, 2, 2)

    def compact() -> None:
        deltalake.DeltaTable(str(path)).optimize.compact()

    assert append(path, 3, 3, ready=compact)
    assert ids(path) == [1, 2, 3]


def test_a_column_that_is_added_between_comparison_and_commit_is_seen(path: Path) -> None:
    def add() -> None:
        table = deltalake.DeltaTable(str(path))
        if len(table.schema().fields) == len(SCHEMA):
            table.alter.add_columns([deltalake.Field("more", deltalake.schema.PrimitiveType("string"))])

    assert not append(path, 1, 1, ready=add)
    assert ids(path) == []


def test_a_table_that_changes_again_and_again_parks_the_flow(path: Path) -> None:
    def touch() -> None:
        version = commits.head(path)
        (said,) = (a for a in commits.read(path, 0) or [] if "metaData" in a)
        said["metaData"]["configuration"]["delta.logRetentionDuration"] = f"interval {version + 1} days"
        lines = [json.dumps({"commitInfo": {}}), json.dumps(said)]
        (path / "_delta_log" / f"{version + 1:020d}.json").write_text("\n".join(lines))

    with pytest.raises(LakeUnreachable):
        append(path, 1, 1, ready=touch)
    assert ids(path) == []


@pytest.mark.parametrize(
    "other",
    [
        SCHEMA.set(0, pa.field("id", pa.int32())),
        SCHEMA.set(4, pa.field("at", pa.timestamp("us"))),
        SCHEMA.set(3, pa.field("weight", pa.decimal128(10, 2))),
        SCHEMA.set(8, pa.field("_position", pa.struct([("era", pa.int64()), ("major", pa.int32())]))),
        SCHEMA.remove(7),
        SCHEMA.append(pa.field("more", pa.string())),
    ],
)
def test_i5_a_file_with_other_columns_than_the_table_is_not_committed(path: Path, other: pa.Schema) -> None:
    found = rows(1, schema=other) if "more" not in other.names else rows(1, schema=other, more="x")
    if "weight" in other.names and other.field("weight").type.scale == 2:
        found = rows(1, schema=other, weight=Decimal("1.50"))
    assert not append(path, 1, found=found)
    assert commits.head(path) == 0
    assert list(path.glob("*.parquet")) == []


@pytest.mark.parametrize(
    "changed",
    [
        {"delta.columnMapping.mode": "name"},
        {"delta.constraints.c": "id > 0"},
        {"delta.enableChangeDataFeed": "true"},
        {"delta.nobodyKnows": "1"},
    ],
)
def test_a_property_that_is_not_known_leaves_the_table_to_spark(path: Path, changed: dict[str, str]) -> None:
    log = path / "_delta_log" / f"{0:020d}.json"
    said = [json.loads(line) for line in log.read_text().splitlines()]
    for action in said:
        if "metaData" in action:
            action["metaData"]["configuration"] |= changed
    assert native.fitting(path, SCHEMA.names) is not None
    log.write_text("\n".join(json.dumps(action) for action in said))
    assert native.fitting(path, SCHEMA.names) is None


def protocol(path: Path, **said: Any) -> None:
    log = path / "_delta_log" / f"{1:020d}.json"
    log.write_text(json.dumps({"commitInfo": {}}) + "\n" + json.dumps({"protocol": said}) + "\n")


def test_a_feature_that_is_not_known_leaves_the_table_to_spark(path: Path) -> None:
    both = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["timestampNtz"]}
    protocol(path, **both, writerFeatures=["timestampNtz", "appendOnly", "invariants"])
    assert native.fitting(path, SCHEMA.names) is not None
    protocol(path, **both, writerFeatures=["timestampNtz", "appendOnly", "rowTracking", "domainMetadata"])
    assert native.fitting(path, SCHEMA.names) is None
    features = ["timestampNtz", "deletionVectors"]
    protocol(path, **(both | {"readerFeatures": features}), writerFeatures=features)
    assert native.fitting(path, SCHEMA.names) is None


def test_a_column_that_must_have_a_value_or_has_a_rule_leaves_the_table_to_spark(tmp_path: Path) -> None:
    for number, field in enumerate(
        (
            pa.field("id", pa.int64(), nullable=False),
            pa.field("id", pa.int64(), metadata={"delta.generationExpression": "1"}),
        )
    ):
        made = tmp_path / str(number)
        deltalake.DeltaTable.create(str(made), pa.schema([field]))
        assert native.fitting(made, [field.name]) is None


def test_a_table_with_a_column_of_somebody_elses_is_left_to_spark(path: Path) -> None:
    assert native.fitting(path, SCHEMA.names) is not None
    assert native.fitting(path, SCHEMA.names[:-1]) is None


def test_where_there_is_no_table_there_is_nothing_to_append_to(tmp_path: Path) -> None:
    assert native.fitting(tmp_path, []) is None


def test_a_file_tells_its_bounds_and_never_narrower_than_its_values(path: Path) -> None:
    append(path, 1, found=pa.concat_tables([rows(5, 7), rows(6, name=None, at=AT.replace(year=969))]))
    found = stats(path)
    assert found["numRecords"] == 3
    assert found["minValues"] == {
        "id": 5, "small": 3, "name": "n", "at": "0969-11-22T15:30:00.123Z", "day": "2026-11-22",
        "_position": {"era": 0, "major": 5},
    }  # fmt: skip
    assert found["maxValues"] == {
        "id": 7, "small": 3, "name": "n", "at": "2026-11-22T15:30:00.124Z", "day": "2026-11-22",
        "_position": {"era": 0, "major": 7},
    }  # fmt: skip
    assert found["nullCount"]["name"] == 1
    assert found["nullCount"]["_position"] == {"era": 0, "major": 0}
    assert "tags" not in found["nullCount"]


@pytest.mark.parametrize("value", [None, "x" * 33])
def test_a_bound_that_is_not_known_or_long_is_left_out(path: Path, value: str | None) -> None:
    append(path, 1, 1, name=value)
    assert "name" not in stats(path)["minValues"]
    assert "name" not in stats(path)["maxValues"]


def test_an_instant_beyond_what_a_log_can_say_has_no_bound(path: Path) -> None:
    far = pa.array([253_402_300_800_000_000], pa.timestamp("us", tz="UTC"))  # the year 10000
    found = rows(1)
    found = found.set_column(found.schema.get_field_index("at"), SCHEMA.field("at"), far)
    append(path, 1, found=found)
    assert "at" not in stats(path)["maxValues"]


def test_the_log_gets_its_checkpoints(path: Path) -> None:
    for seq in range(1, 12):
        append(path, seq, seq)
    assert len(list((path / "_delta_log").glob("*.checkpoint.parquet"))) == 2
    assert ids(path) == list(range(1, 12))


def test_what_a_native_commit_says_is_what_completing_its_batch_needs(path: Path) -> None:
    from tests.unit.test_lake_plans import a_batch

    made = replace(a_batch(), app_id="a", seq=1)
    table = native.fitting(path, SCHEMA.names)
    assert table is not None
    said = made.metadata()
    assert native.commit(table, [native.save(rows(1, 2), path)], app_id="a", seq=1, metadata=said)
    commit = commits.newest(path, "a")
    assert commit is not None
    assert batch.again(commit, made.flow, made.driver) == made
    batch.check_deleted(made, Seen(read=2, bad=0), commit)


def test_i7_rows_of_a_commit_whose_answer_was_lost_stay_although_the_table_changed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unanswered(monkeypatch)
    answers = Log._put

    def add_behind(log: Log, version: int, text: str) -> bool:
        answered = answers(log, version, text)
        more = deltalake.Field("more", deltalake.schema.PrimitiveType("string"))
        deltalake.DeltaTable(str(path)).alter.add_columns([more])
        return answered

    monkeypatch.setattr(Log, "_put", add_behind)
    assert not append(path, 1, 1)
    assert ids(path) == [1]
