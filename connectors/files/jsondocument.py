"""A JSON document that is read through a window: down a path to one array, and its elements one by one.

Rule: the window holds what is not read yet, at most a record and a block. What stands beside the path is
walked, not held, unless it was asked for. A document is well-formed to its last byte, or it is refused.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from json import JSONDecodeError
from typing import Any, Final, NoReturn

from connectors.files.jsonvalues import SPACE, Number, Reader, too_deep
from connectors.files.lots import Fault, shown
from connectors.files.records import Limits, Refused

Paths = Sequence[Sequence[str]]

_BLOCK: Final = 1 << 16
# A value that the window's end cuts fails within so many characters of it; an open string fails at its quote.
_CUT: Final = 16
_OPEN_STRING: Final = "Unterminated string"
_KEYS: Final = 10_000  # of one object around the records; a record's are bounded by its size


class Window:
    """The part of a text that is in memory; ``at`` is where reading stands in it."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._before = 0  # bytes of the content before the window
        self.text, self.at, self.ended = "", 0, False

    def fill(self) -> None:
        """Read on: at least as much again as is unread, so that a long value costs its length."""
        self._before = self.byte(self.at)
        parts = [self.text[self.at :]]
        wanted = max(_BLOCK, len(parts[0]))
        self.text, self.at = "", 0
        while wanted > 0 and not self.ended:
            chunk = next(self._chunks, None)
            self.ended = chunk is None
            parts.append(self._decode(chunk or b"", final=self.ended))
            wanted -= len(parts[-1])
        self.text = "".join(parts)

    def byte(self, place: int) -> int:
        """The byte of the content at a place of the window."""
        return self._before + len(self.text[:place].encode())

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            text, at, end = self.text, self.at, len(self.text)
            while at < end and text[at] in SPACE:
                at += 1
            self.at = at
            if at < end or self.ended:
                return text[at : at + 1]
            self.fill()


class Document:
    """A walk through one document. ``beside`` are the values at wanted paths that it came by, in objects."""

    def __init__(self, chunks: Iterable[bytes], limits: Limits, wanted: Paths) -> None:
        self._window, self._limits, self._wanted = Window(chunks), limits, wanted
        self._reader = Reader()
        self._record: int | None = None
        self._found = False
        self.beside: dict[str, Any] = {}

    def elements(self, path: Sequence[str]) -> Iterator[tuple[Any | Fault, str]]:
        """Each element of the array at a path, or what is wrong with it, and its text."""
        yield from self._at(path, self.beside, self._wanted, 1)
        if self._window.peek():
            self._refuse("json.syntax", "text after the document")
        if not self._found:
            self._refuse(
                "json.no-records", f"nothing stands at the declared path of the records, {'.'.join(path)}"
            )

    def _at(
        self, path: Sequence[str], beside: dict[str, Any], wanted: Paths, level: int
    ) -> Iterator[tuple[Any | Fault, str]]:
        if not path:
            if self._window.peek() != "[":
                self._refuse("json.no-records", "the records are no array")
            self._found = True
            yield from self._array()
            return
        if self._window.peek() != "{":
            self._refuse("json.no-records", f"the key {shown(path[0])} is looked for in what is no object")
        keys = {first for first, *_ in wanted}
        for key in self._members():
            if key == path[0]:
                inner = [others for first, *others in wanted if first == key]
                yield from self._at(path[1:], beside.setdefault(key, {}), inner, level + 1)
            elif key in keys:
                beside[key] = self._whole()
            else:
                self._pass_over(level + 1)

    def _array(self) -> Iterator[tuple[Any | Fault, str]]:
        window, reader, depth = self._window, self._reader, self._limits.depth
        self._record = 0
        for _ in self._items("[", "]"):
            self._record += 1
            value, begin = self._value()
            text = window.text[begin : window.at]
            fault = too_deep(text, depth)
            if fault is not None:
                self._refuse(fault.code, fault.what)
            yield reader.fault or value, text
        self._record = None

    def _items(self, opening: str, closing: str) -> Iterator[None]:
        """Stand before each item in brackets in turn: whoever asks reads it."""
        window = self._window
        if window.peek() != opening:
            self._refuse("json.syntax", f"{opening} is missing")
        window.at += 1
        if window.peek() == closing:
            window.at += 1
            return
        while True:
            yield
            match window.peek():
                case ",":
                    window.at += 1
                    window.peek()
                case found if found == closing:
                    window.at += 1
                    return
                case _:
                    self._refuse("json.syntax", f", or {closing} is missing")

    def _members(self) -> Iterator[str]:
        """Each key of an object; whoever asks reads its value."""
        window, seen = self._window, set[str]()
        for _ in self._items("{", "}"):
            if window.peek() != '"':
                self._refuse("json.syntax", "a key is missing")
            key = self._whole()
            if key in seen:
                self._refuse("json.duplicate-key", f"the key {shown(key)} stands twice in one object")
            seen.add(key)
            if len(seen) > _KEYS:
                self._refuse("json.keys", f"an object around the records has more than {_KEYS} keys")
            if window.peek() != ":":
                self._refuse("json.syntax", ": is missing")
            window.at += 1
            yield key

    def _pass_over(self, level: int) -> None:
        """Read a value that nobody wants: at once if it is in the window, else piece by piece."""
        if level > self._limits.depth:
            self._refuse("json.depth", f"it nests deeper than {self._limits.depth}")
        opening = self._window.peek()
        if opening not in ("{", "["):
            self._whole()
        elif self._in_window(level):
            return
        elif opening == "{":
            for _ in self._members():
                self._pass_over(level + 1)
        else:
            for _ in self._items("[", "]"):
                self._pass_over(level + 1)

    def _in_window(self, level: int) -> bool:
        window = self._window
        try:
            _, end = self._reader.read(window.text, window.at)
        except (JSONDecodeError, RecursionError):
            return False
        fault = self._reader.fault or too_deep(window.text[window.at : end], self._limits.depth - level + 1)
        if fault is not None:
            self._refuse(fault.code, fault.what)
        window.at = end
        return True

    def _whole(self) -> Any:
        """A value outside the records, which nothing may be wrong with."""
        value, begin = self._value()
        fault = self._reader.fault or too_deep(self._window.text[begin : self._window.at], self._limits.depth)
        if fault is not None:
            self._refuse(fault.code, fault.what)
        return value

    def _value(self) -> tuple[Any, int]:
        """The value that stands next, and where in the window it begins; the window moves behind it."""
        window, longest = self._window, self._limits.record
        window.peek()
        while True:
            text, at = window.text, window.at
            try:
                value, end = self._reader.read(text, at)
            except JSONDecodeError as error:
                cut = error.msg.startswith(_OPEN_STRING) or error.pos > len(text) - _CUT
                if window.ended or not cut:
                    self._refuse("json.syntax", error.msg, error.pos)
            except RecursionError:
                self._refuse("json.depth", f"it nests deeper than {self._limits.depth}")
            else:
                # the rest of a number may stand behind the window: 1|2, 1.|5, 1e-|3
                if window.ended or not isinstance(value, Number) or end < len(text) - 2:
                    if end - at > longest:
                        self._refuse(
                            "json.record-size", f"a value of {end - at} characters, at most {longest} may be"
                        )
                    window.at = end
                    return value, at
            if len(text) - at > longest:
                self._refuse("json.record-size", f"a value of more than {longest} characters")
            window.fill()

    def _refuse(self, code: str, what: str, place: int | None = None) -> NoReturn:
        window = self._window
        at = window.byte(window.at if place is None else place)
        raise Refused(code, f"{what}, at byte {at}", record=self._record, at=at)
