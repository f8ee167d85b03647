"""What connectors say in models of their own: shapes that files are read with, and data that plans hold.

Rule: the model is the only place where a connector says what may be declared. Its fields become keys, its
bounds become ours, and what only the model can know is told at the place of the key that it is about. A field
in seconds or bytes (``poll_s``) is a key without the unit (``poll: 5s``). This room knows no connector.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from pydantic import BaseModel, BeforeValidator, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from engine.contract.said import Typed, TypedColumn, TypedLayout
from engine.template.contracting import OF_COLUMN, OF_LAYOUT, Beside, Layout
from engine.template.mistakes import Code, Mistakes, escaped, shown
from engine.template.nodes import Node, node_of
from engine.template.shapes import (
    ABSENT,
    DEFAULT,
    REQUIRED,
    UNITS_BYTES,
    UNITS_MS,
    Choice,
    Duration,
    Fields,
    Flag,
    Key,
    Many,
    Maybe,
    Named,
    Number,
    Secret,
    Shape,
    Size,
    Text,
    Whole,
    spell,
)

Model = type[BaseModel]
_Path = tuple[str | int, ...]

_NAMED: Final = Text("a name without control characters", r"[^\x00-\x1f\x7f]{1,200}")
_FOREVER_MS: Final = 3650 * UNITS_MS["d"]
_HUGE: Final = 2**50


@dataclass(frozen=True, slots=True)
class _Kind:
    """A field's type without what is wrapped around it: its bounds, and whether it may be nothing."""

    bare: Any
    bounds: Mapping[str, Any]
    nothing: bool
    told: bool  # a validator of its own looks at it first, and has the better words
    free: bool  # the model says nothing more of it than its type
    typed: Typed | None = None  # it names a column, beside which may stand what a contract says of one

    @property
    def origin(self) -> Any:
        return typing.get_origin(self.bare)

    @property
    def model(self) -> Model | None:
        is_model = isinstance(self.bare, type) and issubclass(self.bare, BaseModel)
        return self.bare if is_model else None

    @property
    def entry(self) -> Any:
        """The type of an entry: of a list, or of a map."""
        return typing.get_args(self.bare)[1 if self.is_map else 0]

    @property
    def is_list(self) -> bool:
        return self.origin in (tuple, list)

    @property
    def is_map(self) -> bool:
        return isinstance(self.origin, type) and issubclass(self.origin, Mapping)


_BOUNDS: Final = ("ge", "gt", "le", "min_length", "max_length", "pattern")


def _kind(annotation: Any, metadata: Sequence[Any] = ()) -> _Kind:
    nothing = False
    words = list(metadata)
    while True:
        origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            annotation = inner[0]
            words += inner[1:]
        elif origin in (typing.Union, types.UnionType) and type(None) in inner:
            rest = [each for each in inner if each is not type(None)]
            annotation, nothing = typing.Union[tuple(rest)], True  # noqa: UP007 - made from a list
        else:
            break
    words += [word for each in words if isinstance(each, FieldInfo) for word in each.metadata]
    bounds = {
        name: found for name in _BOUNDS for word in words if (found := getattr(word, name, None)) is not None
    }
    told = any(isinstance(word, BeforeValidator) for word in words)
    typed = next((word for word in words if isinstance(word, Typed)), None)
    return _Kind(annotation, bounds, nothing, told, free=not words, typed=typed)


@cache
def _fields(model: Model) -> Mapping[str, _Kind]:
    return {name: _kind(info.annotation, info.metadata) for name, info in model.model_fields.items()}


def _unit(name: str, kind: _Kind) -> str:
    if name.endswith("_s") and kind.bare in (int, float):
        return "_s"
    return "_bytes" if name.endswith("_bytes") and kind.bare is int else ""


def spelled(model: Model, name: str) -> str:
    """How a field is written: without its unit."""
    return name.removesuffix(_unit(name, _fields(model)[name]))


def secret_fields(model: Model) -> frozenset[str]:
    """The fields of a model that hold secrets: references in the plan, values at open."""
    return frozenset(name for name, kind in _fields(model).items() if kind.bare is SecretStr)


# --- a model as shapes -----------------------------------------------------------------------------------


def of_connection(model: Model, derived: frozenset[str]) -> dict[str, Key]:
    """The keys of a connection: a flat model; what is absent is left to it."""
    keys = {}
    for name, info in model.model_fields.items():
        if name not in derived:
            default = REQUIRED if info.is_required() else ABSENT
            shape = _shape(_fields(model)[name], name, free=False)
            keys[spelled(model, name)] = Key(shape, info.description or "", default)
    return keys


