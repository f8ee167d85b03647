"""JSON values: read with nothing lost, and laid out as the fields of declared columns.

Rule: a number is the text that the partner wrote, never a float or an int; a key that stands twice, NaN and
Infinity are faults of their record. A nested value travels as compact JSON: its keys in the partner's order,
its numbers as written, its strings with no more escapes than JSON needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from json import JSONDecoder
from json.encoder import encode_basestring
from typing import Any, Final

from connectors.files.lots import Fault, Unknown, shown
from connectors.files.records import Limits, Text

_STRUCTURE: Final = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
SPACE: Final = " \t\r\n"


class Number(str):
    """A number as it was written."""

    __slots__ = ()


class Reader:
    """The standard library's scanner, with hooks that keep what it would lose.

    ``fault`` is what was wrong with the last value though its syntax was right.
    """

    def __init__(self) -> None:
        self.fault: Fault | None = None
        decoder = JSONDecoder(
            object_pairs_hook=self._pairs,
            parse_float=Number,
            parse_int=Number,
            parse_constant=self._constant,
        )
        self._decode = decoder.raw_decode

    def read(self, text: str, at: int) -> tuple[Any, int]:
        """The value at a place, and where it ends. Raises JSONDecodeError, and RecursionError."""
        self.fault = None
        return self._decode(text, at)

    def _pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            self.fault = Fault("json.duplicate-key", f"the key {shown(twice)} stands twice in one object")
        return found

    def _constant(self, name: str) -> None:
        self.fault = Fault("json.not-a-number", f"{name} is no JSON number")


def too_deep(text: str, most: int) -> Fault | None:
    """What is wrong with a text that nests deeper than ``most``."""
    if text.count("[") + text.count("{") <= most or (deepest := depth(text)) <= most:
        return None
    return Fault("json.depth", f"it nests {deepest} deep, and at most {most} is allowed")


def depth(text: str) -> int:
    """How deep a JSON text nests.

    >>> depth('{"a": [1, "[[["]}')
    2
    """
    deepest = now = 0
    for found in _STRUCTURE.finditer(text):
        if found[0] in "[{":
            now += 1
            deepest = max(deepest, now)
        elif found[0] in "]}":
            now -= 1
    return deepest


def _written(value: Any) -> Iterator[str]:
    if isinstance(value, Number):
        yield value
    elif isinstance(value, str):
        yield encode_basestring(value)
    elif isinstance(value, dict):
        for n, (key, member) in enumerate(value.items()):
            yield f"{',' if n else '{'}{encode_basestring(key)}:"
            yield from _written(member)
        yield "}" if value else "{}"
    elif isinstance(value, list):
        for n, element in enumerate(value):
            yield "," if n else "["
            yield from _written(element)
        yield "]" if value else "[]"
    else:
        yield {None: "null", True: "true", False: "false"}[value]


def text_of(value: Any) -> Text:
    """The field that a value travels as. Raises UnicodeEncodeError for a lone surrogate.

    >>> text_of(Number("1.10")), text_of(True), text_of({"a": [Number("1e3"), "b"]})
    (b'1.10', b'true', b'{"a":[1e3,"b"]}')
    """
    if isinstance(value, str):
        return value.encode()
    if value is None:
        return None
    return "".join(_written(value)).encode()


class _Node:
    """An object in a record: the columns that are values in it, and objects in it that columns go into."""

    def __init__(self) -> None:
        self.values: list[tuple[str, int]] = []
        self.objects: dict[str, _Node] = {}
        self.known: frozenset[str] = frozenset()

    def add(self, path: Sequence[str], index: int) -> None:
        """A column at a path below."""
        key, *others = path
        self.known |= {key}
        if others:
            self.objects.setdefault(key, _Node()).add(others, index)
        else:
            self.values.append((key, index))


class Columns:
    """Declared columns, ready to take their fields out of records."""

    def __init__(self, paths: Mapping[str, Sequence[str]], unknown: Unknown, limits: Limits) -> None:
        self.names = tuple(paths)
        self._root = _Node()
        self._strict, self._limits = unknown == "problem", limits
        for index, path in enumerate(paths.values()):
            self._root.add(path, index)

    def row(self, value: Any, size: int) -> Sequence[Text] | Fault:
        """The fields of a record that was read from at most so many bytes, in the order of the columns."""
        if not isinstance(value, dict):
            return Fault("json.not-an-object", f"a record is an object, this is {_kind(value)}")
        found: list[Any] = [None] * len(self.names)
        fault = self._pick(self._root, value, found, ())
        if fault is not None:
            return fault
        try:
            row = [text_of(one) for one in found]
        except UnicodeEncodeError:
            return self._surrogate(found)
        if size > self._limits.field:  # a field is never longer than what it was read from
            return self._fitting(row)
        return row

    def _pick(
        self, node: _Node, value: dict[str, Any], found: list[Any], where: tuple[str, ...]
    ) -> Fault | None:
        get = value.get
        for key, index in node.values:
            found[index] = get(key)
        if self._strict and not value.keys() <= node.known:
            more = ".".join((*where, min(value.keys() - node.known)))
            return Fault("json.unknown-key", f"no column names the key {shown(more)}")
        for key, below in node.objects.items():
            inner = get(key)
            if isinstance(inner, dict):
                fault = self._pick(below, inner, found, (*where, key))
                if fault is not None:
                    return fault
            elif inner is not None:
                name = ".".join((*where, key))
                return Fault("json.shape", f"{name} is {_kind(inner)}, and columns name keys in it")
        return None

    def _surrogate(self, found: Sequence[Any]) -> Fault:
        for name, value in zip(self.names, found, strict=True):
            try:
                text_of(value)
            except UnicodeEncodeError as error:
                what = (
                    f"{name}: half a surrogate pair, \\u{ord(error.object[error.start]):04x}, is no character"
                )
                return Fault("json.surrogate", what)
        raise AssertionError("one of them did not encode")

    def _fitting(self, row: Sequence[Text]) -> Sequence[Text] | Fault:
        for name, text in zip(self.names, row, strict=True):
            if text is not None and len(text) > self._limits.field:
                what = f"{name}: {len(text)} bytes, and a field has at most {self._limits.field}"
                return Fault("json.field-size", what)
        return row


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case Number():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"
