"""How rows become records of a file: delimited and of fixed width; ``nested`` has JSON and XML.

Rule: a form writes what the scanner of the same format reads back. What it cannot hold is refused, not bent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from connectors.files.delimited import Delimited
from connectors.files.dialects import DETAIL
from connectors.files.layouts import FixedField, FixedRecord, FixedWidth
from engine.source import Fate, Room

Row = Sequence[str | None]
Said = Mapping[str, str]
"""What headers and trailers say: ``trailer.count`` and the like."""
Encode = Callable[[str], bytes]

RAGGED: Final = "ragged"
NO_FATE: Final = Fate("accepted")


class Form(Protocol):
    """One format of one flow. Its parts are bytes in the partner's encoding, without a mark in front."""

    @property
    def rooms(self) -> Mapping[str, Room]:
        """The columns of a row, and what each can hold."""

    @property
    def before(self) -> int:
        """How many records stand before the first row."""

    @property
    def ragged(self) -> Fate:
        """What becomes of a record that is not framed as it should be; without a code: there is none."""

    @property
    def cut(self) -> str:
        """The code with which a file is refused that ends early; empty: nothing would tell."""

    def opening(self, said: Said) -> bytes:
        """What stands before the rows."""

    def record(self, row: Row, *, ragged: bool) -> bytes:
        """One row."""

    def closing(self, said: Said) -> bytes:
        """What stands behind the rows."""

    def half(self, row: Row) -> bytes:
        """What is there of a row at which a file ends early."""


_ENDS: Final = {"lf": "\n", "crlf": "\r\n", "any": "\n", "none": ""}


class DelimitedForm:
    """Fields with a delimiter between them, quoted where that is needed."""

    def __init__(self, layout: Delimited, encode: Encode, trailer: str) -> None:
        self._layout, self._encode = layout, encode
        self._end = _ENDS[layout.line_end]
        kinds = layout.kinds
        self._kind = next(kind for kind in kinds.values() if kind.role == DETAIL)
        self._columns = self._kind.columns
        free = "" if layout.quote is None else layout.quote if layout.escape == "none" else None
        never = "\0\r\n" if free is None else "\0\r\n" + (layout.delimiter if free == "" else free)
        if layout.escape == "backslash":
            never += "\\"
        named = self._columns[1:] if layout.records else self._columns
        self.rooms = {name: Room(never=never) for name in named}
        self.before = sum(kind.role == "header" for kind in kinds.values()) + (layout.header == "by_name")
        self.ragged = Fate("quarantined", "record.width")
        self.cut = trailer or ("line.last" if layout.last_line_end == "required" else "")
        self._whole = bool(trailer)

    def opening(self, said: Said) -> bytes:
        """The names of the columns, or a header."""
        names = self._line(self._columns) if self._layout.header == "by_name" else b""
        return names + self._single("header", said)

    def record(self, row: Row, *, ragged: bool) -> bytes:
        """A line; ragged: with a field more."""
        values = ["" if value is None else value for value in row]
        if self._layout.records:
            values.insert(0, self._kind.literal)
        return self._line([*values, "?"] if ragged else values)

    def closing(self, said: Said) -> bytes:
        """A trailer, where there is one."""
        return self._single("trailer", said)

    def half(self, row: Row) -> bytes:
        """Nothing, where the trailer is missing; a line without its end."""
        line = self.record(row, ragged=False)
        return b"" if self._whole else line[: len(line) - len(self._encode(self._end))]

    def _single(self, role: str, said: Said) -> bytes:
        made = b""
        for name, kind in self._layout.records.items():
            if kind.role == role:
                texts = [said.get(f"{name}.{column}", "") for column in kind.columns]
                made += self._line([kind.literal, *texts[1:]])
        return made

    def _line(self, values: Sequence[str]) -> bytes:
        return self._encode(self._layout.delimiter.join(map(self._written, values)) + self._end)

    def _written(self, value: str) -> str:
        layout, quote = self._layout, self._layout.quote
        if quote is None or not any(mark in value for mark in (layout.delimiter, quote)):
            if quote is None and layout.delimiter in value:
                raise ValueError(f"{value!r} holds the delimiter, and nothing is quoted")
            return value
        escaped = quote * 2 if layout.escape == "double" else f"\\{quote}"
        return quote + value.replace(quote, escaped) + quote


class FixedForm:
    """Fields in their places."""

    def __init__(self, layout: FixedWidth, encode: Encode, trailer: str) -> None:
        self._layout, self._encode = layout, encode
        self._end = encode(_ENDS[layout.line_end])
        self._kind = next(kind for kind in layout.records.values() if kind.role == DETAIL)
        self.rooms = {
            one.name: Room(
                one.behind - one.begin,
                in_bytes=layout.unit == "bytes",
                fill=one.trim == "none" or one.pad == "0",
                never="\0\r\n\t",
            )
            for one in self._kind.fields
            if not _covers(self._kind, one)
        }
        self.before = sum(kind.role == "header" for kind in layout.records.values())
        self.ragged = Fate("quarantined", "record.length") if layout.line_end != "none" else NO_FATE
        required = "line.last" if layout.last_line_end == "required" else ""
        self.cut = "record.length" if layout.line_end == "none" else trailer or required
        self._whole = bool(trailer) and layout.line_end != "none"

    def opening(self, said: Said) -> bytes:
        """A header, where there is one."""
        return self._single("header", said)

    def record(self, row: Row, *, ragged: bool) -> bytes:
        """A line; ragged: that is one place too long."""
        texts = dict(zip(self.rooms, row, strict=True))
        line = self._placed(self._kind, texts)
        return line + (self._encode(" ") if ragged else b"") + self._end

    def closing(self, said: Said) -> bytes:
        """A trailer, where there is one."""
        return self._single("trailer", said)

    def half(self, row: Row) -> bytes:
        """Nothing, where the trailer is missing; else a line without its end, or a piece of it."""
        if self._whole:
            return b""
        return (
            self._placed(self._kind, dict(zip(self.rooms, row, strict=True)))
            if self._end
            else self._encode(" ")
        )

    def _single(self, role: str, said: Said) -> bytes:
        made = b""
        for name, kind in self._layout.records.items():
            if kind.role == role:
                texts = {one.name: said.get(f"{name}.{one.name}") for one in kind.fields}
                made += self._placed(kind, texts, right=True) + self._end
        return made

    def _placed(self, kind: FixedRecord, texts: Mapping[str, str | None], *, right: bool = False) -> bytes:
        parts = [(kind.literal_at - 1, self._encode(kind.literal), len(kind.literal))] if kind.literal else []
        for one in kind.fields:
            if not _covers(kind, one):
                width = one.behind - one.begin
                parts.append((one.begin, self._padded(texts[one.name] or "", one, width, right=right), width))
        line, at, blank = b"", 0, self._encode(" ")
        for begin, part, width in sorted(parts):
            line += blank * (begin - at) + part
            at = begin + width
        return line + blank * (kind.long - at)

    def _padded(self, text: str, one: FixedField, width: int, *, right: bool) -> bytes:
        made = self._encode(text)
        long = len(made) if self._layout.unit == "bytes" else len(text)
        if long > width:
            raise ValueError(f"{one.name}: {text!r} is wider than {width}")
        pad = self._encode(one.pad if one.trim != "none" else " ") * (width - long)
        return pad + made if one.trim == "left" or right else made + pad


def _covers(kind: FixedRecord, one: FixedField) -> bool:
    """Whether a field is where the literal stands."""
    begin = kind.literal_at - 1
    return bool(kind.literal) and one.begin < begin + len(kind.literal) and begin < one.behind
