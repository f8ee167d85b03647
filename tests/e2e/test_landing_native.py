"""Appends that the native library commits, when it does, and what is Spark's."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.errors import SparkRuntimeException

from bench import measure
from engine.errors import LakeUnreachable, LandingFenced
from engine.lake import append, book, commits, halt, native, quarantine, query, session
from engine.lake import table as lake_table
from engine.lake.table import log_hours
from engine.ledger import QUARANTINE
from engine.state import State
from tests.support.avro_records import Field
from tests.support.landing import Landing, Table
from tests.support.waits import wait_until

pytestmark = [pytest.mark.spark, pytest.mark.stack]
FIELDS = [Field("id", "long", nullable=False), Field("name", "string")]


def fill(table: Table, first: int, count: int, **more: Any) -> None:
    for n in range(first, first + count):
        table.change("c", {"id": n, "name": f"n{n}"} | more)


def ids(table: Table) -> list[int]:
    return sorted(row["id"] for row in table.rows())


def added(table: Table) -> set[str]:
    """The files that the table's log has ever added."""
    log = (commits.read(table.path, version) or [] for version in range(commits.head(table.path) + 1))
    return {action["add"]["path"] for actions in log for action in actions if "add" in action}


def test_a_small_batch_is_committed_natively_and_a_large_record_is_sparks(landing: Landing) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 3)
    landing.land()
    fill(table, 3, 1, name="x" * native.RECORD_BYTES_MAX)
    fill(table, 4, 2)
    landing.land()
    assert table.natively() == [True, False]
    assert ids(table) == list(range(6))
    assert [(e.read, e.landed) for e in table.entries()] == [(3, 3), (3, 3)]
    fill(table, 6, 1)
    landing.land()  # anew: what one batch had says nothing of the next start
    assert table.natively() == [True, False, True]


def test_many_records_are_written_beside_sparks_tasks_and_committed_natively(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "ROWS_MAX", 2)
    monkeypatch.setattr(append, "_SMALL_BATCH", 2)  # else one task is enough
    table = landing.table(fields=FIELDS, partitions=3)
    fill(table, 0, 5)
    for n in range(5, 9):
        table.change("c", {"id": n, "name": f"n{n}"}, partition=1)
    landing.land()
    assert table.natively() == [True]
    assert len(added(table)) == 2  # a file for each task that had rows
    assert ids(table) == list(range(9))
    fill(table, 9, 1)
    fill(table, 10, 1, name="x" * native.RECORD_BYTES_MAX)
    fill(table, 11, 1)
    landing.land()
    assert table.natively() == [True, False]  # a record that is too large is Spark's here too
    assert ids(table) == list(range(12))
    assert [(e.read, e.landed) for e in table.entries()] == [(9, 9), (3, 3)]


def test_i5_what_halts_a_batch_of_many_records_is_met_in_a_worker_too(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "ROWS_MAX", 0)
    table = landing.table(fields=FIELDS)
    fill(table, 0, 2)
    landing.land()
    fill(table, 2, 2)
    table.evolve([*FIELDS, Field("more", "string")])
    fill(table, 4, 1, more="m")
    landing.land()
    assert table.natively() == [True, True]
    assert {row["id"]: row["more"] for row in table.rows()} == {**dict.fromkeys(range(4)), 4: "m"}


def arrows_memory(spark: Any) -> int:
    """Bytes that Arrow holds in the JVM, outside of its heap."""
    found: int = spark._jvm.org.apache.spark.sql.util.ArrowUtils.rootAllocator().getAllocatedMemory()  # noqa: SLF001
    return found


def test_i9_a_job_that_ends_in_its_middle_leaves_nothing_in_memory_and_no_file(
    spark: Any, tmp_path: Path
) -> None:
    rows = spark.range(20_000).selectExpr("id", "if(id % 10000 = 9000, raise_error('so'), 'x') AS x")
    with pytest.raises(SparkRuntimeException, match="so"):
        lake_table.files(rows, tmp_path)
    # the other task of the job may still be on its way out
    wait_until(lambda: arrows_memory(spark) == 0, what="Arrow's memory in the JVM is let go of")
    wait_until(lambda: not [*tmp_path.iterdir()], what="the workers let go of their files")


