"""What a check is, and what becomes of a row that does not meet it.

A check has a name, one rule, and what happens to a row that fails: it lands and is counted (``warn``), does
not land (``drop``), waits in quarantine (``quarantine``), or stops its flow (``fail``). A check fails only
where it is FALSE: NULL passes, and ``not_null`` is a rule of its own.

Rule: pure, and the only place that knows the rules and the expressions. A check is parsed when files are
read, bound to columns when a table's schema is known, and run by nobody here: ``lake.compile`` makes SQL of
what is bound, every name and literal written anew, so that no text of an author reaches Spark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

Constant = str | int | float
"""A value that an author wrote: a number, or text (which may hold a number of more digits than a float)."""

CHECKS_MAX: Final = 50
"""Of one flow. Which of them a row fails is a number of so many bits."""


class OnFail(StrEnum):
    """What becomes of a row that fails a check."""

    WARN = "warn"
    DROP = "drop"
    QUARANTINE = "quarantine"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class NotNull:
    """Each of the columns has a value."""

    columns: tuple[str, ...]
    kind: Literal["not_null"] = "not_null"


@dataclass(frozen=True, slots=True)
class Range:
    """Each of the columns lies between two values, themselves included; None: no bound on that side."""

    columns: tuple[str, ...]
    min: Constant | None
    max: Constant | None
    kind: Literal["range"] = "range"


@dataclass(frozen=True, slots=True)
class Length:
    """The text of each column has so many characters (bytes, where it is binary)."""

    columns: tuple[str, ...]
    min: int
    max: int | None
    kind: Literal["length"] = "length"


@dataclass(frozen=True, slots=True)
class Pattern:
    """The whole text of each column matches a regular expression."""

    columns: tuple[str, ...]
    pattern: str
    kind: Literal["pattern"] = "pattern"


@dataclass(frozen=True, slots=True)
class OneOf:
    """Each of the columns is one of some values."""

    columns: tuple[str, ...]
    values: tuple[Constant, ...]
    kind: Literal["one_of"] = "one_of"


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that must not be FALSE."""

    text: str
    kind: Literal["expr"] = "expr"


Rule = NotNull | Range | Length | Pattern | OneOf | Expression
RULES: Final[Mapping[str, Callable[..., Rule]]] = {
    "not_null": NotNull,
    "range": Range,
    "length": Length,
    "pattern": Pattern,
    "one_of": OneOf,
    "expr": Expression,
}
"""The rules, by the key that they are written with."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check as a plan holds it."""

    name: str
    on_fail: OnFail
    rule: Rule


def from_plain(said: Mapping[str, Any]) -> Check:
    """A check out of a plan that was stored as JSON.

    >>> from dataclasses import asdict
    >>> check = Check("c", OnFail.WARN, OneOf(("a",), (1, "x")))
    >>> from_plain(asdict(check)) == check
    True
    """
    rule: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in said["rule"].items()}
    return Check(said["name"], OnFail(said["on_fail"]), RULES[rule["kind"]](**rule))


class Misfit(ValueError):
    """What is wrong with a check: ``at`` is the character of its expression, from 0 (None: no expression).

    ``name`` is a name that is not known, and ``known`` are those that are.
    """

    def __init__(
        self, text: str, *, at: int | None = None, hint: str = "", name: str = "", known: tuple[str, ...] = ()
    ) -> None:
        super().__init__(text)
        self.text, self.at, self.hint, self.name, self.known = text, at, hint, name, known
