"""Checks that calculate: what they say by whole numbers is what they say by decimals, value by value."""

from __future__ import annotations

from fractions import Fraction
from math import trunc
from random import Random

import pytest

from engine.checks.tree import Arithmetic, ArithmeticOp, Column, Comparison, Number, Tree
from engine.lake import scaled
from engine.lake.compile import column
from engine.schema import Decimal, Int32, Int64, Shape, Type
from tests.support.landing import Landing

SHAPE: Shape = {"weight": Decimal(6, 3), "pieces": Int32()}
VALUES = {"weight": Fraction("-0.5"), "pieces": Fraction(7)}


def _tree(chance: Random, depth: int) -> tuple[Tree, Fraction | None]:
    """Arithmetic with its value; None where a remainder has none."""
    if not depth or chance.random() < 0.2:
        digits = f"{chance.randint(0, 120)}" + chance.choice(("", ".5", ".25", ".001"))
        return chance.choice(
            (
                (Column("weight"), VALUES["weight"]),
                (Column("pieces"), VALUES["pieces"]),
                (Number(digits), Fraction(digits)),
            )
        )
    op: ArithmeticOp = chance.choice(("+", "-", "*", "%", "%"))
    (left, a), (right, b) = _tree(chance, depth - 1), _tree(chance, depth - 1)
    made = Arithmetic(op, left, right)
    if a is None or b is None or (op == "%" and not b):
        return made, None
    calculated = {
        "+": lambda: a + b,
        "-": lambda: a - b,
        "*": lambda: a * b,
        "%": lambda: a - b * trunc(a / b),
    }
    return made, calculated[op]()


@pytest.mark.spark
@pytest.mark.stack
def test_i5_arithmetic_of_whole_numbers_says_what_that_of_decimals_says(landing: Landing) -> None:
    chance = Random(5)  # noqa: S311 - the same trees in each run
    texts: list[str] = []
    expected: list[bool | None] = []
    while len(texts) < 150:
        (left, a), (right, b) = _tree(chance, 3), _tree(chance, 2)
        found = scaled.compared(Comparison("<", left, right), SHAPE, column)
        if found is not None:
            texts.append(" < ".join(found))
            expected.append(None if a is None or b is None else a < b)
    assert {None, True, False} == {*expected}
    image = "named_struct('weight', cast(-0.5 AS decimal(6, 3)), 'pieces', 7)"
    frame = landing.spark.range(1, 2, 1, 1).selectExpr(f"if(id > 0, {image}, NULL) AS i")
    rows = frame.selectExpr(*(f"{text} AS c{n}" for n, text in enumerate(texts))).collect()
    assert [*rows[0]] == expected


@pytest.mark.parametrize(
    ("type_", "right"),
    [
        (Int64(), Arithmetic("%", Column("c"), Number("0.5"))),  # as many digits as a bigint has
        (Decimal(19, 2), Arithmetic("%", Column("c"), Number("1"))),
        (Decimal(18, 2), Arithmetic("*", Column("c"), Number("10"))),
        (Decimal(10, 2), Arithmetic("/", Column("c"), Number("3"))),
        (Decimal(10, 0), Arithmetic("+", Column("c"), Number("3"))),  # whole as it is
        (Decimal(10, 2), Column("c")),  # nothing to calculate
    ],
)
def test_i5_what_is_not_sure_to_be_exact_is_left_to_decimals(type_: Type, right: Tree) -> None:
    assert scaled.compared(Comparison("=", Number("0"), right), {"c": type_}, str) is None
