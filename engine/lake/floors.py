"""What takes rows away that no record names: floors, and withdrawals.

A floor (``t``, ``f``) takes every row below its position. A withdrawal (``w``) takes the rows of one
transaction, that of its own era and major, and nothing below it or above it. Both are kept in the tombstones,
so that what comes late meets them. A row of a withdrawn transaction that comes late is the delete of its key:
in whatever order rows and withdrawals come, the newest position of a key decides, and where that was
withdrawn there is no row.

Rule: position alone decides. What is written here are facts of the topic, and writing them again changes
nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from engine.lake import book, commits, halt, query, table
from engine.lake.batch import Batch, Position, Withdrawn
from engine.lake.decode import CONTROL, FLOOR, WITHDRAWAL, name, quote

TAKEN: Final = "x"
"""The op that a row of a withdrawn transaction has from here on, and its tombstone."""
GONE: Final = f"'d', '{TAKEN}'"
"""The ops of folded rows that leave none in the table."""
_LEFT: Final = "left"
"""Of a tombstone: it is that of a row which the table had, and no record of the batch names."""


def taken(column: str, withdrawn: Withdrawn) -> str:
    """Whether a position is one of a withdrawn transaction, as SQL.

    >>> taken("p", frozenset({(0, 3), (0, 1)}))
    'coalesce(p.era = 0L AND p.major IN (1L, 3L), false)'
    >>> taken("p", frozenset())
    'false'
    """
    majors: dict[int, list[int]] = defaultdict(list)
    for era, major in sorted(withdrawn):
        majors[era].append(major)
    each = [
        f"{column}.era = {era}L AND {column}.major IN ({', '.join(f'{major}L' for major in found)})"
        for era, found in majors.items()
    ]
    return f"coalesce({' OR '.join(each)}, false)" if each else "false"


def marked(frame: DataFrame, withdrawn: Withdrawn) -> DataFrame:
    """Records, those of withdrawn transactions with the op ``TAKEN``."""
    if not withdrawn:
        return frame
    row = f"_reason IS NULL AND op NOT IN ({CONTROL}) AND {taken('_position', withdrawn)}"
    return frame.withColumn("op", F.expr(f"if({row}, '{TAKEN}', op)"))


def planned(decoded: DataFrame, batch: Batch) -> Batch:
    """The batch with the highest floor, known or among its records, what set it, and all withdrawals."""
    sound = query.settled(decoded).where(f"_reason IS NULL AND op IN ({CONTROL})")
    place = "named_struct('era', _position.era, 'major', _position.major)"
    row = sound.agg(
        F.expr(f"max(_position) FILTER (WHERE op IN ({FLOOR})) AS top"),
        F.expr(f"max_by(op, _position) FILTER (WHERE op IN ({FLOOR})) AS op"),
        F.expr(f"collect_set({place}) FILTER (WHERE op = {WITHDRAWAL}) AS gone"),
    ).collect()[0]
    batch = replace(batch, withdrawn=batch.withdrawn | {(each.era, each.major) for each in row.gone})
    found = _position(row.top)
    if found is None or (batch.floor is not None and batch.floor > found):
        return batch
    return replace(batch, floor=found, floor_op=row.op)


def known(spark: SparkSession, path: Path, keys: Sequence[str]) -> tuple[Position | None, Withdrawn]:
    """The highest floor that is remembered of a table, and what was withdrawn of it."""
    if not book.exists(path):
        return None, frozenset()

    def work() -> Any:
        frame = _kept(spark, path).where(f"{name(keys[0])} IS NULL" if keys else "true")
        place = "named_struct('era', _position.era, 'major', _position.major)"
        top = f"max(_position) FILTER (WHERE NOT (_op <=> {WITHDRAWAL})) AS top"
        gone = f"collect_set({place}) FILTER (WHERE _op = {WITHDRAWAL}) AS gone"
        return frame.agg(F.expr(top), F.expr(gone)).collect()[0]

    row = halt.sure(work, where=str(path))
    return _position(row.top), frozenset((each.era, each.major) for each in row.gone)


def _position(top: Any) -> Position | None:
    return None if top is None else (top["era"], top["major"], top["minor"])


def _kept(spark: SparkSession, path: Path) -> DataFrame:
    """The tombstones; those that were made before there were withdrawals say of no row what it is."""
    frame = spark.read.format("delta").load(str(path))
    return frame if "_op" in frame.columns else frame.withColumn("_op", F.expr("cast(NULL AS string)"))


def rows(frame: DataFrame, batch: Batch, keys: Sequence[str], ops: str = CONTROL) -> DataFrame:
    """Of a batch's records: floors and withdrawals, as the tombstones take them; ``keys`` say nothing."""
    sound = query.settled(frame).where(f"_reason IS NULL AND op IN ({ops})")
    return sound.selectExpr(*keys, "_position", _landed(batch), "op AS _op")


