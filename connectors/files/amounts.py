"""Decimals and days as partners write them, exactly: what controls compare.

Rule: a text is a number of its declared format to the last character, or it is None; nothing is guessed,
nothing is rounded. This room knows no columns.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

EXACT: Final = Context(prec=2_000, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
_DIGITS: Final = 1_000  # of one number: beyond it no sum of them is exact
_LETTERS: Final = re.compile(r"(yyyy|yy|MM|dd|HH|mm|ss)|'([^']*)'|([^A-Za-z'])|(.)", re.DOTALL)
_CENTURY: Final = 2000  # of a year of two digits, as Spark reads it


class DecimalFormat(BaseModel):
    """How a partner writes decimals.

    ``implied`` is how many digits stand behind a point that is not written (``0001250`` is 12.50 with 2);
    ``sign: trailing`` puts the minus behind, as ledgers do. Spaces around a number are no part of it.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    decimal: Literal[".", ","] = "."
    thousands: Literal["", " ", "\u00a0", "\u202f", ".", ",", "'"] = ""
    implied: int = Field(default=0, ge=0, le=38)
    sign: Literal["leading", "trailing"] = "leading"

    @model_validator(mode="after")
    def _two_marks(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError("decimal and thousands are two different marks")
        return self


class Amounts:
    """A decimal format, ready to read.

    >>> Amounts(DecimalFormat(decimal=",", thousands=" ")).read(b"-1 234,50")
    Decimal('-1234.50')
    """

    def __init__(self, declared: DecimalFormat) -> None:
        point, group = re.escape(declared.decimal), re.escape(declared.thousands)
        whole = rf"(?:[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|[0-9]+)" if group else "[0-9]+"
        number = whole if declared.implied else rf"{whole}(?:{point}[0-9]+)?"
        signed = rf"({number})([+-]?)" if declared.sign == "trailing" else rf"([+-]?)({number})"
        self._fits = re.compile(rf"[ ]*{signed}[ ]*").fullmatch
        self._trailing, self._implied = declared.sign == "trailing", declared.implied
        self._point, self._group = declared.decimal, declared.thousands

    def read(self, text: bytes) -> Decimal | None:
        """The number that a text is; None if it is none."""
        if len(text) > _DIGITS:
            return None
        found = self._fits(text.decode())
        if found is None:
            return None
        sign, number = (found[2], found[1]) if self._trailing else (found[1], found[2])
        if self._group:
            number = number.replace(self._group, "")
        value = Decimal(sign + number.replace(self._point, "."))
        return value.scaleb(-self._implied, EXACT) if self._implied else value


def day(text: bytes, pattern: str) -> date | None:
    """The day that a text is in a pattern of ``yyyy``, ``yy``, ``MM`` and ``dd``; None if it is none.

    >>> day(b"02/11/2026", "dd/MM/yyyy"), day(b"2026-02-30", "yyyy-MM-dd")
    (datetime.date(2026, 11, 2), None)
    """
    found = re.fullmatch(_expression(pattern), text.decode(errors="replace"), re.ASCII)
    if found is None:
        return None
    parts = {name: int(digits) for name, digits in found.groupdict().items()}
    year = parts["yyyy"] if "yyyy" in parts else _CENTURY + parts["yy"]
    try:
        return date(year, parts["MM"], parts["dd"])
    except ValueError:
        return None


def check_pattern(pattern: str) -> str:
    """The pattern itself. Raises ValueError for one that names no day."""
    names = re.compile(_expression(pattern)).groupindex
    if not {"MM", "dd"} <= names.keys() or not {"yyyy", "yy"} & names.keys():
        raise ValueError(f"the pattern {pattern} names no day: yyyy, MM and dd are needed")
    return pattern


def _expression(pattern: str) -> str:
    built, named = "", set[str]()
    for letters, quoted, plain, wrong in _LETTERS.findall(pattern):
        if wrong or letters in named:
            raise ValueError(f"the pattern {pattern} has {letters or wrong} where it means nothing")
        if letters:
            named.add(letters)
            built += rf"(?P<{letters}>\d{{{len(letters)}}})"
        else:
            built += re.escape(quoted or plain)
    return built
