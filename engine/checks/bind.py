"""A check meets the columns of a table: what it reads is there, and its types fit.

Every rule becomes trees, one per column that it is about, so that whoever compiles or explains knows trees
alone. Kinds of values are held apart more strictly than SQL does: text is never read as a number, a number
never as a condition, because such a reading fails on some row in the middle of a batch.

Rule: pure. Raises Misfit with the place in the expression, or None where the check has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from engine.checks import (
    Check,
    Constant,
    Expression,
    Length,
    Misfit,
    NotNull,
    OneOf,
    OnFail,
    Pattern,
    Range,
)
from engine.checks.functions import FUNCTIONS, NUMBERS, ORDERED, TEXTS, TIMES, Family
from engine.checks.parse import moment, parse
from engine.checks.scan import exact
from engine.checks.tree import (
    Among,
    Arithmetic,
    Between,
    Call,
    Case,
    Column,
    Comparison,
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
    columns,
)
from engine.schema import (
    Binary,
    Boolean,
    Date,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    Shape,
    String,
    Timestamp,
    TimestampNtz,
    Type,
    delta,
)


@dataclass(frozen=True, slots=True)
class Part:
    """A condition of a check that must not be FALSE, and the columns that it reads."""

    columns: tuple[str, ...]
    tree: Tree


@dataclass(frozen=True, slots=True)
class Bound:
    """A check that fits its table."""

    name: str
    on_fail: OnFail
    parts: tuple[Part, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads, each once."""
        return tuple(dict.fromkeys(column for part in self.parts for column in part.columns))


def bind(check: Check, shape: Shape) -> Bound:
    """The check on a table of these columns; raises Misfit where it does not fit them."""
    match check.rule:
        case Expression(text=text):
            tree = parse(text)
            family = Typing(shape).of(tree)
            if family not in (Family.TRUTH, Family.NULL):
                raise Misfit(f"the expression is {family.value}, not a condition", at=0)
            parts = [Part(columns(tree), tree)]
        case rule:
            for column in rule.columns:
                if column not in shape:
                    raise _unknown(column, shape, None)
            parts = [Part((column,), _tree(rule, column, shape[column])) for column in rule.columns]
    return Bound(check.name, check.on_fail, tuple(parts))


def _tree(rule: NotNull | Range | Length | Pattern | OneOf, name: str, type_: Type) -> Tree:
    column, family = Column(name), family_of(type_)
    match rule:
        case NotNull():
            return Not(IsNull(column))
        case Range(min=low, max=high):
            _must(family in NUMBERS | TIMES, "range", "numbers, dates and timestamps", name, type_)
            bounds: list[Tree] = []
            if low is not None:
                bounds.append(Comparison(">=", column, _constant(low, family, name, type_)))
            if high is not None:
                bounds.append(Comparison("<=", column, _constant(high, family, name, type_)))
            return bounds[0] if len(bounds) == 1 else Logic("AND", bounds[0], bounds[1])
        case Length(min=least, max=most):
            _must(family in (Family.TEXT, Family.BINARY), "length", "text and bytes", name, type_)
            length = Call("length", (column,))
            over = Comparison(">=", length, Number(str(least)))
            return over if most is None else Logic("AND", over, Comparison("<=", length, Number(str(most))))
        case Pattern(pattern=pattern):
            _must(family in TEXTS, "pattern", "text", name, type_)
            return Call("matches", (column, Text(pattern)))
        case OneOf(values=values):
            _must(family in ORDERED, "one_of", "text, numbers, dates and timestamps", name, type_)
            return Among(column, tuple(_constant(value, family, name, type_) for value in values))


def _must(fits: bool, rule: str, what: str, name: str, type_: Type) -> None:  # noqa: FBT001 - a verdict
    if not fits:
        raise Misfit(f"{rule} is for {what}, and column {name} is {delta(type_)}")


def _constant(value: Constant, family: Family, name: str, type_: Type) -> Tree:
    """A value of a rule as a literal of its column's kind."""
    wrong = Misfit(f"a value of the check is none of column {name}, which is {delta(type_)}")
    match family:
        case Family.TEXT:
            if isinstance(value, str):
                return Text(value)
        case Family.DATE | Family.TIMESTAMP:
            if isinstance(value, str):
                return Moment("date", moment("date", value)) if family is Family.DATE else _instant(value)
        case _:
            try:
                return Number(exact(str(value).strip()))
            except ArithmeticError:  # how Decimal says that a text is no number
                raise wrong from None
    wrong.hint = "write it in quotes"
    raise wrong


def _instant(value: str) -> Tree:
    day = len(value) == len("2026-01-31")
    return Moment("timestamp", moment("timestamp", f"{value} 00:00:00" if day else value))


def family_of(type_: Type) -> Family:
    """The kind of a column's values."""
    match type_:
        case Int32() | Int64():
            return Family.WHOLE
        case Decimal():
            return Family.EXACT
        case Float32() | Float64():
            return Family.FLOAT
        case String():
            return Family.TEXT
        case Boolean():
            return Family.TRUTH
        case Date():
            return Family.DATE
        case Timestamp() | TimestampNtz():
            return Family.TIMESTAMP
        case Binary():
            return Family.BINARY


