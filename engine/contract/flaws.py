"""What is wrong with a column of a contract, told by the key that says it.

Rule: pure; a column without a flaw has SQL, and one meaning. A zone is one of this machine's list, where the
machine has one.
"""

from __future__ import annotations

import functools
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from engine.contract import ContractColumn, Letters, Moment, Numeric, Truth, patterns
from engine.schema import Decimal, Timestamp, Type

_YEARS: Final = range(1, 9_900)


@dataclass(frozen=True, slots=True)
class Flaw:
    """A flaw, the key of the column that it is about, and a hint."""

    key: str
    text: str
    hint: str = ""


def flaws(column: ContractColumn) -> Iterator[Flaw]:
    """Everything that is wrong with how a column's values are written."""
    match column.format:
        case Numeric() as format_:
            yield from _numeric(format_, column.kind)
        case Moment() as format_:
            yield from _moment(format_, column.kind)
        case Truth(yes=yes, no=no):
            twice = ({*yes} & {*no}) | ({*yes, *no} & {*column.blank})
            if twice:
                yield Flaw("no", "a word means one thing: true, false, or nothing")
        case Letters():
            pass
    if column.trim != "none" and any(word != _trimmed(word, column.trim) for word in column.blank):
        yield Flaw("blank", "such a text never comes: it has spaces where they are taken off")


def _trimmed(word: str, trim: str) -> str:
    left = word.lstrip(" ") if trim in ("left", "both") else word
    return left.rstrip(" ") if trim in ("right", "both") else left


def _numeric(format_: Numeric, type_: Type) -> Iterator[Flaw]:
    if format_.decimal == format_.thousands:
        yield Flaw("thousands", "decimal and thousands are two different marks")
    if format_.implied and not isinstance(type_, Decimal):
        yield Flaw("implied", "only a decimal has digits behind a mark that is not written")
    elif isinstance(type_, Decimal) and format_.implied > type_.scale:
        yield Flaw("implied", f"{format_.implied} digits behind the mark have no place in {type_.scale}")


def _moment(format_: Moment, type_: Type) -> Iterator[Flaw]:
    try:
        pattern = patterns.read(format_.pattern)
    except ValueError as error:
        yield Flaw("pattern", str(error), f"letters that mean something: {' '.join(patterns.LETTERS)}")
        return
    if found := patterns.flaw(pattern, type_):
        yield Flaw("pattern", found)
        return
    short = pattern["year"].letters == "yy"
    if short and format_.years_from is None:
        yield Flaw("pattern", "which century a year of two digits is of is not said", "years_from: 1970")
    if format_.years_from is not None and (not short or format_.years_from not in _YEARS):
        yield Flaw("years_from", f"the first year that yy stands for lies between 1 and {_YEARS[-1]}")
    yield from _zone(format_, type_, offset="offset" in pattern)


def _zone(format_: Moment, type_: Type, *, offset: bool) -> Iterator[Flaw]:
    instant = isinstance(type_, Timestamp)
    if instant and not offset and not format_.zone:
        yield Flaw("zone", "an instant needs a zone, or an offset in its pattern", "zone: Europe/Paris")
    if format_.zone and (offset or not instant):
        what = "a text with an offset" if offset else "a date, or a timestamp_ntz,"
        yield Flaw("zone", f"{what} has no other zone")
    elif format_.zone and _zones() and format_.zone not in _zones():
        yield Flaw("zone", "there is no such zone", "zone: Europe/Paris")
    if format_.overlap != "refuse" and not format_.zone:
        yield Flaw("overlap", "an hour comes twice only in a zone")


@functools.cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())
