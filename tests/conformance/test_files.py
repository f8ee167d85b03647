"""The source contract, kept by partner files in folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.arrivals import Wish
from tests.conformance.source_contract import CHECKS, Check
from tests.support.files_world import FilesWorld, fates, names, settled, spec


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_files_keep(check: Check, tmp_path: Path) -> None:
    check(FilesWorld(tmp_path))


class OneName(FilesWorld):
    """Each file takes the place of the one before the last."""

    def change(self, rows: int) -> None:
        lines = "".join(f"{self.made}.{n},town {n}\n" for n in range(rows))
        self.put(f"{self.made % 2}.csv", "id,town\n" + lines)


_COUNT = (
    "from_any_mark_no_gap_and_no_overlap",
    "a_mark_may_be_confirmed_again_and_again",
    "what_was_confirmed_does_not_come_again",
)
"""Checks that want as many rows as were put in: a withdrawal is one more."""


@pytest.mark.parametrize("check", [check for name, check in CHECKS.items() if name not in _COUNT])
def test_files_keep_it_where_each_takes_the_place_of_one_before(check: Check, tmp_path: Path) -> None:
    world = OneName(tmp_path, [spec(same_name="supersede")])
    check(world)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_files_keep_it_whatever_people_want_of_files(check: Check, tmp_path: Path) -> None:
    world = FilesWorld(tmp_path, [spec(pattern="[0-9]*.csv")])
    for name in ("1.csv", "2.csv"):
        world.put(name, "wrong\n")
    settled(world)
    world.wishes = [
        Wish(
            number=one.arrival, verb="requeue", folder="in", name=one.name, size=one.size,
            modified_ns=one.modified_ns, arrival=one.arrival,
        )
        for one in world.entries
    ]  # fmt: skip
    path = world.put("3.csv", "unread\n")
    stat = path.stat()
    world.wishes.append(
        Wish(number=9, verb="reject", folder="in", name="3.csv", size=7, modified_ns=stat.st_mtime_ns)
    )
    check(world)
    seen = set(fates(world))
    assert ("3.csv", "refused", "file.rejected") in seen
    assert [one.asked.get("done") for one in world.entries[:2]] == [True, True]
    assert "1-1.csv" not in names(world.root / "place" / "errors")
