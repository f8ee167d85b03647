"""Judges of a table of newest rows by its versions: what a reader who looked after every commit has seen.

Rule: a batch may take several steps of a key at once, so a version may skip states, and never goes back to
one. Pure, as the other oracles: an empty list is green.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.oracles import Wrong
from tests.support.workload import Row

Version = Mapping[int, Row]
"""The rows of one version by key, the engine's ``_position`` among their columns."""


def lists_only_grow(versions: Sequence[Version]) -> list[Wrong]:
    """O2 on newest rows: a list is the one seen before and more behind it; one that has gone stays away."""
    wrong: list[Wrong] = []
    seen: dict[int, list[str]] = {}
    gone: set[int] = set()
    for number, version in enumerate(versions):
        for key, row in version.items():
            items, before = str(row["items"]).split(","), seen.get(key, [])
            if key in gone:
                wrong.append(Wrong("O2", _at(key, number), "is back after it had gone"))
            if items[: len(before)] != before:
                wrong.append(Wrong("O2", _at(key, number), f"is {items[-2:]} after {before[-2:]}"))
            seen[key] = items
        gone |= seen.keys() - version.keys()
    return wrong + _never_older(versions)


def counters_only_advance(versions: Sequence[Version]) -> list[Wrong]:
    """O3 on newest rows: a counter's state only rises, over its absence too."""
    wrong: list[Wrong] = []
    seen: dict[int, int] = {}
    for number, version in enumerate(versions):
        for key, row in version.items():
            if row["state"] < seen.get(key, 0):
                wrong.append(Wrong("O3", _at(key, number), f"is {row['state']} after {seen[key]}"))
            seen[key] = row["state"]
    return wrong + _never_older(versions)


def _never_older(versions: Sequence[Version]) -> list[Wrong]:
    """I10 by position: no version holds an older change of a key than one before it."""
    newest: dict[int, tuple[Any, ...]] = {}
    wrong = []
    for number, version in enumerate(versions):
        for key, row in version.items():
            position = tuple(row["_position"].values())
            if position < newest.get(key, position):
                wrong.append(Wrong("I10", _at(key, number), f"is of {position} after {newest[key]}"))
            newest[key] = position
    return wrong


def _at(key: int, number: int) -> str:
    return f"{key} in version {number}"
