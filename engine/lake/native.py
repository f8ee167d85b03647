"""A second way to append: Spark makes the rows of a batch, and the native library commits their files.

Spark's own append costs several times what a small batch's rows do, and its writer more than all else in a
large one. Here its job hands the rows over in Arrow's form, typed and checked; they are written as Parquet
files into the table's folder (``parquet``) and committed in a few milliseconds. The native writer knows
neither schemas nor constraints: so the table must ask for nothing but what is listed here, and each file's
own footer says which columns it has and how many rows.

The small files that this makes are rewritten here too: Spark takes seconds for that, while every other flow
waits.

Rule: whatever is not known to fit is Spark's to do. The rows in memory are bounded by their number and by
the size of each record. The seq is compared on the very handle that commits: whoever commits the same
application id after that comparison makes this commit fail.  # I2
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import deltalake
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import RemoveAction

from engine.errors import LakeUnreachable
from engine.lake import halt, parquet
from engine.lake.book import described, reached
from engine.lake.commits import SMALL_BYTES
from engine.lake.halt import Kind
from engine.lake.handle import Handle

ROWS_MAX: Final = 4_000
RECORD_BYTES_MAX: Final = 16 * 1024
LARGE_BYTES: Final = 128 * 1024 * 1024  # files as large are left as they are
_LEAST: Final = 2
_LEFT_MAX: Final = 100
_TRIES: Final = 5
_READER: Final = (1, 3)
_WRITER: Final = (2, 7)  # with names for what they know, or from before there were names
_FEATURES: Final = frozenset({"appendOnly", "invariants", "timestampNtz"})
_PROPERTIES: Final = frozenset(
    {
        "delta.appendOnly",
        "delta.checkpointInterval",
        "delta.deletedFileRetentionDuration",
        "delta.logRetentionDuration",
    }
)


def bounded(size: str) -> str:
    """The column ``value`` of records no larger than this room takes; ``size`` is theirs in bytes, as SQL."""
    return f"CASE WHEN {size} > {RECORD_BYTES_MAX} THEN {halt.sql(Kind.LARGE, size)} ELSE value END"


def fitting(path: Path, names: Sequence[str], handle: Handle | None = None) -> deltalake.DeltaTable | None:
    """The table as it is now, where it has these columns and may be written without Spark."""
    with reached(path):
        if not deltalake.DeltaTable.is_deltatable(str(path)):
            return None
        table = (handle or Handle(path)).table()
        same = [field.name for field in table.schema().fields] == [*names]
        return table if same and plain(table) else None


def plain(table: deltalake.DeltaTable) -> bool:
    """Whether a table asks nothing of its writers that is not listed here.

    A property or a feature that is not known may ask for anything; a field's metadata too (a generated
    column, an identity, a default, an invariant), and a field that must have a value.
    """
    protocol, metadata = table.protocol(), table.metadata()
    features = {*(protocol.reader_features or ()), *(protocol.writer_features or ())}
    asked = {name for name in metadata.configuration if name.startswith("delta.")}
    return (
        protocol.min_reader_version in _READER
        and protocol.min_writer_version in _WRITER
        and features <= _FEATURES
        and asked <= _PROPERTIES
        and not metadata.partition_columns
        and all(field.nullable and not field.metadata for field in table.schema().fields)
    )


def save(rows: pa.Table, path: Path) -> str:
    """Write rows that are in memory as one file into the table's folder; its name."""
    with reached(path):
        return parquet.save(rows, path)


def commit(
    table: deltalake.DeltaTable,
    path: Path,
    names: Sequence[str],
    *,
    app_id: str,
    seq: int,
    metadata: str,
    ready: Callable[[], None] = lambda: None,
    gaps: bool = False,
) -> bool:
    """Commit files of the table's folder; False when they do not fit the table, and nothing has happened.

    When the table has this seq already nothing is committed either: the read-back tells whose it is.
    ``ready`` is called when the files are known to fit: nobody's, and VACUUM's, until their commit.
    ``gaps``: the seqs of an application grow in this table, and not each of them comes to it.
    """
    with reached(path):
        files = _Files(path, names)
        for tried in range(_TRIES):
            if not plain(table) or not files.fit(table):
                if not tried:
                    files.drop()
                return False
            last = table.transaction_version(app_id) or 0
            if last >= seq or (last < seq - 1 and not gaps):
                return True
            ready()
            if _committed(table, files, metadata, deltalake.Transaction(app_id, seq)):
                return True
            table = deltalake.DeltaTable(str(path))
    hint = "see by DESCRIBE HISTORY who else writes this table"
    raise LakeUnreachable(f"commits of others came before seq {seq}", where=str(path), hint=hint)


