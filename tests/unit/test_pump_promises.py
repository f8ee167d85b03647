"""The promises of the door, one by one: what does not grow is refused before it is sent."""

from __future__ import annotations

import pytest

from engine.errors import ContractBroken
from engine.pump.promises import Promises
from engine.schema import Identity, Relation
from engine.source import STREAM, Mark, Rows

RELATION = Relation(7, "public", "t", (), (), Identity.DEFAULT)
ROW = ("c", None, ())


def rows(major: int, first: int, count: int = 1, *, era: int = 0, strand: str = STREAM) -> Rows:
    return Rows(RELATION, strand, era, major, first, committed_us=0, tx=1, rows=[ROW] * count)


def mark(major: int) -> Mark:
    return Mark({STREAM: major}, b"")


def told(*items: Rows | Mark) -> Promises:
    found = Promises("shop", limit=1000, wait_s=1.0)
    for item in items:
        if isinstance(item, Rows):
            found.rows(item)
        else:
            found.mark(item)
    return found


def test_positions_that_grow_are_taken() -> None:
    told(rows(10, 0, 3), rows(10, 6), mark(10), rows(20, 0), rows(5, 0, era=1))
    told(rows(20, 0), rows(10, 0, strand="snapshot"))


@pytest.mark.parametrize(
    "second",
    [rows(9, 0), rows(10, 4), rows(10, 5), mark(9)],
    ids=["an older commit", "a row again", "the place of a key change", "a mark below its rows"],
)
def test_i3_a_position_that_does_not_grow_within_its_strand_is_refused(second: Rows | Mark) -> None:
    with pytest.raises(ContractBroken, match="10") as raised:
        told(rows(10, 0, 3), second)
    assert raised.value.where == "shop"


def test_i3_rows_behind_a_mark_that_covers_them_are_refused() -> None:
    with pytest.raises(ContractBroken):
        told(rows(10, 0), mark(10), rows(10, 2))
