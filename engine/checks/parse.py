"""Text → tree: an expression read by the rules of SQL, as far as a check needs them.

Precedence, from loose to tight: OR · AND · NOT · comparisons (= <> < <= > >=, IS, IN, BETWEEN, LIKE) · || ·
+ - · * / % · a sign. A comparison compares two values: ``a < b < c`` is a mistake.

Rule: a mistake says the character it stands at. Depth, length and the number of parts are bounded, so that
whoever walks the tree needs no bound of its own.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Final, Literal, TypeVar, cast

from engine.checks import Misfit
from engine.checks.functions import FUNCTIONS, Function
from engine.checks.scan import Kind, Word, scan
from engine.checks.tree import (
    Among,
    Arithmetic,
    ArithmeticOp,
    Between,
    Call,
    Case,
    Column,
    Comparison,
    ComparisonOp,
    IsNull,
    Joined,
    Like,
    Logic,
    Moment,
    Negative,
    Not,
    Null,
    Number,
    Text,
    Tree,
    Truth,
)

T = TypeVar("T", bound=Tree)

NODES_MAX: Final = 200
DEPTH_MAX: Final = 25
PATTERN_MAX: Final = 500
_SHOWN_MAX: Final = 60
_COMPARISONS: Final = frozenset({"=", "<>", "<", "<=", ">", ">="})
_KEYWORDS: Final = frozenset(
    {"AND", "OR", "NOT", "IS", "NULL", "IN", "BETWEEN", "LIKE", "CASE", "WHEN", "THEN", "ELSE", "END", "TRUE"}
    | {"FALSE", "DATE", "TIMESTAMP"}
)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
# what Python knows and Java reads otherwise, or the other way round
_FOREIGN: Final = re.compile(r"\(\?P|\(\?\(|\\Z|\\[pPRhvXGQE]|&&|\(\?[aLu]")


def parse(text: str) -> Tree:
    """The tree of an expression; raises Misfit with the character that is wrong.

    >>> parse("NOT a")
    Not(of=Column(name='a', at=4), at=0)
    """
    parser = _Parser(scan(text))
    tree = parser.condition()
    if parser.word.kind is not Kind.END:
        raise parser.refusal("an operator or the end", "AND and OR stand between two conditions")
    return tree


def check_pattern(pattern: str, at: int | None = None) -> None:
    """Raise Misfit for a regular expression that is none, in Java or in Python."""
    if not 0 < len(pattern) <= PATTERN_MAX:
        raise Misfit(f"a regular expression has 1 to {PATTERN_MAX} characters", at=at)
    foreign = _FOREIGN.search(pattern)
    if foreign:
        raise Misfit(f'"{foreign[0]}" is not known in a regular expression here', at=at)
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        raise Misfit("this is no regular expression", at=at) from None


def moment(kind: Literal["date", "timestamp"], text: str, at: int | None = None) -> str:
    """The text of a day or an instant, if it is one."""
    try:
        if kind == "date" and _DAY.fullmatch(text):
            return dt.date.fromisoformat(text).isoformat()
        if kind == "timestamp" and _INSTANT.fullmatch(text):
            dt.datetime.fromisoformat(text)
            return text
    except ValueError:
        pass
    example = (
        "2026-01-31" if kind == "date" else "2026-01-31 23:59:59, Z or +01:00 behind it where it has a zone"
    )
    raise Misfit(f"this is no {kind}", at=at, hint=f"such as {example}")


class _Parser:
    """Precedence climbing: one method per level, each reads what binds tighter."""

    def __init__(self, words: list[Word]) -> None:
        self._words = words
        self._next = self._depth = self._nodes = 0

    @property
    def word(self) -> Word:
        """The word that is read next."""
        return self._words[self._next]

    def refusal(self, expected: str, hint: str = "") -> Misfit:
        """What is wrong where something else stands here."""
        ends = self.word.kind is Kind.END
        text = f"the expression ends too early: {expected} is missing" if ends else f"{expected} was expected"
        return Misfit(text, at=self.word.at, hint=hint)

    def _take(self) -> Word:
        word = self.word
        self._next += 1
        return word

    def _is(self, *keywords: str) -> bool:
        return self.word.keyword in keywords

    def _taken(self, *keywords: str) -> bool:
        found = self._is(*keywords)
        self._next += found
        return found

    def _sign(self, *signs: str) -> str:
        """The sign that stands here, taken, if it is one of these."""
        if self.word.kind is Kind.SIGN and self.word.text in signs:
            return self._take().text
        return ""

    def _must(self, what: str) -> None:
        if not (self._taken(what) if what.isalpha() else self._sign(what)):
            raise self.refusal(what)

    def _made(self, tree: T) -> T:
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise Misfit(
                f"an expression has at most {NODES_MAX} parts", at=tree.at, hint="make two checks of it"
            )
        return tree

    def condition(self) -> Tree:
        """OR, and what binds tighter."""
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise Misfit(f"nested more than {DEPTH_MAX} levels deep", at=self.word.at)
        tree = self._chain("OR", lambda: self._chain("AND", self._negation))
        self._depth -= 1
        return tree

    def _chain(self, op: Literal["AND", "OR"], part: Callable[[], Tree]) -> Tree:
        tree = part()
        while self._is(op):
            at = self._take().at
            tree = self._made(Logic(op, tree, part(), at))
        return tree

    def _negation(self) -> Tree:
        nots = []
        while self._is("NOT"):
            nots.append(self._take().at)
        tree = self._comparison()
        for at in reversed(nots):
            tree = self._made(Not(tree, at))
        return tree

    def _comparison(self) -> Tree:
        left = self._joined()
        at = self.word.at
        sign = self._sign(*_COMPARISONS)
        if sign:
            tree: Tree = self._made(Comparison(cast("ComparisonOp", sign), left, self._joined(), at))
        else:
            tree = self._predicates(left)
        if self.word.kind is Kind.SIGN and self.word.text in _COMPARISONS:
            raise Misfit("a comparison compares two values", at=self.word.at, hint="write a < b AND b < c")
        return tree

    def _predicates(self, left: Tree) -> Tree:
        at = self.word.at
        if self._taken("IS"):
            negated = self._taken("NOT")
            self._must("NULL")
            return self._denied(IsNull(left, at), negated)
        negated = self._taken("NOT")
        if self._taken("IN"):
            self._must("(")
            return self._denied(Among(left, self._listed(self._joined), at), negated)
        if self._taken("BETWEEN"):
            low = self._joined()
            self._must("AND")
            return self._denied(Between(left, low, self._joined(), at), negated)
        if self._taken("LIKE"):
            return self._denied(Like(left, self._like(), at), negated)
        if negated:
            raise self.refusal("IN, BETWEEN or LIKE")
        return left

    def _denied(self, tree: Tree, negated: bool) -> Tree:  # noqa: FBT001 - a word that stands there or not
        made = self._made(tree)
        return self._made(Not(made, made.at)) if negated else made

    def _like(self) -> str:
        word = self.word
        if word.kind is not Kind.TEXT:
            raise self.refusal("a text literal", "LIKE 'AB%'")
        if re.search(r"(?<!\\)(\\\\)*\\([^%_\\]|$)", word.text):
            raise Misfit(r"a \ stands before %, _ or \ only", at=word.at)
        return self._take().text

    def _listed(self, part: Callable[[], Tree]) -> tuple[Tree, ...]:
        found = [part()]
        while self._sign(","):
            found.append(part())
        self._must(")")
        return tuple(found)

    def _joined(self) -> Tree:
        tree = self._sum()
        at = self.word.at
        while self._sign("||"):
            tree = self._made(Joined(tree, self._sum(), at))
            at = self.word.at
        return tree

    def _sum(self) -> Tree:
        return self._arithmetic(("+", "-"), lambda: self._arithmetic(("*", "/", "%"), self._signed))

    def _arithmetic(self, signs: tuple[str, ...], part: Callable[[], Tree]) -> Tree:
        tree = part()
        at = self.word.at
        while sign := self._sign(*signs):
            tree = self._made(Arithmetic(cast("ArithmeticOp", sign), tree, part(), at))
            at = self.word.at
        return tree

    def _signed(self) -> Tree:
        at, minuses = self.word.at, []
        while self._sign("-"):
            minuses.append(at)
            at = self.word.at
        tree = self._value()
        for each in reversed(minuses):
            if isinstance(tree, Number) and not tree.text.startswith("-"):
                tree = Number(f"-{tree.text}", each)
            else:
                tree = self._made(Negative(tree, each))
        return tree

    def _value(self) -> Tree:
        word = self.word
        match word.kind:
            case Kind.NUMBER:
                return self._made(Number(self._take().text, word.at))
            case Kind.TEXT:
                return self._made(Text(self._take().text, word.at))
            case Kind.QUOTED:
                return self._made(Column(self._take().text, word.at))
            case Kind.NAME:
                return self._named(word)
            case _ if self._sign("("):
                tree = self.condition()
                self._must(")")
                return tree
            case _:
                raise self.refusal("a value")

    def _named(self, word: Word) -> Tree:
        called = self._words[self._next + 1]
        opens = called.kind is Kind.SIGN and called.text == "("
        match word.keyword:
            case "TRUE" | "FALSE" as said:
                self._take()
                return self._made(Truth(said == "TRUE", word.at))
            case "NULL":
                self._take()
                return self._made(Null(word.at))
            case "CASE":
                return self._case()
            case "DATE" | "TIMESTAMP" as said if called.kind is Kind.TEXT:
                self._next += 2
                kind: Literal["date", "timestamp"] = "date" if said == "DATE" else "timestamp"
                return self._made(Moment(kind, moment(kind, called.text, called.at), word.at))
            case _ if opens and (word.keyword not in _KEYWORDS or word.keyword == "DATE"):
                return self._call()
            case said if said in _KEYWORDS:
                raise self.refusal("a value", f'a column of the name {word.text} is written "{word.text}"')
            case _:
                self._take()
                return self._made(Column(word.text, word.at))

    def _case(self) -> Tree:
        at, whens = self._take().at, []
        while self._taken("WHEN"):
            when = self.condition()
            self._must("THEN")
            whens.append((when, self.condition()))
        if not whens:
            raise self.refusal("WHEN", "CASE WHEN a = 1 THEN … ELSE … END")
        otherwise = self.condition() if self._taken("ELSE") else self._made(Null(at))
        self._must("END")
        return self._made(Case(tuple(whens), otherwise, at))

    def _call(self) -> Tree:
        word = self._take()
        name = word.text.lower()
        function = FUNCTIONS.get(name)
        if function is None:
            what = f"{name[:_SHOWN_MAX]} is no function that a check may call"
            hint = "docs/reference/checks.md lists them"
            raise Misfit(what, at=word.at, hint=hint, name=name, known=tuple(FUNCTIONS))
        self._take()
        arguments = self._listed(self.condition) if not self._sign(")") else ()
        self._fits(word, name, function, arguments)
        return self._made(Call(name, arguments, word.at))

    @staticmethod
    def _fits(word: Word, name: str, function: Function, arguments: tuple[Tree, ...]) -> None:
        if not function.low <= len(arguments) <= function.high:
            span = f"{function.low} to {function.high}" if function.low < function.high else str(function.low)
            raise Misfit(
                f"{name} takes {span} arguments, not {len(arguments)}", at=word.at, hint=function.doc
            )
        second = arguments[1] if len(arguments) > 1 else None
        if name == "matches":
            if not isinstance(second, Text):
                raise Misfit("the regular expression is a text literal", at=second.at if second else word.at)
            check_pattern(second.value, second.at)
        if name == "round" and second is not None:
            places = second.text if isinstance(second, Number) else ""
            if not (places.isdigit() and int(places) <= 18):  # noqa: PLR2004 - as functions.py tells
                raise Misfit("round takes 0 to 18 places, a literal", at=second.at)
