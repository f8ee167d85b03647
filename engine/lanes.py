"""Values of many rows as arrays: what takes a loop for each of them takes a few steps for all.

Rule: a lane holds the Avro encoding of one column, row by row, byte for byte what the column's cell gives, or
says of a row that it does not (``odd``): that row is then encoded alone. This room knows no type of a source
and no schema. It takes some 20 MB of memory, so whoever does not read tables does not import it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Words64 = NDArray[np.uint64]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]

WORD: Final = 8
_UNION: Final = 2  # the branch of a value that is there; NULL's is 0
_LONG: Final = 128  # bytes of a text; what is behind them is copied by itself
_EXACT_BITS: Final = 53  # numbers of so many bits have an exact float, whose exponent counts their bits
_VARINT_BITS: Final = 55  # of more, a varint's length is not certain from the bits of its float
_WORD_BITS: Final = 56  # of a varint's first eight bytes
_LEAST: Final = -(1 << 63)
_CONTINUED: Final = 0x8080_8080_8080_8080
_SPREAD: Final = (
    (28, 0x0000_0000_0FFF_FFFF, 0x00FF_FFFF_F000_0000, 4),
    (14, 0x0000_3FFF_0000_3FFF, 0x0FFF_C000_0FFF_C000, 2),
    (7, 0x007F_007F_007F_007F, 0x3F80_3F80_3F80_3F80, 1),
)
_MORE: Final[Words64] = np.array(
    [_CONTINUED & ((1 << 8 * max(size - 1, 0)) - 1) for size in range(WORD + 1)], np.uint64
)
_BYTES_OF_BITS: Final[Counts] = np.array([max(1, -(-bits // 7)) for bits in range(65)], np.int64)

if sys.byteorder != "little":
    raise ImportError("words are put together with their first byte in the lowest bits")


@dataclass(frozen=True, slots=True)
class Words:
    """At most eight bytes of each row, the first in the lowest bits: the first ``size`` of them count."""

    words: Words64 | np.uint64
    size: Counts | int


@dataclass(frozen=True, slots=True)
class Pieces:
    """Pieces of a buffer, one for each row; behind the last one it has two words more (``padded``)."""

    data: bytes
    at: Counts
    size: Counts


Part = Words | Pieces


@dataclass(frozen=True, slots=True)
class Lane:
    """One column of many rows: the parts that each value is made of, in their order.

    ``null``: where there is none, ``odd``: where the parts are not what the cell would give; None: nowhere.
    """

    parts: tuple[Part, ...]
    null: Flags | None = None
    odd: Flags | None = None


def padded(data: Sequence[bytes]) -> bytes:
    """The buffer of all these, out of which words can be read up to its last byte."""
    return b"".join((*data, bytes(2 * WORD)))


def view(data: bytes | NDArray[np.uint8], kind: str) -> Any:
    """The number of this kind (``">i4"``) that begins at each byte of a buffer."""
    return np.ndarray((len(data) - np.dtype(kind).itemsize + 1,), kind, data, strides=(1,))


def either(*flags: Flags | None) -> Flags | None:
    """Where any of them is set; None where none is."""
    found: Flags | None = None
    for each in flags:
        if each is not None and each.any():
            found = each if found is None else found | each
    return found


def constant(value: bytes) -> tuple[Words, ...]:
    """The same bytes in each row."""
    cuts = (value[at : at + WORD] for at in range(0, len(value), WORD))
    return tuple(Words(np.uint64(int.from_bytes(cut, "little")), len(cut)) for cut in cuts)


def varints(numbers: Counts, null: Flags | None = None) -> Lane:
    r"""Avro's int and long.

    >>> joined(4, varints(np.array([0, -1, 64, 1 << 62])).parts)[:3]
    [b'\x00', b'\x01', b'\x80\x01']
    """
    zigzag = ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)
    if null is not None:
        zigzag = np.where(null, np.uint64(0), zigzag)
    least, most = int(zigzag.min()), int(zigzag.max())
    if most >> _VARINT_BITS:
        return Lane(_wide(zigzag), null)
    spread, size = _spread(zigzag, most), int(_BYTES_OF_BITS[least.bit_length()])
    if size == _BYTES_OF_BITS[most.bit_length()]:
        return Lane((Words(spread | _MORE[size] if size > 1 else spread, size),), null)
    sizes = _BYTES_OF_BITS[_bits(zigzag)]
    return Lane((Words(spread | _MORE[sizes], sizes),), null)


def _wide(numbers: Words64) -> tuple[Words, Words]:
    """Varints of up to ten bytes: eight, and what is behind them where there is more."""
    high = numbers >> np.uint64(_WORD_BITS)
    low, more = numbers & np.uint64((1 << _WORD_BITS) - 1), high != 0
    sizes = np.minimum(_BYTES_OF_BITS[_bits(low)], WORD)
    first = _spread(low, (1 << _WORD_BITS) - 1) | np.where(more, np.uint64(_CONTINUED), _MORE[sizes])
    two = high >= np.uint64(128)
    last = np.where(two, high | np.uint64(0x180), high)  # its eighth bit is the next byte's first
    return Words(first, np.where(more, WORD, sizes)), Words(last, more.astype(np.int64) + two)


def _spread(numbers: Words64, most: int) -> Words64:
    """Seven bits to a byte; ``most`` is the greatest."""
    spread = numbers
    for bits, lower, upper, shift in _SPREAD:
        if most >> bits:
            spread = (spread & np.uint64(lower)) | ((spread & np.uint64(upper)) << np.uint64(shift))
    return spread


def _bits(numbers: NDArray[Any]) -> NDArray[np.intc]:
    """How many bits each has: of more than 53 one too many where all of the first are set."""
    return np.frexp(numbers.astype(np.float64))[1]


def decimals(numbers: Counts, null: Flags | None = None) -> Lane:
    """Avro's decimal: a length, and the unscaled number, its first byte first; odd is the least of all."""
    if null is not None:
        numbers = np.where(null, 0, numbers)
    least, most, odd = int(numbers.min()), int(numbers.max()), None
    if least == _LEAST:
        odd = numbers == _LEAST
        numbers = np.where(odd, 0, numbers)
    amounts = np.abs(numbers) if least < 0 else numbers
    if max(most, -least) >> _EXACT_BITS:
        high = amounts >> 32
        bits = np.where(high != 0, _bits(high) + 32, _bits(amounts & 0xFFFF_FFFF))
    else:
        bits = _bits(amounts)
    size = (bits + WORD) >> 3
    first = (numbers.view(np.uint64) << ((WORD - size) << 3).astype(np.uint64)).byteswap()
    return Lane((Words((size << 1).astype(np.uint64), 1), Words(first, size.astype(np.int64))), null, odd)


