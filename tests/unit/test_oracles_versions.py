"""The oracles of a table's versions: green on what a folding landing writes, red on every way to spoil it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import oracles
from tests.support.oracles_versions import Version, counters_only_advance, lists_only_grow
from tests.support.workload import COUNTERS, LISTS, Change, Mix, finals, history, transactions

Judge = Callable[[list[Version]], list[oracles.Wrong]]
BUSY = Mix(width=3, lists=5, counters=4, move=0.15, truncate=0.03)


def versions(seed: int, table: str) -> list[Version]:
    """What a landing that folds batches of random sizes leaves, version by version."""
    changes, random = list(history(transactions(seed, 60, BUSY), table)), Random(seed)  # noqa: S311 - a plan
    cuts = sorted(random.sample(range(len(changes) + 1), 12))
    return [positioned(changes[:cut]) for cut in (*cuts, len(changes))]


def positioned(changes: list[Change]) -> Version:
    newest = {c.key: c.position for c in changes}
    names = ("era", "major", "minor")
    return {
        key: {**row, "_position": dict(zip(names, newest[key], strict=True))}
        for key, row in finals(changes).items()
    }


@pytest.mark.parametrize(("table", "judge"), [(LISTS, lists_only_grow), (COUNTERS, counters_only_advance)])
@given(seed=st.integers(0, 5_000), data=st.data())
def test_an_older_version_that_comes_back_is_red(
    table: str, judge: Judge, seed: int, data: st.DataObject
) -> None:
    honest = versions(seed, table)
    assert judge(honest) == []
    moved = [n for n in range(1, len(honest)) if older(honest[n - 1], honest[n])]
    n = data.draw(st.sampled_from(moved))
    assert judge([*honest[: n + 1], honest[n - 1]]) != []


def older(before: Version, after: Version) -> bool:
    """Whether the version before would be seen to be older: a key of both has moved on."""
    return any(place(before[k]) < place(after[k]) for k in before.keys() & after.keys())


def place(row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(row["_position"].values())


def test_a_value_that_is_lost_from_a_list_or_a_list_that_is_back_is_red() -> None:
    def row(items: str, major: int) -> dict[str, Any]:
        return {"items": items, "_position": {"era": 0, "major": major, "minor": 0}}

    assert lists_only_grow([{1: row("a", 8)}, {1: row("a,b,c", 16)}]) == []
    assert lists_only_grow([{1: row("a,b", 8)}, {1: row("a,c", 16)}]) != []
    assert lists_only_grow([{1: row("a", 8)}, {}, {1: row("a", 16)}]) != []
