"""The native append: what it commits, what it leaves to Spark, and who it lets commit beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pytest

from engine.errors import LakeUnreachable
from engine.lake import batch, book, commits, native
from engine.lake.batch import Seen

POSITION = pa.struct([("era", pa.int64()), ("major", pa.int64())])
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("small", pa.int16()),
        ("name", pa.string()),
        ("weight", pa.decimal128(10, 3)),
        ("at", pa.timestamp("us", tz="UTC")),
        ("local", pa.timestamp("us")),
        ("day", pa.date32()),
        ("ratio", pa.float64()),
        ("_position", POSITION),
        ("tags", pa.list_(pa.string())),
    ]
)
AT = datetime(2026, 11, 22, 15, 30, 0, 123_456, tzinfo=UTC)


def rows(*ids: int, schema: pa.Schema = SCHEMA, **more: Any) -> pa.Table:
    row = {
        "small": 3, "name": "n", "weight": Decimal("1.500"), "at": AT, "local": AT.replace(tzinfo=None),
        "day": date(2026, 11, 22), "ratio": 0.5, "tags": ["a"],
    }  # fmt: skip
    found = [{**row, "id": n, "_position": {"era": 0, "major": n}, **more} for n in ids]
    return pa.Table.from_pylist([{k: v for k, v in r.items() if k in schema.names} for r in found], schema)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "table"
    deltalake.DeltaTable.create(str(made), SCHEMA, configuration={"delta.checkpointInterval": "5"})
    return made


def nothing() -> None:
    pass


def append(
    path: Path, seq: int, *ids: int, ready: Callable[[], None] = nothing, driver: str = "d", **more: Any
) -> bool:
    table = native.fitting(path, SCHEMA.names)
    assert table is not None
    said = json.dumps({"ecluse": 1, "writer": driver})
    found = more.pop("found", None) or rows(*ids, **more)
    return native.append(table, path, found, app_id="a", seq=seq, metadata=said, ready=ready)


def ids(path: Path) -> list[int]:
    return sorted(deltalake.DeltaTable(str(path)).to_pyarrow_table().column("id").to_pylist())


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
    assert native.append(table, path, rows(1, 2), app_id="a", seq=1, metadata=said, ready=nothing)
    commit = commits.newest(path, "a")
    assert commit is not None
    assert batch.again(commit, made.flow, made.driver) == made
    batch.check_deleted(made, Seen(read=2, bad=0), commit)


# --- many small files become one


def files(path: Path) -> int:
    return len(deltalake.DeltaTable(str(path)).file_uris())


def filled(path: Path, batches: int = 4) -> Path:
    for seq in range(1, batches + 1):
        append(path, seq, 2 * seq, 2 * seq + 1)
    return path


def test_small_files_become_one_with_the_same_rows_and_the_seq_goes_on(path: Path) -> None:
    before = rows_of(filled(path))
    assert native.compact(path, SCHEMA.names)
    assert files(path) == 1
    assert rows_of(path) == before
    actions = commits.read(path, commits.head(path)) or []
    kinds = [a[kind]["dataChange"] for a in actions for kind in ("add", "remove") if kind in a]
    assert kinds == [False] * 5  # no reader of changes takes them for new
    assert append(path, 5, 99)
    assert ids(path) == [*range(2, 10), 99]


def rows_of(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = deltalake.DeltaTable(str(path)).to_pyarrow_table().to_pylist()
    return sorted(found, key=lambda row: row["id"])


@pytest.mark.parametrize("between", ["compact", "append", "optimize"])
def test_i2_whatever_is_committed_in_between_no_row_stands_twice(
    path: Path, monkeypatch: pytest.MonkeyPatch, between: str
) -> None:
    filled(path)
    made = book.write_file

    def meanwhile(table: Path, found: pa.Table) -> Any:
        monkeypatch.setattr(native, "write_file", made)
        match between:
            case "compact":
                native.compact(path, SCHEMA.names)
            case "append":
                append(path, 5, 99)
            case _:
                deltalake.DeltaTable(str(path)).optimize.compact()
        return made(table, found)

    monkeypatch.setattr(native, "write_file", meanwhile)
    assert native.compact(path, SCHEMA.names)  # it is not Spark's to do: it is done another time
    assert ids(path) == [*range(2, 10), *([99] if between == "append" else [])]
    assert files(path) == (5 if between == "append" else 1)
    kept = len(list(path.glob("*.parquet")))
    assert kept == 5  # of the one that was refused nothing is left


def test_a_file_from_before_a_column_came_has_no_value_in_it(path: Path) -> None:
    filled(path)
    table = deltalake.DeltaTable(str(path))
    table.alter.add_columns([deltalake.Field("more", deltalake.schema.PrimitiveType("string"))])
    names = [*SCHEMA.names, "more"]
    assert native.compact(path, names)
    assert {row["more"] for row in rows_of(path)} == {None}


def test_rows_that_a_log_and_its_files_count_differently_are_not_rewritten(path: Path) -> None:
    filled(path, 3)
    log = path / "_delta_log" / f"{3:020d}.json"
    log.write_text(log.read_text().replace('\\"numRecords\\": 2', '\\"numRecords\\": 3'))
    assert not native.compact(path, SCHEMA.names)
    assert files(path) == 3


def test_only_as_much_as_memory_holds_is_rewritten_and_else_it_is_sparks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(path)
    size = max(file.stat().st_size for file in path.glob("*.parquet"))
    monkeypatch.setattr(native, "SMALL_BYTES", 2 * size)
    assert native.compact(path, SCHEMA.names)
    assert files(path) == 3
    monkeypatch.setattr(native, "_LEFT_MAX", 1)
    assert not native.compact(path, SCHEMA.names)
    monkeypatch.setattr(native, "SMALL_BYTES", size // 2)
    assert not native.compact(path, SCHEMA.names)
    assert ids(path) == list(range(2, 10))


def test_what_no_version_needs_goes_after_the_tables_own_time(path: Path) -> None:
    old, new = filled(path) / "part-old.parquet", path / "part-new.parquet"
    for orphan in (old, new):
        orphan.write_bytes(b"")
    os.utime(old, (0, 0))
    native.remove(path)
    assert not old.exists()
    assert new.exists()
    assert ids(path) == list(range(2, 10))