_HINTS: Final = {
    (Family.TEXT, Family.DATE): "a date is written DATE '2026-01-31'",
    (Family.TEXT, Family.TIMESTAMP): "an instant is written TIMESTAMP '2026-01-31 23:59:59'",
}


def _unknown(name: str, shape: Shape, at: int | None) -> Misfit:
    return Misfit(f'the table has no column "{name}"', at=at, name=name, known=tuple(shape))


@dataclass(frozen=True, slots=True)
class Typing:
    """The kinds of an expression's values, on a table of these columns."""

    shape: Shape
    _known: dict[int, Family] = field(default_factory=dict)  # by identity: a tree is asked by all around it

    def of(self, tree: Tree) -> Family:
        """The kind of a tree's value; raises Misfit where kinds do not meet."""
        if id(tree) not in self._known:
            self._known[id(tree)] = self._found(tree)
        return self._known[id(tree)]

    def _found(self, tree: Tree) -> Family:
        match tree:
            case Column(name=name, at=at):
                if name not in self.shape:
                    raise _unknown(name, self.shape, at)
                return family_of(self.shape[name])
            case Number(text=text):
                return Family.EXACT if "." in text else Family.WHOLE
            case Text():
                return Family.TEXT
            case Moment(kind=kind):
                return Family.DATE if kind == "date" else Family.TIMESTAMP
            case Null():
                return Family.NULL
            case Negative(of=of) | Arithmetic(left=of):
                return self._number(tree, of)
            case Joined():
                self._each((tree.left, tree.right), TEXTS)
                return Family.TEXT
            case Case(whens=whens, otherwise=otherwise):
                self._each([when for when, _ in whens], _TRUTHS)
                return self._one([*(then for _, then in whens), otherwise])
            case Call():
                return self._call(tree)
            case _:
                return self._condition(tree)

    def _condition(self, tree: Truth | Not | Logic | Comparison | IsNull | Among | Between | Like) -> Family:
        match tree:
            case Truth():
                pass
            case Not(of=of):
                self._each((of,), _TRUTHS)
            case Logic():
                self._each((tree.left, tree.right), _TRUTHS)
            case Comparison(op=op):
                found = self._one((tree.left, tree.right))
                if op not in ("=", "<>") and found not in _COMPARABLE:
                    raise Misfit(f"{found.value} is neither less nor greater than another", at=tree.at)
            case IsNull(of=of):
                self.of(of)
            case Among(of=of, values=values):
                self._one((of, *values))
            case Between():
                found = self._one((tree.of, tree.low, tree.high))
                if found not in _COMPARABLE:
                    raise Misfit(f"{found.value} lies between nothing", at=tree.at)
            case Like(of=of):
                self._each((of,), TEXTS)
        return Family.TRUTH

    def _number(self, tree: Negative | Arithmetic, of: Tree) -> Family:
        both = (of,) if isinstance(tree, Negative) else (tree.left, tree.right)
        self._each(both, NUMBERS)
        found = self._one(both)
        divided = isinstance(tree, Arithmetic) and tree.op == "/"
        return Family.FLOAT if divided and found is Family.WHOLE else found

    def _call(self, tree: Call) -> Family:
        function = FUNCTIONS[tree.name]
        for n, argument in enumerate(tree.arguments):
            self._each((argument,), function.takes[min(n, len(function.takes) - 1)])
        if tree.name in _FIRST:
            return self.of(tree.arguments[0])
        return self._one(tree.arguments) if function.gives is None else function.gives

    def _each(self, trees: Sequence[Tree], wanted: frozenset[Family]) -> None:
        for tree in trees:
            found = self.of(tree)
            if found not in wanted and found is not Family.NULL:
                names = " or ".join(sorted({_plain(f) for f in wanted - {Family.NULL}}))
                raise Misfit(f"{names} stands here, not {found.value}", at=tree.at)

    def _one(self, trees: Sequence[Tree]) -> Family:
        """The kind that all of these are of."""
        one = Family.NULL
        for tree in trees:
            found = self.of(tree)
            met = _meet(one, found)
            if met is None:
                hint = _HINTS.get((found, one), _HINTS.get((one, found), ""))
                raise Misfit(f"{found.value} does not compare with {one.value}", at=tree.at, hint=hint)
            one = met
        return one


_TRUTHS: Final = frozenset({Family.TRUTH})
_COMPARABLE: Final = ORDERED | {Family.NULL}
_FIRST: Final = frozenset({"abs", "round"})  # their other arguments are of another kind


def _plain(family: Family) -> str:
    return "a number" if family in NUMBERS else family.value


def _meet(one: Family, other: Family) -> Family | None:
    if Family.NULL in (one, other):
        return other if one is Family.NULL else one
    if one is other:
        return one
    for ladder in ((Family.WHOLE, Family.EXACT, Family.FLOAT), (Family.DATE, Family.TIMESTAMP)):
        if one in ladder and other in ladder:
            return ladder[max(ladder.index(one), ladder.index(other))]
    return None
