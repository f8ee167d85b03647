"""How rows become records of JSON lines, of a JSON document, and of XML.

Rule: as in ``forms``. A value that has no text is null, or an element that is not there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from connectors.files.forms import NO_FATE, Encode, Row, Said
from connectors.files.jsons import JsonDocument, JsonLines, keys_of
from connectors.files.records import DOCUMENT, HEADER, TRAILER
from connectors.files.xmls import Xml, XmlRecord
from engine.source import Fate, Room

_STRANGE: Final = "unexpected"
_CONTROLS: Final = "".join(map(chr, range(32)))


def _object(paths: Sequence[tuple[str, ...]], row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, value in zip(paths, row, strict=True):
        inner = found
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = value
    return found


def _paths(columns: Mapping[str, str | None]) -> list[tuple[str, ...]]:
    return [(name,) if path is None else keys_of(path) for name, path in columns.items()]


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class LinesForm:
    """An object a line; every value is a string, or null."""

    before, cut = 0, "json.truncated"
    ragged = Fate("quarantined", "json.syntax")

    def __init__(self, declared: JsonLines, encode: Encode) -> None:
        self._encode, self._columns = encode, _paths(declared.columns)
        self.rooms = {name: Room(empty=True) for name in declared.columns}

    def opening(self, said: Said) -> bytes:
        """Nothing."""
        del said
        return b""

    def record(self, row: Row, *, ragged: bool) -> bytes:
        """A line; ragged: without its last brace."""
        line = _text(_object(self._columns, row))
        return self._encode((line[:-1] if ragged else line) + "\n")

    def closing(self, said: Said) -> bytes:
        """Nothing."""
        del said
        return b""

    def half(self, row: Row) -> bytes:
        """The beginning of an object."""
        del row
        return self._encode("{")


class DocumentForm:
    """The objects of one array, and what stands beside it."""

    before, cut = 0, "json.syntax"

    def __init__(self, declared: JsonDocument, encode: Encode) -> None:
        self._encode, self._columns, self._declared = encode, _paths(declared.columns), declared
        self.rooms = {name: Room(empty=True) for name in declared.columns}
        self.ragged = Fate("quarantined", "json.unknown-key") if declared.unknown == "problem" else NO_FATE
        self._array = keys_of(declared.records)
        self._none = True

    def opening(self, said: Said) -> bytes:
        """Everything up to the array."""
        del said
        self._none = True
        return self._encode("".join(f"{{{_text(key)}:" for key in self._array) + "[\n")

    def record(self, row: Row, *, ragged: bool) -> bytes:
        """An element; ragged: with a key that no column names."""
        made = _object(self._columns, row) | ({_STRANGE: True} if ragged else {})
        comma, self._none = "" if self._none else ",\n", False
        return self._encode(comma + _text(made))

    def closing(self, said: Said) -> bytes:
        """The end of the array, and what stands beside it at each level."""
        beside = _object(
            _paths(self._declared.document),
            [said.get(f"{DOCUMENT}.{name}") for name in self._declared.document],
        )
        levels = [beside]
        for key in self._array[:-1]:
            levels.append(levels[-1].pop(key, {}))
        text = "\n]"
        for level in reversed(levels[: len(self._array)]):
            text += "".join(f",{_text(key)}:{_text(value)}" for key, value in level.items()) + "}"
        return self._encode(text + "\n")

    def half(self, row: Row) -> bytes:
        """The end of nothing."""
        del row
        return b""


class XmlForm:
    """An element for each row, and those of header and trailer."""

    cut = "xml.syntax"

    def __init__(self, declared: Xml, encode: Encode) -> None:
        self._encode, self._declared = encode, declared
        never = _CONTROLS + "\x7f"
        self.rooms = {name: Room(never=never, empty=True) for name in declared.columns}
        self.before = int(declared.header is not None)
        self.ragged = Fate("quarantined", "xml.unknown") if declared.unknown == "problem" else NO_FATE
        self._path = declared.record.strip("/").split("/")

    def opening(self, said: Said) -> bytes:
        """The root, a header, and all that the rows stand in."""
        spaces = "".join(
            f" xmlns{':' if prefix else ''}{prefix}={quoteattr(name)}"
            for prefix, name in self._declared.namespaces.items()
        )
        root = f"<{self._path[0]}{spaces}>\n"
        inside = "".join(f"<{step}>" for step in self._path[1:-1])
        return self._encode(root + self._single(HEADER, self._declared.header, said) + inside)

    def record(self, row: Row, *, ragged: bool) -> bytes:
        """An element; ragged: with one in it that no column names."""
        more = f"<{_STRANGE}/>" if ragged else ""
        return self._encode(_element(self._path[-1], self._declared, row, more) + "\n")

    def closing(self, said: Said) -> bytes:
        """What the rows stand in, a trailer, and the root."""
        inside = "".join(f"</{step}>" for step in reversed(self._path[1:-1]))
        last = self._single(TRAILER, self._declared.trailer, said)
        return self._encode(f"{inside}{last}</{self._path[0]}>\n")

    def half(self, row: Row) -> bytes:
        """Nothing: the root has no end."""
        del row
        return b""

    def _single(self, kind: str, declared: XmlRecord | None, said: Said) -> str:
        if declared is None:
            return ""
        path = declared.record.strip("/").split("/")[1:]
        row = [said.get(f"{kind}.{name}") for name in declared.columns]
        around = "".join(f"<{step}>" for step in path[:-1])
        end = "".join(f"</{step}>" for step in reversed(path[:-1]))
        return f"{around}{_element(path[-1], declared, row, '')}{end}\n"


def _element(name: str, declared: XmlRecord, row: Row, more: str) -> str:
    """An element with the values of a row in it, each at its column's path."""
    tree: dict[str, Any] = {}
    for (column, path), value in zip(declared.columns.items(), row, strict=True):
        if value is not None:
            inner = tree
            steps = (path or column).split("/")
            for step in steps[:-1]:
                inner = inner.setdefault(step, {})
            if steps[-1].startswith((".", "@")):
                inner[steps[-1]] = value
            else:
                inner.setdefault(steps[-1], {})["."] = value
    return _tree(name, tree, more)


def _tree(name: str, tree: Mapping[str, Any], more: str) -> str:
    attributes = "".join(f" {key[1:]}={quoteattr(each)}" for key, each in tree.items() if key[0] == "@")
    inside = "".join(_tree(key, each, "") for key, each in tree.items() if key[0] not in "@.")
    return f"<{name}{attributes}>{escape(tree.get('.', ''))}{inside}{more}</{name}>"
