"""The landing in mode scd1: one row per key, whatever comes late, twice, unset or truncated."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from engine.errors import LedgerDisagrees
from engine.lake import book, commits
from engine.state import State
from tests.support.avro_records import DATE, Field
from tests.support.landing import Landing, Table
from tests.support.oracles_lake import table_rows

pytestmark = [pytest.mark.spark, pytest.mark.stack]

FIELDS = [Field("id", "long", nullable=False), Field("name", "string"), Field("note", "string")]


def row(number: int, name: str | None = "n", note: str | None = "t") -> dict[str, Any]:
    return {"id": number, "name": name, "note": note}


def values(table: Table) -> dict[Any, tuple[Any, Any]]:
    return {key: (r["name"], r["note"]) for key, r in table.by_id().items()}


def terms(table: Table) -> list[tuple[int | None, ...]]:
    return [(e.read, e.landed, e.merged_away, e.late, e.quarantined) for e in table.entries()]


def test_the_newest_change_of_a_key_is_its_row(landing: Landing) -> None:
    table = landing.table(mode="scd1", fields=FIELDS)
    for n in range(4):
        table.change("c", row(n))
    table.change("u", row(1, "new"))
    table.change("d", {"id": 2})
    landing.land()
    assert values(table) == {0: ("n", "t"), 1: ("new", "t"), 3: ("n", "t")}
    assert terms(table) == [(6, 4, 2, 0, 0)]
    table.maker.begin()
    table.change("u", row(3, "later"))
    table.change("d", {"id": 0})
    table.change("c", row(2, "again"))
    landing.land()
    assert values(table) == {1: ("new", "t"), 2: ("again", "t"), 3: ("later", "t")}
    assert terms(table)[1] == (3, 3, 0, 0, 0)
    stones = table_rows(book.tombstones_path(table.lake, table.flow.sink.table))
    assert sorted(r["id"] for r in stones) == [0, 2]


def test_i4_a_merge_that_says_it_deleted_other_rows_stops_the_flow(
    landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = landing.table(mode="scd1", fields=FIELDS)
    for n in range(3):
        table.change("c", row(n))
    landing.land()
    table.maker.begin()
    for gone in (0, 2, 7):
        table.change("d", {"id": gone})
    whole = commits.ours

    def one_less(*given: Any) -> Any:
        commit = whole(*given)
        metrics = {} if commit is None else {**commit.metrics, "numTargetRowsDeleted": 1}
        return commit and replace(commit, metrics=metrics)

    monkeypatch.setattr(commits, "ours", one_less)
    state = landing.land()[table.flow.name]
    assert (state.state, state.code) == (State.STOPPED, LedgerDisagrees.code)
    assert "2 rows to delete, and its commit has deleted 1" in state.what
    monkeypatch.undo()
    landing.land()
    assert set(values(table)) == {1}
    assert [e.state for e in table.entries()] == ["landed", "completed"]


def test_what_comes_again_or_late_loses_against_rows_and_tombstones(landing: Landing) -> None:
    table = landing.table(mode="scd1", fields=FIELDS)
    table.change("c", row(1, "old"), position=(1, 8, 0))
    table.change("c", row(2, "old"), position=(1, 8, 2))
    table.change("u", row(1, "new"), position=(1, 16, 0))
    table.change("d", {"id": 2}, position=(1, 16, 2))
    landing.land()
    table.maker.writer = 2
    table.change("c", row(1, "old"), position=(1, 8, 0))
    table.change("c", row(2, "old"), position=(1, 8, 2))
    table.change("c", row(3, "old"), position=(1, 8, 4))
    table.change("u", row(1, "new"), position=(1, 16, 0))
    table.change("d", {"id": 2}, position=(1, 16, 2))
    table.change("c", row(4, "next"), position=(1, 24, 0))
    landing.land()
    assert values(table) == {1: ("new", "t"), 3: ("old", "t"), 4: ("next", "t")}
    assert terms(table) == [(4, 2, 2, 0, 0), (6, 2, 2, 2, 0)]


def test_an_unchanged_column_keeps_the_old_value_and_never_becomes_null(landing: Landing) -> None:
    table = landing.table(mode="scd1", fields=FIELDS)
    table.change("c", row(1, "a", "long text"))
    table.change("c", row(2, "b", "other text"))
    table.change("u", row(2, "b2", None), unchanged=["note"])
    landing.land()
    table.maker.begin()
    table.change("u", row(1, "a2", None), unchanged=["note"])
    table.change("u", row(9, "nobody", None), unchanged=["note"])
    table.change("u", row(9, "nobody2", None), unchanged=["note"])
    landing.land()
    assert values(table) == {1: ("a2", "long text"), 2: ("b2", "other text")}
    assert terms(table)[1] == (3, 1, 0, 0, 2)
    held = table.quarantined()
    assert {h["reason"] for h in held} == {"unchanged-without-row:note"}
    assert [h["key_json"] for h in held] == ['{"id":9}'] * 2
    table.maker.begin()
    table.change("d", {"id": 1})
    table.change("c", row(1, "moved here", None), unchanged=["note"])
    landing.land()
    assert 1 not in values(table) or values(table)[1] == ("a2", "long text")
    assert table.quarantined()[-1]["reason"] == "unchanged-without-row:note"


def test_i10_a_zombies_change_beside_a_newer_one_makes_no_column_older(landing: Landing) -> None:
    table = landing.table(mode="scd1", fields=FIELDS)
    table.change("c", row(1, "n", "old"), position=(1, 8, 0))
    table.change("u", row(1, "n", "newer"), position=(1, 16, 0))
    table.change("u", row(1, "n2", None), position=(1, 24, 0), unchanged=["note"])
    landing.land()
    table.change("c", row(1, "n", "old"), position=(1, 8, 0))
    table.maker.writer = 2
    table.change("u", row(1, "n3", None), position=(1, 32, 0), unchanged=["note"])
    landing.land()
    assert values(table) == {1: ("n3", "newer")}


def test_a_soft_delete_marks_the_row(landing: Landing) -> None:
    table = landing.table(mode="scd1", deletes="soft", fields=FIELDS)
    table.change("c", row(1, "a"))
    table.change("c", row(2, "b"))
    landing.land()
    table.maker.begin()
    table.change("d", {"id": 1})
    table.change("d", {"id": 7})
    landing.land()
    rows = table.by_id()
    assert {k: (r["name"], r["_deleted"], r["_op"]) for k, r in rows.items()} == {
        1: ("a", True, "d"), 2: ("b", False, "c"), 7: (None, True, "d"),
    }  # fmt: skip
    table.maker.begin()
    table.change("c", row(1, "back"))
    landing.land()
    assert (table.by_id()[1]["name"], table.by_id()[1]["_deleted"]) == ("back", False)


def test_a_truncate_deletes_what_lies_below_it_and_nothing_above(landing: Landing) -> None:
    table = landing.table(mode="scd1", fields=FIELDS, partitions=2)
    for n in range(6):
        table.change("c", row(n), partition=n % 2)
    landing.land()
    table.maker.begin(80)
    table.change("c", row(1, "late"), partition=1, position=(1, 40, 0))
    table.change("t", position=(1, 80, 0))
    table.change("c", row(2, "after"), position=(1, 80, 2))
    table.change("c", row(8, "below"), position=(1, 72, 0), partition=1)
    landing.land()
    assert values(table) == {2: ("after", "t")}
    table.change("c", row(5, "too late"), position=(1, 72, 2), partition=1)
    table.change("c", row(5, "fresh"), position=(1, 88, 2), partition=1)
    landing.land()
    assert values(table) == {2: ("after", "t"), 5: ("fresh", "t")}
    assert terms(table) == [(6, 6, 0, 0, 0), (4, 2, 0, 2, 0), (2, 1, 0, 1, 0)]


def test_a_key_without_a_value_is_quarantined(landing: Landing) -> None:
    table = landing.table(mode="scd1", fields=FIELDS)
    table.change("c", {"id": None, "name": "x", "note": "y"}, unfit={"id": "NaN"})
    table.change("c", row(1))
    states = landing.land()
    assert values(table) == {1: ("n", "t")}
    assert [h["reason"] for h in table.quarantined()] == ["unfit:id"]
    assert states[table.flow.name].state is State.STREAMING


def test_a_table_without_a_key_refuses_scd1_by_name(landing: Landing) -> None:
    table = landing.table(mode="scd1", fields=FIELDS, keys=[])
    table.change("c", row(1))
    state = landing.land()[table.flow.name]
    assert (state.state, state.code) == (State.STOPPED, "landing.schema-blocked")


def test_a_column_with_a_default_reaches_rows_that_exist(landing: Landing) -> None:
    table = landing.table(mode="scd1", fields=FIELDS)
    table.change("c", row(1))
    landing.land()
    table.maker.begin()
    table.change("u", row(1, "old schema"))
    table.change("c", row(2, "old schema"))
    number = Field(
        "fee", {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}, default="1.50"
    )
    table.evolve([*FIELDS, number])
    table.change("c", {**row(3), "fee": Decimal("2.00")})
    table.change("u", {**row(2, "new schema"), "fee": None})
    landing.land()
    fees = {key: r["fee"] for key, r in table.by_id().items()}
    assert fees == {1: Decimal("1.50"), 2: None, 3: Decimal("2.00")}
    assert list(table.by_id()[1])[:4] == ["id", "name", "note", "fee"]


def test_i5_a_default_that_no_column_can_hold_parks_its_flow_by_name(landing: Landing) -> None:
    table = landing.table(mode="scd1", fields=FIELDS)
    table.change("c", row(1))
    landing.land()
    table.evolve([*FIELDS, Field("until", DATE, default="infinity")])
    table.maker.begin()
    table.change("c", {**row(2), "until": None})
    state = landing.land()[table.flow.name]
    assert (state.state, state.code) == (State.STOPPED, "landing.schema-blocked")
    assert "column until came with the default infinity" in state.what
    assert set(values(table)) == {1}
