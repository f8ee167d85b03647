"""The checks of a flow: their grammar, and from what was read to what a plan holds.

Rule: one rule per check, named by its key; ``column`` or ``columns`` say what it is about. A flow adds checks
to its template's and overrides none. What can be wrong without a table is told here, the rest when the table
is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engine.checks import (
    CHECKS_MAX,
    Check,
    Expression,
    Length,
    NotNull,
    OneOf,
    OnFail,
    Pattern,
    Range,
    Rule,
)
from engine.checks.parse import PATTERN_MAX, check_pattern, parse
from engine.checks.scan import LENGTH_MAX
from engine.template.mistakes import Code, Mistakes, Place, shown
from engine.template.nodes import Node
from engine.template.shapes import (
    ABSENT,
    Choice,
    Chosen,
    Constant,
    Fields,
    Flag,
    Key,
    Language,
    Many,
    Named,
    Text,
    Whole,
)
from engine.template.tokens import has_token

NAME: Final = Text("a name (a-z, 0-9 and _, first a letter, at most 63)", r"[a-z][a-z0-9_]{0,62}")
_COLUMN: Final = Text("the name of a column", high=200)
_ABOUT: Final = {
    "column": Key(_COLUMN, "the column that it is about", ABSENT),
    "columns": Key(Many(_COLUMN, low=1, high=100), "the columns that it is about, each by itself", ABSENT),
}
_ON_FAIL: Final = Key(
    Choice(tuple(each.value for each in OnFail)),
    "warn: it lands and is counted; drop: it does not land; quarantine: it waits there; fail: the flow stops",
    "quarantine",
)
_BOUNDS: Final = Fields(
    {
        "min": Key(Constant(), "the least value", ABSENT),
        "max": Key(Constant(), "the greatest value", ABSENT),
    }
)
_CHARACTERS: Final = Fields(
    {
        "min": Key(Whole(0, 1_000_000_000), "the least number of characters", 0),
        "max": Key(Whole(0, 1_000_000_000), "the greatest number of characters", ABSENT),
    }
)


def _rule(kind: str, key: Key, *, about: bool = True) -> Fields:
    return Fields({kind: key, **(_ABOUT if about else {}), "on_fail": _ON_FAIL})


CHECK: Final = Chosen(
    {
        "not_null": _rule("not_null", Key(Flag(), "true: the column has a value")),
        "range": _rule("range", Key(_BOUNDS, "the value lies between min and max, both included")),
        "length": _rule("length", Key(_CHARACTERS, "the text has so many characters")),
        "pattern": _rule(
            "pattern",
            Key(
                Language("a regular expression", check_pattern, PATTERN_MAX),
                "the whole text matches this regular expression",
            ),
        ),
        "one_of": _rule("one_of", Key(Many(Constant(), low=1, high=1_000), "the value is one of these")),
        "expr": _rule(
            "expr",
            Key(Language("an expression", parse, LENGTH_MAX), "a condition that must not be FALSE"),
            about=False,
        ),
    },
    "rule",
)
CHECKS: Final = Named(CHECK, NAME)


@dataclass(frozen=True, slots=True)
class Written:
    """A check, where its name stands, and what says its rule."""

    check: Check
    place: Place
    where: Node
    places: Mapping[str, Place]  # by the dotted path of a plan


def checks_of(checks: Node, mistakes: Mistakes) -> tuple[Written, ...]:
    """The checks that were read, in the order of their names; one with a token in it is passed over."""
    found = []
    for name in sorted(checks.items):
        node = checks[name]
        if not _has_tokens(node):
            rule = _rule_of(name, node, mistakes)
            if rule is not None:
                check = Check(name, OnFail(node["on_fail"].text), rule)
                place = checks.keys[name]
                found.append(Written(check, place, node[rule.kind], _places(place, node, rule)))
    return tuple(found)


def joined(
    template: tuple[Written, ...], flow: tuple[Written, ...], at: Place, mistakes: Mistakes
) -> tuple[Written, ...]:
    """The template's checks and those that a flow adds."""
    known = {each.check.name: each for each in template}
    for each in flow:
        if each.check.name in known:
            text = f"the template has a check {shown(each.check.name)} already"
            other = known[each.check.name].place
            mistakes.add(
                each.place, Code.DUPLICATE_NAME, text, f"the other at {other}: give yours another name"
            )
        known.setdefault(each.check.name, each)
    if len(known) > CHECKS_MAX:
        mistakes.add(at, Code.BAD_VALUE, f"a flow has at most {CHECKS_MAX} checks, and this one {len(known)}")
    return tuple(known[name] for name in sorted(known))


def _has_tokens(node: Node) -> bool:
    match node.value:
        case str(text):
            return has_token(text)
        case tuple() as nodes:
            return any(_has_tokens(item) for item in nodes)
        case Mapping() as entries:
            return any(_has_tokens(item) for item in entries.values())
        case _:
            return False


def _places(name: Place, node: Node, rule: Rule) -> dict[str, Place]:
    kind = node[rule.kind]
    about = node.get("columns") or node.get("column") or kind
    inner = {f"rule.{key}": item.place for key, item in kind.items.items()} if rule.kind in _WIDE else {}
    inside = {"expr": "text", "pattern": "pattern", "one_of": "values"}.get(rule.kind)
    return {
        "name": name,
        "on_fail": node["on_fail"].place,
        "rule.kind": kind.place,
        **inner,
        **({f"rule.{inside}": kind.place} if inside else {}),
        **({} if rule.kind == "expr" else {"rule.columns": about.place}),
    }


_WIDE: Final = frozenset({"range", "length"})


def _rule_of(name: str, node: Node, mistakes: Mistakes) -> Rule | None:
    expression = node.get("expr")
    if expression is not None:
        return Expression(expression.text)
    columns = _columns(name, node, mistakes)
    if not columns:
        return None
    for kind in ("not_null", "range", "length", "pattern", "one_of"):
        said = node.get(kind)
        if said is not None:
            return _about(kind, said, columns, mistakes)
    return None


def _columns(name: str, node: Node, mistakes: Mistakes) -> tuple[str, ...]:
    one, many = node.get("column"), node.get("columns")
    if (one is None) == (many is None):
        text = f"{shown(name)} is about a column, or about columns"
        hint = "take one of the two out" if one is not None else "add column: … or columns: […]"
        mistakes.add(node.place, Code.MISSING_KEY if one is None else Code.BAD_VALUE, text, hint)
        return ()
    return (one.text,) if one is not None else tuple(dict.fromkeys(many.plain)) if many is not None else ()


def _about(kind: str, said: Node, columns: tuple[str, ...], mistakes: Mistakes) -> Rule | None:
    match kind:
        case "not_null":
            if said.value is not True:
                mistakes.add(said.place, Code.BAD_VALUE, '"not_null" is true', "else take the check out")
            return NotNull(columns)
        case "pattern":
            return Pattern(columns, said.text)
        case "one_of":
            return OneOf(columns, tuple(said.plain))
        case _:
            low, high = said.get("min"), said.get("max")
            if low is None and high is None:
                mistakes.add(said.place, Code.MISSING_KEY, '"range" needs min or max', "min: 0")
                return None
            least, most = (None if bound is None else bound.plain for bound in (low, high))
            if isinstance(least, (int, float)) and isinstance(most, (int, float)) and least > most:
                mistakes.add(said.place, Code.BAD_VALUE, "no value lies there: min is above max")
            return Range(columns, least, most) if kind == "range" else Length(columns, least or 0, most)
