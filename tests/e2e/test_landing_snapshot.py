"""Rows that a snapshot read: they land once, whatever was read again, and later changes apply to them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.avro_records import Field
from tests.support.landing import Landing, Table

pytestmark = [pytest.mark.spark, pytest.mark.stack, pytest.mark.timeout(1200)]

FIELDS = [Field("id", "long", nullable=False), Field("name", "string")]


def read_part(table: Table, part: str, ids: range | list[int], name: str = "read") -> None:
    """A part of a snapshot, told by the writer of now at a position of its own."""
    table.maker.begin()
    for n in ids:
        table.change("r", {"id": n, "name": name}, part=part, partition=n % table.flow.topic.partitions)


@pytest.mark.parametrize("first", ["lands", "waits"])
@pytest.mark.parametrize("rows_per_commit", [1000, 3])
def test_i2_a_part_that_is_read_again_replaces_what_its_older_attempt_brought(
    landing: Landing, rows_per_commit: int, first: str
) -> None:
    table = landing.table(fields=FIELDS, partitions=2, rows_per_commit=rows_per_commit)
    read_part(table, "0", range(4))
    read_part(table, "1", range(4, 8))  # and here the capture died
    if first == "lands":
        landing.land()
        assert len(table.rows()) == 8
    table.maker.begin()
    table.change("d", {"id": 6, "name": None})
    table.maker.writer = 2
    read_part(table, "1", [4, 5, 7, 8], "again")  # the part ends elsewhere this time
    read_part(table, "2", [9])
    table.maker.begin()
    table.change("c", {"id": 10, "name": "new"})
    landing.land()
    found = sorted((r["_op"], r["id"], r["name"]) for r in table.rows())
    assert found == [
        ("c", 10, "new"),
        ("d", 6, None),
        *(("r", n, "read") for n in range(4)),
        *(("r", n, "again") for n in (4, 5, 7, 8)),
        ("r", 9, "read"),
    ]
    assert {r["_attempt"]["attempt"] for r in table.rows() if r["name"] == "again"} == {2}
    assert {r["_strand"] for r in table.rows() if r["id"] == 9} == {"snapshot:0:2"}
    assert sum(e.read or 0 for e in table.entries()) == 15


@pytest.mark.parametrize("deletes", ["hard", "soft"])
def test_a_snapshots_rows_are_the_ground_that_later_changes_stand_on(landing: Landing, deletes: str) -> None:
    table = landing.table(mode="scd1", deletes=deletes, fields=FIELDS, partitions=2)
    read_part(table, "0", range(6))
    table.maker.begin()
    table.change("u", {"id": 2, "name": None}, unchanged=["name"], partition=0)
    table.change("d", {"id": 3, "name": None}, partition=1)
    landing.land()
    table.maker.writer = 2
    read_part(table, "1", [6, 7])
    table.maker.begin()
    table.change("u", {"id": 7, "name": "mine"}, partition=1)
    landing.land()
    rows: dict[Any, dict[str, Any]] = {k: r for k, r in table.by_id().items() if not r.get("_deleted")}
    names = {n: r["name"] for n, r in rows.items()}
    assert names == {0: "read", 1: "read", 2: "read", 4: "read", 5: "read", 6: "read", 7: "mine"}
    assert table.quarantined() == []


def test_a_change_that_leaves_out_what_is_yet_to_be_read_waits_for_it(landing: Landing) -> None:
    """In scd1 the snapshot's row says it all, later; the journal has every change."""
    now, log = (landing.table(n, mode=m, fields=FIELDS) for n, m in (("now", "scd1"), ("log", "append")))
    for table in (now, log):
        table.maker.begin()
        table.change("u", {"id": 1, "name": None}, unchanged=["name"], early=True)
        table.change("u", {"id": 2, "name": None}, unchanged=["name"], early=True)
        table.maker.begin()
        table.change("d", {"id": 2, "name": None})
        read_part(table, "0", [1])
    landing.land()
    assert [r["name"] for r in now.rows()] == ["read"]
    assert now.quarantined() == []
    assert [e.late for e in now.entries()] == [2]
    assert sorted((r["id"], r["_op"], r["name"]) for r in log.rows()) == [
        (1, "r", "read"), (1, "u", None), (2, "d", None), (2, "u", None),
    ]  # fmt: skip


@pytest.mark.parametrize("deletes", ["hard", "soft"])
@pytest.mark.parametrize("rows_per_commit", [1000, 3])
def test_what_a_table_that_is_read_again_does_not_have_any_more_leaves_the_lake(
    landing: Landing, rows_per_commit: int, deletes: str
) -> None:
    """Rows 2 and 5 were deleted while nobody captured; the floor of the second reading takes them away."""
    given: dict[str, Any] = {"fields": FIELDS, "partitions": 2, "rows_per_commit": rows_per_commit}
    now = landing.table("now", mode="scd1", deletes=deletes, **given)
    log = landing.table("log", **given)
    for table in (now, log):
        read_part(table, "0", range(6))
        table.maker.begin()
        table.change("u", {"id": 5, "name": "older"}, partition=1)
    landing.land()
    lowest = (0, 0, 0)
    for table in (now, log):
        read_part(table, "again", [0, 1])
        lowest = (table.maker.era, table.maker.major, 0)
        table.maker.begin()
        table.change("c", {"id": 2, "name": "back"})  # between two parts of the second reading
        read_part(table, "more", [2, 3, 4])
        floor: dict[str, Any] = {"part": "floor", "position": lowest}
        table.change("f", **floor)
        table.maker.writer = 2  # it died before its mark: part and floor come again
        read_part(table, "more", [2, 3, 4])
        table.change("f", **floor)
        table.change("u", {"id": 3, "name": "later"}, partition=1)
    landing.land()
    assert {n: r["name"] for n, r in now.by_id().items() if not r.get("_deleted")} == {
        0: "read", 1: "read", 2: "read", 3: "later", 4: "read",
    }  # fmt: skip
    gone = {n: r["_op"] for n, r in now.by_id().items() if r.get("_deleted")}
    assert gone == ({5: "f"} if deletes == "soft" else {})
    now.change("u", {"id": 5, "name": "late"}, partition=1, position=(lowest[0], lowest[1] - 1, 0))
    landing.land()
    assert 5 not in {n for n, r in now.by_id().items() if not r.get("_deleted")}, "the floor lies above it"
    told = [(r["_op"], r["id"]) for r in log.rows()]
    assert sorted(told, key=str) == sorted(
        [
            *(("r", n) for n in range(6)), ("u", 5), ("r", 0), ("r", 1), ("c", 2),
            *(("r", n) for n in (2, 3, 4)), ("f", None), ("u", 3),
        ],
        key=str,
    )  # fmt: skip
    (control,) = (r for r in log.rows() if r["_op"] == "f")
    assert (control["_position"]["major"], control["_attempt"]["attempt"]) == (lowest[1], 2)
