"""Small files are rewritten into large ones as the landing goes on.

A flow that lands every few seconds makes thousands of small files in a day, and every reader pays for them.
Files above the bound are left alone, so that a table is not rewritten as a whole again and again.

Rule: under the same lock as the table's writer, in a session of its own: a command of a worker's session
would carry that session's metadata into its commit.
"""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from engine.lake import book, commits, halt, table
from engine.lake.desk import Standing

SMALL_FILES_MAX = 100


def due(standing: Standing) -> bool:
    """Whether a table has gathered enough small files."""
    return standing.small_files >= SMALL_FILES_MAX


def compact(session: SparkSession, root: Path, standing: Standing) -> None:
    """Rewrite the small files of a flow's table and of what lies beside it."""
    path = book.table_path(root, standing.flow.sink.table)
    optimize(session, path)
    tombstones = book.tombstones_path(root, standing.flow.sink.table)
    if book.exists(tombstones) and len(book.file_sizes(tombstones)) >= SMALL_FILES_MAX:
        optimize(session, tombstones)
    standing.version = commits.head(path)
    standing.small_files = 0


def optimize(session: SparkSession, path: Path) -> None:
    """Rewrite the small files of one table."""
    halt.sure(lambda: session.sql(f"OPTIMIZE {table.sql_name(path)}").collect(), where=str(path))
