"""Keys whose newest change waits in quarantine are counted by what the table and its tombstones have."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from engine.plan import SinkPlan
from engine.watch import quarantine, stale
from tests.unit.test_lake_plans import FLOW

AT = pa.struct([("era", pa.int64()), ("major", pa.int64()), ("minor", pa.int64())])
NOW = replace(FLOW, sink=SinkPlan("bronze.parcel", "scd1", (), "hard"))


def at(major: int) -> dict[str, int]:
    return {"era": 0, "major": major, "minor": 0}


def put(folder: Path, rows: list[dict[str, Any]], **columns: pa.DataType) -> None:
    write_deltalake(str(folder), pa.Table.from_pylist(rows, pa.schema(list(columns.items()))), mode="append")


def reject(root: Path, *waiting: tuple[str | None, int]) -> None:
    rows = [{"flow": NOW.name, "key_json": key, "position": at(major)} for key, major in waiting]
    put(quarantine.folder(str(root)), rows, flow=pa.string(), key_json=pa.string(), position=AT)


def table(root: Path) -> Path:
    return root / "bronze" / "parcel"


def test_a_key_waits_while_nothing_newer_is_known_of_it(tmp_path: Path) -> None:
    rows = [{"id": n, "_position": at(10 * n)} for n in (1, 2, 3)]
    put(table(tmp_path), rows, id=pa.int64(), _position=AT)
    assert stale.keys(str(tmp_path), NOW) == 0
    reject(tmp_path, ('{"id":1}', 11), ('{"id":1}', 9), ('{"id":2}', 19), ('{"id":7}', 5), (None, 99))
    assert stale.keys(str(tmp_path), NOW) == 2, "1 is older in the table, 7 is not there at all"
    deleted = tmp_path / "bronze" / "parcel__tombstones"
    put(deleted, [{"id": 7, "_position": at(6)}], id=pa.int64(), _position=AT)
    assert stale.keys(str(tmp_path), NOW) == 1, "7 was deleted later"
    put(deleted, [{"id": None, "_position": at(50)}], id=pa.int64(), _position=AT)
    assert stale.keys(str(tmp_path), NOW) == 0, "a floor lies above them all"


def test_what_was_withdrawn_does_not_wait_and_a_withdrawal_is_no_floor(tmp_path: Path) -> None:
    put(table(tmp_path), [{"id": 1, "_position": at(10)}], id=pa.int64(), _position=AT)
    reject(tmp_path, ('{"id":1}', 11), ('{"id":2}', 12), ('{"id":3}', 13))
    assert stale.keys(str(tmp_path), NOW) == 3
    deleted = tmp_path / "bronze" / "parcel__tombstones"
    columns = {"id": pa.int64(), "_position": AT, "_op": pa.string()}
    put(deleted, [{"id": None, "_position": at(12), "_op": "w"}], **columns)
    assert stale.keys(str(tmp_path), NOW) == 2, "2 was withdrawn; 11 lies below 12, and waits"
    put(deleted, [{"id": None, "_position": at(12), "_op": "t"}], **columns)
    assert stale.keys(str(tmp_path), NOW) == 1, "a floor lies above 1"


def test_keys_of_several_columns_are_compared_in_the_types_of_the_table(tmp_path: Path) -> None:
    price = pa.decimal128(10, 2)
    row = {"town": "L'Aquila \" é", "price": Decimal("1.50"), "ok": True, "_position": at(10)}
    put(table(tmp_path), [row], town=pa.string(), price=price, ok=pa.bool_(), _position=AT)
    key = json.dumps({"town": row["town"], "price": 1.50, "ok": True})
    reject(tmp_path, (key, 9))
    assert stale.keys(str(tmp_path), NOW) == 0
    reject(tmp_path, (key, 11))
    assert stale.keys(str(tmp_path), NOW) == 1


@pytest.mark.parametrize("type_", [pa.timestamp("us", tz="UTC"), pa.binary()])
def test_what_cannot_be_compared_is_not_known(tmp_path: Path, type_: pa.DataType) -> None:
    put(table(tmp_path), [], at=type_, _position=AT)
    reject(tmp_path, ('{"at":"x"}', 9))
    assert stale.keys(str(tmp_path), NOW) is None


def test_more_keys_than_are_worth_asking_for_are_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stale, "KEYS_MAX", 1)
    put(table(tmp_path), [], id=pa.int64(), _position=AT)
    reject(tmp_path, ('{"id":1}', 9), ('{"id":2}', 9))
    assert stale.keys(str(tmp_path), NOW) is None


def test_a_journal_has_no_stale_rows(tmp_path: Path) -> None:
    put(table(tmp_path), [], id=pa.int64(), _position=AT)
    reject(tmp_path, ('{"id":1}', 9))
    assert stale.keys(str(tmp_path), replace(NOW, sink=replace(NOW.sink, mode="append"))) is None
