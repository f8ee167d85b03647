"""PostgreSQL's numeric, from its binary and its text form, to Avro's decimal.

Rule: exact or ``Unfit``: a digit that the declared scale or precision has no place for is never rounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from struct import Struct
from typing import Final

from engine.schema import Unfit
from engine.varint import LENGTHS

_HEAD: Final = Struct(">hhHH").unpack_from
_TWO: Final = Struct(">hhHHHH").unpack
_NEGATIVE: Final = 0x4000
_SPECIAL: Final = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
_TENS: Final = tuple(10**n for n in range(77))
_LOOKED_AT: Final = 64  # of many values: enough to say whether they repeat
_OF_3: Final = 6 << 24  # the length of three bytes, before them
_SHORT: Final = 1 << 15  # the first number of three bytes
_USUAL: Final = 12  # bytes of a value of two groups
_UNLIKE: Final = re.compile(b"[^%c]" % _USUAL, re.DOTALL).finditer  # in the lengths of many
_HEAD_MASK: Final = 0xFFFF_FFFF_FFFF_0000_0000_0000  # all but the scale that is shown, and the groups
_HEAD_OF_TWO: Final = 0x0002_0000_0000_0000_0000_0000  # two groups, the first counts ones, not negative
_ZERO: Final = _HEAD_OF_TWO.to_bytes(_USUAL, "big")
_SHIFT: Final = 48  # dividing by 10 to 1000 is multiplying by 2 ** 48 of it: exact for numbers of 31 bits


def from_binary(precision: int, scale: int) -> Callable[[bytes], bytes]:
    """The encoder of binary ``numeric(precision, scale)``."""
    limit = _TENS[precision]
    cut = _TENS[4 - scale] if scale <= 4 else 0  # noqa: PLR2004 - digits come in groups of four

    def encode(v: bytes) -> bytes:
        if len(v) == 12 and cut:  # noqa: PLR2004
            # one group before the point and one after it: most amounts
            digits, weight, sign, _, whole, n = _TWO(v)
            n, rest = divmod(whole * 10000 + n, cut)
            if digits == 2 and not (weight or rest) and sign <= _NEGATIVE and n < limit:  # noqa: PLR2004
                return packed(-n if sign else n)
        return exact(v)

    def exact(v: bytes) -> bytes:
        digits, weight, sign, _ = _HEAD(v)
        n = 0
        for at in range(8, len(v), 2):
            n = n * 10000 + (v[at] << 8 | v[at + 1])
        if sign > _NEGATIVE:
            raise Unfit(_SPECIAL.get(sign, "numeric"))
        if digits * 2 + 8 != len(v):
            raise ValueError("a numeric whose length is not that of its digits")
        shift = (weight - digits + 1) * 4 + scale
        if shift < 0:
            n, rest = divmod(n, _TENS[-shift] if -shift < len(_TENS) else 10**-shift)
            if rest:
                raise Unfit(text_of_binary(v))
        elif shift and n:
            # the digits alone may be few while the weight is enormous
            n *= _TENS[min(shift, len(_TENS) - 1)]
        if n >= limit:
            raise Unfit(text_of_binary(v))
        return packed(-n if sign else n)

    return encode


def many_from_binary(precision: int, scale: int) -> Callable[[Sequence[bytes]], Sequence[bytes]]:
    """The same encoder for the fields of many rows; where few of them differ, only those are encoded."""
    encode = from_binary(precision, scale)
    each = _amounts(encode, _TENS[4 - scale], _TENS[precision]) if scale <= 4 else None  # noqa: PLR2004

    def many(fields: Sequence[bytes]) -> Sequence[bytes]:
        if 4 * len(set(fields[:_LOOKED_AT])) <= min(_LOOKED_AT, len(fields)):
            made = {v: encode(v) for v in set(fields)}
            return list(map(made.__getitem__, fields))
        return each(fields) if each else list(map(encode, fields))

    return many


def _amounts(
    encode: Callable[[bytes], bytes], cut: int, limit: int
) -> Callable[[Sequence[bytes]], Sequence[bytes]]:
    """The encoder of many values, most of which are one group before the point and one after it.

    The digits of those are put together at once, as lanes of one large integer; the others go one by one.
    """
    short = _packed_short()
    few, most = min(limit, len(short)), min(limit, 1 << 23)

    def many(fields: Sequence[bytes]) -> Sequence[bytes]:
        unlike = [found.start() for found in _UNLIKE(bytes(map(len, fields)))]
        usual = list(fields)
        for at in unlike:
            usual[at] = _ZERO
        lanes = _lanes(len(fields))
        x = _together(usual, lanes, cut)
        if x is None:
            return list(map(encode, fields))
        numbers = lanes.numbers(x.to_bytes(_USUAL * len(fields), "big"))
        top = max(numbers, default=0)
        if top >= most:
            return list(map(encode, fields))
        if top < few:
            made = list(map(short.__getitem__, numbers))
        else:
            of_3 = lanes.cut((x | lanes.of_3).to_bytes(_USUAL * len(fields), "big"))
            made = [v if n >= _SHORT else short[n] for n, v in zip(numbers, of_3, strict=True)]
        for at in unlike:
            made[at] = encode(fields[at])
        return made

    return many


def _together(fields: Sequence[bytes], lanes: _Lanes, cut: int) -> int | None:
    """The numbers that values of two groups are, without the zeros of the last group that ``cut`` stands for.

    None when one of them is negative, or no such value, or has more digits.
    """
    x = int.from_bytes(b"".join(fields), "big")
    if x & lanes.head != lanes.of_two:
        return None
    n = (x >> 16 & lanes.group) * 10000 + (x & lanes.group)
    q = n * (-(-(1 << _SHIFT) // cut)) >> _SHIFT & lanes.number if cut > 1 else n
    return q if q * cut == n else None


class _Lanes:
    """Constants for so many values side by side, and what reads the lowest four bytes of each."""

    def __init__(self, count: int) -> None:
        ones = int.from_bytes((1).to_bytes(_USUAL, "big") * count, "big")
        self.head, self.of_two = ones * _HEAD_MASK, ones * _HEAD_OF_TWO
        self.group, self.number, self.of_3 = ones * 0xFFFF, ones * 0xFFFFFFFF, ones * _OF_3
        self.numbers = Struct(f">{f'{_USUAL - 4}xI' * count}").unpack
        self.cut = Struct(f"{_USUAL - 4}x4s" * count).unpack


_lanes: Final = lru_cache(maxsize=4)(_Lanes)


@cache
def _packed_short() -> tuple[bytes, ...]:
    """The decimals of one and two bytes that are not negative."""
    return tuple(packed(n) for n in range(_SHORT))


def from_text(precision: int, scale: int) -> Callable[[bytes], bytes]:
    """The encoder of text ``numeric(precision, scale)``."""
    limit = _TENS[precision]

    def encode(v: bytes) -> bytes:
        whole, _, fraction = v.partition(b".")
        if not (whole.lstrip(b"-") + fraction).isdigit():
            raise Unfit(v.decode())
        n = int(whole + fraction.ljust(scale, b"0"))
        if len(fraction) > scale:
            n, rest = divmod(abs(n), 10 ** (len(fraction) - scale))
            n = -n if v[:1] == b"-" else n
            if rest:
                raise Unfit(v.decode())
        if abs(n) >= limit:
            raise Unfit(v.decode())
        return packed(n)

    return encode


def packed(n: int) -> bytes:
    """An unscaled decimal as Avro bytes."""
    size = (n.bit_length() + 8) >> 3
    return LENGTHS[size] + n.to_bytes(size, "big", signed=True)


def text_of_binary(v: bytes) -> str:
    """The text that the server would give for a binary numeric."""
    digits, weight, sign, shown = _HEAD(v)
    if sign in _SPECIAL:
        return _SPECIAL[sign]
    groups = [v[at] << 8 | v[at + 1] for at in range(8, 8 + 2 * digits, 2)]

    def group(power: int) -> int:
        return groups[weight - power] if 0 <= weight - power < digits else 0

    whole = "".join(f"{group(power):04d}" for power in range(max(weight, 0), -1, -1)).lstrip("0") or "0"
    fraction = "".join(f"{group(-n - 1):04d}" for n in range((shown + 3) // 4))[:shown]
    return f"{'-' if sign else ''}{whole}{'.' if shown else ''}{fraction}"
