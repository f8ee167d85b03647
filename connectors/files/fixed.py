"""From content in UTF-8 to the records of a file of fixed width.

Rule: a record has the declared length, or it is a ``Problem`` in its place; places count in the declared
unit, and no character is cut in two. Fields are given as they stand, trimmed only where that is declared.

It is a hot path. Records of one length lie at one distance, so whether each of them ends where it should, and
which kind it is, is asked of a whole block by slices with a stride; ``taking`` takes the fields apart.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby, islice
from operator import attrgetter
from typing import Final

from connectors.files.dialects import DETAIL
from connectors.files.encodings import single_byte
from connectors.files.layouts import FixedRecord, FixedWidth
from connectors.files.lines import Dialect, blocks
from connectors.files.records import DEFAULTS, Limits, Lot, Problem, Refused
from connectors.files.taking import columns

__all__ = ["FixedWidth", "fixed_lots", "mismatch"]

_AT_ONCE: Final = 4096  # lines looked at one by one: a block may hold a line for every byte
_NOT_INSIDE: Final = bytes({*range(256)} - {*range(0x80, 0xC0)})  # what a character of UTF-8 may begin with


def mismatch(layout: FixedWidth, encoding: str) -> str:
    """Why the places of a layout mean nothing in an encoding; empty if they do."""
    if layout.unit == "bytes" and encoding.startswith("utf-16"):
        return f"places in {encoding} are counted in characters: declare unit: characters"
    return ""


def fixed_lots(
    chunks: Iterable[bytes], layout: FixedWidth, limits: Limits = DEFAULTS, *, encoding: str = "utf-8"
) -> Iterator[Lot]:
    """The records of a file, in lots of about a chunk; ``encoding`` is the one of the partner's file."""
    framing = _Framing(layout, limits, in_bytes=layout.unit == "bytes" and not single_byte(encoding))
    if layout.line_end == "none":
        for text in _of_one_length(chunks, framing):
            yield from framing.lots(text, text.count(b"\n"))
        return
    dialect = Dialect(line_end=layout.line_end, last_end=layout.last_line_end == "required")
    for block in blocks(chunks, dialect, limits):
        yield from framing.lots(block.text, block.count)


@dataclass(frozen=True)
class _Kind:
    """A record type."""

    name: str
    record: FixedRecord

    @cached_property
    def long(self) -> int:
        """How long a record is."""
        return self.record.long

    @cached_property
    def edges(self) -> Sequence[int]:
        """Where a field begins or ends within a record."""
        edges = {edge for one in self.record.fields for edge in (one.begin, one.behind)}
        return sorted(edges - {0, self.long})

    def marks(self, view: str | bytes, stride: int, count: int) -> bool:
        """Whether records that lie at one distance all have the literal of this type."""
        return all(
            view[place::stride] == (mark * count if isinstance(view, str) else mark.encode() * count)
            for place, mark in enumerate(self.record.literal, self.record.literal_at - 1)
        )


@dataclass(frozen=True, slots=True)
class _Line:
    """One record, looked at alone; ``kind`` is None for a blank line that is passed over."""

    kind: _Kind | None
    text: bytes
    problem: Problem | None = None


