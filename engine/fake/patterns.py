"""A text that matches a regular expression whole.

Rule: what cannot be made is refused by name: look-arounds, back references, anchors inside. The expression is
taken apart by the interpreter's own parser, and what was made is matched again before it leaves.
"""

from __future__ import annotations

import importlib
import random
import re
import string
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

_MORE: Final = 6  # repetitions beyond the least where an expression sets no end
_WORDS: Final = string.ascii_letters + string.digits + "_"
_CATEGORIES: Final = {
    "CATEGORY_DIGIT": string.digits,
    "CATEGORY_WORD": _WORDS,
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_DIGIT": string.ascii_letters,
    "CATEGORY_NOT_WORD": " -./",
    "CATEGORY_NOT_SPACE": _WORDS,
}
_ANY: Final = _WORDS + " -./"


def matching(pattern: str, chance: random.Random) -> str:
    """A text that the pattern matches. Raises ValueError for a pattern that is beyond this."""
    text = _sequence(_parts(pattern), chance)
    if not re.fullmatch(pattern, text):
        raise ValueError(f"no text could be made for the pattern {pattern!r}")
    return text


@cache
def _parts(pattern: str) -> Any:
    try:
        return importlib.import_module("re._parser").parse(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error


def _sequence(parts: Iterable[Any], chance: random.Random) -> str:
    return "".join(_part(str(op), argument, chance) for op, argument in parts)


def _part(op: str, argument: Any, chance: random.Random) -> str:
    match op:
        case "LITERAL":
            return chr(argument)
        case "ANY":
            return chance.choice(_ANY)
        case "IN" | "NOT_LITERAL":
            return chance.choice(_set([(op, argument)] if op == "NOT_LITERAL" else argument))
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, inner = argument
            times = chance.randint(least, min(int(most), least + _MORE))
            return "".join(_sequence(inner, chance) for _ in range(times))
        case "BRANCH":
            return _sequence(chance.choice(argument[1]), chance)
        case "SUBPATTERN":
            return _sequence(argument[-1], chance)
        case "AT":
            return ""
        case _:
            raise ValueError(f"no text is made for {op} in a pattern")


def _set(members: Iterable[Any]) -> str:
    found, negated = "", False
    for op, argument in members:
        match str(op):
            case "NEGATE":
                negated = True
            case "LITERAL":
                found += chr(argument)
            case "NOT_LITERAL":
                found, negated = found + chr(argument), True
            case "RANGE":
                found += "".join(map(chr, range(argument[0], min(argument[1], argument[0] + 300) + 1)))
            case "CATEGORY":
                found += _CATEGORIES[str(argument)]
            case other:
                raise ValueError(f"no character is chosen for {other} in a pattern")
    return "".join(c for c in _ANY if c not in found) if negated else found
