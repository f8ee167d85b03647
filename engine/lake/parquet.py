"""Rows in Arrow's form as Parquet files in a table's folder: nobody's, and VACUUM's, until their commit.

Spark's own writer takes each value through Java's Parquet and once more through Delta's statistics: four
tenths of what a record costs on its way. Here a worker in Python stands behind each task, gets its rows in
Arrow's form and writes a file of them; the file's footer says what Delta wants to know.

Rule: a worker imports this and nothing else of ours; it knows neither Spark nor Delta.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

_GROUP_BYTES: Final = 32 * 1024 * 1024  # what a worker holds before it writes: a group of rows
# where a file is silent, readers of Spark 3 ask whose calendar its days before 1582 are told in, and stop
_CALENDAR: Final = {"org.apache.spark.version": "3.0.0"}


def save(rows: pa.Table, folder: Path) -> str:
    """Write rows that are in memory as one file; its name. Raises OSError."""
    with _writer(folder, rows.schema) as (name, writer):
        writer.write_table(rows)
    return name


def spread(runs: Iterable[bytes], schema: pa.Schema, folder: str) -> Iterator[str]:
    """Write a task's rows as they come, as one file; gives its name, or nothing where there are no rows.

    ``runs`` are rows as Arrow's record batches have them on a wire, without their schema. Raises OSError.
    """
    batches = (pa.ipc.read_record_batch(pa.py_buffer(run), schema) for run in runs)
    some = (batch for batch in batches if batch.num_rows)
    first = next(some, None)
    if first is None:
        return
    with _writer(Path(folder), schema) as (name, writer):
        held, size = [first], first.nbytes
        for batch in some:
            if size >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(held))
                held, size = [], 0
            held.append(batch)
            size += batch.nbytes
        writer.write_table(pa.Table.from_batches(held))
    yield name


@contextmanager
def _writer(folder: Path, schema: pa.Schema) -> Iterator[tuple[str, Any]]:
    """The name of a new file, and what writes it; a file that did not become whole is removed."""
    path = folder / f"part-{uuid.uuid4()}.parquet"
    try:
        # without the schema that Arrow would keep beside: the footer alone says what the file holds
        with pq.ParquetWriter(path, schema, compression="snappy", store_schema=False) as writer:
            writer.add_key_value_metadata(_CALENDAR)
            yield path.name, writer
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):  # Arrow's own does not say where
            raise OSError(error.errno, f"{path}: {error}") from error
        raise