def test_where_a_worker_cannot_write_the_flow_is_told_where_and_why(spark: Any, tmp_path: Path) -> None:
    with pytest.raises(LakeUnreachable) as caught:
        halt.sure(lambda: lake_table.files(spark.range(3), tmp_path / "gone"), where="a flow")
    assert caught.value.what.startswith("FileNotFoundError: ")
    assert str(tmp_path / "gone" / "part-") in caught.value.what


def test_a_worker_that_is_killed_is_told_of_as_such(spark: Any) -> None:
    killed = spark.range(1).selectExpr("id").rdd.mapPartitions(lambda _: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(LakeUnreachable) as caught:
        halt.sure(killed.collect, where="a flow")
    assert "was killed" in caught.value.what
    assert "memory" in caught.value.hint


def test_workers_take_nothing_from_the_folder_that_a_landing_runs_in(spark: Any) -> None:
    safe = spark.sparkContext.parallelize([1], 1).map(lambda _: sys.flags.safe_path)
    assert safe.collect() == [True]


def test_the_quarantine_is_made_as_spark_makes_it(spark: Any, tmp_path: Path) -> None:
    quarantine.create(tmp_path)
    body = ", ".join(f"`{column}` {kind}" for column, kind in QUARANTINE)
    spark.sql(f"CREATE TABLE {lake_table.sql_name(tmp_path / 'by_spark')} ({body}) USING delta")

    def made(path: Path) -> Any:
        actions = commits.read(path, 0) or []
        (protocol,) = (a["protocol"] for a in actions if "protocol" in a)
        (told,) = (a["metaData"] for a in actions if "metaData" in a)
        return protocol, told["configuration"], spark.read.format("delta").load(str(path)).schema

    assert made(book.quarantine_path(tmp_path)) == made(tmp_path / "by_spark")


def test_days_before_1582_are_read_by_who_asks_whose_calendar_they_are_in(spark: Any, tmp_path: Path) -> None:
    (file,) = lake_table.files(spark.range(1).selectExpr("DATE '1500-01-31' AS day"), tmp_path)
    asked = spark.read.option("datetimeRebaseMode", "EXCEPTION").parquet(str(tmp_path / file))
    assert asked.collect()[0].day == date(1500, 1, 31)


def test_ctrl_c_is_not_for_the_workers_that_write(spark: Any, tmp_path: Path) -> None:
    files = lake_table.files(spark.range(3).coalesce(1), tmp_path)
    assert [pq.read_metadata(tmp_path / file).num_rows for file in files] == [3]
    jvm = session.process(spark).pid
    workers = [
        pid for pid in measure.tree(jvm) if b"pyspark.daemon" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    assert len(workers) > 1  # the one that makes them, and them
    groups = {os.getpgid(pid) for pid in workers}
    assert os.getpgid(jvm) not in groups  # a terminal tells the group of what it runs


def test_few_records_go_into_quarantine_natively_and_many_or_large_ones_are_sparks(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "_FEW", 2)
    table = landing.table(fields=FIELDS)
    large = b"x" * native.RECORD_BYTES_MAX
    for records in ((b"a", b""), (b"b", b"c", b"d"), (large,), (large + b"x",), ()):
        fill(table, 0, 1)
        for each in records:
            table.send(each)
        landing.land()
    assert table.natively(book.quarantine_path(landing.lake)) == [True, False, True, False]
    assert sorted(len(row["value"]) for row in table.quarantined())[-3:] == [1, len(large), len(large) + 1]
    assert [entry.quarantined for entry in table.entries()] == [2, 3, 1, 1, 0]


def test_a_table_that_was_widened_or_given_a_rule_is_sparks(landing: Landing, spark: Any) -> None:
    table = landing.table(fields=[Field("id", "int", nullable=False), Field("name", "string")])
    fill(table, 0, 1)
    landing.land()
    table.evolve(FIELDS)
    fill(table, 1, 1, id=1 << 40)
    landing.land()
    assert table.natively() == [True, False]
    # the library's own queries refuse a widened table
    assert sorted(r.id for r in spark.read.format("delta").load(str(table.path)).collect()) == [0, 1 << 40]
    other = landing.table("other", fields=FIELDS)
    fill(other, 0, 1)
    landing.land()
    spark.sql(f"ALTER TABLE delta.`{other.path}` ADD CONSTRAINT c CHECK (id >= 0)")
    fill(other, 1, 1)
    landing.land()
    assert other.natively() == [True, False]
    assert ids(other) == [0, 1]


def test_a_column_that_the_schema_adds_goes_on_natively(landing: Landing) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 1)
    landing.land()
    table.evolve([*FIELDS, Field("more", "string")])
    fill(table, 1, 1, more="m")
    landing.land()
    assert table.natively() == [True, True]
    assert [row["more"] for row in sorted(table.rows(), key=lambda row: row["id"])] == [None, "m"]


def test_a_column_that_somebody_adds_before_the_commit_loses_and_doubles_nothing(
    landing: Landing, spark: Any
) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 1)
    landing.land()
    fill(table, 1, 2)
    added: list[str] = []

    def at(point: str) -> None:
        if point.startswith("landing.after-files") and not added:
            added.append(point)
            spark.sql(f"ALTER TABLE delta.`{table.path}` ADD COLUMNS (theirs string)")

    landing.at = at
    landing.land()
    assert added
    assert table.natively() == [True, False]
    assert ids(table) == [0, 1, 2]
    assert [(e.read, e.landed) for e in table.entries()] == [(1, 1), (2, 2)]


