"""Small files are rewritten into large ones as the landing goes on, and what was rewritten is removed.

A flow that lands every few seconds makes thousands of small files in a day, and every reader pays for them.
Files above the bound are left alone, so that a table is not rewritten as a whole again and again. A rewritten
file stays as long as the table's own retention says; Delta cleans the log after the same time.

Rule: in the seat of the table's writer, which one thread has at a time, and in a session of its own: a
command of a worker's session would carry that session's metadata into its commit. The quarantine has many
writers, and one who tidies it.
"""

from __future__ import annotations

import contextlib
import fcntl
from pathlib import Path
from typing import Final

from pyspark.sql import SparkSession

from engine.lake import book, commits, halt, native, table
from engine.lake.desk import Standing
from engine.lake.quarantine import WRITING

SMALL_FILES_MAX = 100
REMOVE_EVERY_S: Final = 12 * 3600.0


def due(standing: Standing) -> bool:
    """Whether a table has gathered enough small files."""
    return standing.small_files >= SMALL_FILES_MAX


def compact(session: SparkSession, root: Path, standing: Standing, *, remove: bool = False) -> None:
    """Rewrite the small files of a flow's table and of what lies beside it; ``remove`` the old ones too."""
    path = book.table_path(root, standing.flow.sink.table)
    tombstones = book.tombstones_path(root, standing.flow.sink.table)
    if not _natively(path, standing, remove=remove):
        tidy(session, path, remove=remove)
    if book.exists(tombstones) and len(book.file_sizes(tombstones)) >= SMALL_FILES_MAX:
        tidy(session, tombstones, remove=remove)
    standing.version = commits.head(path)
    standing.small_files = 0


def _natively(path: Path, standing: Standing, *, remove: bool) -> bool:
    """A table of plain appends needs no Spark for it; False where it does."""
    ours = (name for name, _ in table.engine_columns(standing.flow))
    names = (*standing.target.columns, *ours)
    if standing.flow.sink.mode != "append" or not native.compact(path, names):
        return False
    if remove:
        native.remove(path)
    return True


def quarantine(session: SparkSession, root: Path, *, remove: bool = False) -> None:
    """The same for the quarantine, by one worker of one landing: two rewritings at once conflict."""
    path = book.quarantine_path(root)
    with path.with_name("quarantine.lock").open("w") as lock, contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with WRITING:
            tidy(session, path, remove=remove)


def tidy(session: SparkSession, path: Path, *, remove: bool) -> None:
    """Rewrite the small files of one table, and remove what no version within its retention needs."""
    halt.sure(lambda: session.sql(f"OPTIMIZE {table.sql_name(path)}").collect(), where=str(path))
    if remove:
        halt.sure(lambda: session.sql(f"VACUUM {table.sql_name(path)}").collect(), where=str(path))
