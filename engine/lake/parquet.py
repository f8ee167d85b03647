"""Rows in Arrow's form as Parquet files in a table's folder: nobody's, and VACUUM's, until their commit.

Spark's own writer takes each value through Java's Parquet and once more through Delta's statistics: four
tenths of what a record costs on its way. Here a worker in Python stands behind each task, gets its rows in
Arrow's form and writes a file of them; the file's footer says what Delta wants to know.

Rule: a worker imports this and nothing else of ours; it knows neither Spark nor Delta.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

FILE: Final = "file"
"""The one column of what a worker answers: the names of the files that it has written."""
_GROUP_BYTES: Final = 32 * 1024 * 1024  # what a worker holds before it writes: a group of rows


def save(rows: pa.Table, folder: Path) -> str:
    """Write rows that are in memory as one file; its name."""
    path = folder / _name()
    with _writer(path, rows.schema) as writer:
        writer.write_table(rows)
    return path.name


def spread(batches: Iterator[pa.RecordBatch], folder: str) -> Iterator[pa.RecordBatch]:
    """Write a task's rows as they come, as one file; gives its name, or nothing where there are no rows."""
    path, held, size = Path(folder, _name()), [], 0
    with ExitStack() as stack:
        writer: Any = None
        for batch in batches:
            if not batch.num_rows:
                continue
            writer = writer or stack.enter_context(_writer(path, batch.schema))
            held.append(batch)
            size += batch.nbytes
            if size >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(held))
                held, size = [], 0
        if writer is None:
            return
        if held:
            writer.write_table(pa.Table.from_batches(held))
    yield pa.RecordBatch.from_pydict({FILE: [path.name]})


def _name() -> str:
    return f"part-{uuid.uuid4()}.parquet"


def _writer(path: Path, schema: pa.Schema) -> Any:
    # without the schema that Arrow would keep beside: the footer alone says what the file holds
    return pq.ParquetWriter(path, schema, compression="snappy", store_schema=False)
