"""Seeded traffic whose history can be judged without knowing the source: lists that grow, counters that walk.

Rule: a seed gives one plan of transactions, and the plan gives one history of changes; both are pure. Every
change of a list adds exactly one value that is never used again (O2); a counter only takes the edges
1-2-3-4-delete-6-7-8 (O3). Running a plan on a database is ``workload_postgres``; judging is ``oracles``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

Row = dict[str, Any]

EDGES: Final[tuple[tuple[int | None, int | None], ...]] = (
    (None, 1),
    (1, 2),
    (2, 3),
    (3, 4),
    (4, None),
    (None, 6),
    (6, 7),
    (7, 8),
)
"""The life of a counter, edge by edge; None is absence."""

LISTS: Final = "lists"
COUNTERS: Final = "counters"


@dataclass(frozen=True, slots=True)
class Append:
    """Add ``token`` to a list; ``note`` (large, or None to leave it alone) makes unchanged TOAST."""

    key: int
    token: str
    new: bool
    note: str | None


@dataclass(frozen=True, slots=True)
class Move:
    """Change the key of a list and add ``token`` in the same statement."""

    old: int
    new: int
    token: str


@dataclass(frozen=True, slots=True)
class Step:
    """Take the counter's edge number ``edge``."""

    key: int
    edge: int


@dataclass(frozen=True, slots=True)
class Truncate:
    """Empty the lists."""


Op = Append | Move | Step | Truncate


@dataclass(frozen=True, slots=True)
class Transaction:
    """Operations that commit together, or (``aborted``) are never to be seen."""

    number: int
    ops: tuple[Op, ...]
    aborted: bool = False


@dataclass(frozen=True, slots=True)
class Mix:
    """How often what happens, as chances per transaction, and how wide a transaction is."""

    width: int = 4
    lists: int = 12
    counters: int = 8
    move: float = 0.05
    note: float = 0.2
    abort: float = 0.05
    truncate: float = 0.0
    note_bytes: int = 6000


@dataclass
class _World:
    """What the plan knows while it is made: list keys, the next fresh key, the edge of each live counter."""

    random: Random
    seed: int
    mix: Mix
    live: list[int] = field(default_factory=list)
    edges: dict[int, int] = field(default_factory=dict)
    next_list: int = 1
    next_counter: int = 1
    next_token: int = 1

    def token(self) -> str:
        self.next_token += 1
        return f"{self.seed}.{self.next_token - 1}"

    def append(self, used: set[int]) -> Append | None:
        free = [k for k in self.live if k not in used]
        note = None
        if self.random.random() < self.mix.note:
            note = f"{self.random.getrandbits(64):016x}" * (self.mix.note_bytes // 16)
        if len(self.live) < self.mix.lists or not free:
            key, self.next_list = self.next_list, self.next_list + 1
            self.live.append(key)
            used.add(key)
            return Append(key, self.token(), new=True, note=note)
        key = self.random.choice(free)
        used.add(key)
        return Append(key, self.token(), new=False, note=note)

    def move(self, used: set[int]) -> Move | None:
        free = [k for k in self.live if k not in used]
        if not free:
            return None
        old = self.random.choice(free)
        new, self.next_list = self.next_list, self.next_list + 1
        self.live[self.live.index(old)] = new
        used.update((old, new))
        return Move(old, new, self.token())

    def step(self) -> Step:
        if len(self.edges) < self.mix.counters:
            self.edges[self.next_counter] = 0
            self.next_counter += 1
        key = self.random.choice(list(self.edges))
        edge = self.edges[key]
        if edge + 1 == len(EDGES):
            del self.edges[key]
        else:
            self.edges[key] = edge + 1
        return Step(key, edge)


def transactions(seed: int, count: int, mix: Mix | None = None) -> Iterator[Transaction]:
    """The plan of a seed: ``count`` transactions, numbered from 1."""
    world = _World(Random(seed), seed, mix or Mix())  # noqa: S311 - a plan, not a secret
    for number in range(1, count + 1):
        yield _transaction(world, number)


def _transaction(world: _World, number: int) -> Transaction:
    chance, mix = world.random, world.mix
    if chance.random() < mix.abort:
        ghost = Append(-1, world.token(), new=True, note=None)
        return Transaction(number, (ghost,), aborted=True)
    if chance.random() < mix.truncate:
        world.live.clear()
        return Transaction(number, (Truncate(),))
    used: set[int] = set()
    ops: list[Op] = []
    for _ in range(chance.randint(1, mix.width)):
        op = world.move(used) if chance.random() < mix.move else world.append(used)
        ops += [op] if op is not None else []
        ops.append(world.step())
    return Transaction(number, tuple(ops))


@dataclass(frozen=True, slots=True)
class Change:
    """One row change, wherever it was read: a topic, an append table, or the plan itself.

    ``row`` is the row after the change, for a delete what is known of the row before; ``key`` is None for a
    control row. ``partition`` and ``offset`` are −1 where there are none.
    """

    position: tuple[int, int, int]
    op: str
    key: int | None
    row: Row
    strand: str = "stream"
    unchanged: frozenset[str] = frozenset()
    partition: int = -1
    offset: int = -1
    writer: int = 0

    @property
    def id(self) -> tuple[str, tuple[int, int, int]]:
        """What makes a repeated change recognisable."""
        return (self.strand, self.position)


def history(plan: Iterable[Transaction], table: str) -> Iterator[Change]:
    """What the stream of one table says when the plan has run: the reference of the oracles' own tests.

    Majors are made up (8 × the transaction's number); partitions are the key modulo 2.
    """
    lists: dict[int, Row] = {}
    for transaction in plan:
        index = 0
        for op in () if transaction.aborted else transaction.ops:
            if isinstance(op, Step) != (table == COUNTERS):
                continue
            for minor, change in enumerate(_changes(op, lists)):
                position = (0, transaction.number * 8, 2 * index + minor)
                key = change[1]
                yield Change(position, change[0], key, change[2], partition=(key or 0) % 2)
            index += 1


def _changes(op: Op, lists: dict[int, Row]) -> list[tuple[str, int | None, Row]]:
    match op:
        case Append(key=key, token=token, new=True, note=note):
            lists[key] = {"id": key, "items": token, "note": note}
            return [("c", key, dict(lists[key]))]
        case Append(key=key, token=token, note=note):
            row = lists[key]
            row["items"] = f"{row['items']},{token}"
            row["note"] = row["note"] if note is None else note
            return [("u", key, dict(row))]
        case Move(old=old, new=new, token=token):
            row = lists.pop(old)
            lists[new] = {**row, "id": new, "items": f"{row['items']},{token}"}
            return [("d", old, {"id": old}), ("c", new, dict(lists[new]))]
        case Step(key=key, edge=edge):
            before, after = EDGES[edge]
            name = "c" if before is None else "d" if after is None else "u"
            return [(name, key, {"id": key} if after is None else {"id": key, "state": after})]
        case Truncate():
            lists.clear()
            return [("t", None, {})]


def finals(changes: Iterable[Change]) -> dict[int, Row]:
    """The rows that stand after a history: what the source and an scd1 table must hold."""
    rows: dict[int, Row] = {}
    # a floor stands at the position of the first row that it is to leave
    for change in sorted(changes, key=lambda c: (c.position, c.op != "f")):
        if change.op in ("t", "f"):
            rows.clear()
        elif change.key is not None and change.op == "d":
            rows.pop(change.key, None)
        elif change.key is not None:
            kept = {c: rows[change.key][c] for c in change.unchanged if c in rows.get(change.key, {})}
            rows[change.key] = {**change.row, **kept}
    return rows
