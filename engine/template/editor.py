"""The JSON Schema of the four kinds, for editors: completion, and mistakes while one types.

Rule: written from the same shapes that files are read with, so the two cannot part. Draft 7, with
``definitions``, because editors lag behind newer drafts. An editor's schema is more lenient than ``lint``
where tokens stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from engine.template import grammar
from engine.template.grammar import NO_FLOWS
from engine.template.shapes import (
    FILE,
    PATH,
    REQUIRED,
    Absence,
    Anything,
    Choice,
    Chosen,
    Constant,
    Duration,
    Fields,
    Flag,
    Key,
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
)

_TOKEN: Final = {"type": "string", "pattern": "\\$\\{[a-z]+\\.[A-Za-z_][A-Za-z0-9_]*\\}"}
_ONLY_SECRET: Final = {"type": "string", "pattern": "^\\$\\{secret\\.[a-z][a-z0-9_]{0,62}\\}$"}


def json_schema(
    models: Mapping[str, type[BaseModel]], flows: Mapping[str, type[BaseModel]] = NO_FLOWS
) -> dict[str, Any]:
    """One schema for a file of any kind; ``models`` and ``flows`` as in ``template.load``."""
    kinds = {
        "Project": _schema(grammar.project(models), tokens=True),
        "FlowTemplate": _schema(grammar.template(grammar.flow(models, flows)), tokens=False),
        "Flow": _schema(grammar.FLOW_KIND, tokens=False),
        "FlowSet": _schema(grammar.FLOW_SET_KIND, tokens=False),
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Écluse",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {"kind": {"enum": list(kinds)}},
        "oneOf": [{"$ref": f"#/definitions/{kind}"} for kind in kinds],
        "definitions": kinds,
    }


_OPEN: Final = (Secret, Anything, Maybe, Text, Language, Fields, Variant, Chosen)


_FILE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {FILE: {"type": "string", "pattern": f"^(?:{PATH.pattern})$"}},
    "required": [FILE],
    "additionalProperties": False,
}


def _schema(shape: Shape, *, tokens: bool) -> dict[str, Any]:
    plain = _plain(shape, tokens=tokens)
    if not tokens or isinstance(shape, _OPEN):
        return plain
    return {"anyOf": [plain, _TOKEN]}


def _plain(shape: Shape, *, tokens: bool) -> dict[str, Any]:
    match shape:
        case Maybe(of=of):
            return {"anyOf": [{"type": "null"}, _schema(of, tokens=tokens)]}
        case Many(of=of, low=low, high=high):
            return {"type": "array", "items": _schema(of, tokens=tokens), "minItems": low, "maxItems": high}
        case Named(of=of, key=key, low=low, own=own):
            properties = {"properties": {name: _key(each, tokens=tokens) for name, each in own.items()}}
            return {
                "type": "object",
                "propertyNames": {"pattern": f"^(?:{key.pattern})$"},
                **(properties if own else {}),
                "additionalProperties": _schema(of, tokens=tokens),
                "minProperties": low,
            }
        case Fields(elsewhere=True, short=short):
            word = _key(shape.keys[short], tokens=False) if short else _FILE["properties"][FILE]
            ways = [_fields(shape, tokens=tokens), _FILE, word]
            return {"anyOf": [*ways, *([_TOKEN] if tokens else [])]}
        case Fields(short=short) if short:
            return {"anyOf": [_fields(shape, tokens=tokens), _key(shape.keys[short], tokens=tokens)]}
        case Fields():
            return _fields(shape, tokens=tokens)
        case Variant(by=by, of=of_kinds):
            options = [_fields(fields, tokens=tokens) for fields in of_kinds.values()]
            return {"type": "object", "required": [by], "oneOf": options}
        case Chosen(of=kinds):
            ways = [{**_fields(fields, tokens=tokens), "required": [kind]} for kind, fields in kinds.items()]
            return {"type": "object", "oneOf": ways}
        case _:
            return _scalar(shape, tokens=tokens)


def _scalar(
    shape: Text | Whole | Number | Flag | Choice | Duration | Size | Secret | Language | Constant | Anything,
    *,
    tokens: bool,
) -> dict[str, Any]:
    match shape:
        case Text(pattern=pattern, low=low, high=high):
            text: dict[str, Any] = {"type": "string", "minLength": low, "maxLength": high}
            whole = {**text, "pattern": f"^(?:{pattern})$"} if pattern else text
            return {"anyOf": [whole, _TOKEN]} if tokens and pattern else whole
        case Whole(low=low_n, high=high_n):
            return {"type": "integer", **_bounds(low_n, high_n)}
        case Number(low=low_x, high=high_x):
            return {"type": "number", **_bounds(low_x, high_x)}
        case Flag():
            return {"type": "boolean"}
        case Choice(values=values):
            return {"enum": list(values)}  # what others a connector has a word for, is a mistake all the same
        case Duration():
            return {"type": "string", "pattern": "^[0-9]{1,12}(ms|s|m|h|d)$"}
        case Size():
            return {"type": "string", "pattern": "^[0-9]{1,12}(B|KiB|MiB|GiB|TiB)$"}
        case Secret():
            return dict(_ONLY_SECRET)
        case Language(high=high_l):
            return {"type": "string", "minLength": 1, "maxLength": high_l}
        case Constant():
            return {"anyOf": [{"type": "string"}, {"type": "number"}]}
        case Anything():
            return {}


def _fields(shape: Fields, *, tokens: bool) -> dict[str, Any]:
    properties = {}
    for name, key in shape.keys.items():
        properties[name] = _key(key, tokens=tokens)
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name, key in shape.keys.items() if key.default is REQUIRED],
        "additionalProperties": False,
    }


def _key(key: Key, *, tokens: bool) -> dict[str, Any]:
    described = {"description": key.doc} if key.doc else {}
    default = {} if isinstance(key.default, Absence) else {"default": key.default}
    return {**_schema(key.shape, tokens=tokens or key.tokens), **described, **default}


def _bounds(low: float | None, high: float | None) -> dict[str, float]:
    bounds = {"minimum": low, "maximum": high}
    return {name: bound for name, bound in bounds.items() if bound is not None}
