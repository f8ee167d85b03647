"""Arithmetic of decimals as that of whole numbers: each value times the same power of ten.

Spark calculates a remainder of decimals by java.math.BigDecimal, which strips zeros one by one: two
microseconds for a row, more than nineteen other checks took together. With whole numbers it is nothing.

Rule: pure, and exact or not at all. What is calculated has at most eighteen digits at each step, by the types
of its columns; anything else (a division, a large integer, a float) is left to Spark's decimals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from engine.checks.tree import Arithmetic, Column, Comparison, Negative, Number, Tree
from engine.schema import Decimal, Int32, Shape

_DIGITS_MAX: Final = 18  # of any value of 64 bits
_INT_DIGITS: Final = 10


@dataclass(frozen=True, slots=True)
class _Whole:
    """A value times ten to the ``scale``, as SQL of type bigint; never more than so many digits."""

    digits: int
    scale: int
    sql: str

    def at(self, scale: int) -> _Whole:
        """The same value at a larger scale."""
        more = scale - self.scale
        return self if not more else _Whole(self.digits + more, scale, f"({self.sql} * {10**more}L)")


def compared(tree: Comparison, shape: Shape, column: Callable[[str], str]) -> tuple[str, str] | None:
    """Both sides of a comparison as whole numbers, where it calculates; ``column`` quotes a name.

    >>> tree = Comparison("=", Arithmetic("%", Column("price"), Number("0.5")), Number("0"))
    >>> compared(tree, {"price": Decimal(10, 2)}, str)
    ('try_mod(cast(price * 100BD AS bigint), (5L * 10L))', '(0L * 100L)')
    """
    sides = (tree.left, tree.right)
    if not any(isinstance(side, Arithmetic) for side in sides):
        return None
    left, right = (_whole(side, shape, column) for side in sides)
    if left is None or right is None:
        return None
    scale = max(left.scale, right.scale)
    left, right = left.at(scale), right.at(scale)
    if not scale or max(left.digits, right.digits) > _DIGITS_MAX:
        return None
    return left.sql, right.sql


def _whole(tree: Tree, shape: Shape, column: Callable[[str], str]) -> _Whole | None:
    match tree:
        case Column(name=name):
            found = _column(shape[name], column(name))
        case Number(text=text):
            found = _number(text)
        case Negative(of=of):
            inner = _whole(of, shape, column)
            found = inner and _Whole(inner.digits, inner.scale, f"(0L - {inner.sql})")
        case Arithmetic(op="+" | "-" | "*" | "%"):
            left, right = (_whole(side, shape, column) for side in (tree.left, tree.right))
            found = left and right and _calculated(tree.op, left, right)
        case _:
            return None
    return found if found is not None and found.digits <= _DIGITS_MAX else None


def _column(type_: object, sql: str) -> _Whole | None:
    match type_:
        case Decimal(precision=precision, scale=scale) if precision <= _DIGITS_MAX:
            return _Whole(precision, scale, f"cast({sql} * {10**scale}BD AS bigint)")
        case Int32():
            return _Whole(_INT_DIGITS, 0, f"cast({sql} AS bigint)")
        case _:
            return None


def _number(text: str) -> _Whole:
    whole, _, fraction = text.partition(".")
    return _Whole(len(whole + fraction), len(fraction), f"{int(whole + fraction)}L")


def _calculated(op: str, left: _Whole, right: _Whole) -> _Whole | None:
    if op == "*":
        return _Whole(left.digits + right.digits, left.scale + right.scale, f"({left.sql} * {right.sql})")
    scale = max(left.scale, right.scale)
    left, right = left.at(scale), right.at(scale)
    digits = max(left.digits, right.digits)
    if digits > _DIGITS_MAX:
        return None
    if op == "%":
        return _Whole(digits, scale, f"try_mod({left.sql}, {right.sql})")
    return _Whole(digits + 1, scale, f"({left.sql} {op} {right.sql})")