def deleted(frame: DataFrame, batch: Batch, named: Sequence[str]) -> DataFrame:
    """Of folded rows: those that are gone with this batch, as the tombstones take them."""
    return frame.where(f"op IN ({GONE})").selectExpr(*named, "_position", _landed(batch), "op AS _op")


def gone(target: DataFrame, batch: Batch, named: Sequence[str]) -> DataFrame:
    """Of the target's rows: those that a withdrawal takes; what is older and comes late must not be back."""
    found = target.where(taken("at", batch.withdrawn))
    return found.selectExpr(*named, "at AS _position", _landed(batch), f"'{_LEFT}' AS _op")


def _landed(batch: Batch) -> str:
    return f"timestamp_micros({batch.landed_at_us}L) AS _landed_at"


def add(frame: DataFrame, path: Path) -> int:
    """Append to the tombstones; how many rows that commit says it has."""
    before = commits.head(path)
    writer = frame.coalesce(1).write.format("delta").mode("append")
    writer.option("mergeSchema", "true").save(str(path))  # ``_op`` came later than the table
    return commits.rows_since(path, before)


def withdraw(
    spark: SparkSession, root: Path, batch: Batch, decoded: Callable[[], DataFrame], *, write: bool
) -> int:
    """Take out of a journal what the withdrawals among a batch's records name; how many there are.

    They are remembered first: what comes of those rows from now on is late, in whichever batch. With
    ``write`` false they are only counted.
    """
    sink = batch.flow.sink.table
    path, tombstones = book.table_path(root, sink), book.tombstones_path(root, sink)

    def work() -> int:
        if not write:
            return written(spark, tombstones, batch)
        create(spark, tombstones, batch.flow.name, ())
        found = add(rows(decoded(), batch, (), WITHDRAWAL), tombstones)
        gone = taken("_position", batch.withdrawn)
        if book.exists(path) and spark.read.format("delta").load(str(path)).where(gone).limit(1).count():
            spark.sql(f"DELETE FROM {table.sql_name(path)} WHERE {gone}")  # noqa: S608 - numbers
        return found

    return halt.sure(work, where=str(path)) if batch.floors_in_batch else 0


def written(spark: SparkSession, path: Path, batch: Batch) -> int:
    """How many records of a batch the tombstones have."""
    if not book.exists(path):
        return 0
    mine = f"_landed_at = timestamp_micros({batch.landed_at_us}L) AND NOT (_op <=> '{_LEFT}')"
    return int(_kept(spark, path).where(mine).count())


def create(spark: SparkSession, path: Path, flow: str, keys: Sequence[str]) -> None:
    """Make the tombstones where they are not; ``keys`` are columns with their types."""
    if book.exists(path):
        return
    body = ", ".join([*keys, f"_position {table.POSITION}", "_landed_at timestamp", "_op string"])
    spark.sql(
        f"CREATE TABLE IF NOT EXISTS {table.sql_name(path)} ({body}) USING delta "
        f"TBLPROPERTIES ('ecluse.flow' = {quote(flow)})"
    )
