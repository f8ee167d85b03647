"""A second way to append: Spark makes the rows of a small batch, the native library commits their file.

Spark's own append costs several times what a small batch's rows do. Here its job hands the rows over in
Arrow's form, typed and checked; they are written as one Parquet file into the table's folder and committed in
a few milliseconds. The native writer knows neither schemas nor constraints: so the table must ask for nothing
but what is listed here, and the file's own footer says which columns it has and how many rows.

Rule: whatever is not known to fit is Spark's to append. The rows in memory are bounded by their number and by
the size of each record. The seq is compared on the very handle that commits: whoever commits the same
application id after that comparison makes this commit fail.  # I2
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import deltalake
import pyarrow as pa
from deltalake.exceptions import CommitFailedError

from engine.errors import LakeUnreachable
from engine.lake.book import reached, write_file

ROWS_MAX: Final = 4_000
RECORD_BYTES_MAX: Final = 16 * 1024
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


def fitting(path: Path, names: Sequence[str]) -> deltalake.DeltaTable | None:
    """The table as it is now, where it has these columns and may be written without Spark."""
    with reached(path):
        if not deltalake.DeltaTable.is_deltatable(str(path)):
            return None
        table = deltalake.DeltaTable(str(path))
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


def append(
    table: deltalake.DeltaTable,
    path: Path,
    rows: pa.Table,
    *,
    app_id: str,
    seq: int,
    metadata: str,
    ready: Callable[[], None],
) -> bool:
    """Write the rows and commit them; False when they do not fit the table, and nothing has happened.

    When the table has this seq already nothing is committed either: the read-back tells whose it is.
    ``ready`` is called when the file lies in the table's folder: nobody's, and VACUUM's, until its commit.
    """
    with reached(path):
        file = _File(path, rows)
        for _ in range(_TRIES):
            if not plain(table) or file.columns != columns(table.schema()):
                file.drop()
                return False
            if (table.transaction_version(app_id) or 0) != seq - 1:
                return True
            ready()
            if _committed(table, file, metadata, deltalake.Transaction(app_id, seq)):
                return True
            table = deltalake.DeltaTable(str(path))
    hint = "see by DESCRIBE HISTORY who else writes this table"
    raise LakeUnreachable(f"commits of others came before seq {seq}", where=str(path), hint=hint)


def _committed(table: deltalake.DeltaTable, file: _File, metadata: str, seq: deltalake.Transaction) -> bool:
    """Whether the commit is there; False when another's was in its way: all is compared again then."""
    counts = {
        "numFiles": len(file.add),
        "numOutputRows": file.rows,
        "numOutputBytes": sum(add.size for add in file.add),
    }
    said = {
        "userMetadata": metadata,
        "isBlindAppend": True,
        "operationMetrics": {name: str(count) for name, count in counts.items()},  # as Spark's own says it
    }
    properties = deltalake.CommitProperties(said, app_transactions=[seq])
    try:
        table.create_write_transaction([*file.add], "append", table.schema(), commit_properties=properties)
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


class _File:
    """The file of a batch, and what its footer says; a batch without rows has none to add."""

    def __init__(self, table: Path, rows: pa.Table) -> None:
        footer, add = write_file(table, rows)
        self.rows: int = footer.num_rows
        self.columns = columns(deltalake.Schema.from_arrow(footer.schema.to_arrow_schema()))
        self._path = table / add.path
        self.add = [add] if self.rows else []
        if not self.rows:
            self.drop()

    def drop(self) -> None:
        """No commit will name it."""
        self._path.unlink(missing_ok=True)