def test_i2_a_second_landing_that_commits_first_fences_this_one(landing: Landing) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 1)
    landing.land()
    fill(table, 1, 2)
    second = replace(landing, at=lambda _point: None)
    begun: list[str] = []

    def at(point: str) -> None:
        if point.startswith("landing.after-files") and not begun:
            begun.append(point)
            second.land()

    landing.at = at
    state = landing.land()[table.flow.name]
    assert begun
    assert (state.state, state.code) == (State.STOPPED, LandingFenced.code)
    assert ids(table) == [0, 1, 2]
    assert [(e.seq, e.read, e.landed) for e in table.entries()] == [(1, 1, 1), (2, 2, 2)]


class Killed(BaseException):
    """What takes a batch away in its middle; only a process that ends is killed for real (tests/faults)."""


@pytest.fixture
def interrupted(landing: Landing) -> Iterator[Table]:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 1)
    landing.land()
    fill(table, 1, 2)

    def at(point: str) -> None:
        if point.startswith("landing.after-files"):
            raise Killed

    landing.at = at
    landing.land()
    yield table
    landing.at = lambda _point: None


def test_a_file_without_its_commit_is_nobodys_and_vacuum_takes_it(
    interrupted: Table, landing: Landing, spark: Any
) -> None:
    table = interrupted
    orphans = {file.name for file in table.path.glob("*.parquet")} - added(table)
    assert orphans  # of one attempt, or of more where a restart was due meanwhile
    assert ids(table) == [0]
    landing.at = lambda _point: None
    landing.land()
    assert ids(table) == [0, 1, 2]
    said = "'delta.deletedFileRetentionDuration' = 'interval 0 hours'"
    spark.sql(f"ALTER TABLE delta.`{table.path}` SET TBLPROPERTIES ({said})")
    spark.sql(f"VACUUM delta.`{table.path}`").collect()
    assert not orphans & {f.name for f in table.path.glob("*.parquet")}
    assert ids(table) == [0, 1, 2]


@pytest.mark.parametrize("strange", ["plain", "with \x1e in it"])
def test_many_columns_at_once_are_the_same_columns(landing: Landing, strange: str) -> None:
    frame = landing.spark.range(3).selectExpr("id", "cast(id AS string) AS text")
    texts = ["id + 1 AS more", "'it''s, so' AS said", f"text AS `{strange}`", "struct(id, text) AS both"]
    one, other = query.select(frame, texts), frame.selectExpr(*texts)
    assert one.schema == other.schema
    assert one.collect() == other.collect()


def test_a_tables_log_is_bounded_by_commits_and_not_by_days(landing: Landing) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 1)
    landing.land()
    kept = {name: value for name, value in book.properties(table.path).items() if "RetentionDuration" in name}
    names = "delta.logRetentionDuration", "delta.deletedFileRetentionDuration"
    assert kept == dict.fromkeys(names, f"interval {log_hours(table.flow.freshness_s)} hours")
