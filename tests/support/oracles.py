"""Judges of a history: from the stream alone, the table alone, or the two against the source.

Rule: an oracle is a pure function from what was read to a list of what is wrong; an empty list is green. Each
has been seen red (``tests/unit/test_oracles.py``). Nothing here reads Kafka, Delta or a database.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.workload import EDGES, Change, Row

Position = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that an oracle does not accept."""

    oracle: str
    at: str
    text: str


def distinct(changes: Iterable[Change]) -> list[Change]:
    """The first occurrence of every id, in the order read."""
    first: dict[Hashable, Change] = {}
    for change in changes:
        first.setdefault(change.id, change)
    return list(first.values())


def repeats(changes: Sequence[Change]) -> int:
    """How many records say again what an earlier one said."""
    return len(changes) - len({c.id for c in changes})


def repeated_alike(changes: Iterable[Change], reread: Sequence[str] = ()) -> list[Wrong]:
    """A repeated id says the same again: only the writer and the offset may differ.

    ``reread`` names columns that the insert half of a key change reads again in the source: there the value
    may be newer the second time, or not be there any more.
    """
    first: dict[Hashable, Change] = {}
    wrong = []
    for change in changes:
        known = first.setdefault(change.id, change)
        if _said(known, reread) != _said(change, reread):
            wrong.append(Wrong("repeat", _at(change), f"says {change.row}, at first {known.row}"))
    return wrong


def _said(change: Change, reread: Sequence[str]) -> tuple[object, ...]:
    apart = set(reread) if change.position[2] % 2 else set()
    row = {name: value for name, value in change.row.items() if name not in apart}
    return (change.op, change.key, row, change.unchanged - apart, change.partition)


def in_order(changes: Iterable[Change]) -> list[Wrong]:
    """Within a partition and strand a position that is new is above every earlier one (I3)."""
    newest: dict[tuple[int, str], Position] = {}
    seen: set[Hashable] = set()
    wrong = []
    for change in changes:
        lane = (change.partition, change.strand)
        if change.id not in seen and change.position < newest.get(lane, change.position):
            wrong.append(Wrong("order", _at(change), f"comes new after {newest[lane]}"))
        seen.add(change.id)
        newest[lane] = max(newest.get(lane, change.position), change.position)
    return wrong


def once(changes: Sequence[Change]) -> list[Wrong]:
    """No id twice: what holds for a table, and for a topic after a clean stop."""
    counts = Counter(c.id for c in changes)
    return [Wrong("once", str(i), f"stands {n} times") for i, n in counts.items() if n > 1]


def _at(change: Change) -> str:
    place = f" p{change.partition}@{change.offset}" if change.offset >= 0 else ""
    return f"{change.op} {change.key} {change.position}{place}"


def lists_grow(changes: Iterable[Change], source: Mapping[int, str]) -> list[Wrong]:
    """O2: every image of a list is the one before it and exactly one new value; the last is the source's.

    A list that changes its key takes its values along: its insert has an odd minor, its delete the one below.
    """
    lists: dict[int, list[str]] = {}
    moved: dict[Position, list[str]] = {}
    used: set[str] = set()
    wrong: list[Wrong] = []
    for change in sorted(distinct(changes), key=lambda c: c.position):
        if change.op == "t":
            lists.clear()
            continue
        key = change.key
        if key is None:
            wrong.append(Wrong("O2", _at(change), "has no key"))
        elif change.op == "d":
            if key not in lists:
                wrong.append(Wrong("O2", _at(change), "deletes a list that is not there"))
            moved[change.position] = lists.pop(key, [])
        else:
            wrong += _grown(change, lists.get(key), moved, used)
            lists[key] = _items(change, lists.get(key))
            used.update(lists[key])
    wrong += [
        Wrong(
            "O2",
            str(key),
            f"ends as {_tail(lists.get(key))}, the source has {_tail(_split(source.get(key)))}",
        )
        for key in sorted(lists.keys() | source.keys())
        if lists.get(key) != _split(source.get(key))
    ]
    return wrong


def _split(items: str | None) -> list[str] | None:
    return None if items is None else items.split(",")


def _tail(items: list[str] | None) -> str:
    return "absent" if items is None else f"{len(items)} values …{items[-2:]}"


def _items(change: Change, before: list[str] | None) -> list[str]:
    if "items" in change.unchanged:
        return before or []
    return str(change.row.get("items", "")).split(",")


