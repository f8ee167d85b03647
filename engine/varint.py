"""Avro's integers as bytes: what the cells of connectors and the envelope are strung together from.

Rule: ``long`` is the meaning; the tables are the same thing looked up, ``lanes`` do it for many at once. An
Avro int, long, length, count and union branch are all this one zigzag varint. This room knows no type and no
schema.
"""

from __future__ import annotations

from typing import Final

_PIECES: Final = 1 << 14
_LOW: Final = (1 << 28) - 1

# Two bytes of varint at a time: a piece that others follow, and the last piece in its shortest form.
FOLLOWED: Final = tuple(bytes((n & 127 | 128, n >> 7 | 128)) for n in range(_PIECES))
LAST: Final = tuple(bytes((n,)) if n < 1 << 7 else bytes((n & 127 | 128, n >> 7)) for n in range(_PIECES))

LENGTHS: Final = LAST[::2]
"""``long(n)`` for every n from 0 to 8191: ``LENGTHS[n]``."""


def long(n: int) -> bytes:
    r"""The Avro encoding of an int or long (at most 64 bits).

    Works on halves of 28 bits, because Python's integers are slow beyond 30.

    >>> long(0), long(-1), long(1), long(64), len(long(-(2**63)))
    (b'\x00', b'\x01', b'\x02', b'\x80\x01', 10)
    """
    z = n << 1 if n >= 0 else ~(n << 1)
    if z < _PIECES:
        return LAST[z]
    if z <= _LOW:
        return FOLLOWED[z & 16383] + LAST[z >> 14]
    high = z >> 28
    z &= _LOW
    if high < _PIECES:
        return FOLLOWED[z & 16383] + FOLLOWED[z >> 14] + LAST[high]
    if high <= _LOW:
        return FOLLOWED[z & 16383] + FOLLOWED[z >> 14] + FOLLOWED[high & 16383] + LAST[high >> 14]
    middle = FOLLOWED[high & 16383] + FOLLOWED[high >> 14 & 16383]
    return FOLLOWED[z & 16383] + FOLLOWED[z >> 14] + middle + LAST[high >> 28]


def sized(value: bytes) -> bytes:
    r"""An Avro string or bytes: its length, then itself.

    >>> sized(b"abc")
    b'\x06abc'
    """
    return long(len(value)) + value


class Sizes(dict[int, bytes]):
    r"""``long(n)`` of lengths, after ``before``: looked up; what is longer than most is made each time.

    >>> Sizes()[3], Sizes(b"\x02")[3], len(Sizes()[1 << 20])
    (b'\x06', b'\x02\x06', 4)
    """

    def __init__(self, before: bytes = b"") -> None:
        super().__init__((n, before + size) for n, size in enumerate(LENGTHS))
        self._before = before

    def __missing__(self, n: int) -> bytes:
        return self._before + long(n)


SIZES: Final = Sizes()
"""The length before a string or bytes: ``SIZES[len(v)] + v`` is ``sized(v)``."""
