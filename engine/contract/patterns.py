"""Patterns of days and instants: a strict few of Java's letters, each a fixed thing.

Rule: a pattern is an expression that whole texts match, and the place of each part in it. What two readers
could read differently is refused when the pattern is read: an optional part, a part of one or two digits that
another digit follows, a name of a month.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from engine.schema import Date, Timestamp, Type

_TOKENS: Final = re.compile(r"([A-Za-z])\1*|'((?:[^']|'')*)'|([^A-Za-z'])|(.)", re.DOTALL)
_OFFSET: Final = "(?:Z|[+-](?:0[0-9]|1[0-7]){0}[0-5][0-9]|[+-]18{0}00)"
LETTERS: Final = {
    "yyyy": ("year", 4, "(?!0000)[0-9]{4}"),
    "yy": ("year", 2, "[0-9]{2}"),
    "MM": ("month", 2, "(?:0[1-9]|1[0-2])"),
    "M": ("month", None, "(?:0?[1-9]|1[0-2])"),
    "dd": ("day", 2, "(?:0[1-9]|[12][0-9]|3[01])"),
    "d": ("day", None, "(?:0?[1-9]|[12][0-9]|3[01])"),
    "HH": ("hour", 2, "(?:[01][0-9]|2[0-3])"),
    "H": ("hour", None, "(?:[01]?[0-9]|2[0-3])"),
    "mm": ("minute", 2, "[0-5][0-9]"),
    "ss": ("second", 2, "[0-5][0-9]"),
    **{"S" * n: ("fraction", n, f"[0-9]{{{n}}}") for n in range(1, 7)},
    "XXX": ("offset", None, _OFFSET.format(":")),
    "XX": ("offset", None, _OFFSET.format("")),
}
"""The parts that a pattern may have: what each is, its width (None: it varies), and its texts."""
_DAY: Final = frozenset({"year", "month", "day"})
_CLOCK: Final = frozenset({"hour", "minute"})
_RESERVED: Final = "[]{}#"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a pattern: ``at`` is the place of its first character, from 1; None: place or width vary."""

    kind: str
    letters: str
    group: int
    at: int | None


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that has been read: ``expression`` matches its texts, each part a group of it."""

    text: str
    expression: str
    parts: tuple[Part, ...]

    def __getitem__(self, kind: str) -> Part:
        return next(part for part in self.parts if part.kind == kind)

    def __contains__(self, kind: str) -> bool:
        return any(part.kind == kind for part in self.parts)


def read(text: str) -> Pattern:
    """A pattern, taken apart. Raises ValueError for one that is not of the few, or says a thing twice.

    >>> [part.at for part in read("dd/MM/yyyy").parts], [part.at for part in read("yyyy-d-MM").parts]
    ([1, 4, 7], [1, None, None])
    """
    at: int | None = 1
    parts: list[Part] = []
    expression = ""
    for token in _tokens(text):
        known = LETTERS.get(token) if token.isalpha() else None
        if known is None:
            literal = token if len(token) == 1 else token[1:-1].replace("''", "'")
            expression += re.escape(literal)
            at = None if at is None else at + len(literal)
            continue
        kind, width, texts = known
        if kind in {part.kind for part in parts}:
            raise ValueError(f"the pattern says the {kind} twice")
        fixed = width is not None or kind == "offset"  # an offset is what is left of the text
        parts.append(Part(kind, token, len(parts) + 1, at if fixed else None))
        expression += f"({texts})"
        at = None if at is None or width is None else at + width
    made = Pattern(text, rf"\A{expression}\z", tuple(parts))
    _check_ends(text)
    return made


def _tokens(text: str) -> Iterable[str]:
    for found in _TOKENS.finditer(text):
        token = found[0]
        if found[4] or token in _RESERVED or (token.isalpha() and token not in LETTERS):
            raise ValueError(f"{token!r} means nothing in a pattern")
        yield "''''" if found[2] == "" else token  # two quotes are one that is meant


def _check_ends(text: str) -> None:
    """A part of one or two digits ends where something stands that is no digit; an offset ends the text."""
    tokens = list(_tokens(text))
    for token, behind in zip(tokens, [*tokens[1:], ""], strict=True):
        if token not in LETTERS:
            continue
        kind, width, _ = LETTERS[token]
        if kind == "offset" and behind:
            raise ValueError("the offset stands at the end of a pattern")
        digit = behind in LETTERS or behind.strip("'")[:1].isdigit()
        if width is None and kind != "offset" and behind and digit:
            raise ValueError(f"{token} needs something behind it that is no digit, or two letters")


def flaw(pattern: Pattern, type_: Type) -> str:
    """Why a pattern does not say what a type needs; empty where it does."""
    there = {part.kind for part in pattern.parts}
    needed = _DAY if isinstance(type_, Date) else _DAY | _CLOCK
    missing = sorted(needed - there)
    if missing:
        return f"the pattern does not say the {' and the '.join(missing)}"
    if isinstance(type_, Date) and there > _DAY:
        return "a date has no time of day: put what stands there in single quotes, or make it a timestamp"
    if "fraction" in there and "second" not in there:
        return "the pattern has a fraction of no second"
    if "offset" in there and not isinstance(type_, Timestamp):
        return "a timestamp_ntz has no offset: make it a timestamp"
    return ""
