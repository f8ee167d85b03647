"""A plan written down: as canonical JSON, as its hash, as a line for each value.

Rule: the same plan gives the same bytes (I6). What a plan holds is not known here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any


def leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Each value of a plan as plain data: its dotted path, and the value as text."""
    match value:
        case dict() if value:
            for key, item in value.items():
                yield from leaves(f"{path}.{key}" if path else key, item)
        case [{"name": _}, *_]:
            for item in value:
                yield from leaves(f"{path}.{item['name']}", item)
        case [{"schema": _, "table": _}, *_]:
            yield path, ", ".join(f"{item['schema']}.{item['table']}" for item in value)
        case str():
            yield path, value
        case _:
            yield path, json.dumps(value, ensure_ascii=False)


def as_json(plan: object) -> str:
    """The plan as canonical JSON: what is printed, hashed and stored in the lake."""
    return json.dumps(asdict(plan), sort_keys=True, ensure_ascii=False, indent=1)  # type: ignore[call-overload]


def changed(before: Mapping[str, Any], now: object) -> list[tuple[str, str, str]]:
    """Each value that differs between a plan as it was stored and one of today: path, then, now."""
    then, today = dict(leaves("", dict(before))), dict(leaves("", json.loads(as_json(now))))
    none = "nothing"
    return [
        (path, then.get(path, none), today.get(path, none))
        for path in sorted(then.keys() | today.keys())
        if then.get(path) != today.get(path)
    ]


def digest(plan: object) -> str:
    """The first 16 hexadecimal digits of the plan's SHA-256."""
    return hashlib.sha256(as_json(plan).encode()).hexdigest()[:16]
