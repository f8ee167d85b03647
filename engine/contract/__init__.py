"""What the texts of a partner's records mean: for each column a type, and how the partner writes it.

Rule: pure, plain and frozen; a plan holds it as it is. A text has exactly one value of its column's type, or
it has none: nothing is rounded, guessed or cut. Who makes SQL of it is ``lake.texts``; this room says which
texts there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from engine.schema import (
    Boolean,
    Date,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    Shape,
    String,
    Timestamp,
    TimestampNtz,
    Type,
    from_delta,
)

FILE: Final = "_file"
RECORD: Final = "_record"
PROBLEM: Final = "_problem"
RAW: Final = "_raw"
PLACE: Final[Shape] = {FILE: String(), RECORD: Int64()}
"""The columns that say where a record stood; they land beside those of the contract."""

Trim = Literal["none", "left", "right", "both"]
Sign = Literal["leading", "trailing"]
Overlap = Literal["refuse", "earlier", "later"]


@dataclass(frozen=True, slots=True)
class Numeric:
    """How a number is written.

    ``implied`` is how many digits stand behind a mark that is not written: ``0001250`` is 12.50 with 2.
    """

    decimal: str = "."
    thousands: str = ""
    sign: Sign = "leading"
    implied: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """How a day or an instant is written.

    ``zone`` is where the clock hangs that an instant without an offset was read from. In the hour that such
    a clock shows twice, ``overlap`` says which of the two is meant; ``refuse``: the text has no value.
    ``years_from`` is the first of the hundred years that two digits stand for.
    """

    pattern: str
    zone: str = ""
    overlap: Overlap = "refuse"
    years_from: int | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """The words for true and for false."""

    yes: tuple[str, ...] = ("true",)
    no: tuple[str, ...] = ("false",)


@dataclass(frozen=True, slots=True)
class Letters:
    """A text; ``length`` is the largest number of characters that it may have."""

    length: int | None = None


Format = Numeric | Moment | Truth | Letters


@dataclass(frozen=True, slots=True)
class ContractColumn:
    """One column: its name, its type as Delta writes it, and how the partner writes its values.

    ``blank`` are the texts that stand for no value, once the text is trimmed. Where there are none an empty
    text is a text: a value of a string, and no value of any other type.
    """

    name: str
    type: str = "string"
    nullable: bool = True
    format: Format = field(default_factory=Letters)
    blank: tuple[str, ...] = ()
    trim: Trim = "none"

    @property
    def kind(self) -> Type:
        """The type, as the engine knows it."""
        return from_delta(self.type)


Contract = Sequence[ContractColumn]

NUMBERS: Final = (Int32, Int64, Decimal, Float32, Float64)
MOMENTS: Final = (Date, TimestampNtz, Timestamp)


def format_of(type_: Type) -> type[Format] | None:
    """What says how values of a type are written; None for a type that no text stands for."""
    match type_:
        case Int32() | Int64() | Decimal() | Float32() | Float64():
            return Numeric
        case Date() | Timestamp() | TimestampNtz():
            return Moment
        case Boolean():
            return Truth
        case String():
            return Letters
        case _:
            return None


def typed(contract: Contract) -> Shape:
    """The columns of a contract's table: its own in their order, then where each record stood."""
    return {**{column.name: column.kind for column in contract}, **PLACE}


def from_plain(said: Mapping[str, Any]) -> ContractColumn:
    """A column out of a plan that was stored as JSON.

    >>> from dataclasses import asdict
    >>> column = ContractColumn("n", "decimal(5,2)", format=Numeric(decimal=","), blank=("",))
    >>> from_plain(asdict(column)) == column
    True
    """
    made: Any = format_of(from_delta(said["type"]))
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in said["format"].items()}
    return ContractColumn(**{**said, "format": made(**plain), "blank": tuple(said["blank"])})
