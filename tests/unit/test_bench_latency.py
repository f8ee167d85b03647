"""What the latency bench makes of what it saw."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from bench import latency
from bench.latency_reader import Watched


def table(path: Path, ids: list[int]) -> None:
    write_deltalake(str(path), pa.table({"id": ids}), mode="append")


@pytest.mark.parametrize("ids", [[0, 1], [0, 1, 2, 2], [0, 1, 3], [0, 1, 2, 3]])
def test_a_row_that_is_missing_doubled_or_nobodys_fails_the_bench(tmp_path: Path, ids: list[int]) -> None:
    table(tmp_path / "good", [2, 0, 1])
    latency.whole({"good": tmp_path / "good"}, 3)
    table(tmp_path / "bad", ids)
    with pytest.raises(latency.NotArrived):
        latency.whole({"good": tmp_path / "good", "bad": tmp_path / "bad"}, 3)


def test_only_rows_behind_the_warm_up_count_from_the_servers_commit_to_the_readers_look() -> None:
    seconds = 1_000_000
    seen = {
        "t": [[n, n * seconds, (n + 2) * seconds, (n + 3) * seconds, (n + 4) * seconds] for n in range(4)]
    }
    sent = {"t": {n: (n + 1) * seconds for n in range(4)}}
    found = latency.figures(seen, sent, [n * seconds + 5000 for n in range(4)], first=1)
    assert found["measured"] == 3
    assert found["seconds"] == {"p50": 4.0, "p90": 4.0, "p99": 4.0, "max": 4.0}
    assert {name: stage["p50"] for name, stage in found["stages"].items()} == {
        "commit_to_topic": 1.0, "topic_to_batch": 1.0, "batch_to_file": 1.0, "file_to_seen": 1.0,
    }  # fmt: skip
    assert found["answered_after_s"]["max"] == 0.005


def rows(path: Path, *ids: int) -> None:
    at = pa.array([1_000] * len(ids), pa.timestamp("us", tz="UTC"))
    write_deltalake(
        str(path), pa.table({"id": pa.array(ids), "_committed_at": at, "_landed_at": at}), mode="append"
    )


def test_the_reader_sees_what_is_committed_and_keeps_the_first_time_of_a_row(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "t")
    watched.poll()
    assert watched.seen == {}
    rows(watched.path, 1, 2)
    watched.poll()
    first = dict(watched.seen)
    assert sorted(first) == [1, 2]
    rows(watched.path, 2, 3)
    watched.poll()
    assert sorted(watched.seen) == [1, 2, 3]
    assert {number: watched.seen[number] for number in first} == first