def of_flow(model: Model) -> dict[str, Key]:
    """The keys of what a flow says: models within models, whatever has a default filled in."""
    own = {
        spelled(model, name): Key(_whole(kind, name), info.description or "", _default(name, kind, info))
        for (name, info), kind in zip(model.model_fields.items(), _fields(model).values(), strict=True)
        if not _only_word(kind, info)
    }
    return {**own, **_beside(model)}


def _beside(model: Model) -> Mapping[str, Key]:
    """The keys that are a contract's, and not the model's own."""
    return (
        OF_COLUMN if issubclass(model, TypedColumn) else OF_LAYOUT if issubclass(model, TypedLayout) else {}
    )


def within(model: Model) -> list[Model]:
    """The models that stand within a model, in the order of its fields."""
    found = []
    for kind in _fields(model).values():
        while kind.is_list or kind.is_map:
            kind = _kind(kind.entry)  # noqa: PLW2901 - what is in it
        if kind.model:
            found.append(kind.model)
    return found


def _only_word(kind: _Kind, info: FieldInfo) -> bool:
    """Whether a field can only be what it is anyway: nobody needs to write it."""
    return kind.origin is typing.Literal and (info.default,) == typing.get_args(kind.bare) and not kind.told


def _default(name: str, kind: _Kind, info: FieldInfo) -> Any:
    if info.is_required():
        return REQUIRED
    match _unit(name, kind), info.default:
        case "_s", int() | float() as seconds:
            return spell(round(seconds * 1000), UNITS_MS)
        case "_bytes", int() as size:
            return spell(size, UNITS_BYTES)
        case _, (str() | int() | float()) as plain:
            return plain
        case _:
            return ABSENT  # nothing, or a model's own defaults


def _whole(kind: _Kind, name: str = "") -> Shape:
    shape = _shape(kind, name, free=True)
    return Maybe(shape) if kind.nothing else shape


def _shape(kind: _Kind, name: str, *, free: bool) -> Shape:
    low, high = kind.bounds.get("min_length", 0), kind.bounds.get("max_length")
    if kind.typed:
        plain_kind = replace(kind, typed=None)
        own = Key(_whole(plain_kind, name), "", ABSENT if kind.nothing else REQUIRED)
        return Fields({kind.typed.key: own, **OF_COLUMN}, short=kind.typed.key)
    if kind.model:
        return Fields(of_flow(kind.model), elsewhere=True, short=getattr(kind.model, "SHORT", ""))
    if kind.is_list:
        return Many(_whole(_kind(kind.entry)), low, high or 10_000)
    if kind.is_map:
        return Named(_whole(_kind(kind.entry)), _NAMED, low)
    if kind.origin is typing.Literal:
        return Choice(tuple(str(word) for word in typing.get_args(kind.bare)), others=kind.told)
    if kind.bare in (int, float):
        return _number(kind, _unit(name, kind))
    if kind.bare is str and free:
        pattern = _of_the_whole(kind.bounds.get("pattern", ""))
        what = f"text that matches {pattern}" if pattern else "text"
        return Text(what, pattern, low, high or 1_000, signs=kind.free)
    plain: dict[Any, Shape] = {bool: Flag(), SecretStr: Secret()}
    return plain.get(kind.bare, Text(low=max(low, 1), high=high or 1_000))


def _of_the_whole(pattern: str) -> str:
    # what a model looks for somewhere in a text is its own to find
    return pattern if pattern.startswith("^") and pattern.endswith("$") else ""


def _number(kind: _Kind, unit: str) -> Shape:
    above, least, most = (kind.bounds.get(name) for name in ("gt", "ge", "le"))
    if unit == "_s":
        low = 0 if above is None else math.floor(above * 1000) + 1
        low = low if least is None else math.ceil(least * 1000)
        high = _FOREVER_MS if most is None else math.floor(most * 1000)
        return Duration(low, high, whole=kind.bare is int)
    if kind.bare is float:
        return Number(least, most)  # what lies above a bound without reaching it, the model says
    low_n = least if least is not None else None if above is None else above + 1
    return Size(low_n or 0, most or _HUGE) if unit else Whole(low_n, most)


# --- what was read, as the model has it ------------------------------------------------------------------


def entered(model: Model, node: Node) -> Node:
    """A map that was read, in the model's names and units; every value keeps its place."""
    items, keys = {}, {}
    for name, kind in _fields(model).items():
        key = spelled(model, name)
        item = node.get(key)
        if item is not None:
            items[name], keys[name] = _entered(kind, _unit(name, kind), item), node.keys.get(key, node.place)
    return Node(node.place, items, keys)


