"""PostgreSQL's numeric, from its binary and its text form, to Avro's decimal.

Rule: exact or ``Unfit``: a digit that the declared scale or precision has no place for is never rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from engine.schema import Unfit
from engine.varint import LENGTHS

_HEAD: Final = Struct(">hhHH").unpack_from
_TWO: Final = Struct(">hhHHHH").unpack
_NEGATIVE: Final = 0x4000
_SPECIAL: Final = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
_TENS: Final = tuple(10**n for n in range(77))


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
