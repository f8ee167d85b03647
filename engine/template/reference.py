"""A model of a connector as a reference page: every key, what may stand there, and what it is unless told.

Rule: nothing is said here that the model does not say: its fields, bounds, defaults and docstrings. A model
that stands within another has a heading of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator
from typing import Any, Final

from pydantic_core import PydanticUndefined

from engine.template import modelled
from engine.template.modelled import Model
from engine.template.shapes import (
    Absence,
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
)

_LOW: Final = 1_000_000  # bounds that are there so that there is one are not worth a word


def page(model: Model, title: str, *, derived: Collection[str] = ()) -> str:
    """The sections of a model and of all within it, as Markdown; ``derived``: what nobody writes."""
    done: list[Model] = []
    todo = [(model, title)]
    text = ""
    while todo:
        next_, name = todo.pop(0)
        if next_ not in done:
            done.append(next_)
            text += "\n".join(_section(next_, name, derived)) + "\n"
            todo += [(inner, inner.__name__) for inner in modelled.within(next_)]
    return text


def _section(model: Model, title: str, derived: Collection[str]) -> Iterator[str]:
    said = inspect.cleandoc(model.__doc__ or "")
    for field in model.model_fields:
        said = said.replace(f"``{field}``", f"``{modelled.spelled(model, field)}``")
    keys = {name: key for name, key in modelled.of_flow(model).items() if name not in derived}
    told = any(key.doc for key in keys.values())
    yield f"## {title}\n"
    yield said.replace("``", "`") + "\n"
    yield "| key | what may stand there | unless told |" + (" |" if told else "")
    yield "|---|---|---|" + ("---|" if told else "")
    for name, key in keys.items():
        more = f" {key.doc} |" if told else ""
        yield f"| `{name}` | {_shape(key.shape)} | {_default(model, name, key)} |{more}"
    yield ""


def _default(model: Model, name: str, key: Key) -> str:
    if key.default is Absence.REQUIRED:
        return "is required"
    if key.default is not Absence.ABSENT:
        return f"`{_plain(key.default)}`" if key.default != "" else "empty"
    fields = {modelled.spelled(model, n): f for n, f in model.model_fields.items()}
    if name not in fields:  # the contract's own
        return "nothing"
    default = fields[name].get_default(call_default_factory=True)
    if default is None or default is PydanticUndefined:
        return "nothing"
    return "nothing" if default in ((), {}) else "as below"


def _plain(value: Any) -> str:
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _shape(shape: Shape) -> str:
    match shape:
        case Maybe(of=of):
            return f"{_shape(of)}, or null"
        case Many(of=of):
            return f"a list: {_shape(of)}"
        case Named(of=of):
            return f"a map of names: {_shape(of)}"
        case Fields():
            return _map(shape)
        case Choice(values=values):
            return ", ".join(f"`{value}`" for value in values)
        case Duration():
            return "a duration"
        case Size():
            return "a size"
        case Flag():
            return "`true`, `false`"
        case Secret():
            return "a secret"
        case Text(pattern=pattern):
            return "text that matches `" + pattern.replace("|", "\\|") + "`" if pattern else "text"
        case Whole(low=low, high=high) | Number(low=low, high=high):
            return _bounds(low, high)
        case _:
            return "a value"


def _map(shape: Fields) -> str:
    if shape.elsewhere:  # its keys have a table of their own
        return f"a map, or its `{shape.short}` alone" if shape.short else "a map, or a file"
    keys = f"a map of {', '.join(f'`{key}`' for key in shape.keys)}"
    return f"its `{shape.short}` alone, or {keys}" if shape.short else keys


def _bounds(low: float | None, high: float | None) -> str:
    known = [f"from {low}" if low is not None else "", f"to {high}" if high and high < _LOW else ""]
    return " ".join(["a number", *(each for each in known if each)])
