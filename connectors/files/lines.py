"""From content to blocks of whole records, where records end with a line end and may hold one in quotes.

Rule: where a record ends is certain, or the file is ``Refused``. A quote opens and closes a field as a whole;
text beside one, a quote that never closes, a line end of another kind than was declared: each says that the
partner's idea of where records end is not ours, and then no record behind it can be believed.

It is a hot path: nothing here happens per byte or per field. Content without a quote is cut at its last line
end. Content with quotes is split at them: every other part stands outside of quotes, and joined by one quote
each those parts are the records with their quoted fields taken out, which are then like any others. A
backslash with what it protects becomes one byte that UTF-8 never holds, before anything else looks at it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, Literal

from connectors.files.records import Limits, Refused

LineEnd = Literal["lf", "crlf", "any"]
Escape = Literal["double", "backslash", "none"]

_FIRST, _LAST = itemgetter(0), itemgetter(-1)
_ALONE: Final = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_ENDS: Final = {"lf": b"\n", "crlf": b"\r\n", "any": b"\n"}
_NEAR: Final = 40


@dataclass(frozen=True, slots=True)
class Dialect:
    """How records are told apart; no quote means that nothing is quoted."""

    delimiter: bytes = b""
    quote: bytes = b""
    escape: Escape = "none"
    line_end: LineEnd = "lf"
    last_end: bool = False  # whether the last line has to have an end

    @property
    def masks(self) -> Sequence[tuple[bytes, bytes]]:
        """What a backslash protects and the byte that stands for both, in the order of replacing."""
        if self.escape != "backslash":
            return ()
        protected = [b"\\\\", b"\\\r\n", b"\\\n", b"\\\r", b"\\" + self.delimiter]
        stands = [b"\xff", b"\xfe\xfd", b"\xfd", b"\xfe", b"\xfc"]
        if self.line_end == "lf":  # a CR alone is protected, and the LF behind it ends the line
            del protected[1], stands[1]
        if self.quote:
            protected, stands = [*protected, b"\\" + self.quote], [*stands, b"\xfb"]
        return list(zip(protected, stands, strict=True))

    @property
    def plain(self) -> Callable[[bytes], bytes] | None:
        """From a field with masks to its text; None where nothing is masked."""
        if not self.masks:
            return None
        table = bytes.maketrans(
            b"\xff\xfe\xfd\xfc" + (b"\xfb" if self.quote else b""), b"\\\r\n" + self.delimiter + self.quote
        )
        return lambda field: field.translate(table)


@dataclass(frozen=True, slots=True)
class Block:
    """Whole records: lines that end with LF each, and what stands in quotes.

    ``values`` are the quoted fields in their order, without quotes; each is one quote in ``text``.
    ``count`` is how many lines it has, ``size`` how many bytes of content it was, and ``embedded`` counts the
    line ends inside of fields.
    """

    text: bytes
    values: Sequence[bytes]
    count: int
    size: int
    embedded: int


def blocks(chunks: Iterable[bytes], dialect: Dialect, limits: Limits) -> Iterator[Block]:
    """The content in blocks, a little more or less than a chunk each.

    A record that is too long refuses the file where fields may be quoted; else it is cut behind
    ``limits.record`` + 1 bytes and its rest is passed over.
    """
    at, rest, over, before = 0, b"", False, 0
    for data in _masked(chunks, dialect):
        came = data
        if over:
            came = _behind(data, dialect)
            at += len(data) - len(came)
            if not came:
                continue
            over = False
        held = rest + came if rest else came
        cut, parts = _cut(held, dialect)
        if cut:
            with _numbered(before):
                block = _block(held[:cut], parts, dialect, at)
            before += block.count
            yield block
            at += _long(held[:cut], dialect)
            held = held[cut:]
        with _numbered(before):
            rest, over = _bound(held, dialect, limits, at)
        at += len(held) - len(rest)
    if rest or over:
        with _numbered(before):
            block = _final(rest, dialect, at)
        yield block


@contextmanager
def _numbered(before: int) -> Iterator[None]:
    """A refusal within names the record among all of the file."""
    try:
        yield
    except Refused as no:
        raise Refused(no.code, no.what, record=before + (no.record or 1), at=no.at) from None


def _masked(chunks: Iterable[bytes], dialect: Dialect) -> Iterable[bytes]:
    """The chunks, with one byte for a backslash and what it protects."""
    masks = dialect.masks
    return _mask(chunks, masks) if masks else chunks


def _mask(chunks: Iterable[bytes], masks: Sequence[tuple[bytes, bytes]]) -> Iterator[bytes]:
    held = b""
    for chunk in chunks:
        data = held + chunk
        open_at = len(data) - _open(data)
        data, held = data[:open_at], data[open_at:]
        if b"\\" in data:
            for protected, stands in masks:
                data = data.replace(protected, stands)
        yield data
    for protected, stands in masks:
        held = held.replace(protected, stands)
    yield held


def _open(data: bytes) -> int:
    """How many bytes at the end wait for the next chunk, which says what a backslash protects."""
    before = data.removesuffix(b"\r")
    run = len(before) - len(before.rstrip(b"\\"))
    return 1 + len(data) - len(before) if run % 2 else 0


def unmasked(data: bytes, dialect: Dialect) -> bytes:
    """As the partner wrote it."""
    for protected, stands in dialect.masks:
        data = data.replace(stands, protected)
    return data


def _long(data: bytes, dialect: Dialect) -> int:
    return len(unmasked(data, dialect)) if dialect.escape == "backslash" else len(data)


def _cut(data: bytes, dialect: Dialect) -> tuple[int, list[bytes]]:
    """Behind the last line end that is outside of quotes, 0 if there is none; and the parts up to there."""
    quote = dialect.quote
    if not quote or quote not in data:
        return _last_end(data, dialect, tail=True), []
    parts = data.split(quote)
    behind = len(data)
    for place in range(len(parts) - 1, -1, -1):
        part = parts[place]
        behind -= len(part)
        if place % 2 == 0 and (end := _last_end(part, dialect, tail=place == len(parts) - 1)):
            return behind + end, [*parts[:place], part[:end]]
        behind -= 1
    return 0, []


def _last_end(part: bytes, dialect: Dialect, *, tail: bool) -> int:
    end = part.rfind(b"\n") + 1
    if dialect.line_end == "any" and b"\r" in part:
        # at the very end it may be half of a line end
        end = max(end, part.rfind(b"\r", 0, len(part) - 1 if tail else None) + 1)
    return end


def _bound(rest: bytes, dialect: Dialect, limits: Limits, at: int) -> tuple[bytes, bool]:
    """What is kept of a record that has not ended yet, and whether its rest is passed over."""
    if dialect.quote and rest.count(b"\n") >= limits.lines:
        raise Refused(
            "record.lines", f"a quoted field makes a record of more than {limits.lines} lines", at=at
        )
    if len(rest) <= limits.record + 1:
        return rest, False
    if dialect.quote:
        what = f"a record is longer than {limits.record} bytes; a quote may not have been closed"
        raise Refused("record.size", what, at=at)
    # a CR may be half of the line end
    end = b"\r" if rest.endswith(b"\r") and dialect.line_end != "lf" else b""
    return rest[: limits.record + 1] + end, not end


def _behind(data: bytes, dialect: Dialect) -> bytes:
    """From the end of the line on that is passed over."""
    ends = [data.find(b"\n"), data.find(b"\r") if dialect.line_end == "any" else -1]
    found = [end for end in ends if end >= 0]
    if not found:
        return b"\r" if dialect.line_end == "crlf" and data.endswith(b"\r") else b""
    # the CR of a CRLF belongs to the end
    end = min(found)
    return data[end - 1 :] if data[end - 1 : end + 1] == b"\r\n" and end else data[end:]


def _final(rest: bytes, dialect: Dialect, at: int) -> Block:
    """The records behind the last line end of the content."""
    if dialect.line_end != "any" or not rest.endswith(b"\r"):
        if dialect.last_end:
            raise Refused("line.last", "the last line has no end; the file may have been cut off", at=at)
        rest += _ENDS[dialect.line_end]
    parts = rest.split(dialect.quote) if dialect.quote and dialect.quote in rest else []
    if parts and len(parts) % 2 == 0:
        raise Refused("record.quote", "a quote that opens in the last record is not closed", at=at)
    return _block(rest, parts, dialect, at)


def _block(data: bytes, parts: list[bytes], dialect: Dialect, at: int) -> Block:
    if len(parts) <= 1:
        text = _lines(data, dialect, at, exact=True)
        return Block(text, (), text.count(b"\n"), len(data), 0)
    outside, values = parts[::2], parts[1::2]
    # most of what stands between quoted fields is one delimiter, again and again
    inner = {*outside[1:-1]}
    if b"" in inner:
        if dialect.escape != "double":
            raise _beside(parts, dialect, at)
        outside, values = _joined(outside, values, dialect.quote)
        inner.discard(b"")
    _alone(parts, outside, inner, dialect, at)
    joined = dialect.quote.join(outside)
    text = _lines(joined, dialect, at, exact=False)
    return Block(text, values, text.count(b"\n"), len(data), data.count(b"\n") - joined.count(b"\n"))


def _joined(outside: list[bytes], values: list[bytes], quote: bytes) -> tuple[list[bytes], list[bytes]]:
    """Values in two parts, with nothing outside between them, are one with a quote in it."""
    kept, whole, pieces = [outside[0]], [], [values[0]]
    for part, value in zip(outside[1:-1], values[1:], strict=True):
        if part:
            kept.append(part)
            whole.append(quote.join(pieces))
            pieces = []
        pieces.append(value)
    return [*kept, outside[-1]], [*whole, quote.join(pieces)]


def _alone(parts: list[bytes], outside: list[bytes], inner: set[bytes], dialect: Dialect, at: int) -> None:
    """Nothing but delimiters and line ends stand beside a quoted field."""
    fits = {ord(dialect.delimiter), ord("\n"), ord("\r")}
    first, last = outside[0], outside[-1]
    if (
        {*map(_FIRST, inner)} <= fits
        and {*map(_LAST, inner)} <= fits
        and last[0] in fits
        and (not first or first[-1] in fits)
    ):
        return
    raise _beside(parts, dialect, at)


def _beside(parts: list[bytes], dialect: Dialect, at: int) -> Refused:
    what, record, place = next(_misplaced(parts, dialect))
    hint = "if nothing is quoted, declare quote: null"
    return Refused("record.quote", f"{what}; {hint}", record=record, at=at + place)


def _misplaced(parts: list[bytes], dialect: Dialect) -> Iterator[tuple[str, int, int]]:
    """Each text beside a quoted field: what is to be said of it, in which record, and at which byte."""
    fits = (dialect.delimiter, b"\n", b"\r")
    place, record = 0, 1
    for number, part in enumerate(parts):
        if number % 2 == 0 and (part or dialect.escape != "double"):
            if number and not part.startswith(fits):
                yield f"after a closing quote stands {unmasked(part[:_NEAR], dialect)!r}", record, place
            record += part.count(b"\n")
            if number < len(parts) - 1 and part and not part.endswith(fits):
                near = unmasked(part[-_NEAR:], dialect)
                yield f"a quote stands within a field, after {near!r}", record, place + len(part)
        place += len(part) + 1


def _lines(text: bytes, dialect: Dialect, at: int, *, exact: bool) -> bytes:
    """The same with LF for every line end, if they are as declared; ``exact``: nothing is missing in it."""
    returns = b"\r" in text
    if dialect.line_end == "any":
        return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if returns else text
    if dialect.line_end == "lf":
        place = text.find(b"\r") if returns else -1
        kind = "CRLF" if text[place : place + 2] == b"\r\n" else "CR"
    else:
        whole = text.count(b"\r\n")
        alone = None if whole == text.count(b"\n") == text.count(b"\r") else _ALONE.search(text)
        place = alone.start() if alone else -1
        kind = "CR" if text[place : place + 1] == b"\r" else "LF"
    if place >= 0:
        what = f"a line ends with {kind}, and {dialect.line_end} is declared"
        record = 1 + text.count(b"\n", 0, place)
        raise Refused("line.end", what, record=record, at=at + place if exact else at)
    return text if dialect.line_end == "lf" else text.replace(b"\r\n", b"\n")
