"""YAML text → a tree of values that know where they stand.

Rule: less YAML than YAML allows, so that a file means what it looks like. Aliases, anchors, tags, merge
keys, directives and duplicate keys are refused; scalars are those of YAML 1.2 that JSON has too (``NO``,
``on``, ``12:30``, ``010`` and ``0x1f`` are text). The text is read as a stream of events with an own stack:
nothing recurses, and limits on bytes, depth and number act before a tree exists. This room knows no keys.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import yaml

from engine.secrets import SecretRef
from engine.template.mistakes import Code, Mistakes, Place, shown

BYTES_MAX: Final = 1_000_000
DEPTH_MAX: Final = 50
EVENTS_MAX: Final = 100_000
_MISTAKES_MAX: Final = 50  # per file: after that, nobody reads them

_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][-+]?[0-9]{1,3})?")
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# libyaml reads a megabyte in a second or two, the parser in Python in half a minute
_NATIVE: Final = hasattr(yaml, "CSafeLoader")


class Hole:
    """Stands where a mistake was: whatever reads it stays silent."""


HOLE: Final = Hole()
Scalar = str | int | float | bool | SecretRef | Hole | None


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place; ``keys`` holds the places of a map's keys.

    ``loose`` marks text of the environment, which has no types: it may be read as a number or a boolean.
    ``lead`` is how many characters lie between the place and the text where it stands there as it is (a
    quote); None where it does not (escapes, several lines, tokens).
    """

    place: Place
    value: Scalar | tuple[Node, ...] | Mapping[str, Node]
    keys: Mapping[str, Place] = field(default_factory=dict)
    loose: bool = False
    lead: int | None = None

    def __getitem__(self, key: str) -> Node:
        """A key of a map that is known to be there."""
        assert isinstance(self.value, Mapping)  # noqa: S101 - only a bug can break it
        return self.value[key]

    def get(self, key: str) -> Node | None:
        """A key of a map, or None."""
        return self.value.get(key) if isinstance(self.value, Mapping) else None

    @property
    def items(self) -> Mapping[str, Node]:
        """The entries of a map."""
        assert isinstance(self.value, Mapping)  # noqa: S101 - only a bug can break it
        return self.value

    @property
    def text(self) -> str:
        """A value that is known to be text."""
        assert isinstance(self.value, str)  # noqa: S101 - only a bug can break it
        return self.value

    @property
    def plain(self) -> Any:
        """The value without its places."""
        match self.value:
            case tuple() as nodes:
                return [node.plain for node in nodes]
            case Mapping() as nodes:
                return {key: node.plain for key, node in nodes.items()}
            case scalar:
                return scalar


def node_of(value: Any, place: Place) -> Node:
    """A plain value as a tree, all of it at one place: how defaults enter."""
    if isinstance(value, Mapping):
        items = {key: node_of(item, place) for key, item in value.items()}
        return Node(place, items, dict.fromkeys(items, place))
    if isinstance(value, (list, tuple)):
        return Node(place, tuple(node_of(item, place) for item in value))
    return Node(place, value)


def scalar_of(text: str) -> Scalar:
    """The value of a plain scalar.

    >>> [scalar_of(t) for t in ("NO", "true", "12", "010", "1.5", "1e400", "12:30", "~")]
    ['NO', True, 12, '010', 1.5, '1e400', '12:30', None]
    """
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def documents(raw: bytes, path: str, mistakes: Mistakes) -> list[Node] | None:
    """The documents of a file, or None when it cannot be read to its end."""
    text = _decoded(raw, path, mistakes)
    if text is None:
        return None
    builder = _Builder(path, mistakes)
    try:
        for event in _events(text):
            if not builder.take(event):
                return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(path, mark.line + 1, mark.column + 1) if mark else Place(path, 1, 1)
        problem = _problem(error)
        mistakes.add(place, Code.SYNTAX, problem, _advice(problem, text, place))
        return None
    except (yaml.YAMLError, ValueError, OverflowError):
        mistakes.add(builder.last, Code.SYNTAX, "an escape or a character that YAML does not have")
        return None
    return builder.roots


def _events(text: str) -> Iterator[yaml.Event]:
    return yaml.parse(text, Loader=yaml.CSafeLoader if _NATIVE else yaml.SafeLoader)


def _problem(error: yaml.MarkedYAMLError) -> str:
    # libyaml's texts are constant; those of the parser in Python quote the file, maybe a password (I8)
    return error.problem if _NATIVE and error.problem else "this is not YAML"


def _advice(problem: str, text: str, place: Place) -> str:
    line = next(islice(text.split("\n"), place.line - 1, None), "")
    if line[: place.column].endswith("\t"):
        return "indent with spaces, not with tabs"
    if "cannot start any token" in problem:
        return "a text that begins with @ ` or % goes in quotes"
    if "',' or" in problem:
        return "a text that holds { } [ ] , or ${…} goes in quotes there"
    return "a text that holds a colon and a space goes in quotes" if "mapping values" in problem else ""


