"""Which positions stand in a flow's table: asked where the heights of the partitions do not say it.

When a topic was made again, or a batch could not be counted, nobody knows through which partition the rows
of the table came. Up to the highest position that the table holds (``doubt``) a row is then looked up before
it lands, until each partition stands above it: nothing of the new topic is lost, nothing lands twice.  # I2

Rule: reads, at the version that the batch meets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from engine.lake import book, halt
from engine.lake.batch import Position
from engine.plan import FlowPlan


def top(session: SparkSession, root: Path, flow: FlowPlan) -> Position | None:
    """The highest position that a flow's table, or what it remembers of deletes, holds."""
    paths = [book.table_path(root, flow.sink.table), book.tombstones_path(root, flow.sink.table)]
    found = [_top(session, path) for path in paths if book.exists(path)]
    return max((position for position in found if position is not None), default=None)


def _top(session: SparkSession, path: Path) -> Position | None:
    def work() -> Any:
        frame = session.read.format("delta").load(str(path))
        return frame.selectExpr("max(_position) AS top").collect()[0].top

    at = halt.sure(work, where=str(path))
    return None if at is None else (at["era"], at["major"], at["minor"])


def positions(session: SparkSession, path: Path, version: int, below: str) -> DataFrame:
    """The positions of a table's rows as ``_held``, as far as the condition ``below`` goes."""
    reader = session.read.format("delta").option("versionAsOf", str(version))
    return reader.load(str(path)).where(below).selectExpr("_position AS _held").distinct()
