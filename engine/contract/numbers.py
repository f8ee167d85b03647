"""Which texts are numbers of a format and a type: as a regular expression that Java and Python read alike.

Rule: digits are 0 to 9, bounded on both sides of the mark, so that nothing has to be rounded; zeros in front
do not count, because fields of a fixed width have them. No text makes the expression go back over it again.
"""

from __future__ import annotations

import re
from typing import Final

from engine.contract import Numeric
from engine.schema import Decimal, Float32, Float64, Int32, Int64, Type

_GROUPS_MAX: Final = 13  # of three digits: more than 38 digits
_FLOAT_DIGITS: Final = 400
_INT_DIGITS: Final = {Int32: 10, Int64: 19}


def expression(format_: Numeric, type_: Type) -> str:
    """The texts that may have a value; of those, a type that overflows still has none."""
    whole, behind = _digits(format_, type_)
    mark = re.escape(format_.decimal)
    number = _whole(format_.thousands, whole)
    if behind and not format_.implied:
        number += f"(?:{mark}[0-9]{{1,{behind}}})?"
    if isinstance(type_, Float32 | Float64):
        number += "(?:[eE][+-]?[0-9]{1,3})?"
    return rf"\A{number}[+-]?\z" if format_.sign == "trailing" else rf"\A[+-]?{number}\z"


def _digits(format_: Numeric, type_: Type) -> tuple[int, int]:
    """How many digits may stand before the mark, and how many behind it."""
    match type_:
        case Decimal(precision=precision, scale=scale):
            return precision - scale + format_.implied, scale
        case Int32() | Int64():
            return _INT_DIGITS[type(type_)], 0
        case _:
            return _FLOAT_DIGITS, _FLOAT_DIGITS


def _whole(thousands: str, digits: int) -> str:
    more = f"(?:[1-9][0-9]{{0,{digits - 1}}})?" if digits else ""
    plain = f"(?=[0-9])0*+{more}"
    if not thousands:
        return plain
    return f"(?:[0-9]{{1,3}}(?:{re.escape(thousands)}[0-9]{{3}}){{1,{_GROUPS_MAX}}}|{plain})"


NONZERO: Final = r"\A[^eE]*[1-9]"
"""A number that is not zero, whatever its exponent says."""