class _Framing:
    """The records of one file: what is known of it so far."""

    def __init__(self, layout: FixedWidth, limits: Limits, *, in_bytes: bool) -> None:
        self._layout, self._limits, self.in_bytes = layout, limits, in_bytes
        self._next = 1  # the number of the next record
        self.kinds = [_Kind(name, record) for name, record in layout.records.items()]
        self.detail = next(kind for kind in self.kinds if kind.record.role == DETAIL)

    def view(self, text: bytes) -> str | bytes:
        """The same in the unit of places."""
        # a line that is too long was cut, perhaps within a character
        return text if self.in_bytes or text.isascii() else text.decode(errors="replace")

    def lots(self, text: bytes, count: int) -> Iterator[Lot]:
        """The records of whole lines, each with its line end."""
        if self._alike(text, count):
            yield Lot(
                self._next,
                self.detail.name,
                count,
                partial(columns, text, self.detail.record, None, (), in_bytes=self.in_bytes),
                pick=lambda asked: columns(text, self.detail.record, asked, (), in_bytes=self.in_bytes),
            )
            self._next += count
            return
        lines = self._looked_at(text)
        while some := list(islice(lines, _AT_ONCE)):
            for kind, group in groupby(some, key=attrgetter("kind")):
                of_kind = list(group)
                first, self._next = self._next, self._next + len(of_kind)
                if kind is not None and kind.record.role != "ignored":
                    yield self._lot(first, kind, of_kind)

    def _alike(self, text: bytes, count: int) -> bool:
        """Whether all of it are details of the right length, and nothing has to be looked at closely."""
        kind = self.detail
        if self._layout.tabs == "problem" and b"\t" in text:
            return False
        if kind.long > min(self._limits.record, self._limits.field):
            return False
        view, stride = self.view(text), kind.long + 1
        ends = view[kind.long :: stride]
        if len(view) != count * stride or ends != ("\n" * count if isinstance(view, str) else b"\n" * count):
            return False
        split = (text[edge::stride].translate(None, _NOT_INSIDE) for edge in kind.edges)
        if self.in_bytes and not text.isascii() and any(split):
            return False
        # a type before this one in the layout may have a literal that these records have, too
        earlier = self.kinds[: self.kinds.index(kind)]
        return kind.marks(view, stride, count) and not any(_may_be(one, kind) for one in earlier)

    def _lot(self, first: int, kind: _Kind, lines: list[_Line]) -> Lot:
        problems = {place: line.problem for place, line in enumerate(lines) if line.problem is not None}
        # a record with a problem is stood in for by a blank one
        blank = b" " * kind.long
        text = b"".join((blank if line.problem else line.text) + b"\n" for line in lines)
        bad = tuple(problems)
        return Lot(
            first,
            kind.name,
            len(lines),
            partial(columns, text, kind.record, None, bad, in_bytes=self.in_bytes),
            problems,
            pick=lambda asked: columns(text, kind.record, asked, bad, in_bytes=self.in_bytes),
        )

    def _looked_at(self, text: bytes) -> Iterator[_Line]:
        for number, line in enumerate(text[:-1].split(b"\n"), self._next):
            if line or self._layout.blank_lines == "problem":
                yield self._line(line)
            elif self._layout.blank_lines == "skip":
                yield _Line(None, line)
            else:
                raise Refused("line.blank", "a blank line", record=number)

    def _line(self, line: bytes) -> _Line:
        view = self.view(line)
        kind = next((kind for kind in self.kinds if kind.marks(view[: kind.long], len(view) or 1, 1)), None)
        if kind is not None and kind.record.role == "ignored":
            return _Line(kind, line)
        short = kind.long - len(view) if kind is not None else 0
        if line and short > 0 and self._layout.short_lines == "pad":
            line += b" " * short
            view = self.view(line)
        if found := self._found(kind, line, view):
            return _Line(kind or self.detail, line, Problem(*found, line[: self._limits.record]))
        return _Line(kind, line)

    def _found(self, kind: _Kind | None, line: bytes, view: str | bytes) -> tuple[str, str] | None:
        """The code and the words for what is wrong with a record."""
        limits = self._limits
        if len(line) > limits.record:
            return "record.size", f"the record is longer than {limits.record} bytes"
        if not line:
            return "record.blank", "the line is blank"
        if kind is None:
            return "record.kind", "no record type has its literal in this line"
        if len(view) != kind.long:
            unit = "bytes" if self.in_bytes else "characters"
            return "record.length", f"{len(view)} {unit}, {kind.long} are declared"
        if self._layout.tabs == "problem" and b"\t" in line:
            return "record.tab", "a tab moves what stands behind it"
        if self.in_bytes and any(line[edge : edge + 1].translate(None, _NOT_INSIDE) for edge in kind.edges):
            return "field.character", "a field begins or ends within a character"
        if any(one.behind - one.begin > limits.field for one in kind.record.fields):
            return "field.size", f"a field is longer than {limits.field} bytes"
        return None


def _may_be(one: _Kind, other: _Kind) -> bool:
    """Whether a record may have the literals of both."""
    ours = dict(enumerate(one.record.literal, one.record.literal_at))
    theirs = dict(enumerate(other.record.literal, other.record.literal_at))
    return all(ours[place] == theirs[place] for place in ours.keys() & theirs.keys())


def _of_one_length(chunks: Iterable[bytes], framing: _Framing) -> Iterator[bytes]:
    """Records without line ends, with one behind each."""
    long, at, rest = framing.detail.long, 0, b""
    for chunk in chunks:
        held = rest + chunk
        if b"\n" in held or b"\r" in held:
            raise Refused("line.end", "a line end, and line_end: none is declared", at=at)
        whole = held if framing.in_bytes else held[: codecs.utf_8_decode(held)[1]]
        view = framing.view(whole)
        count = len(view) // long
        if count:
            text = _with_ends(view, long, count)
            yield text
            rest = held[len(text) - count :]
            at += len(text) - count
        else:
            rest = held
    if rest:
        have = len(framing.view(rest))
        what = f"the last record has {have} of {long}: the file was cut off, or the length is wrong"
        raise Refused("record.length", what, at=at)


def _with_ends(view: str | bytes, long: int, count: int) -> bytes:
    if isinstance(view, str):
        return "".join(view[at : at + long] + "\n" for at in range(0, count * long, long)).encode()
    return b"".join(view[at : at + long] + b"\n" for at in range(0, count * long, long))
