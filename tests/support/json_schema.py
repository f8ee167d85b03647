"""As much of JSON Schema (draft 7) as the schema for editors uses; an unknown keyword is an error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_TYPES: Final[Mapping[str, Any]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}
_IGNORED: Final = frozenset({"$schema", "title", "description", "default", "definitions"})


def valid(schema: Mapping[str, Any], value: Any, root: Mapping[str, Any] | None = None) -> bool:
    """Whether a value fits a schema."""
    whole = schema if root is None else root
    return all(
        _fits(word, told, schema, value, whole) for word, told in schema.items() if word not in _IGNORED
    )


def _fits(word: str, told: Any, schema: Mapping[str, Any], value: Any, root: Mapping[str, Any]) -> bool:
    match word:
        case "$ref":
            return valid(root["definitions"][told.removeprefix("#/definitions/")], value, root)
        case "oneOf":
            return sum(valid(option, value, root) for option in told) == 1
        case "anyOf":
            return any(valid(option, value, root) for option in told)
        case "enum":
            return value in told
        case "type":
            return isinstance(value, _TYPES[told]) and (told == "boolean" or not isinstance(value, bool))
        case "minimum" | "maximum" if isinstance(value, (int, float)):
            return bool(value >= told if word == "minimum" else value <= told)
    if isinstance(value, str):
        return _text(word, told, value)
    if isinstance(value, list):
        return _list(word, told, value, root)
    if isinstance(value, dict):
        return _map(word, told, schema, value, root)
    return True


def _text(word: str, told: Any, value: str) -> bool:
    match word:
        case "pattern":
            return re.search(told, value) is not None
        case "minLength":
            return len(value) >= int(told)
        case "maxLength":
            return len(value) <= int(told)
        case _:
            return True


def _list(word: str, told: Any, value: list[Any], root: Mapping[str, Any]) -> bool:
    match word:
        case "items":
            return all(valid(told, item, root) for item in value)
        case "minItems":
            return len(value) >= int(told)
        case "maxItems":
            return len(value) <= int(told)
        case _:
            return True


def _map(
    word: str, told: Any, schema: Mapping[str, Any], value: dict[str, Any], root: Mapping[str, Any]
) -> bool:
    match word:
        case "properties":
            return all(valid(told[key], item, root) for key, item in value.items() if key in told)
        case "required":
            return set(told) <= set(value)
        case "additionalProperties":
            more = {key: item for key, item in value.items() if key not in schema.get("properties", {})}
            return not more if told is False else all(valid(told, item, root) for item in more.values())
        case "propertyNames":
            return all(valid(told, key, root) for key in value)
        case "minProperties":
            return len(value) >= int(told)
        case _:
            raise AssertionError(f"the schema uses {word}, which nothing here checks")
