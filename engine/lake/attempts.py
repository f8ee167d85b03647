"""Parts of a snapshot that were read again: in an append table the newer attempt replaces the older one.

A part that was not durable when its capture died comes again under another writer, and its rows stand at
another position. Whatever the older attempt brought is taken out of the table before the newer one lands;
both steps may be done again. In scd1 there is nothing to do: of two rows of a key the higher position stays.

Rule: asked only in a batch in which another writer appears, because a writer reads no part twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from engine.lake import book, halt, query, table
from engine.lake.decode import quote

Attempts = Mapping[tuple[int, str], int]
"""(run, part) → the newest attempt."""

_GROUPS = ("_attempt.run AS run", "_attempt.range AS part")


def newest(decoded: DataFrame, session: SparkSession, path: Path, version: int) -> dict[tuple[int, str], int]:
    """The newest attempt of each part that a batch brings, whether the batch has it or the table."""
    read = query.settled(decoded).where("_reason IS NULL AND op IN ('r', 'f')")
    mine = read.selectExpr("attempt AS _attempt")
    found = _newest(mine)
    if not found or version < 0 or not book.exists(path):
        return found
    for part, attempt in _newest(_held(session, path, version, found)).items():
        found[part] = max(attempt, found[part])
    return found


def _newest(rows: DataFrame) -> dict[tuple[int, str], int]:
    top = (
        rows.selectExpr(*_GROUPS, "_attempt.attempt AS attempt")
        .groupBy("run", "part")
        .agg({"attempt": "max"})
    )
    return {(row.run, row.part): row["max(attempt)"] for row in top.collect()}


def _held(session: SparkSession, path: Path, version: int, parts: Attempts) -> DataFrame:
    frame = session.read.format("delta").option("versionAsOf", str(version)).load(str(path))
    return frame.where(f"_op IN ('r', 'f') AND {_among(parts)}")


def _among(parts: Attempts) -> str:
    each = (f"_attempt.run = {run}L AND _attempt.range = {quote(part)}" for run, part in parts)
    return f"({' OR '.join(f'({one})' for one in each)})"


def replace(session: SparkSession, path: Path, version: int, parts: Attempts) -> None:
    """Take out of the table what older attempts of these parts have brought."""
    if not parts or version < 0 or not book.exists(path):
        return
    older = f"_op IN ('r', 'f') AND {outdated('_attempt', parts)}"
    held = _held(session, path, version, parts).where(older)
    if halt.sure(lambda: held.limit(1).count(), where=str(path)):
        halt.sure(
            lambda: session.sql(f"DELETE FROM {table.sql_name(path)} WHERE {older}"),  # noqa: S608 - quoted
            where=str(path),
        )


def outdated(attempt: str, parts: Attempts) -> str:
    """Whether a newer attempt of a row's part is known, as SQL.

    >>> outdated("a", {(0, "7"): 3})
    "CASE WHEN a.run = 0L AND a.range = '7' THEN a.attempt < 3L ELSE false END"
    """
    cases = (
        f"WHEN {attempt}.run = {run}L AND {attempt}.range = {quote(part)} THEN {attempt}.attempt < {top}L"
        for (run, part), top in sorted(parts.items())
    )
    return f"CASE {' '.join(cases)} ELSE false END" if parts else "false"