def _decoded(raw: bytes, path: str, mistakes: Mistakes) -> str | None:
    if len(raw) > BYTES_MAX:
        mistakes.add(Place(path, 1, 1), Code.TOO_LARGE, "the file is larger than 1 MB")
        return None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        mistakes.add(Place(path, line, column), Code.UNREADABLE, "the file is not UTF-8")
        return None
    if bad := _UNPRINTABLE.search(text):
        before_text = text[: bad.start()]
        line, column = before_text.count("\n") + 1, bad.start() - before_text.rfind("\n")
        mistakes.add(Place(path, line, column), Code.UNREADABLE, "a control character stands in the file")
        return None
    return text


def _lead(event: yaml.ScalarEvent) -> int | None:
    """See ``Node``: the text stands in the file as it is when it is as wide there as it is long."""
    start, end, quote = event.start_mark, event.end_mark, 1 if event.style in ("'", '"') else 0
    if start is None or end is None or start.line != end.line:
        return None
    return quote if end.column - start.column == len(event.value) + 2 * quote else None


@dataclass(slots=True)
class _Open:
    """A list or a map that has begun; ``key`` is the key that waits for its value."""

    place: Place
    is_map: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)
    key: tuple[str | None, Place] | None = None

    def closed(self) -> Node:
        if self.is_map:
            return Node(self.place, self.entries, self.keys)
        return Node(self.place, tuple(self.items))


class _Builder:
    """Builds trees from events; every refusal is a mistake, and reading goes on where it can."""

    def __init__(self, path: str, mistakes: Mistakes) -> None:
        self.roots: list[Node] = []
        self.last = Place(path, 1, 1)
        self._path = path
        self._mistakes = mistakes
        self._enough = len(mistakes) + _MISTAKES_MAX
        self._events = 0
        self._stack: list[_Open] = []

    def take(self, event: yaml.Event) -> bool:
        """Take one event; False: stop reading this file."""
        mark = event.start_mark
        self.last = place = Place(self._path, mark.line + 1, mark.column + 1) if mark else self.last
        match event:
            case yaml.ScalarEvent():
                self._refuse_extras(event, place)
                plain = not event.style and event.tag is None
                value = scalar_of(event.value) if plain else event.value
                self._put(Node(place, value, lead=_lead(event)))
            case yaml.CollectionStartEvent():
                self._refuse_extras(event, place)
                if len(self._stack) == DEPTH_MAX:
                    self._mistakes.add(place, Code.TOO_DEEP, f"nested more than {DEPTH_MAX} levels deep")
                    return False
                self._stack.append(_Open(place, isinstance(event, yaml.MappingStartEvent)))
            case yaml.CollectionEndEvent():
                self._put(self._stack.pop().closed())
            case yaml.AliasEvent():
                self._mistakes.add(place, Code.ALIAS, "aliases are not allowed: write the value out")
                self._put(Node(place, HOLE))
            case yaml.DocumentStartEvent() if event.version or event.tags:
                self._mistakes.add(place, Code.DIRECTIVE, "directives (%) are not allowed")
            case _:  # the begins and ends of streams and documents
                pass
        return len(self._mistakes) < self._enough and self._counted(place)

    def _counted(self, place: Place) -> bool:
        self._events += 1
        if self._events <= EVENTS_MAX:
            return True
        self._mistakes.add(place, Code.TOO_LARGE, f"the file holds more than {EVENTS_MAX} values")
        return False

    def _refuse_extras(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, place: Place) -> None:
        if event.anchor:
            self._mistakes.add(place, Code.ALIAS, "anchors are not allowed: write the value out")
        if event.tag is not None:
            self._mistakes.add(place, Code.TAG, "tags (!) are not allowed: quote a text that begins with !")

    def _put(self, node: Node) -> None:
        if not self._stack:
            self.roots.append(node)
            return
        top = self._stack[-1]
        if not top.is_map:
            top.items.append(node)
        elif top.key is None:
            top.key = (self._key(node), node.place)
        else:
            (key, place), top.key = top.key, None
            self._enter(top, key, place, node)

    def _key(self, node: Node) -> str | None:
        if isinstance(node.value, str):
            return node.value
        if not isinstance(node.value, Hole):
            self._mistakes.add(node.place, Code.KEY_NOT_TEXT, "a key must be text", "write it in quotes")
        return None

    def _enter(self, top: _Open, key: str | None, place: Place, node: Node) -> None:
        if key is None:
            return
        if key == "<<":
            self._mistakes.add(place, Code.MERGE_KEY, "merge keys are not allowed: write the keys out")
        elif key in top.keys:
            self._mistakes.add(
                place, Code.DUPLICATE_KEY, f"{shown(key)} is given twice", f"first at {top.keys[key]}"
            )
        else:
            top.entries[key] = node
            top.keys[key] = place
