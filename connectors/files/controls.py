"""Controls: what a partner says of a file (counts, sums, a number, a day), held against the file.

Rule: controls are declared, and either all of them hold or the file is refused, with both numbers. A record
that is not fit is a record: it is counted, and a sum that it is missing from says so. Sums are exact. No
clock and no ledger here: today and the last number are given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from connectors.files.amounts import DecimalFormat, check_pattern
from connectors.files.records import DETAIL, HEADER, TRAILER

PART: Final = "value"  # the group of a name's pattern that is the value


def _place(field: str) -> str:
    kind, dot, column = field.partition(".")
    if not (kind and dot and column):
        raise ValueError("a field is named by its record type and its column: trailer.count")
    return field


def _pattern(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    if PART not in groups:
        raise ValueError(f"the pattern of a name has a group (?P<{PART}>…)")
    return pattern


FieldName = Annotated[str, AfterValidator(_place)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Count(_Strict):
    """A field that says how many records there are: details, or header and trailer too."""

    field: FieldName
    of: Literal["details", "records", "details_and_header", "details_and_trailer"] = "details"


class Sum(_Strict):
    """A field that says the sum of a column.

    ``digits`` keeps that many of the sum, the last ones: a hash total of numbers that are no amounts.
    """

    field: FieldName
    column: str
    format: DecimalFormat = DecimalFormat()
    total: DecimalFormat | None = None
    digits: int | None = Field(default=None, ge=1, le=38)

    @property
    def place(self) -> str:
        """The column, with its record type: ``detail`` where none is named."""
        return self.column if "." in self.column else f"{DETAIL}.{self.column}"


class _Found(_Strict):
    """A value from a field of the file, or from its name by a pattern."""

    field: FieldName | None = None
    name: Annotated[str, AfterValidator(_pattern)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.field is None) == (self.name is None):
            raise ValueError("either a field of the file or a pattern of its name")
        return self


class Sequence(_Found):
    """The file's number: one more than the last. After ``last`` comes ``first`` again.

    A file whose number leaves others out, or that comes after its time, is taken and its entry says so
    (``gap: alarm``), or it waits for nobody and is refused (``refuse``). The same number twice is refused.
    """

    gap: Literal["alarm", "refuse"] = "alarm"
    first: int = Field(default=1, ge=0)
    last: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.last is not None and self.last <= self.first:
            raise ValueError("the last number is above the first")
        return self


class Day(_Found):
    """The file's day: not in the future (but for ``ahead`` days), and not older than ``back`` days."""

    format: Annotated[str, AfterValidator(check_pattern)]
    back: int | None = Field(default=None, ge=0)
    ahead: int = Field(default=0, ge=0)


class Controls(_Strict):
    """What has to hold for a file.

    ``header`` and ``trailer`` say that there is exactly one, in its place; a control that reads one of its
    fields says so too.
    """

    header: bool = False
    trailer: bool = False
    count: Count | None = None
    sums: Mapping[str, Sum] = Field(default_factory=dict)
    sequence: Sequence | None = None
    day: Day | None = None

    @property
    def fields(self) -> frozenset[str]:
        """The single fields that controls read, by record type and column."""
        single = (self.count, self.sequence, self.day, *self.sums.values())
        return frozenset(one.field for one in single if one is not None and one.field is not None)

    @property
    def single(self) -> frozenset[str]:
        """The record types of which there is exactly one."""
        declared = {kind for kind, told in ((HEADER, self.header), (TRAILER, self.trailer)) if told}
        return frozenset(declared | {place.partition(".")[0] for place in self.fields})

    def missing(self, columns: Mapping[str, tuple[str, ...]]) -> list[str]:
        """The fields that controls name and that no record type has: a mistake of the template."""
        wanted = sorted(self.fields | {one.place for one in self.sums.values()})
        return [
            place
            for place in wanted
            for kind, _, column in (place.partition("."),)
            if column not in columns.get(kind, ())
        ]


Step = Literal["next", "same", "before", "gap"]


def next_in_sequence(last: int | None, this: int, declared: Sequence) -> tuple[Step, int]:
    """How a file's number follows the last one, and which number was to come.

    The first file that is ever seen may have any number. Of a sequence that comes round, the nearer half
    ahead is a gap, the other half is before.

    >>> next_in_sequence(999, 1, Sequence(field="header.n", last=999))
    ('next', 1)
    >>> next_in_sequence(7, 9, Sequence(field="header.n"))
    ('gap', 8)
    """
    if last is None:
        return "next", this
    if declared.last is None:
        step, expected = this - last, last + 1
    else:
        around = declared.last - declared.first + 1
        expected = declared.first if last >= declared.last else last + 1
        step = (this - last) % around
        step -= around if step > around // 2 and step != 1 else 0
    if step == 1:
        return "next", expected
    return ("same" if step == 0 else "before" if step < 0 else "gap"), expected


def early_or_late(found: date, today: date, declared: Day) -> str | None:
    """What is wrong with a file's day, with both days; None if nothing is."""
    if found > today + timedelta(days=declared.ahead):
        return f"the file is of {found}, after today, {today}"
    if declared.back is not None and (today - found).days > declared.back:
        return f"the file is of {found}, more than {declared.back} days before today, {today}"
    return None
