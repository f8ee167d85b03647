"""Rows that come in runs become one file of a table's folder, in groups that a worker can hold."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.lake import parquet
from tests.support.native_tables import SCHEMA, rows


def runs(*sizes: int) -> list[bytes]:
    """Record batches of so many rows each, as they are on a wire."""
    found = []
    for n, size in enumerate(sizes):
        (batch,) = rows(*range(100 * n, 100 * n + size)).to_batches() or [
            pa.RecordBatch.from_pylist([], SCHEMA)
        ]
        found.append(batch.serialize().to_pybytes())
    return found


def spread(found: Iterable[bytes], folder: Path) -> list[str]:
    return [*parquet.spread(found, SCHEMA, str(folder))]


def test_runs_of_rows_become_one_file_with_all_of_them_in_their_order(tmp_path: Path) -> None:
    (name,) = spread(runs(3, 0, 2), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert pq.read_table(tmp_path / name).equals(rows(0, 1, 2, 200, 201))
    assert pq.read_metadata(tmp_path / name).num_row_groups == 1


@pytest.mark.parametrize("sizes", [(), (0,), (0, 0)])
def test_where_there_are_no_rows_there_is_no_file(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    assert spread(runs(*sizes), tmp_path) == []
    assert [*tmp_path.iterdir()] == []


def test_a_worker_holds_no_more_rows_than_a_group_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 2 * rows(*range(5)).nbytes)
    (name,) = spread(runs(5, 5, 5, 5, 1), tmp_path)
    footer = pq.read_metadata(tmp_path / name)
    assert [footer.row_group(n).num_rows for n in range(footer.num_row_groups)] == [10, 10, 1]


def test_rows_in_memory_are_the_same_file(tmp_path: Path) -> None:
    one, (other,) = parquet.save(rows(1, 2), tmp_path), spread(runs(0, 2), tmp_path)
    assert pq.read_schema(tmp_path / one) == pq.read_schema(tmp_path / other)
    assert one != other


def test_a_worker_loads_nothing_of_spark_or_delta() -> None:
    asked = "import sys, engine.lake.parquet; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    assert not {"pyspark", "py4j", "deltalake", "pydantic"} & {*loaded.stdout.split()}


@pytest.mark.parametrize("way", ["in memory", "by a worker"])
def test_a_file_that_did_not_become_whole_is_removed_and_named(tmp_path: Path, way: str) -> None:
    def write() -> None:
        if way == "in memory":
            parquet.save(rows(*range(1000)), tmp_path)
        else:
            spread(runs(*[100] * 10), tmp_path)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # as a disk that is full, for this process
    try:
        with pytest.raises(OSError, match=f"{tmp_path}/part-"):
            write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [*tmp_path.iterdir()] == []


def test_a_task_that_ends_in_its_middle_leaves_no_file(tmp_path: Path) -> None:
    def broken() -> Iterable[bytes]:
        yield from runs(3)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        spread(broken(), tmp_path)
    assert [*tmp_path.iterdir()] == []
