"""What a made-up value has to be: a column of a contract, and how a partner writes its type.

Rule: a value is the text that stands in the file. None is a field that has no value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal as Exact
from typing import Final

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

Value = str | None
Row = tuple[Value, ...]

NUMBERS: Final = (Int32, Int64, Float32, Float64, Decimal)
_PARTS: Final = {"yyyy": "%Y", "yy": "%y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "ss": "%S"}


@dataclass(frozen=True, slots=True)
class Formats:
    """How a partner writes numbers, days, instants and truth."""

    decimal: str = "."
    thousands: str = ""
    date: str = "yyyy-MM-dd"
    timestamp: str = "yyyy-MM-dd'T'HH:mm:ss"
    true: str = "true"
    false: str = "false"


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a contract.

    ``pattern`` is a regular expression that a text matches whole; ``one_of`` are all its values; ``low`` and
    ``high`` bound a number; ``length`` bounds a text. ``unique`` gives no value twice: it suits keys.
    """

    name: str
    type: Type = field(default_factory=String)
    nullable: bool = True
    formats: Formats = field(default_factory=Formats)
    pattern: str = ""
    one_of: tuple[str, ...] = ()
    low: Exact | None = None
    high: Exact | None = None
    length: int | None = None
    unique: bool = False

    @property
    def number(self) -> bool:
        """Whether the column is a number."""
        return isinstance(self.type, NUMBERS)

    @property
    def typed(self) -> bool:
        """Whether there are texts that have no value in the column's type."""
        return self.number or isinstance(self.type, (Boolean, Date, Timestamp, TimestampNtz))


def number(value: Exact, formats: Formats) -> str:
    """A number as the partner writes it.

    >>> number(Exact("-1234567.50"), Formats(decimal=",", thousands=" "))
    '-1 234 567,50'
    """
    written = f"{value:,f}" if formats.thousands else f"{value:f}"
    return written.translate({ord(","): formats.thousands, ord("."): formats.decimal})


def moment(value: datetime, pattern: str) -> str:
    """A day or an instant as the partner writes it.

    >>> moment(datetime(2026, 11, 2, 9, 5), "dd/MM/yyyy 'at' HH:mm")
    '02/11/2026 at 09:05'
    """
    written = ""
    for place, part in enumerate(pattern.split("'")):
        text = part
        if place % 2 == 0:
            for letters, directive in _PARTS.items():
                text = text.replace(letters, value.strftime(directive).rjust(len(letters), "0"))
        written += text
    return written
