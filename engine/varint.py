"""Avro's integers as bytes: what the cells of connectors and the envelope are strung together from.

Rule: ``long`` is the meaning; the tables are the same thing looked up, ``longs`` the same thing for a whole
column. An Avro int, long, length, count and union branch are all this one zigzag varint. This room knows no
type and no schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
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


_EACH_28: Final = (0x0000000000003FFF, 0x000000000FFFC000, 2), (0x007F007F, 0x3F803F80, 1)
_EACH_56: Final = (
    (0x000000000FFFFFFF, 0x00FFFFFFF0000000, 4),
    (0x00003FFF00003FFF, 0x0FFFC0000FFFC000, 2),
    (0x007F007F007F007F, 0x3F803F803F803F80, 1),
)
_CONTINUED: Final = 0x8080808080808080


def longs(fields: Sequence[bytes], added: int = 0) -> Sequence[bytes] | None:
    r"""``long`` of many integers at once; None where they are not alike enough for that.

    The integers are big-endian, of 4 or 8 bytes, not negative, and their varints are of one length: keys in
    their order, instants. ``added`` is added to each, and is not negative. They lie side by side in one large
    integer, so that a few operations compare all of them and a dozen spread their bits; a loop takes as many
    for each.

    >>> longs([b"\0\0\1\0", b"\0\0\2\0"]) == (long(256), long(512)), longs([b"\0\0\0\1", b"\0\0\1\0"])
    (True, None)
    """
    if not fields:
        return ()
    width, count = len(fields[0]), len(fields)
    first = int.from_bytes(fields[0], "big") + added
    if width not in (4, 8) or first >> 7 * width - 1 or set(map(len, fields)) != {width}:
        return None
    lanes = _lanes(width, len(long(first)), count)
    x = int.from_bytes(b"".join(reversed(fields)), "big")
    if added:
        if x & lanes.signs:
            return None
        x += added * lanes.ones
    if x & lanes.beyond or (x >> lanes.below & lanes.all) + lanes.all & lanes.tops != lanes.tops:
        return None
    x <<= 1
    for lower, upper, step in lanes.masks:
        x = x & lower | (x & upper) << step
    return lanes.cut((x | lanes.continued).to_bytes(width * count, "little"))


class _Lanes:
    """Constants for so many integers side by side, each in a lane of ``width`` bytes.

    ``beyond`` are the bits that none has whose varint has ``size`` bytes. The last seven of the others begin
    at ``below``: with ``all`` added to them they reach the bit in ``tops``, unless all of them are zero, as
    they are where fewer bytes would do.
    """

    def __init__(self, width: int, size: int, count: int) -> None:
        self.ones = ones = int.from_bytes((1).to_bytes(width, "little") * count, "little")
        steps = _EACH_56 if width == 8 else _EACH_28  # noqa: PLR2004 - bytes of a lane
        self.masks = tuple((ones * lower, ones * upper, step) for lower, upper, step in steps)
        self.continued = ones * (_CONTINUED & (1 << 8 * (size - 1)) - 1)
        self.signs = ones << 8 * width - 1
        self.beyond = ones * ((1 << 8 * width) - (1 << 7 * size - 1))
        self.below = max(0, 7 * size - 8)
        self.all, self.tops = (ones * 127, ones * 128) if size > 1 else (0, 0)
        self.cut = Struct(f"{size}s{width - size}x" * count).unpack


_lanes: Final = lru_cache(maxsize=16)(_Lanes)