def _entered(kind: _Kind, unit: str, node: Node) -> Node:
    match node.value:
        case Mapping() if kind.typed:
            return node.get(kind.typed.key) or Node(node.place, None)
        case int() as milliseconds if unit == "_s":
            seconds = milliseconds / 1000
            return Node(node.place, int(seconds) if kind.bare is int else seconds)
        case tuple() as items if kind.is_list:
            return Node(node.place, tuple(_entered(_kind(kind.entry), "", item) for item in items))
        case Mapping() if kind.model:
            return entered(kind.model, node)
        case Mapping() as entries if kind.is_map:
            entry = _kind(kind.entry)
            return Node(node.place, {k: _entered(entry, "", item) for k, item in entries.items()}, node.keys)
        case _:
            return node


def layout(model: Model, node: Node) -> Layout:
    """What a map that was read says of columns in the words of a contract."""
    formats: list[Node] = []
    columns = tuple(_columns(model, node, (), formats))
    return Layout(formats[0] if formats else None, columns)  # a flow has one format, and so one layout


def _columns(model: Model, node: Node, path: _Path, formats: list[Node]) -> Iterator[Beside]:
    if issubclass(model, TypedLayout) and (said := node.get("formats")) is not None:
        formats.append(said)
    if issubclass(model, TypedColumn):
        yield from _words(node["name"], path, node)
    for name, kind in _fields(model).items():
        item = node.get(spelled(model, name))
        if item is not None:
            yield from _below(kind, item, (*path, name), formats)


def _words(name: Node, path: _Path, node: Node) -> Iterator[Beside]:
    said = {key: item for key, item in node.items.items() if key in OF_COLUMN}
    if said:
        yield Beside(name, path, Node(node.place, said, node.keys))


def _below(
    kind: _Kind, node: Node, path: _Path, formats: list[Node], name: Node | None = None
) -> Iterator[Beside]:
    match node.value:
        case Mapping() if kind.typed:
            yield from _words(name or node[kind.typed.key], path, node)
        case Mapping() if kind.model:
            yield from _columns(kind.model, node, path, formats)
        case Mapping() as entries if kind.is_map:
            for key, item in entries.items():
                named = Node(node.keys[key], key)
                yield from _below(_kind(kind.entry), item, (*path, key), formats, named)
        case tuple() as items if kind.is_list:
            for n, item in enumerate(items):
                yield from _below(_kind(kind.entry), item, (*path, n), formats)
        case _:
            pass


def validated(
    model: Model, node: Node, values: Mapping[str, Any], mistakes: Mistakes, *, folder: str | None = None
) -> BaseModel | None:
    """What the model makes of values; its mistakes are told where ``node`` (see ``entered``) has them.

    ``folder`` is the project's: what a path of this machine is relative to.
    """
    try:
        return model.model_validate_json(json.dumps(values), context={"folder": folder})
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False, include_context=False):
            blamed, name = _blamed(_kind(model), node, problem["loc"])
            said = escaped(problem["msg"]).removeprefix("Value error, ").replace("Input should", "should")
            own = problem["type"] == "value_error"
            text = said if not name else f"{shown(name)}: {said}" if own else f"{shown(name)} {said}"
            mistakes.add(blamed.place, Code.BAD_VALUE, text)
        return None


def _blamed(kind: _Kind, node: Node, path: Sequence[int | str]) -> tuple[Node, str]:
    """The value that a mistake is about, as near as there is one, and the key that it stands under."""
    name = ""
    for step in path:
        match node.value, step:
            case tuple() as items, int() if step < len(items):
                node, kind = items[step], _kind(kind.entry)
            case Mapping() as entries, str() if step in entries:
                node = entries[step]
                name = spelled(kind.model, step) if kind.model else step
                kind = _fields(kind.model)[step] if kind.model else _kind(kind.entry)
            case _:
                break
    return node, name


def placed(value: Any, node: Node | None) -> Node:
    """What a model gave, each value at the place where it was written; ``default`` where it was not."""
    place = DEFAULT if node is None else node.place
    match value:
        case Mapping():
            items = {key: placed(value[key], node and node.get(key)) for key in sorted(value)}
            return Node(place, items, {key: item.place for key, item in items.items()})
        case list():
            theirs = node.value if node is not None and isinstance(node.value, tuple) else ()
            inner = [*theirs, *[None] * (len(value) - len(theirs))]
            return Node(place, tuple(placed(item, at) for item, at in zip(value, inner, strict=True)))
        case _:
            return node_of(value, place)
