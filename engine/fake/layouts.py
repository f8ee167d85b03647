"""How rows become records of a file: delimited, fixed width, JSON lines, XML.

Rule: what a layout cannot hold (a text too wide, a character that the encoding lacks) is refused, not bent.
Header and trailer are lines of the author's own, with ``{count}`` and ``{sums[column]}`` filled in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from xml.sax.saxutils import escape

from engine.fake.contract import Field, Row
from engine.schema import Boolean

_WRONG_BYTES: Final = {"utf-8": b"\xff", "ascii": b"\xff", "cp1252": b"\x81", "utf-16-le": b"\x00\xdc"}


def wrong_bytes(encoding: str) -> bytes | None:
    """Bytes that are no character of an encoding; None where every byte is one."""
    return _WRONG_BYTES.get(encoding)


class Layout(Protocol):
    """What a file looks like; its parts are text, which ``encoding`` makes bytes."""

    @property
    def encoding(self) -> str:
        """The encoding of the whole file."""

    @property
    def header(self) -> str:
        """The header's text, with places to fill in; empty: there is none."""

    @property
    def trailer(self) -> str:
        """The trailer's text, likewise."""

    def opening(self, fields: Sequence[Field]) -> str:
        """What stands before everything."""

    def record(self, row: Row, fields: Sequence[Field]) -> str:
        """One record, with what ends it."""

    def ragged(self, row: Row, fields: Sequence[Field]) -> str:
        """The same record without the columns that it should have."""

    def closing(self) -> str:
        """What stands behind everything."""


@dataclass(frozen=True, slots=True)
class Delimited:
    """Fields with a delimiter between them; quoted where that is needed."""

    delimiter: str = ";"
    quote: str = '"'
    names: bool = True
    newline: str = "\n"
    encoding: str = "utf-8"
    header: str = ""
    trailer: str = ""

    def opening(self, fields: Sequence[Field]) -> str:
        """The names of the columns."""
        return self._line([one.name for one in fields]) if self.names else ""

    def record(self, row: Row, fields: Sequence[Field]) -> str:
        """A line."""
        del fields
        return self._line(["" if value is None else self._quoted(value) for value in row])

    def ragged(self, row: Row, fields: Sequence[Field]) -> str:
        """A line with one field less; with one more where there is but one column."""
        return self.record(row[:-1] or (*row, "?"), fields)

    def closing(self) -> str:
        """Nothing."""
        return ""

    def _line(self, fields: Sequence[str]) -> str:
        return self.delimiter.join(fields) + self.newline

    def _quoted(self, value: str) -> str:
        if value and not any(mark in value for mark in (self.delimiter, self.quote, "\r", "\n")):
            return value
        return self.quote + value.replace(self.quote, self.quote * 2) + self.quote


@dataclass(frozen=True, slots=True)
class FixedWidth:
    """Fields of so many characters: numbers to the right, texts to the left.

    A text too wide is cut; a number too wide is refused.
    """

    widths: Mapping[str, int]
    newline: str = "\n"
    encoding: str = "utf-8"
    header: str = ""
    trailer: str = ""
    prefix: str = ""  # what tells details from header and trailer

    def opening(self, fields: Sequence[Field]) -> str:
        """Nothing."""
        del fields
        return ""

    def record(self, row: Row, fields: Sequence[Field]) -> str:
        """A line."""
        parts = [self._field(value, of) for value, of in zip(row, fields, strict=True)]
        return f"{self.prefix}{''.join(parts)}{self.newline}"

    def ragged(self, row: Row, fields: Sequence[Field]) -> str:
        """A line that is a character short."""
        return self.record(row, fields).removesuffix(self.newline)[:-1] + self.newline

    def closing(self) -> str:
        """Nothing."""
        return ""

    def _field(self, value: str | None, of: Field) -> str:
        text, width = value or "", self.widths[of.name]
        if len(text) > width and of.number and not text.strip("-0123456789.,"):
            raise ValueError(f"{of.name}: {text} is wider than {width}, and a number is not cut")
        return text.rjust(width) if of.number else text[:width].ljust(width)


@dataclass(frozen=True, slots=True)
class JsonLines:
    """An object a line; numbers and booleans as JSON has them, whatever their format."""

    encoding: str = "utf-8"
    header: str = ""
    trailer: str = ""

    def opening(self, fields: Sequence[Field]) -> str:
        """Nothing."""
        del fields
        return ""

    def record(self, row: Row, fields: Sequence[Field]) -> str:
        """A line."""
        members = (
            f"{json.dumps(of.name)}: {_json(value, of)}" for value, of in zip(row, fields, strict=True)
        )
        return f"{{{', '.join(members)}}}\n"

    def ragged(self, row: Row, fields: Sequence[Field]) -> str:
        """A line without its end."""
        return self.record(row, fields)[:-2] + "\n"

    def closing(self) -> str:
        """Nothing."""
        return ""


@dataclass(frozen=True, slots=True)
class Xml:
    """An element per record, with an element per field; the first column may be an attribute."""

    root: str = "records"
    element: str = "record"
    attributes: frozenset[str] = field(default_factory=frozenset)
    encoding: str = "utf-8"
    header: str = ""
    trailer: str = ""

    def opening(self, fields: Sequence[Field]) -> str:
        """The declaration and the root."""
        del fields
        return f'<?xml version="1.0" encoding="{self.encoding}"?>\n<{self.root}>\n'

    def record(self, row: Row, fields: Sequence[Field]) -> str:
        """An element; a column without a value has none."""
        return self._element(row, fields, "")

    def ragged(self, row: Row, fields: Sequence[Field]) -> str:
        """An element that stands for one of no column."""
        return self._element(row, fields, "<unexpected/>")

    def closing(self) -> str:
        """The root's end."""
        return f"</{self.root}>\n"

    def _element(self, row: Row, fields: Sequence[Field], more: str) -> str:
        pairs = [
            (of.name, escape(v, {'"': "&quot;"})) for v, of in zip(row, fields, strict=True) if v is not None
        ]
        inside = "".join(f"<{n}>{v}</{n}>" for n, v in pairs if n not in self.attributes)
        start = "".join(f' {n}="{v}"' for n, v in pairs if n in self.attributes)
        return f"  <{self.element}{start}>{inside}{more}</{self.element}>\n"


def _json(value: str | None, of: Field) -> str:
    if value is None:
        return "null"
    if isinstance(of.type, Boolean) and value in (of.formats.true, of.formats.false):
        return "true" if value == of.formats.true else "false"
    if of.number:
        plain = value.replace(of.formats.thousands, "") if of.formats.thousands else value
        plain = plain.replace(of.formats.decimal, ".")
        if plain.lstrip("-").replace(".", "", 1).isdecimal():
            return plain
    return json.dumps(value, ensure_ascii=False)