def compact(path: Path, names: Sequence[str]) -> bool:
    """Rewrite the small files of a table as one; False where that is Spark's to do.

    The commit takes the very next version or none: the library would let two rewritings of the same files
    through, and their rows would stand twice. Whatever was committed in between, it is done another time. I2
    """
    with reached(path):
        table = fitting(path, names)
        chosen = [] if table is None else _chosen(table)
        if table is None or not chosen:
            return False
        schema = pa.schema(table.schema().to_arrow())
        small = [str(path / unquote(each["path"])) for each in chosen]
        rows = ds.dataset(small, schema=schema, format="parquet").to_table()
        files = _Files(path, [parquet.save(rows, path)], change=False)
        if files.rows != sum(each["num_records"] for each in chosen) or not files.fit(table):
            files.drop()
            return False
        now_ms = files.add[0].modification_time
        gone = [
            RemoveAction(each["path"], data_change=False, deletion_timestamp=now_ms, size=each["size_bytes"],
                         partition_values={})
            for each in chosen
        ]  # fmt: skip
        once = deltalake.CommitProperties(max_commit_retries=0)
        with contextlib.suppress(CommitFailedError):
            table.create_write_transaction(
                [*files.add, *gone], "append", table.schema(), commit_properties=once
            )
    return True


def _chosen(table: deltalake.DeltaTable) -> list[dict[str, Any]]:
    """The smallest files, as many as are held in memory; none where many are left that would be too much."""
    found = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    found = sorted(
        (each for each in found if each["size_bytes"] < LARGE_BYTES), key=lambda e: e["size_bytes"]
    )
    total, chosen = 0, []
    for each in found:
        total += each["size_bytes"]
        if total > SMALL_BYTES or not each["num_records"]:
            break
        chosen.append(each)
    few = len(chosen) < _LEAST or len(found) - len(chosen) >= _LEFT_MAX
    return [] if few else chosen


def remove(path: Path) -> None:
    """Remove the files that no version within the table's own retention needs."""
    with reached(path):
        deltalake.DeltaTable(str(path)).vacuum(dry_run=False, full=True)


def _committed(table: deltalake.DeltaTable, files: _Files, metadata: str, seq: deltalake.Transaction) -> bool:
    """Whether the commit is there; False when another's was in its way: all is compared again then."""
    counts = {
        "numFiles": len(files.add),
        "numOutputRows": files.rows,
        "numOutputBytes": sum(add.size for add in files.add),
    }
    said = {
        "userMetadata": metadata,
        "isBlindAppend": True,
        "operationMetrics": {name: str(count) for name, count in counts.items()},  # as Spark's own says it
    }
    properties = deltalake.CommitProperties(said, app_transactions=[seq])
    try:
        table.create_write_transaction([*files.add], "append", table.schema(), commit_properties=properties)
    except CommitFailedError:
        return False
    return True


def columns(schema: deltalake.Schema) -> Any:
    """Names and types, in order; whether a value may be missing is not compared: the table has said yes."""
    return _bare(json.loads(schema.to_json())["fields"])


def _bare(said: Any) -> Any:
    if isinstance(said, Mapping):
        return {k: _bare(v) for k, v in said.items() if k not in ("nullable", "containsNull", "metadata")}
    return [_bare(each) for each in said] if isinstance(said, list) else said


class _Files:
    """The files of a batch, and what their footers say; one without rows has nothing to add."""

    def __init__(self, table: Path, names: Sequence[str], *, change: bool = True) -> None:
        self.rows, self.add = 0, []
        self._table, self._columns = table, []
        for name in names:
            footer, add = described(table, name)
            self._columns.append(columns(deltalake.Schema.from_arrow(footer.schema.to_arrow_schema())))
            if footer.num_rows:
                self.rows += footer.num_rows
                self.add.append(replace(add, data_change=change))
            else:
                (table / name).unlink()

    def fit(self, table: deltalake.DeltaTable) -> bool:
        """Whether each has the columns of the table."""
        asked = columns(table.schema())
        return all(each == asked for each in self._columns)

    def drop(self) -> None:
        """No commit will name them. Once one was tried they stay: maybe only its answer has failed (I7)."""
        for add in self.add:
            (self._table / add.path).unlink(missing_ok=True)
