"""What can be wrong with a file: each kind as partners make it.

Rule: a defect of a row changes exactly that row, and one of a file the whole file. A kind that a contract or
a layout has no place for is refused, never left out in silence.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from decimal import Decimal as Exact
from enum import StrEnum
from typing import Final

from engine.fake.contract import Field, Row, number


class Defect(StrEnum):
    """The kinds of defects."""

    BAD_TYPE = "bad_type"  # a text that has no value in its column's type
    BAD_VALUE = "bad_value"  # one that the contract's pattern, list or bounds do not allow
    NULL = "null"  # no value where one has to be
    DUPLICATE = "duplicate"  # the last good row once more
    RAGGED = "ragged"  # a record that does not have its columns
    ENCODING = "encoding"  # a byte that is none of the encoding
    TRAILER = "trailer"  # a trailer that counts wrong
    TRUNCATED = "truncated"  # a file that ends too early


OF_ROWS: Final = (Defect.BAD_TYPE, Defect.BAD_VALUE, Defect.NULL, Defect.DUPLICATE)
OF_RECORDS: Final = (Defect.RAGGED, Defect.ENCODING)
OF_FILES: Final = (Defect.TRAILER, Defect.TRUNCATED)
_STRANGERS: Final = ("???", "~", "0", "x" * 40, "")  # no list and hardly a pattern has all of them
_NO_VALUES: Final = ("n/a", "##", "1O0", "32/13/2026", "-")


def candidates(defect: Defect, fields: Sequence[Field]) -> list[int]:
    """The columns that a defect of rows can be in."""
    return [index for index, one in enumerate(fields) if _can(defect, one)]


def _can(defect: Defect, of: Field) -> bool:
    match defect:
        case Defect.BAD_TYPE:
            return of.typed
        case Defect.BAD_VALUE:
            return bool(of.one_of or of.pattern) or (of.number and of.high is not None)
        case Defect.NULL:
            return not of.nullable
        case _:
            return True


def broken(defect: Defect, row: Row, before: Row, fields: Sequence[Field], chance: random.Random) -> Row:
    """A row with a defect in one of its columns."""
    if defect is Defect.DUPLICATE:
        return before
    index = chance.choice(candidates(defect, fields))
    return (*row[:index], _wrong(defect, fields[index], chance), *row[index + 1 :])


def _wrong(defect: Defect, of: Field, chance: random.Random) -> str | None:
    if defect is Defect.NULL:
        return None
    if defect is Defect.BAD_TYPE:
        return chance.choice(_NO_VALUES)
    if of.one_of or of.pattern:
        return next(text for text in _STRANGERS if not _allowed(text, of))
    return number(Exact(int(of.high or 0) + 1), of.formats)


def _allowed(text: str, of: Field) -> bool:
    return text in of.one_of if of.one_of else re.fullmatch(of.pattern, text) is not None
