"""The words of an expression: names, numbers, texts, signs, each with its place.

Rule: less than SQL has. No comments, no second statement, no escapes but a doubled quote; what is not known
here is a mistake, never passed on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Final

from engine.checks import Misfit

LENGTH_MAX: Final = 2_000
_DIGITS_MAX: Final = 38
_WORDS: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<comment>--|/\*|\#)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    |(?P<text>'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")+"|`(?:[^`]|``)+`)
    |(?P<twice>==|&&)
    |(?P<sign><=|>=|<>|!=|\|\||[=<>+\-*/%(),])
    |(?P<strange>.)""",
    re.VERBOSE | re.DOTALL,
)
_MEANT: Final = {
    "=": "= compares two values",
    "&": "AND stands between two conditions",
    "|": "OR stands between two conditions, || joins two texts",
    "'": "the text has no end: a quote in a text is doubled",
    '"': "the column's name has no end",
    "`": "the column's name has no end",
    "!": "NOT stands before a condition, <> between two values",
    ";": "an expression is one condition, and ends by itself",
    ".": "a column is named without its table",
    "[": "there are no lists: IN (…) compares with several values",
}


class Kind(Enum):
    """What a word is."""

    NAME = "name"  # a keyword, a function or a column
    QUOTED = "quoted"  # a column
    NUMBER = "number"
    TEXT = "text"
    SIGN = "sign"
    END = "end"


@dataclass(frozen=True, slots=True)
class Word:
    """One word: ``text`` is what it means, quotes taken away."""

    kind: Kind
    text: str
    at: int

    @property
    def keyword(self) -> str:
        """The word as a keyword is compared; empty for what cannot be one."""
        return self.text.upper() if self.kind is Kind.NAME else ""


def scan(text: str) -> list[Word]:
    """The words of a text, an END behind them.

    >>> [(w.kind.value, w.text) for w in scan("a <= 'it''s'")]
    [('name', 'a'), ('sign', '<='), ('text', "it's"), ('end', '')]
    """
    if len(text) > LENGTH_MAX:
        raise Misfit(f"an expression has at most {LENGTH_MAX} characters", at=LENGTH_MAX)
    found = []
    for match in _WORDS.finditer(text):
        kind, said, at = str(match.lastgroup), match[0], match.start()
        match kind:
            case "space":
                continue
            case "comment":
                raise Misfit(
                    "no comments stand in an expression", at=at, hint="a YAML comment stands above it"
                )
            case "strange" | "twice":
                raise Misfit(f'"{_shown(said)}" has no meaning here', at=at, hint=_MEANT.get(said[0], ""))
            case "number":
                found.append(Word(Kind.NUMBER, exact(said, at), at))
            case "text" | "quoted":
                found.append(Word(Kind(kind), said[1:-1].replace(said[0] * 2, said[0]), at))
            case "sign":
                found.append(Word(Kind.SIGN, "<>" if said == "!=" else said, at))
            case _:
                found.append(Word(Kind.NAME, said, at))
    return [*found, Word(Kind.END, "", len(text))]


def _shown(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def exact(text: str, at: int | None = None) -> str:
    """A number written out: all of its digits, and no exponent.

    >>> exact("1.50"), exact("2e3"), exact(".5")
    ('1.50', '2000', '0.5')
    """
    head, _, power = text.lower().partition("e")
    if len(head) <= _DIGITS_MAX + 2 and len(power) <= 3:  # noqa: PLR2004 - a sign and two digits
        number = Decimal(text)
        written = f"{number:f}"
        if number.is_finite() and sum(c.isdigit() for c in written) <= _DIGITS_MAX:
            return written
    raise Misfit(f"a number has at most {_DIGITS_MAX} digits", at=at)
