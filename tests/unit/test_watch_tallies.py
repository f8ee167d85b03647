"""What is in quarantine is counted by reason and time, beside what was read, and no value is read for it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from engine.cli import start
from engine.cli.main import main
from engine.watch import quarantine
from tests.unit.test_watch_lake import ENTRY, book

NOON_US = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp() * 1_000_000)
HOUR_US = 3_600_000_000
MIDNIGHT_US = NOON_US + 12 * HOUR_US


def batch(root: Path, seq: int, at_us: int, read: int | None = 8) -> None:
    book(root, replace(ENTRY, seq=seq, landed_at_us=at_us, read=read))


def reject(root: Path, seq: int, at_us: int, offset: int, reason: str = "unfit:weight_kg") -> None:
    """A quarantine without its columns of bytes: who reads them finds none."""
    row: dict[str, Any] = {
        "flow": ENTRY.flow, "app_id": ENTRY.app_id, "seq": seq, "topic": ENTRY.topic, "partition": 1,
        "offset": offset, "stage": "type", "reason": reason,
        "quarantined_at": datetime.fromtimestamp(at_us / 1e6, UTC),
    }  # fmt: skip
    text, number = pa.string(), pa.int64()
    schema = pa.schema([
        ("flow", text), ("app_id", text), ("seq", number), ("topic", text), ("partition", pa.int32()),
        ("offset", number), ("stage", text), ("reason", text),
        ("quarantined_at", pa.timestamp("us", tz="UTC")),
    ])  # fmt: skip
    write_deltalake(str(quarantine.folder(str(root))), pa.Table.from_pylist([row], schema), mode="append")


def test_a_reason_is_counted_by_day_beside_what_was_read_that_day(tmp_path: Path) -> None:
    batch(tmp_path, 1, NOON_US)
    batch(tmp_path, 2, NOON_US + HOUR_US)
    batch(tmp_path, 3, NOON_US + 24 * HOUR_US, read=100)
    reject(tmp_path, 1, NOON_US, 4)
    reject(tmp_path, 2, NOON_US + HOUR_US, 9)
    reject(tmp_path, 2, NOON_US + HOUR_US, 7)
    reject(tmp_path, 3, NOON_US + 24 * HOUR_US, 11, "not-ours")
    newest, first = quarantine.tallies(str(tmp_path))
    assert (newest.reason, newest.records, newest.read, newest.share) == ("not-ours", 1, 100, 0.01)
    assert (first.records, first.read, first.share) == (3, 16, 3 / 16)
    assert first.since == datetime(2026, 11, 21, tzinfo=UTC)
    assert (first.first.hour, first.last.hour) == (12, 13)
    assert (first.topic, first.partition, first.offset) == (ENTRY.topic, 1, 9)
    hours = quarantine.tallies(str(tmp_path), ENTRY.flow, span="hour")
    assert [(t.since.hour, t.records, t.read) for t in hours] == [(12, 1, 100), (13, 2, 8), (12, 1, 8)]
    assert quarantine.tallies(str(tmp_path), "another") == []


def test_a_record_counts_in_the_hour_of_its_batch_so_that_no_share_is_above_all(tmp_path: Path) -> None:
    batch(tmp_path, 1, MIDNIGHT_US + 1, read=1)
    reject(tmp_path, 1, MIDNIGHT_US - 1, 4)  # written before the ledger's entry
    (found,) = quarantine.tallies(str(tmp_path))
    assert (found.since, found.share) == (datetime(2026, 11, 22, tzinfo=UTC), 1.0)


def test_a_share_of_what_nobody_counted_is_unknown_and_not_zero(tmp_path: Path) -> None:
    batch(tmp_path, 1, NOON_US)
    batch(tmp_path, 2, NOON_US, read=None)  # booked again from the table's own commits
    reject(tmp_path, 1, NOON_US, 4)
    reject(tmp_path, 3, NOON_US + 24 * HOUR_US, 5)  # its batch is not booked yet
    assert [(t.records, t.read, t.share) for t in quarantine.tallies(str(tmp_path))] == [
        (1, None, None), (1, None, None),
    ]  # fmt: skip


def test_a_batch_that_was_booked_again_is_read_once(tmp_path: Path) -> None:
    batch(tmp_path, 1, NOON_US)
    batch(tmp_path, 1, NOON_US + HOUR_US)
    reject(tmp_path, 1, NOON_US, 4)
    (found,) = quarantine.tallies(str(tmp_path))
    assert (found.records, found.read) == (1, 8)


def test_a_lake_without_a_quarantine_has_no_statistics(tmp_path: Path) -> None:
    assert quarantine.tallies(str(tmp_path)) == []


def test_the_verb_shows_them_and_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mine"
    start.write_project(folder)
    root = folder / ".ecluse" / "lake"
    words = ["-p", str(folder), "quarantine", "stats"]
    assert main(words, environment={}) == 0
    assert "nothing is in quarantine" in capsys.readouterr().err
    batch(root, 1, NOON_US)
    reject(root, 1, NOON_US, 4)
    assert main([*words, "shop.parcels", "--by", "hour"], environment={}) == 0
    assert capsys.readouterr().out.splitlines() == [
        "shop.parcels, topic shop.public.parcels",
        "hour (UTC)        reason           records  of read  seen         newest at",
        "2026-11-21 12:00  unfit:weight_kg  1        12.50%   12:00–12:00  1: 4",
    ]
    assert main([*words, "--json"], environment={}) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["share"], told["newest"]["offset"]) == (0.125, 4)
    assert main([*words, "shop.parcel"], environment={}) == 2
    assert "shop.parcels" in capsys.readouterr().err
