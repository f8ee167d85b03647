"""What an author can get wrong, and how it is told.

Rule: every mistake has a place (path:line:column), a stable code, one sentence and, where one helps, a
hint; all mistakes of all files are told together. A mistake shows keys and names, never a value: a value
may be a secret in the wrong place (I8).
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from engine.errors import TemplateInvalid

_SHOWN_MAX: Final = 60
_NEAREST_MIN: Final = 0.6


class Code(StrEnum):
    """The stable codes of mistakes."""

    SYNTAX = "template.syntax"  # not YAML
    UNREADABLE = "template.unreadable"  # not a regular file, not UTF-8, or control characters in it
    TOO_LARGE = "template.too-large"  # more than 1 MB
    TOO_DEEP = "template.too-deep"  # more than 50 levels
    ALIAS = "template.alias"  # YAML's & and *
    TAG = "template.tag"  # YAML's !
    DIRECTIVE = "template.directive"  # YAML's %
    MERGE_KEY = "template.merge-key"  # YAML's <<
    DUPLICATE_KEY = "template.duplicate-key"
    KEY_NOT_TEXT = "template.key-not-text"
    EMPTY = "template.empty"
    MISSING_FILE = "template.missing-file"
    OUTSIDE = "template.outside"  # a symbolic link that leaves the project
    FILE_NAME = "template.file-name"
    WRONG_KIND = "template.wrong-kind"
    UNKNOWN_KEY = "template.unknown-key"
    MISSING_KEY = "template.missing-key"
    LATER = "template.later"  # known, and not honoured by this version
    WRONG_TYPE = "template.wrong-type"
    BAD_VALUE = "template.bad-value"
    BAD_NAME = "template.bad-name"
    BAD_TOKEN = "template.bad-token"  # noqa: S105 - the name of a mistake
    UNRESOLVED_TOKEN = "template.unresolved-token"  # noqa: S105 - the same
    LITERAL_SECRET = "template.literal-secret"  # noqa: S105 - the same
    SECRET_MISPLACED = "template.secret-misplaced"  # noqa: S105 - the same
    UNKNOWN_TEMPLATE = "template.unknown-template"
    UNKNOWN_PARAM = "template.unknown-param"
    MISSING_PARAM = "template.missing-param"
    UNKNOWN_CONNECTION = "template.unknown-connection"
    UNKNOWN_CONNECTOR = "template.unknown-connector"
    DUPLICATE_NAME = "template.duplicate-name"
    TOPIC_DISAGREES = "template.topic-disagrees"
    SINK_TAKEN = "template.sink-taken"
    BAD_EXPRESSION = "template.bad-expression"  # of a check; a regular expression too


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands: a path in the project, a line and a column, both from 1.

    >>> str(Place("flows/shop.yaml", 3, 5)), str(Place("default"))
    ('flows/shop.yaml:3:5', 'default')
    """

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}" if self.line else self.path


DERIVED: Final = Place("derived")
"""Where a value stands that nobody wrote: it follows from others."""


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One mistake, as ``lint`` prints it."""

    place: Place
    code: Code
    text: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.code}: {self.text}" + (f" ({self.hint})" if self.hint else "")

    def as_dict(self) -> dict[str, str | int]:
        """The mistake as ``lint --json`` prints it."""
        return {
            "path": self.place.path,
            "line": self.place.line,
            "column": self.place.column,
            "code": self.code.value,
            "text": self.text,
            "hint": self.hint,
        }


@dataclass(slots=True)
class Mistakes:
    """The mistakes found so far, each told once."""

    found: dict[Mistake, None] = field(default_factory=dict)

    def add(self, place: Place, code: Code, text: str, hint: str = "") -> None:
        """Write one down."""
        self.found[Mistake(place, code, text, hint)] = None

    def __len__(self) -> int:
        return len(self.found)

    def sorted(self) -> tuple[Mistake, ...]:
        """All of them, in the order of the files and lines."""
        return tuple(sorted(self.found))


class Mistaken(TemplateInvalid):
    """A project whose files hold mistakes; it carries them all."""

    def __init__(self, mistakes: Iterable[Mistake], *, folder: str) -> None:
        self.mistakes = tuple(mistakes)
        files = {mistake.place.path for mistake in self.mistakes}
        lines = "".join(f"\n  {mistake}" for mistake in self.mistakes)
        self.summary = f"{count(len(self.mistakes), 'mistake')} in {count(len(files), 'file')}"
        super().__init__(
            self.summary + lines,
            where=folder,
            hint=f"mend them, then: ecluse lint {folder}".removesuffix(" ."),
        )


def count(number: int, noun: str) -> str:
    """A number with its noun.

    >>> count(1, "flow"), count(2, "flow")
    ('1 flow', '2 flows')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint: the nearest known name, else all of them when they are few.

    >>> nearest("prt", ["port", "host"]), nearest("xyzzy", ["port", "host"])
    ('did you mean "port"?', 'known here: host, port')
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=_NEAREST_MIN)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known here: {', '.join(names)}" if names else ""


def shown(name: str) -> str:
    r"""A key as a mistake shows it: quoted, cut, without characters that play with a terminal.

    >>> shown("port"), shown("a\x1b[2J")
    ('"port"', '"a\\x1b[2J"')
    """
    cut = name if len(name) <= _SHOWN_MAX else name[: _SHOWN_MAX - 1] + "…"
    return f'"{escaped(cut)}"'


def escaped(text: str) -> str:
    """Text whose unprintable characters are spelled out."""
    return "".join(c if printable(c) else c.encode("unicode_escape").decode() for c in text)


def printable(text: str) -> bool:
    """Whether text holds no control, format, surrogate or line-breaking character."""
    return text.isprintable() or all(
        unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in text
    )