def sized(pieces: Pieces, null: Flags | None = None) -> Lane:
    """Avro's string and bytes: a length, and the piece itself."""
    return Lane((*varints(pieces.size).parts, pieces), null)


def optional(lane: Lane) -> list[Part]:
    """The parts of a column that may be NULL: the branch of its union is before each value."""
    first, *rest = lane.parts
    if isinstance(first, Words) and (
        first.size < WORD if isinstance(first.size, int) else int(first.size.max()) < WORD
    ):
        words, size = (first.words << np.uint64(8)) | np.uint64(_UNION), first.size + 1
    else:
        words, size, rest = np.uint64(_UNION), 1, [first, *rest]
    if lane.null is None:
        return [Words(words, size), *rest]
    branch = Words(np.where(lane.null, np.uint64(0), words), np.where(lane.null, 1, size))
    return [branch, *(replace(part, size=np.where(lane.null, 0, part.size)) for part in rest)]


def sizes(parts: Sequence[Part]) -> Counts | int:
    """The bytes of all parts, row by row."""
    fixed = sum(part.size for part in parts if isinstance(part.size, int))
    return sum((part.size for part in parts if not isinstance(part.size, int)), start=fixed)


def joined(count: int, parts: Sequence[Part]) -> list[bytes]:
    """What the parts are together, row by row.

    They are written from the first to the last, a word at a time: what a word has beyond its size is written
    over by the part behind it, and behind the last one there is room.
    """
    total = np.broadcast_to(sizes(parts), (count,))
    stop = (total + WORD).cumsum() - WORD
    start = stop - total
    out = np.empty(int(stop[-1]) + 2 * WORD, np.uint8)
    words, at = view(out, "<u8"), start.copy()
    for part in parts:
        if isinstance(part, Words):
            words[at] = part.words
        else:
            _copy(part, out, words, at)
        at += part.size
    made = out.tobytes()
    return [made[a:b] for a, b in zip(start.tolist(), stop.tolist(), strict=True)]


def _copy(part: Pieces, out: NDArray[np.uint8], words: Any, at: Counts) -> None:
    """Write pieces by words; the rest of a long one at once."""
    source, least, most = view(part.data, "<u8"), int(part.size.min()), int(part.size.max())
    for begin in range(0, min(most, _LONG), WORD):
        if begin < least:
            words[at + begin] = source[part.at + begin]
        else:
            rows = np.flatnonzero(part.size > begin)
            words[at[rows] + begin] = source[part.at[rows] + begin]
    if most > _LONG:
        data, to = memoryview(part.data), memoryview(out.data)
        for row in np.flatnonzero(part.size > _LONG).tolist():
            a, b, rest = int(at[row]) + _LONG, int(part.at[row]) + _LONG, int(part.size[row]) - _LONG
            to[a : a + rest] = data[b : b + rest]
