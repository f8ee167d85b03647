"""Names of made-up files: such as a flow's pattern takes, with the number and the day that controls read.

Rule: a name is tried, and never assumed: whoever reads names has the last word.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import date
from fnmatch import fnmatchcase
from typing import Final

from connectors.files.amounts import day as read_day
from connectors.files.controls import PART
from connectors.files.feeds import Feed

_HOLES: Final = re.compile(r"\*+|\?|\[!?+\]?+[^\]]*\]")
_WIDTHS: Final = (4, 1, 2, 3, 5, 6, 7, 8)
_PARTS: Final = {"yyyy": "%Y", "yy": "%y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}
_LETTERS: Final = re.compile(r"yyyy|yy|MM|dd|HH|mm|ss|'[^']*'")
_CLASS: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-."


def written_day(day: date, pattern: str) -> str:
    """A day as a pattern has it.

    >>> written_day(date(2026, 11, 2), "dd/MM/yy 'at' HH")
    '02/11/26 at 00'
    """
    return _LETTERS.sub(
        lambda found: day.strftime(_PARTS[found[0]]) if found[0] in _PARTS else found[0].strip("'"), pattern
    )


def name_of(feed: Feed, number: int, day: date) -> str:
    """A name. Raises ValueError where none is found that says what it should."""
    for name in _names(feed, number, day):
        if fnmatchcase(name, feed.pattern) and not name.startswith(".") and _says(feed, name, number, day):
            return name
    raise ValueError(
        f"no name of file {number} of {day} was found that fits {feed.pattern} and what is read in names"
    )


def _says(feed: Feed, name: str, number: int, day: date) -> bool:
    controls = feed.controls
    if controls.sequence is not None and controls.sequence.name is not None:
        found = re.search(controls.sequence.name, name)
        if found is None or not found[PART].isdecimal() or int(found[PART]) != number:
            return False
    if controls.day is not None and controls.day.name is not None:
        found = re.search(controls.day.name, name)
        if found is None or read_day(found[PART].encode(), controls.day.format) != day:
            return False
    return True


def _names(feed: Feed, number: int, day: date) -> Iterator[str]:
    holes = _HOLES.findall(feed.pattern)
    around = _HOLES.split(feed.pattern)
    form = feed.controls.day.format if feed.controls.day is not None else "yyyyMMdd"
    days = [written_day(day, form), written_day(day, "yyyyMMdd")]
    numbers = [f"{number:0{width}}" for width in _WIDTHS]
    stars = [f"{d}_{n}" for d in days for n in numbers] + [f"{n}_{d}" for d in days for n in numbers]
    stars += [*numbers, *(f"{d}{n}" for d in days for n in numbers), *days, ""]
    single = sum(hole == "?" for hole in holes)
    digits = iter(f"{number:0{single}}"[-single:] if single else "")
    ways: list[list[str]] = []
    for hole in holes:
        if hole.startswith("*"):
            ways.append(stars if len(ways) == 0 or "*" not in holes[: len(ways)] else [*numbers, *days, ""])
        elif hole == "?":
            ways.append([next(digits)])
        else:
            ways.append([c for c in _CLASS if fnmatchcase(c, hole)][:1] or [""])
    for chosen in itertools.islice(itertools.product(*ways), 2_000):
        yield "".join(part for pair in itertools.zip_longest(around, chosen, fillvalue="") for part in pair)
