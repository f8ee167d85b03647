"""What the landing keeps on disk is damaged: a checkpoint costs nothing, a table's log is a named state.

Rule: a log that cannot be read is never written to, and no other flow waits for it (I9).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.lake import book
from engine.state import State
from tests.support.avro_records import Field
from tests.support.landing import Landing, Table
from tests.support.waits import wait_until

pytestmark = [pytest.mark.spark, pytest.mark.stack, pytest.mark.timeout(1200)]

FIELDS = [Field("id", "long", nullable=False), Field("name", "string")]


def fill(table: Table, first: int, count: int) -> None:
    table.maker.begin()
    for n in range(first, first + count):
        table.change("c", {"id": n, "name": f"row {n}"})


def ids(table: Table) -> list[int]:
    return sorted(row["id"] for row in table.rows())


def read(table: Table) -> int:
    return sum(entry.read or 0 for entry in table.entries())


def newest(folder: Path) -> Path:
    return max((f for f in folder.iterdir() if f.name.isdigit()), key=lambda f: int(f.name))


def cut(checkpoint: Path) -> None:
    newest(checkpoint / "offsets").write_bytes(b"")


def holed(checkpoint: Path) -> None:
    newest(checkpoint / "offsets").unlink()


def strange(checkpoint: Path) -> None:
    newest(checkpoint / "offsets").write_text("v9\nnothing that anybody knows\n", encoding="utf-8")


@pytest.mark.parametrize("hurt", [cut, holed, strange])
def test_p3_a_checkpoint_that_is_damaged_costs_nothing(
    landing: Landing, hurt: Callable[[Path], None]
) -> None:
    table = landing.table(fields=FIELDS)
    checkpoint = book.checkpoint_path(landing.lake, "default", "live")
    fill(table, 0, 3)
    with landing.live():
        wait_until(lambda: read(table) == 3, "the first batch")
    fill(table, 3, 2)
    with landing.live():
        wait_until(lambda: read(table) == 5, "the second batch")
    hurt(checkpoint)
    fill(table, 5, 1)
    with landing.live():
        wait_until(lambda: read(table) == 6, "what came meanwhile")
    assert ids(table) == list(range(6))


def test_p3_an_older_copy_of_a_checkpoint_lands_nothing_twice(landing: Landing, tmp_path: Path) -> None:
    table = landing.table(fields=FIELDS)
    checkpoint = book.checkpoint_path(landing.lake, "default", "live")
    fill(table, 0, 3)
    with landing.live():
        wait_until(lambda: read(table) == 3, "the first batch")
    shutil.copytree(checkpoint, tmp_path / "older")
    fill(table, 3, 2)
    with landing.live():
        wait_until(lambda: read(table) == 5, "the second batch")
    shutil.rmtree(checkpoint)
    shutil.copytree(tmp_path / "older", checkpoint)
    fill(table, 5, 1)
    with landing.live():
        wait_until(lambda: read(table) == 6, "what came meanwhile")
    assert ids(table) == list(range(6))


def flipped(commit: Path) -> None:
    text = bytearray(commit.read_bytes())
    text[len(text) // 2] ^= 0xFF
    commit.write_bytes(bytes(text))


def gone(commit: Path) -> None:
    commit.unlink()


@pytest.mark.parametrize("hurt", [flipped, gone])
def test_p9_i9_a_tables_log_that_cannot_be_read_is_a_named_state_of_its_flow_alone(
    landing: Landing, hurt: Callable[[Path], None]
) -> None:
    table, other = landing.table(fields=FIELDS), landing.table("other", fields=FIELDS)
    for n in range(3):
        for each in (table, other):
            fill(each, n, 1)
        landing.land()
    log = table.path / "_delta_log"
    commit = sorted(log.glob("*.json"))[-2]
    whole = commit.read_bytes()
    hurt(commit)
    for crc in log.glob(".*.crc"):
        crc.unlink()
    for each in (table, other):
        fill(each, 3, 1)
    before = sorted(f.name for f in log.glob("*.json"))
    state = landing.land()[table.flow.name]
    assert state.state in (State.PARKED, State.STOPPED)
    assert state.code.partition(".")[0] in ("lake", "landing")
    assert state.code != "ecluse.bug", json.dumps(state.what)
    assert sorted(f.name for f in log.glob("*.json")) == before, "nothing is written to it"
    assert ids(other) == [0, 1, 2, 3]
    commit.write_bytes(whole)
    landing.land()
    assert ids(table) == [0, 1, 2, 3]
