"""A second way to append: Spark makes the rows of a batch, and the native library commits their files.

Spark's own append costs several times what a small batch's rows do, and its writer more than all else in a
large one. Here its job hands the rows over in Arrow's form, typed and checked; they are written as Parquet
files into the table's folder (``parquet``) and committed in a few milliseconds. The native writer knows
neither schemas nor constraints: so the table must ask for nothing but what is listed here, and each file's
own footer says which columns it has and how many rows.

The small files that this makes are rewritten here too: Spark takes seconds for that, while every other flow
waits.

Rule: whatever is not known to fit is Spark's to do. The rows in memory are bounded by their number and by
the size of each record. The seq is compared with all that is committed before ours: whoever commits in
between has the number that our commit wants, and all is compared again.  # I2
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import deltalake
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import RemoveAction

from engine.errors import LakeUnreachable
from engine.lake import halt, parquet
from engine.lake.book import described, reached
from engine.lake.commits import SMALL_BYTES
from engine.lake.halt import Kind
from engine.lake.log import Known, Log, columns

ROWS_MAX: Final = 4_000
RECORD_BYTES_MAX: Final = 16 * 1024
LARGE_BYTES: Final = 128 * 1024 * 1024  # files as large are left as they are
_LEAST: Final = 2
_LEFT_MAX: Final = 100
_TRIES: Final = 5


def bounded(size: str) -> str:
    """The column ``value`` of records no larger than this room takes; ``size`` is theirs in bytes, as SQL."""
    return f"CASE WHEN {size} > {RECORD_BYTES_MAX} THEN {halt.sql(Kind.LARGE, size)} ELSE value END"


def fitting(path: Path, names: Sequence[str], log: Log | None = None) -> Log | None:
    """The log of the table as it is now, where it has these columns and may be written without Spark.

    A property or a feature that is not known may ask for anything; a field's metadata too (a generated
    column, an identity, a default, an invariant), and a field that must have a value.
    """
    log = log or Log(path)
    return log if _known(log, names) else None


def _known(log: Log, names: Sequence[str]) -> Known | None:
    with reached(log.path):
        try:
            known = log.now()
        except TableNotFoundError:
            return None
        return known if known.plain and known.names == [*names] else None


def create(path: Path, columns: pa.Schema, properties: Mapping[str, str]) -> None:
    """Make a table where there is none; somebody else may make it at the same moment."""
    with reached(path):
        path.mkdir(parents=True, exist_ok=True)
        try:
            deltalake.DeltaTable.create(str(path), columns, mode="ignore", configuration={**properties})
        except DeltaError:
            if not deltalake.DeltaTable.is_deltatable(str(path)):
                raise


def save(rows: pa.Table, path: Path) -> str:
    """Write rows that are in memory as one file into the table's folder; its name."""
    with reached(path):
        return parquet.save(rows, path)


def commit(
    log: Log,
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
    with reached(log.path):
        files = _Files(log.path, names)
        for tried in range(_TRIES):
            known = log.now(app_id)
            if not known.plain or not files.fit(known.columns):
                if not tried:
                    files.drop()
                return False
            last = known.seq(app_id)
            if last >= seq or (last < seq - 1 and not gaps):
                return True
            ready()
            if log.commit(files.said(metadata), files.add, {app_id: seq}):
                return True
    hint = "see by DESCRIBE HISTORY who else writes this table"
    raise LakeUnreachable(f"commits of others came before seq {seq}", where=str(log.path), hint=hint)


def compact(path: Path, names: Sequence[str]) -> bool:
    """Rewrite the small files of a table as one; False where that is Spark's to do.

    The commit takes the very next version or none: the library would let two rewritings of the same files
    through, and their rows would stand twice. Whatever was committed in between, it is done another time. I2
    """
    with reached(path):
        log = Log(path)
        known = _known(log, names)  # once: its files are those of the version before ours
        chosen = [] if known is None else _chosen(known.opened)
        if known is None or not chosen:
            return False
        table = known.opened
        schema = pa.schema(table.schema().to_arrow())
        small = [str(path / unquote(each["path"])) for each in chosen]
        rows = ds.dataset(small, schema=schema, format="parquet").to_table()
        files = _Files(path, [parquet.save(rows, path)], change=False)
        if files.rows != sum(each["num_records"] for each in chosen) or not files.fit(known.columns):
            files.drop()
            return False
        now_ms = files.add[0].modification_time
        gone = [
            RemoveAction(each["path"], data_change=False, deletion_timestamp=now_ms, size=each["size_bytes"],
                         partition_values={})
            for each in chosen
        ]  # fmt: skip
        log.commit({"operation": "OPTIMIZE", "isBlindAppend": False}, files.add, {}, gone)
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

    def fit(self, asked: Any) -> bool:
        """Whether each has these columns."""
        return all(each == asked for each in self._columns)

    def said(self, metadata: str) -> dict[str, Any]:
        """What the commit says: counts by the footers, under Spark's names, and the batch's words."""
        counts = {
            "numFiles": len(self.add),
            "numOutputRows": self.rows,
            "numOutputBytes": sum(add.size for add in self.add),
        }
        metrics = {name: str(count) for name, count in counts.items()}
        return {"userMetadata": metadata, "operationMetrics": metrics}

    def drop(self) -> None:
        """No commit will name them. Once one was tried they stay: maybe only its answer has failed (I7)."""
        for add in self.add:
            (self._table / add.path).unlink(missing_ok=True)
