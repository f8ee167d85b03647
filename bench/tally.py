"""What a side wrote, as two numbers: how many rows, and an order-free 128-bit hash of them.

Rule: the hash is the sum of a hash per row, modulo 2^128, over the row as plain values: decimals as
unscaled integers, instants in microseconds, days since 1970. So neither the order of partitions nor a
side's own wire form matters, and a row that is missing, doubled or different shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

_MODULUS: Final = 1 << 128

Plain = tuple[Any, ...]
"""(op, values...): integers, text, booleans and None only."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A count and a hash; tallies of disjoint parts add up.

    >>> of([("c", 1, "a"), ("d", 1)]) == of([("d", 1)]) + of([("c", 1, "a")])
    True
    >>> of([("c", 1, "a")]) == of([("c", 1, "b")])
    False
    """

    rows: int = 0
    hash: int = 0

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(self.rows + other.rows, (self.hash + other.hash) % _MODULUS)

    def __str__(self) -> str:
        return f"{self.rows} rows, hash {self.hash:032x}"


def of(rows: Iterable[Plain]) -> Tally:
    """The tally of some rows."""
    count = total = 0
    for row in rows:
        count += 1
        total += int.from_bytes(blake2b(repr(row).encode(), digest_size=16).digest(), "big")
    return Tally(count, total % _MODULUS)
