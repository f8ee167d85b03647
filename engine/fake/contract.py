"""What a made-up value has to be: a column of a contract, what checks say of it, and where it has to fit.

Rule: a value is the text that stands in the file. None is a field that has no value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal as Exact
from typing import Final
from zoneinfo import ZoneInfo

from engine.checks import Check, Expression, Length, NotNull, OneOf, OnFail, Pattern, Range
from engine.contract import ContractColumn, Letters, Moment, Numeric, Truth, patterns
from engine.contract.making import Room, Value
from engine.schema import (
    Boolean,
    Date,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    Timestamp,
    TimestampNtz,
    Type,
)

ANY: Final = Room()
NUMBERS: Final = (Int32, Int64, Float32, Float64, Decimal)
MOMENTS: Final = (Date, Timestamp, TimestampNtz)


@dataclass(frozen=True, slots=True)
class Field:
    """One column; ``looks`` is what its texts look like, which a text may have a reason for.

    ``pattern`` is a regular expression that a text matches whole; ``one_of`` are all its values; ``low`` and
    ``high`` bound a number, ``shortest`` and ``length`` a text. ``check`` is the name of the one check that
    says so, if its rows wait in quarantine; ``checked``: there is one at least. ``needed``: a row without a
    value waits, by the check ``needs`` where one says so. ``key``: no value comes twice.
    """

    column: ContractColumn
    looks: ContractColumn
    room: Room = ANY
    pattern: str = ""
    one_of: tuple[str, ...] = ()
    low: Exact | None = None
    high: Exact | None = None
    length: int | None = None
    shortest: int = 0
    check: str = ""
    checked: bool = False
    needed: bool = False
    needs: str = ""
    key: bool = False

    @property
    def name(self) -> str:
        """The column's name."""
        return self.column.name

    @property
    def type(self) -> Type:
        """The type that its texts look like."""
        return self.looks.kind

    @property
    def number(self) -> bool:
        """Whether its texts are numbers."""
        return isinstance(self.type, NUMBERS)

    @property
    def typed(self) -> bool:
        """Whether there are texts that have no value in the column's type."""
        return isinstance(self.column.kind, (*NUMBERS, *MOMENTS, Boolean))

    @property
    def can_be_nothing(self) -> bool:
        """Whether there is a way to say that there is no value."""
        return self.room.empty or bool(self.column.blank)

    @property
    def nothing(self) -> Value:
        """What stands there when there is no value."""
        return None if self.room.empty or not self.column.blank else self.column.blank[0]

    @property
    def widest(self) -> int | None:
        """The most characters of its text."""
        bounds = [self.room.width, self.length]
        if isinstance(self.column.format, Letters):
            bounds.append(self.column.format.length)
        return min((bound for bound in bounds if bound is not None), default=None)


def fields_of(
    contract: Iterable[ContractColumn],
    rooms: Mapping[str, Room],
    *,
    keys: Sequence[str] = (),
    checks: Sequence[Check] = (),
) -> tuple[Field, ...]:
    """The columns that there is room for, in that order; what no contract names is text."""
    named = {column.name: column for column in contract}
    made = {}
    for name, room in rooms.items():
        column = looks = named.get(name) or ContractColumn(name)
        if room.amount is not None and isinstance(column.kind, String):
            looks = ContractColumn(name, "decimal(12,2)", format=Numeric(**room.amount))
        key = name in keys
        made[name] = Field(column, looks, room, key=key, needed=key or not column.nullable)
    for check in checks:
        for name in getattr(check.rule, "columns", ()):
            if name in made:
                made[name] = _checked(made[name], check)
    return tuple(made.values())


def _checked(one: Field, check: Check) -> Field:
    """The column with what a check says of it; which check a bad value fails is known where it is one."""
    named = check.name if check.on_fail is OnFail.QUARANTINE else ""
    told = replace(one, check="" if one.checked else named, checked=True)
    match check.rule:
        case NotNull():
            return replace(one, needed=True, needs=named)
        case Range(min=low, max=high) if one.number:
            bounds = [None if bound is None else Exact(str(bound)) for bound in (low, high)]
            return replace(told, low=bounds[0], high=bounds[1])
        case Length(min=low, max=high):
            return replace(told, shortest=low, length=high)
        case Pattern(pattern=pattern):
            return replace(told, pattern=pattern)
        case OneOf(values=values):
            return replace(told, one_of=tuple(map(str, values)))
        case _:
            return one


def beyond(checks: Iterable[Check], fields: Sequence[Field]) -> list[str]:
    """The checks that made-up values know nothing of: expressions, and bounds of what is no number."""
    numbers = {one.name for one in fields if one.number}
    return [
        check.name
        for check in checks
        if isinstance(check.rule, Expression)
        or (isinstance(check.rule, Range) and not numbers.issuperset(check.rule.columns))
    ]


def number(value: Exact, how: Numeric) -> str:
    """A number as the partner writes it.

    >>> number(Exact("-1234567.50"), Numeric(decimal=",", thousands=" ", sign="trailing"))
    '1 234 567,50-'
    >>> number(Exact("12.50"), Numeric(implied=2))
    '1250'
    """
    plain = abs(value).scaleb(how.implied)
    if how.implied:
        plain = plain.to_integral_value()
    written = f"{plain:,f}" if how.thousands else f"{plain:f}"
    text = written.translate({ord(","): how.thousands, ord("."): how.decimal})
    sign = "-" if value < 0 else ""
    return text + sign if how.sign == "trailing" else sign + text


def truth(value: bool, how: Truth) -> str:  # noqa: FBT001 - it is what is written
    """A word for true or for false."""
    return how.yes[0] if value else how.no[0]


def moment(value: datetime, how: Moment) -> str:
    """A day or an instant as the partner writes it: in the zone of the clock that it was read from.

    >>> from datetime import UTC
    >>> moment(datetime(2026, 11, 2, 9, 5, tzinfo=UTC), Moment("d/MM/yy 'at' HH:mm", "Europe/Paris"))
    '2/11/26 at 10:05'
    """
    seen = value.astimezone(ZoneInfo(how.zone)) if how.zone else value
    text, rest = "", how.pattern
    for part in patterns.read(how.pattern).parts:
        before, _, rest = _split(rest, part.letters)
        text += before + _part(part.letters, seen)
    return text + _plain(rest)


def _split(pattern: str, letters: str) -> tuple[str, str, str]:
    """What stands before some letters that mean something, outside of quotes."""
    at, quoted = 0, False
    while quoted or not pattern.startswith(letters, at):
        quoted ^= pattern[at] == "'"
        at += 1
    return _plain(pattern[:at]), letters, pattern[at + len(letters) :]


def _plain(text: str) -> str:
    return text.replace("''", "\0").replace("'", "").replace("\0", "'")


def _part(letters: str, at: datetime) -> str:
    match letters[0]:
        case "y":
            return f"{at.year:04}"[-len(letters) :]
        case "S":
            return f"{at.microsecond:06}"[: len(letters)]
        case "X":
            return "Z"
        case letter:
            names = {"M": "month", "d": "day", "H": "hour", "m": "minute", "s": "second"}
            return f"{getattr(at, names[letter]):0{len(letters)}}"
