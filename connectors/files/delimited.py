"""From content in UTF-8 to the records of a delimited file.

Rule: how many fields a record has is compared for every record; one that has too few or too many is a
``Problem`` in its place, with its bytes. The fields of a lot are taken apart when somebody asks for them.

It is a hot path. What is left of a block when all but delimiters and line ends is deleted has to be the same
as that of as many records with the right width: one comparison for all of them. Only a block for which it
fails, or that may hold records of several kinds, is looked at line by line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from operator import attrgetter
from typing import Final

from connectors.files.dialects import DETAIL, Delimited
from connectors.files.lines import Block, Dialect, blocks, unmasked
from connectors.files.records import DEFAULTS, Limits, Lot, Problem, Refused, Text

__all__ = ["Delimited", "delimited_lots"]

_NEAR: Final = 40
_SHOWN: Final = 500
_AT_ONCE: Final = 4096  # lines looked at one by one: a block may hold a line for every byte
_BYTES: Final = bytes(range(256))
_CHEAP: Final = 2  # a field costs half as much where the others of its line are not taken apart


def delimited_lots(chunks: Iterable[bytes], layout: Delimited, limits: Limits = DEFAULTS) -> Iterator[Lot]:
    """The records of a file, in lots of about a chunk."""
    framing = _Framing(layout, limits)
    for block in blocks(chunks, framing.dialect, limits):
        yield from framing.lots(block)
    framing.end()


@dataclass(frozen=True, slots=True)
class _Kind:
    """A record type: its name, how many fields it has, and where each declared column stands."""

    name: str
    width: int
    places: Sequence[int]
    given: bool


@dataclass(frozen=True, slots=True)
class _Line:
    """One record, looked at alone; ``kind`` is None for a blank line that is passed over."""

    kind: _Kind | None
    text: bytes
    values: Sequence[bytes]
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class _Fields:
    """Records of one kind that have the right width: where their columns come from."""

    text: bytes
    values: Sequence[bytes]
    kind: _Kind
    dialect: Dialect
    problems: Sequence[int] = field(default_factory=tuple)

    def all(self) -> Sequence[Sequence[Text]]:
        """Every declared column."""
        return self._given(self._flat(), range(len(self.kind.places)))

    def some(self, asked: Sequence[int]) -> Sequence[Sequence[Text]]:
        """The columns at some places."""
        width = self.kind.width
        steps = [min(place, width - 1 - place) for place in (self.kind.places[one] for one in asked)]
        if self.values or self.problems or sum(steps) + 2 * len(steps) > width // _CHEAP:
            return self._given(self._flat(), asked)
        lines = self.text[:-1].split(b"\n")
        return [self._plain(self._alone(lines, self.kind.places[one])) for one in asked]

    def _alone(self, lines: list[bytes], place: int) -> list[bytes]:
        delimiter, width = self.dialect.delimiter, self.kind.width
        if place <= width // 2:
            return [line.split(delimiter, place + 1)[place] for line in lines]
        behind = width - place
        return [line.rsplit(delimiter, behind)[-behind] for line in lines]

    def _flat(self) -> list[bytes]:
        """The fields of all records, one after the other."""
        flat = self.text[:-1].replace(b"\n", self.dialect.delimiter).split(self.dialect.delimiter)
        if self.values:
            quote, value = self.dialect.quote, iter(self.values)
            flat = [next(value) if one == quote else one for one in flat]
        return flat

    def _given(self, flat: list[bytes], asked: Iterable[int]) -> Sequence[Sequence[Text]]:
        columns: list[list[Text]] = [
            self._plain(flat[self.kind.places[one] :: self.kind.width])  # type: ignore[misc]
            for one in asked
        ]
        for column in columns if self.problems else ():
            for place in self.problems:
                column[place] = None
        return columns

    def _plain(self, column: list[bytes]) -> list[bytes]:
        plain = self.dialect.plain
        return column if plain is None else [plain(one) for one in column]


class _Framing:
    """The records of one file: what is known of it so far."""

    def __init__(self, layout: Delimited, limits: Limits) -> None:
        self.dialect, self._layout, self._limits = layout.dialect, layout, limits
        self._next = 1  # the number of the next record
        keep = self.dialect.delimiter + b"\n"
        self._drop = _BYTES.translate(None, keep)
        self._header = layout.header == "by_name"
        self._kinds = {
            kind.literal.encode(): _Kind(
                name, len(kind.columns), range(len(kind.columns)), given=kind.role != "ignored"
            )
            for name, kind in layout.kinds.items()
        }
        details = [kind.literal.encode() for kind in layout.kinds.values() if kind.role == DETAIL]
        self._tag, self._detail = details[0], self._kinds[details[0]]

    def end(self) -> None:
        """Say what is missing at the end of the file."""
        if self._header:
            raise Refused("header.mismatch", "the file is empty: it has no line of names", record=1)

    def lots(self, block: Block) -> Iterator[Lot]:
        """The records of a block."""
        if self._header:
            block = self._named(block)
            self._header = False
        count = block.count
        if not count:
            return
        if self._alike(block, count):
            fields = _Fields(block.text, block.values, self._detail, self.dialect)
            if self._detail.given:
                yield Lot(self._next, self._detail.name, count, fields.all, pick=fields.some)
            self._next += count
        else:
            yield from self._one_by_one(block)

    def _alike(self, block: Block, count: int) -> bool:
        """Whether all of it are details, each with its fields, and nothing has to be looked at closely."""
        limits, text, width = self._limits, block.text, self._detail.width
        if block.size > min(limits.record, limits.field) or block.embedded >= limits.lines:
            return False
        if self.dialect.masks and (b"\\" in text or any(b"\\" in value for value in block.values)):
            return False
        if width == 1 and (text.startswith(b"\n") or b"\n\n" in text):
            return False
        if self._layout.records:
            tag = self._tag + (self.dialect.delimiter if width > 1 else b"\n")
            if not text.startswith(tag) or text.count(b"\n" + tag) != count - 1:
                return False
        pattern = self.dialect.delimiter * (width - 1) + b"\n"
        return text.translate(None, self._drop) == pattern * count

    def _one_by_one(self, block: Block) -> Iterator[Lot]:
        lines = self._looked_at(block)
        while some := list(islice(lines, _AT_ONCE)):
            for kind, group in groupby(some, key=attrgetter("kind")):
                of_kind = list(group)
                first, self._next = self._next, self._next + len(of_kind)
                if kind is not None and kind.given:
                    yield self._lot(first, kind, of_kind)

    def _lot(self, first: int, kind: _Kind, lines: list[_Line]) -> Lot:
        problems = {place: line.problem for place, line in enumerate(lines) if line.problem is not None}
        # a record with a problem is stood in for by one with the right width
        empty = self.dialect.delimiter * (kind.width - 1)
        text = b"".join((empty if line.problem else line.text) + b"\n" for line in lines)
        values = [value for line in lines if not line.problem for value in line.values]
        fields = _Fields(text, values, kind, self.dialect, tuple(problems))
        return Lot(first, kind.name, len(lines), fields.all, problems, pick=fields.some)

    def _looked_at(self, block: Block) -> Iterator[_Line]:
        quote, at = self.dialect.quote, 0
        for number, text in enumerate(block.text[:-1].split(b"\n"), self._next):
            quotes = text.count(quote) if block.values else 0
            yield self._line(number, text, block.values[at : at + quotes])
            at += quotes

    def _line(self, number: int, text: bytes, values: Sequence[bytes]) -> _Line:
        kind = self._kind(text, values)
        if not text and self._layout.blank_lines != "problem":
            if self._layout.blank_lines == "refuse":
                raise Refused("line.blank", "a blank line", record=number)
            return _Line(None, text, values)
        if sum(value.count(b"\n") for value in values) >= self._limits.lines:
            what = f"a quoted field makes a record of more than {self._limits.lines} lines"
            raise Refused("record.lines", what, record=number)
        if (size := self._size(text, values)) > self._limits.record and self.dialect.quote:
            what = f"a record is longer than {self._limits.record} bytes; a quote may not have been closed"
            raise Refused("record.size", what, record=number)
        found = self._found(kind, text, values, size)
        if found is None:
            return _Line(kind, text, values)
        raw = self._raw(text, values)[: self._limits.record]
        return _Line(kind or self._detail, text, values, Problem(*found, raw))

    def _kind(self, text: bytes, values: Sequence[bytes]) -> _Kind | None:
        if not self._layout.records:
            return self._detail
        tag = text.partition(self.dialect.delimiter)[0]
        if values and tag == self.dialect.quote:
            tag = values[0]
        return self._kinds.get(tag)

    def _found(
        self, kind: _Kind | None, text: bytes, values: Sequence[bytes], size: int
    ) -> tuple[str, str] | None:
        """The code and the words for what is wrong with a record."""
        limits, delimiter = self._limits, self.dialect.delimiter
        if size > limits.record:
            return "record.size", f"the record is longer than {limits.record} bytes"
        if not text:
            return "record.blank", "the line is blank"
        if kind is None:
            tag = text.partition(delimiter)[0][:_NEAR].decode(errors="replace")
            return "record.kind", f"no record type begins with {tag!r}"
        if not kind.given:
            return None
        if (width := text.count(delimiter) + 1) != kind.width:
            return "record.width", f"{width} fields, {kind.width} are declared"
        if size > limits.field and any(len(one) > limits.field for one in (*text.split(delimiter), *values)):
            return "field.size", f"a field is longer than {limits.field} bytes"
        if self.dialect.masks and any(b"\\" in one for one in (text, *values)):
            return "field.escape", "a backslash stands before a character that needs none"
        return None

    def _size(self, text: bytes, values: Sequence[bytes]) -> int:
        doubled = self.dialect.quote if self.dialect.escape == "double" else b""
        extra = sum(len(value) + 1 + (value.count(doubled) if doubled else 0) for value in values)
        return len(text) + extra

    def _raw(self, text: bytes, values: Sequence[bytes]) -> bytes:
        """A record as its partner wrote it, without the line end."""
        quote = self.dialect.quote
        if values:
            written = [value.replace(quote, quote + quote) for value in values]
            parts = text.split(quote)
            text = parts[0] + b"".join(
                quote + value + quote + part for value, part in zip(written, parts[1:], strict=True)
            )
        return unmasked(text, self.dialect)

    def _named(self, block: Block) -> Block:
        """Take the names off the first block, and find the declared columns among them."""
        quote = self.dialect.quote
        line, _, rest = block.text.partition(b"\n")
        quotes = line.count(quote) if block.values else 0
        width = line.count(self.dialect.delimiter) + 1
        wide = _Kind("", width, range(width), given=True)
        head = _Fields(line + b"\n", block.values[:quotes], wide, self.dialect)
        names = [(column[0] or b"").decode() for column in head.all()]
        declared = self._layout.columns
        if sorted(names) != sorted(declared):
            raise Refused("header.mismatch", _differ(declared, names), record=1)
        self._detail = _Kind(DETAIL, len(names), [names.index(name) for name in declared], given=True)
        self._next = 2
        embedded = sum(value.count(b"\n") for value in block.values[:quotes])
        return Block(rest, block.values[quotes:], block.count - 1, block.size, block.embedded - embedded)


def _differ(declared: Sequence[str], names: Sequence[str]) -> str:
    """Both lists of names, and what is in one of them alone."""
    have, want = Counter(names), Counter(declared)
    lists = {
        "declared": declared,
        "found": names,
        "missing": [name for name in declared if name not in have],
        "not declared": [name for name in have if name not in want],
        "twice": [name for name, times in have.items() if times > 1],
    }
    return "; ".join(f"{what} {', '.join(map(repr, some))[:_SHOWN]}" for what, some in lists.items() if some)
