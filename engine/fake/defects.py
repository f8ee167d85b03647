"""What can be wrong with a row or a file, how much of it is ordered, and what becomes of it.

Rule: a defect of a row changes exactly that row. A kind that a flow has no place for is refused, never left
out in silence. What is wrong with a record as such, or with a file, its connector knows.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal as Exact
from enum import StrEnum
from typing import Final

from engine.contract import Numeric, Truth
from engine.contract.making import Fate, Row
from engine.fake.contract import Field, number
from engine.schema import Decimal, String

AGAIN: Final = "again"
"""A file that is the same as one before it, under another name."""


class Defect(StrEnum):
    """The kinds of defects of a row's values."""

    BAD_TYPE = "bad_type"  # a text that has no value in its column's type
    BAD_VALUE = "bad_value"  # one that a check's pattern, list or bounds do not allow
    NULL = "null"  # no value where one has to be
    DUPLICATE = "duplicate"  # the last good row once more


@dataclass(frozen=True, slots=True)
class Amount:
    """How much: a share, or so many (of the rows of each file, or of the files)."""

    share: float = 0.0
    count: int = 0

    def drawn(self, of: int, chance: random.Random, taken: set[int]) -> set[int]:
        """So many numbers out of a range, none of them taken. Raises ValueError for too many."""
        if not self.count:
            return set()
        free = of - len(taken)
        if self.count > free:
            raise ValueError(f"{self.count} are ordered, and there are {free}")
        found: set[int] = set()
        while len(found) < self.count:
            found.add(chance.randrange(of))
            found -= taken
        return found


def amount(text: str) -> Amount:
    """What an order says.

    >>> amount("2%"), amount("3"), amount("0.5")
    (Amount(share=0.02, count=0), Amount(share=0.0, count=3), Amount(share=0.5, count=0))
    """
    if text.isdecimal():
        return Amount(count=int(text))
    share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= share <= 1:
        raise ValueError(f"a share is from 0 to 100 %, not {text}")
    return Amount(share=share)


@dataclass(frozen=True, slots=True)
class Broken:
    """What is wrong with one row: the kind, its column if it has one, and what becomes of it."""

    defect: str
    column: str
    fate: Fate


_STRANGERS: Final = ("???", "~", "0", "x" * 40, "q", "")  # no list and hardly a pattern has all of them
_NO_VALUES: Final = ("n/a", "##", "1O0", "32/13/2026", "#")


def candidates(defect: Defect, fields: Sequence[Field]) -> list[int]:
    """The columns that a defect of rows can be in."""
    return [index for index, one in enumerate(fields) if _can(defect, one)]


def _can(defect: Defect, of: Field) -> bool:
    match defect:
        case Defect.BAD_TYPE:
            return of.typed and bool(_misfits(of))
        case Defect.BAD_VALUE:
            return bool(of.check) and not of.key and _stranger(of) is not None
        case Defect.NULL:
            return of.can_be_nothing and bool(of.key or of.needs or not of.column.nullable)
        case Defect.DUPLICATE:
            return True


def broken(
    defect: Defect, row: Row, before: Row, fields: Sequence[Field], chance: random.Random
) -> tuple[Row, Broken]:
    """A row with a defect in one of its columns, and what becomes of it."""
    if defect is Defect.DUPLICATE:
        return before, Broken(defect.value, "", Fate("accepted"))
    index = chance.choice(candidates(defect, fields))
    of = fields[index]
    match defect:
        case Defect.NULL:
            text, code = of.nothing, _null(of)
        case Defect.BAD_TYPE:
            text, code = chance.choice(_misfits(of)), "unfit"
        case _:
            text, code = _stranger(of), f"check:{of.check}"
    fate = Fate("quarantined", code)
    return (*row[:index], text, *row[index + 1 :]), Broken(defect.value, of.name, fate)


def _null(of: Field) -> str:
    if of.key:
        return "key-null" if of.nothing else "key.empty"
    return "null" if not of.column.nullable else f"check:{of.needs}"


def _misfits(of: Field) -> list[str]:
    how = of.column.format
    words = {*of.column.blank, *(how.yes + how.no if isinstance(how, Truth) else ())}
    width = of.room.width
    fit = [one for one in _NO_VALUES if (width is None or len(one) <= width) and one not in words]
    return [one for one in fit if not set(one) & set(of.room.never)]


def _stranger(of: Field) -> str | None:
    """A text of the column's type that its check does not allow."""
    if of.number and isinstance(of.column.format, Numeric):
        if of.high is None or of.one_of or of.pattern:
            return None
        wrong = of.high.to_integral_value() + 1
        room = of.type.precision - of.type.scale if isinstance(of.type, Decimal) else 9
        text = number(Exact(wrong), of.column.format)
        return text if len(str(wrong)) <= room and not of.room.fill else None
    if not isinstance(of.type, String) or not (of.one_of or of.pattern):
        return None
    most = of.widest
    texts = (text for text in _STRANGERS if most is None or len(text) <= most)
    return next((text for text in texts if text not in of.column.blank and not _allowed(text, of)), None)


def _allowed(text: str, of: Field) -> bool:
    if text and set(text) & set(of.room.never):
        return True
    return text in of.one_of if of.one_of else re.fullmatch(of.pattern, text) is not None