def _grown(
    change: Change, before: list[str] | None, moved: Mapping[Position, list[str]], used: set[str]
) -> list[Wrong]:
    era, major, minor = change.position
    if minor % 2:
        base = moved.get((era, major, minor - 1))
        if base is None:
            return [Wrong("O2", _at(change), "is the insert of a key change without its delete")]
    elif change.op == "u":
        if before is None:
            return [Wrong("O2", _at(change), "changes a list that is not there")]
        base = before
    else:
        if before is not None:
            return [Wrong("O2", _at(change), "inserts a list that is there")]
        base = []
    after = _items(change, before)
    if after[:-1] != base:
        return [Wrong("O2", _at(change), f"is {_tail(after)}, but was {_tail(base)}")]
    if after[-1] in used:
        return [Wrong("O2", _at(change), f"adds {after[-1]} a second time")]
    return []


def counters_walk(changes: Iterable[Change], source: Mapping[int, int]) -> list[Wrong]:
    """O3: every counter takes the edges of its life in their order, none twice, none left out."""
    taken: dict[int, int] = defaultdict(int)
    wrong = []
    for change in sorted(distinct(changes), key=lambda c: c.position):
        if change.key is None:
            wrong.append(Wrong("O3", _at(change), "has no key"))
            continue
        edge = taken[change.key]
        before, after = EDGES[edge] if edge < len(EDGES) else (8, None)
        op = "c" if before is None else "d" if after is None else "u"
        op = op if edge < len(EDGES) else "nothing more"
        state = None if change.op == "d" else change.row.get("state")
        if (change.op, state) != (op, after):
            wrong.append(
                Wrong("O3", _at(change), f"goes to {state}, from {before} it must be {op} to {after}")
            )
        taken[change.key] = _edge_to(change.op, state, edge) + 1
    ends = {key: EDGES[n - 1][1] for key, n in taken.items() if 0 < n <= len(EDGES)}
    ends = {key: state for key, state in ends.items() if state is not None}
    wrong += [
        Wrong("O3", str(key), f"ends at {ends.get(key)}, the source has {source.get(key)}")
        for key in sorted(ends.keys() | source.keys())
        if ends.get(key) != source.get(key)
    ]
    return wrong


def _edge_to(op: str, state: Any, otherwise: int) -> int:
    """The edge that a change has taken, so that a missing edge is told once, not for all its life."""
    for number, (before, after) in enumerate(EDGES):
        name = "c" if before is None else "d" if after is None else "u"
        if (name, after) == (op, state):
            return number
    return otherwise


def complete(expected: Iterable[Change], found: Iterable[Change]) -> list[Wrong]:
    """The same ids on both sides: all that the topic told stands in the append table, nothing else."""
    want, have = {c.id: c for c in expected}, {c.id: c for c in found}
    missing = [Wrong("complete", _at(c), "is missing") for i, c in want.items() if i not in have]
    return missing + [Wrong("complete", _at(c), "is extra") for i, c in have.items() if i not in want]


@dataclass(frozen=True, slots=True)
class Comparison:
    """O4: two sets of rows by key. ``waiting`` holds keys whose newest change is in quarantine."""

    equal: int
    missing: tuple[Hashable, ...]
    extra: tuple[Hashable, ...]
    different: tuple[Hashable, ...]
    waiting: tuple[Hashable, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether every row that does not wait is the same on both sides."""
        return not (self.missing or self.extra or self.different)


def compare(
    source: Mapping[Hashable, Row] | Mapping[int, Row],
    lake: Mapping[Hashable, Row] | Mapping[int, Row],
    waiting: Iterable[Hashable] = (),
) -> Comparison:
    """Row by row, value by value; the columns of the source decide what is compared."""
    apart = set(waiting)
    left: dict[Hashable, Row] = {k: v for k, v in source.items() if k not in apart}
    right: dict[Hashable, Row] = {k: v for k, v in lake.items() if k not in apart}
    both = left.keys() & right.keys()
    same = {k for k in both if all(c in right[k] and right[k][c] == v for c, v in left[k].items())}
    return Comparison(
        equal=len(same),
        missing=tuple(sorted(left.keys() - right.keys(), key=repr)),
        extra=tuple(sorted(right.keys() - left.keys(), key=repr)),
        different=tuple(sorted(both - same, key=repr)),
        waiting=tuple(sorted(apart, key=repr)),
    )


def same_state(first: Iterable[Row], second: Iterable[Row], ignore: Sequence[str] = ()) -> list[Wrong]:
    """O9: doing it again changes nothing; rows as a multiset, without the columns that tell the time."""

    def bag(rows: Iterable[Row]) -> Counter[str]:
        return Counter(repr(sorted((k, v) for k, v in row.items() if k not in ignore)) for row in rows)

    before, after = bag(first), bag(second)
    gone = [Wrong("O9", row, f"was there {n} more times") for row, n in (before - after).items()]
    return gone + [Wrong("O9", row, f"came {n} more times") for row, n in (after - before).items()]
