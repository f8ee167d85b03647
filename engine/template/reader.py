"""Reading: a tree held against a shape.

Rule: reading never stops at the first mistake and never coerces. It gives the tree back with defaults
filled in, durations in milliseconds and sizes in bytes, or None when a mistake is in it. A hole (where a
mistake was already told) stays silent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from engine.checks import Misfit
from engine.secrets import SecretRef
from engine.template.files import Shelf
from engine.template.mistakes import Code, Mistakes, Place, nearest, printable, shown
from engine.template.nodes import HOLE, Hole, Node, node_of, scalar_of
from engine.template.shapes import (
    ABSENT,
    DEFAULT,
    FILE,
    PATH,
    REQUIRED,
    UNITS_BYTES,
    UNITS_MS,
    Anything,
    Choice,
    Chosen,
    Constant,
    Duration,
    Fields,
    Flag,
    Language,
    Many,
    Maybe,
    Named,
    Number,
    Secret,
    Shape,
    Size,
    Text,
    Variant,
    Whole,
    spell,
)
from engine.template.tokens import has_token

_LINE: Final = 120
_EXACT: Final = 15  # digits of a number with a point that are surely those that were written
_MEASURE: Final = re.compile(r"([0-9]{1,12})([A-Za-z]{1,3})")
_A_DURATION: Final = "a duration such as 500ms, 10s, 5m, 2h or 30d"
_A_SIZE: Final = "a size such as 64KiB or 8MiB"
_CREDENTIALS: Final = re.compile(r"//[^/\s]*@|[^/\s]+:[^/\s]+@")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads trees. ``open_`` says that tokens still stand in the tree and are left alone.

    ``shelf`` has the files of the project that a tree may name; without one it may name none.
    """

    mistakes: Mistakes
    open_: bool = False
    shelf: Shelf | None = None

    def read(self, shape: Shape, node: Node, name: str) -> Node | None:
        """The tree, checked and filled; None when a mistake is in it. ``name`` is how mistakes call it."""
        if isinstance(node.value, Hole):
            return None
        if self.open_ and isinstance(node.value, str) and has_token(node.value):
            return node
        if isinstance(node.value, SecretRef) and not isinstance(shape, (Secret, Anything)):
            return self._no(node, Code.SECRET_MISPLACED, f"{shown(name)} cannot be a secret")
        match shape:
            case Anything():
                return node
            case Maybe(of=of):
                return node if node.value is None else self.read(of, node, name)
            case Many() | Named() | Fields() | Variant() | Chosen():
                return self._collection(shape, node, name)
            case Secret():
                return self._secret(node, name)
            case Text() | Language() | Constant():
                return self._written(shape, node, name)
            case Whole() | Number():
                return self._number(shape, node, name)
            case Flag():
                return self._flag(node, name)
            case Choice():
                return self._choice(shape, node, name)
            case Duration() | Size():
                return self._measure(shape, node, name)

    def _no(self, node: Node, code: Code, text: str, hint: str = "") -> Node | None:
        self.mistakes.add(node.place, code, text, hint)
        return None

    def _wrong(self, node: Node, name: str, what: str, hint: str = "") -> Node | None:
        return self._no(node, Code.WRONG_TYPE, f"{shown(name)} must be {what}, not {_kind(node)}", hint)

    def _collection(
        self, shape: Many | Named | Fields | Variant | Chosen, node: Node, name: str
    ) -> Node | None:
        if isinstance(shape, Many):
            if not isinstance(node.value, tuple):
                return self._wrong(node, name, "a list", "write [a, b] or one - per line")
            return self._many(shape, node, node.value, name)
        if isinstance(shape, Fields) and isinstance(node.value, str):
            if shape.short and self.read(shape.keys[shape.short].shape, node, name) is None:
                return None
            node = _spelled_out(shape, node, node.value)
        elif isinstance(shape, Fields) and shape.short and not isinstance(node.value, Mapping):
            return self.read(shape.keys[shape.short].shape, node, name)  # nobody meant a map
        if not isinstance(node.value, Mapping):
            return self._wrong(node, name, "a map of keys", "write {} for none" if node.value is None else "")
        match shape:
            case Named():
                return self._named(shape, node, name)
            case Fields():
                return self._fields(shape, node, name)
            case Variant():
                return self._variant(shape, node, name)
            case Chosen():
                return self._chosen(shape, node, name)

    def _many(self, shape: Many, node: Node, items: Sequence[Node], name: str) -> Node | None:
        if not shape.low <= len(items) <= shape.high:
            return self._no(
                node, Code.BAD_VALUE, f"{shown(name)} must have between {shape.low} and {shape.high} entries"
            )
        read = [self.read(shape.of, item, name) for item in items]
        kept = tuple(item for item in read if item is not None)
        return Node(node.place, kept) if len(kept) == len(items) else None

    def _named(self, shape: Named, node: Node, name: str) -> Node | None:
        items: dict[str, Node] = {}
        for key, item in node.items.items():
            if key in shape.own:
                if (read := self.read(shape.own[key].shape, item, key)) is not None:
                    items[key] = read
                continue
            if not re.fullmatch(shape.key.pattern, key):
                self.mistakes.add(
                    node.keys[key],
                    Code.BAD_NAME,
                    f"{shown(key)} is not {shape.key.what}",
                )
                continue
            if (read := self.read(shape.of, item, key)) is not None:
                items[key] = read
        if len(node.items.keys() - shape.own.keys()) < shape.low:
            return self._no(node, Code.BAD_VALUE, f"{shown(name)} is empty")
        return Node(node.place, items, node.keys) if len(items) == len(node.items) else None

    def _elsewhere(self, shape: Fields, node: Node, name: str) -> Node | None:
        path = self.read(PATH, node[FILE], FILE)
        if path is None or self.open_:
            return path and node
        if self.shelf is None:
            return self._no(
                path, Code.OUTSIDE, "no file is named here", "files of a project are named by its flows"
            )
        found = self.shelf.take(path)
        # what stands in a file names no other one: two could name each other
        return found and Reader(self.mistakes).read(shape, found, name)

    def _fields(self, shape: Fields, node: Node, name: str) -> Node | None:
        if shape.elsewhere and node.items.keys() == {FILE}:
            return self._elsewhere(shape, node, name)
        good = True
        for key in node.items:
            if key not in shape.keys:
                good = False
                self._unknown_key(shape, key, node.keys[key])
        items: dict[str, Node] = {}
        for key, known in shape.keys.items():
            item = node.get(key)
            if item is None and known.default is ABSENT:
                continue
            if item is None and known.default is REQUIRED:
                good = False
                self.mistakes.add(
                    node.place, Code.MISSING_KEY, f"{shown(key)} is missing in {shown(name)}", known.doc
                )
                continue
            reader = Reader(self.mistakes, open_=True) if known.tokens else self
            read = reader.read(known.shape, item or node_of(known.default, DEFAULT), key)
            if read is None:
                good = False
            else:
                items[key] = read
        return Node(node.place, items, node.keys) if good else None

    def _unknown_key(self, shape: Fields, key: str, place: Place) -> None:
        if key in shape.later:
            self.mistakes.add(place, Code.LATER, shape.later[key])
        elif shape.elsewhere and key == FILE:
            text = f"{shown(FILE)} stands alone: all the other keys stand in the file"
            self.mistakes.add(place, Code.UNKNOWN_KEY, text)
        else:
            self.mistakes.add(place, Code.UNKNOWN_KEY, f"unknown key {shown(key)}", nearest(key, shape.keys))

    def _variant(self, shape: Variant, node: Node, name: str) -> Node | None:
        chosen = node.get(shape.by)
        if chosen is None:
            return self._no(
                node,
                Code.MISSING_KEY,
                f"{shown(shape.by)} is missing in {shown(name)}",
                nearest("", shape.of),
            )
        if isinstance(chosen.value, Hole):
            return None
        if not isinstance(chosen.value, str):
            return self._wrong(chosen, shape.by, "text")
        if self.open_ and has_token(chosen.value):
            return node
        if chosen.value not in shape.of:
            return self._no(
                chosen,
                shape.unknown,
                f"{shown(shape.by)} names no {shape.what}",
                nearest(chosen.value, shape.of),
            )
        return self._fields(shape.of[chosen.value], node, name)

    def _chosen(self, shape: Chosen, node: Node, name: str) -> Node | None:
        there = [key for key in node.items if key in shape.of]
        if len(there) == 1:
            return self._fields(shape.of[there[0]], node, name)
        if there:
            text = f"{shown(name)} is one {shape.what}, not {len(there)}: {', '.join(there)}"
            return self._no(
                Node(node.keys[there[1]], HOLE), Code.BAD_VALUE, text, "give each a name of its own"
            )
        others = {key for fields in shape.of.values() for key in fields.keys}
        for key in node.items:
            if key not in others:
                near = nearest(key, {*shape.of, *others})
                return self._no(
                    Node(node.keys[key], HOLE), Code.UNKNOWN_KEY, f"unknown key {shown(key)}", near
                )
        text = f"{shown(name)} does not say which {shape.what} it is"
        return self._no(node, Code.MISSING_KEY, text, f"one of {', '.join(shape.of)}")

    def _written(self, shape: Text | Language | Constant, node: Node, name: str) -> Node | None:
        match shape:
            case Text():
                return self._text(shape, node, name)
            case Language():
                return self._language(shape, node, name)
            case Constant():
                return self._constant(node, name)

    def _language(self, shape: Language, node: Node, name: str) -> Node | None:
        if not isinstance(node.value, str):
            return self._wrong(node, name, shape.what, "write it in quotes" if _is_scalar(node) else "")
        try:
            shape.check(node.value)
        except Misfit as misfit:
            self.misfit(node, misfit)
            return None
        return node

    def misfit(self, node: Node, misfit: Misfit, about: str = "") -> None:
        """Tell it at the very character, where the file has the text as it is."""
        place, text = node.place, misfit.text
        if misfit.at is not None and node.lead is not None:
            place = replace(place, column=place.column + node.lead + misfit.at)
        elif misfit.at is not None:
            text = f"{text} (character {misfit.at + 1} of it)"
        near = nearest(misfit.name, misfit.known) if misfit.name else ""
        hint = near if near.startswith("did") or 0 < len(near) < _LINE else misfit.hint
        self.mistakes.add(place, Code.BAD_EXPRESSION, text + about, hint)

    def _constant(self, node: Node, name: str) -> Node | None:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return self._wrong(node, name, "text or a number")
        if isinstance(value, float) and len(Decimal(repr(value)).as_tuple().digits) > _EXACT:
            text = f"{shown(name)} has more digits than a number keeps here"
            return self._no(node, Code.BAD_VALUE, text, "write it in quotes, as it is")
        return node

    def _secret(self, node: Node, name: str) -> Node | None:
        if isinstance(node.value, SecretRef):
            return node
        return self._no(
            node,
            Code.LITERAL_SECRET,
            f"{shown(name)} must be a reference to a secret, never the secret itself",
            "write ${secret.name}; the value goes into secrets/<name> (mode 0600) or ECLUSE_SECRET_<NAME>",
        )

    def _text(self, shape: Text, node: Node, name: str) -> Node | None:
        if not isinstance(node.value, str):
            return self._wrong(node, name, shape.what, "write it in quotes" if _is_scalar(node) else "")
        if not shape.low <= len(node.value) <= shape.high:
            limits = f"between {shape.low} and {shape.high} characters"
            return self._no(node, Code.BAD_VALUE, f"{shown(name)} must have {limits}")
        if not printable(node.value) and not shape.signs:
            return self._no(node, Code.BAD_VALUE, f"a control character stands in {shown(name)}")
        if _CREDENTIALS.search(node.value):
            return self._no(
                node,
                Code.LITERAL_SECRET,
                f"{shown(name)} holds credentials",
                "give user and password by themselves",
            )
        if shape.pattern and not re.fullmatch(shape.pattern, node.value):
            return self._no(node, Code.BAD_VALUE, f"{shown(name)} must be {shape.what}")
        return node

    def _number(self, shape: Whole | Number, node: Node, name: str) -> Node | None:
        value = scalar_of(node.value) if node.loose and isinstance(node.value, str) else node.value
        kinds, what = ((int,), "a whole number") if isinstance(shape, Whole) else ((int, float), "a number")
        if isinstance(value, bool) or not isinstance(value, kinds):
            hint = "write it without quotes" if isinstance(node.value, str) else ""
            return self._wrong(node, name, what, hint)
        if (shape.low is not None and value < shape.low) or (shape.high is not None and value > shape.high):
            return self._no(node, Code.BAD_VALUE, f"{shown(name)} must be {_range(shape.low, shape.high)}")
        return Node(node.place, value)

    def _flag(self, node: Node, name: str) -> Node | None:
        value = scalar_of(node.value) if node.loose and isinstance(node.value, str) else node.value
        if not isinstance(value, bool):
            return self._wrong(node, name, "true or false", "yes, no, on and off are text here")
        return Node(node.place, value)

    def _choice(self, shape: Choice, node: Node, name: str) -> Node | None:
        listed = f"one of {', '.join(shape.values)}" if len(shape.values) > 1 else shape.values[0]
        if not isinstance(node.value, str):
            return self._wrong(node, name, listed)
        if node.value in shape.later:
            return self._no(node, Code.LATER, shape.later[node.value])
        if node.value not in shape.values and not shape.others:
            near = nearest(node.value, shape.values)
            hint = near if near.startswith("did") else ""
            return self._no(node, Code.BAD_VALUE, f"{shown(name)} must be {listed}", hint)
        return node

    def _measure(self, shape: Duration | Size, node: Node, name: str) -> Node | None:
        is_duration = isinstance(shape, Duration)
        units, what = (UNITS_MS, _A_DURATION) if is_duration else (UNITS_BYTES, _A_SIZE)
        if not isinstance(node.value, str):
            return self._wrong(node, name, what)
        found = _MEASURE.fullmatch(node.value)
        if not found or found[2] not in units:
            return self._no(node, Code.BAD_VALUE, f"{shown(name)} must be {what}")
        value = int(found[1]) * units[found[2]]
        if not shape.low <= value <= shape.high:
            low, high = spell(shape.low, units), spell(shape.high, units)
            return self._no(node, Code.BAD_VALUE, f"{shown(name)} must be between {low} and {high}")
        if isinstance(shape, Duration) and shape.whole and value % UNITS_MS["s"]:
            return self._no(node, Code.BAD_VALUE, f"{shown(name)} must be a number of whole seconds")
        return Node(node.place, value)


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"between {low} and {high}"
    return f"at least {low}" if low is not None else f"at most {high}"


def _is_scalar(node: Node) -> bool:
    return isinstance(node.value, (int, float, bool))


def _spelled_out(shape: Fields, node: Node, word: str) -> Node:
    """A word that stands for a map, as that map: the one key that it means, or the file that has all keys."""
    path = shape.elsewhere and re.fullmatch(PATH.pattern, word)
    key = shape.short or (FILE if path else "")
    return Node(node.place, {key: node}, {key: node.place}) if key else node


def _kind(node: Node) -> str:
    match node.value:
        case str():
            return "text"
        case bool():
            return "true or false"
        case int():
            return "a whole number"
        case float():
            return "a number with a point"
        case tuple():
            return "a list"
        case Mapping():
            return "a map"
        case _:
            return "nothing"
