"""The functions that an expression may call: a closed list.

Rule: what stands here gives the same value for the same row wherever and whenever it runs, cannot fail while
it runs, and reads nothing but its arguments. So there is no clock, no chance, no user, no file and no way
into Java, and nothing that makes a large value of a small one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Family(Enum):
    """What a value is, as far as a check has to know."""

    WHOLE = "a whole number"
    EXACT = "an exact number"
    FLOAT = "a floating-point number"
    TEXT = "text"
    TRUTH = "a condition"
    DATE = "a date"
    TIMESTAMP = "a timestamp"
    BINARY = "bytes"
    NULL = "NULL"


NUMBERS: Final = frozenset({Family.WHOLE, Family.EXACT, Family.FLOAT})
TEXTS: Final = frozenset({Family.TEXT})
TIMES: Final = frozenset({Family.DATE, Family.TIMESTAMP})
INSTANTS: Final = frozenset({Family.TIMESTAMP})
WHOLES: Final = frozenset({Family.WHOLE})
ORDERED: Final = NUMBERS | TEXTS | TIMES
ANY: Final = frozenset(Family)


@dataclass(frozen=True, slots=True)
class Function:
    """One function. ``takes`` says what each argument may be, the last of them also for those that follow.

    ``gives`` is None where the result is what the arguments are, which then are all of one kind.
    """

    takes: tuple[frozenset[Family], ...]
    gives: Family | None
    low: int  # arguments
    high: int
    doc: str


def _of(*takes: frozenset[Family], gives: Family | None, doc: str, low: int = 0, high: int = 0) -> Function:
    return Function(takes, gives, low or len(takes), high or len(takes), doc)


_MANY: Final = 20
FUNCTIONS: Final[Mapping[str, Function]] = {
    # text
    "length": _of(TEXTS | {Family.BINARY}, gives=Family.WHOLE, doc="characters of a text, bytes of bytes"),
    "lower": _of(TEXTS, gives=Family.TEXT, doc="in small letters"),
    "upper": _of(TEXTS, gives=Family.TEXT, doc="in capitals"),
    "trim": _of(TEXTS, gives=Family.TEXT, doc="without spaces at both ends"),
    "ltrim": _of(TEXTS, gives=Family.TEXT, doc="without spaces in front"),
    "rtrim": _of(TEXTS, gives=Family.TEXT, doc="without spaces behind"),
    "left": _of(TEXTS, WHOLES, gives=Family.TEXT, doc="the first n characters"),
    "right": _of(TEXTS, WHOLES, gives=Family.TEXT, doc="the last n characters"),
    "substring": _of(
        TEXTS, WHOLES, WHOLES, gives=Family.TEXT, low=2, doc="from character n (the first is 1), m of them"
    ),
    "replace": _of(TEXTS, TEXTS, TEXTS, gives=Family.TEXT, doc="one text for another, everywhere"),
    "position": _of(
        TEXTS, TEXTS, gives=Family.WHOLE, doc="where the first text begins in the second; 0: nowhere"
    ),
    "starts_with": _of(TEXTS, TEXTS, gives=Family.TRUTH, doc="whether the second text begins the first"),
    "ends_with": _of(TEXTS, TEXTS, gives=Family.TRUTH, doc="whether the second text ends the first"),
    "contains": _of(TEXTS, TEXTS, gives=Family.TRUTH, doc="whether the second text stands in the first"),
    "matches": _of(
        TEXTS, TEXTS, gives=Family.TRUTH, doc="whether the whole text matches a regular expression, a literal"
    ),
    # numbers
    "abs": _of(NUMBERS, gives=None, doc="without its sign"),
    "sign": _of(NUMBERS, gives=Family.FLOAT, doc="-1, 0 or 1"),
    "round": _of(
        NUMBERS,
        WHOLES,
        gives=None,
        low=1,
        doc="to n places after the point (0 to 18, a literal), half away from 0",
    ),
    "floor": _of(NUMBERS, gives=Family.EXACT, doc="the next whole number below"),
    "ceil": _of(NUMBERS, gives=Family.EXACT, doc="the next whole number above"),
    # days and instants, in UTC
    "date": _of(TIMES, gives=Family.DATE, doc="the day of an instant, in UTC"),
    "year": _of(TIMES, gives=Family.WHOLE, doc="the year"),
    "quarter": _of(TIMES, gives=Family.WHOLE, doc="1 to 4"),
    "month": _of(TIMES, gives=Family.WHOLE, doc="1 to 12"),
    "day": _of(TIMES, gives=Family.WHOLE, doc="of the month, 1 to 31"),
    "day_of_week": _of(TIMES, gives=Family.WHOLE, doc="1 (Sunday) to 7"),
    "day_of_year": _of(TIMES, gives=Family.WHOLE, doc="1 to 366"),
    "hour": _of(INSTANTS, gives=Family.WHOLE, doc="0 to 23, in UTC"),
    "minute": _of(INSTANTS, gives=Family.WHOLE, doc="0 to 59"),
    "second": _of(INSTANTS, gives=Family.WHOLE, doc="0 to 59"),
    "days_between": _of(TIMES, TIMES, gives=Family.WHOLE, doc="days from the first to the second"),
    "add_days": _of(frozenset({Family.DATE}), WHOLES, gives=Family.DATE, doc="a date so many days later"),
    # of any kind
    "coalesce": _of(ANY, ANY, gives=None, high=_MANY, doc="the first value that is not NULL"),
    "nullif": _of(ORDERED, ORDERED, gives=None, doc="NULL where both are equal, else the first"),
    "greatest": _of(ORDERED, ORDERED, gives=None, high=_MANY, doc="the greatest value that is not NULL"),
    "least": _of(ORDERED, ORDERED, gives=None, high=_MANY, doc="the least value that is not NULL"),
}
