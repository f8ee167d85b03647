"""Shapes: what may stand at a place, as data.

Rule: a closed set of shapes. ``reader`` holds a tree against one, ``editor`` writes one down as JSON Schema;
nothing else knows what a file may hold. This room reads nothing and knows no kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from engine.template.mistakes import Code, Place

DEFAULT: Final = Place("default")
UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
UNITS_BYTES: Final = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


class Absence(Enum):
    """What it means that a key is not there."""

    REQUIRED = "required"
    ABSENT = "absent"  # it stays away: whoever reads it knows what that means


REQUIRED: Final = Absence.REQUIRED
ABSENT: Final = Absence.ABSENT


@dataclass(frozen=True, slots=True)
class Text:
    """Text; ``what`` says in a mistake what was expected, with an example."""

    what: str = "text"
    pattern: str = ""
    low: int = 1
    high: int = 1_000
    signs: bool = False  # control characters may stand in it: many a delimiter is a tab


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number."""

    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """Any finite number."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words; ``later`` holds words that are known and not honoured yet, with the reason."""

    values: tuple[str, ...]
    later: Mapping[str, str] = field(default_factory=dict)
    others: bool = False  # a word that is none of them is told by whoever knows more of it


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration such as ``10s``; read as milliseconds; ``whole``: of whole seconds."""

    low: int = 0
    high: int = 3650 * UNITS_MS["d"]
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Size:
    """A size such as ``8MiB``; read as bytes."""

    low: int = 0
    high: int = 2**50


@dataclass(frozen=True, slots=True)
class Secret:
    """A reference to a secret; a literal is refused without being shown (I8)."""


@dataclass(frozen=True, slots=True)
class Language:
    """Text in a language of its own: ``check`` raises Misfit for text that is not in it."""

    what: str
    check: Callable[[str], object]
    high: int


@dataclass(frozen=True, slots=True)
class Constant:
    """A value to compare with: text, or a number that is exact."""


@dataclass(frozen=True, slots=True)
class Anything:
    """Any value: whoever takes it reads it with a shape of its own."""


@dataclass(frozen=True, slots=True)
class Maybe:
    """A value, or null: nothing."""

    of: Shape


@dataclass(frozen=True, slots=True)
class Many:
    """A list."""

    of: Shape
    low: int = 0
    high: int = 10_000


@dataclass(frozen=True, slots=True)
class Named:
    """A map of named things; beside them may stand some keys of its ``own``."""

    of: Shape
    key: Text
    low: int = 0
    own: Mapping[str, Key] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of ``Fields``: its shape, its default and what it means."""

    shape: Shape
    doc: str
    default: Any = REQUIRED
    tokens: bool = False  # below this key tokens still stand when it is read


@dataclass(frozen=True, slots=True)
class Fields:
    """A map of known keys; ``later`` as in ``Choice``.

    ``elsewhere``: instead of them may stand ``file``, the path of a file of the project that holds them, or
    the path alone. ``short`` is the key that is meant where there is a word and no map.
    """

    keys: Mapping[str, Key]
    later: Mapping[str, str] = field(default_factory=dict)
    elsewhere: bool = False
    short: str = ""


@dataclass(frozen=True, slots=True)
class Variant:
    """A map whose key ``by`` says which keys it has; ``what`` names the thing that it chooses."""

    by: str
    of: Mapping[str, Fields]
    what: str
    unknown: Code = Code.BAD_VALUE


@dataclass(frozen=True, slots=True)
class Chosen:
    """A map that has exactly one of some keys, which says what else it may hold: ``what`` is such a thing."""

    of: Mapping[str, Fields]
    what: str


FILE: Final = "file"
PATH: Final = Text(
    "the path of a file in the project, such as layouts/orders.yaml",
    r"(?:(?!\.)[^/\\\x00-\x1f\x7f]+/)*(?!\.)[^/\\\x00-\x1f\x7f]+\.yaml",
)

Shape = (
    Text
    | Whole
    | Number
    | Flag
    | Choice
    | Duration
    | Size
    | Secret
    | Language
    | Constant
    | Anything
    | Maybe
    | Many
    | Named
    | Fields
    | Variant
    | Chosen
)


def spell(value: int, units: Mapping[str, int]) -> str:
    """A measure in its largest unit that is exact.

    >>> spell(90_000, UNITS_MS), spell(8 * 2**20, UNITS_BYTES), spell(0, UNITS_MS)
    ('90s', '8MiB', '0ms')
    """
    fit = [(unit, size) for unit, size in units.items() if value % size == 0 and value >= size]
    unit, size = fit[-1] if fit else next(iter(units.items()))
    return f"{value // size}{unit}"
