"""From checks that are bound to SQL text: one number per row, and reasons for the rows that need them.

A clean row costs the conditions and nothing else: they are joined by AND, which is FALSE where one of them
is, and a row for which it is not FALSE fails no check. Only behind that stands what is dear: which checks it
fails (a bit for each), whether a column that it reads was sent, whether its flow has to stop.

Rule: pure; names and literals are quoted here, and no text of an author comes through. What SQL would raise
on (a division by zero, a number too large) is NULL instead, and NULL passes: no row stops a job by a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from engine.checks import Misfit, OnFail
from engine.checks.bind import Bound, Part, Typing
from engine.checks.functions import Family
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
)
from engine.lake import halt, scaled
from engine.lake.decode import Writer, header, name, quote
from engine.lake.halt import Kind
from engine.names import avro_name
from engine.schema import Binary, Int32, Shape

_SIZE_MAX: Final = 20_000  # characters of SQL of one expression
_SHOWN_MAX: Final = 200  # characters of a value in quarantine
_LONG_BITS: Final = 63  # of a number that is not negative
_LANE_BITS: Final = 21  # of the count of one check in a sum of three
_INT_MAX: Final = 2**31
_LONG_MAX: Final = 2**63
_TRY: Final = {"+": "try_add", "-": "try_subtract", "*": "try_multiply", "/": "try_divide", "%": "try_mod"}
_DAYS: Final = {
    "year": "year",
    "quarter": "quarter",
    "month": "month",
    "day": "day",
    "day_of_week": "dayofweek",
    "day_of_year": "dayofyear",
}
_INTS: Final = {"left": 1, "right": 1, "substring": 1, "add_days": 1}
"""Functions whose arguments from that one on are of 32 bits in Spark, which does not narrow by itself."""
_NAMES: Final = {
    "starts_with": "startswith",
    "ends_with": "endswith",
    "position": "locate",
    "add_days": "date_add",
}


def column(c: str) -> str:
    """A column of the row's image."""
    return f"i.{name(avro_name(c))}"


@dataclass(frozen=True, slots=True)
class Sql:
    """Writes the trees of one table as SQL."""

    shape: Shape
    typing: Typing

    def of(self, tree: Tree) -> str:
        """A tree as SQL, in brackets where it needs them. Raises Misfit where that becomes too large."""
        text = self._text(tree)
        if len(text) > _SIZE_MAX:
            raise Misfit("the expression is too large", at=tree.at, hint="make two checks of it")
        return text

    def _text(self, tree: Tree) -> str:
        match tree:
            case Column(name=c):
                return column(c)
            case Number(text=text):
                return _number(text)
            case Text(value=value):
                return quote(value)
            case Moment(kind=kind, text=text):
                zoned = len(text) > 10 and (text.endswith("Z") or text[-6] in "+-")  # noqa: PLR2004 - a day
                return (
                    f"{'DATE' if kind == 'date' else 'TIMESTAMP' if zoned else 'TIMESTAMP_NTZ'} {quote(text)}"
                )
            case Truth(value=value):
                return "true" if value else "false"
            case Null():
                return "NULL"
            case Negative(of=of):
                return f"try_subtract(0L, {self._operand(of)})"
            case Arithmetic(op=op):
                return f"{_TRY[op]}({self._operand(tree.left)}, {self._operand(tree.right)})"
            case Joined():
                return f"concat({self.of(tree.left)}, {self.of(tree.right)})"
            case Case(whens=whens, otherwise=otherwise):
                said = " ".join(f"WHEN {self.of(when)} THEN {self.of(then)}" for when, then in whens)
                return f"CASE {said} ELSE {self.of(otherwise)} END"
            case Call():
                return self._call(tree)
            case _:
                return f"({self._condition(tree)})"

    def _condition(self, tree: Not | Logic | Comparison | IsNull | Among | Between | Like) -> str:
        match tree:
            case Not(of=of):
                return f"NOT {self.of(of)}"
            case Logic(op=op):
                return f" {op} ".join(self.of(each) for each in _chain(tree))
            case Comparison(op=op):
                whole = scaled.compared(tree, self.shape, column)
                left, right = whole or (self.of(tree.left), self.of(tree.right))
                return f"{left} {op} {right}"
            case IsNull(of=of):
                return f"{self.of(of)} IS NULL"
            case Among(of=of, values=values):
                return f"{self.of(of)} IN ({', '.join(self.of(value) for value in values)})"
            case Between():
                between = self.of(tree.of)
                return f"{between} >= {self.of(tree.low)} AND {between} <= {self.of(tree.high)}"
            case Like(of=of, pattern=pattern):
                return f"{self.of(of)} LIKE {quote(pattern)}"

    def _operand(self, tree: Tree) -> str:
        """A part of a calculation: what has 32 bits is calculated with 64."""
        text = self.of(tree)
        if isinstance(tree, Column) and isinstance(self.shape[tree.name], Int32):
            return f"cast({text} AS bigint)"
        return f"{text}L" if isinstance(tree, Number) and text.isdigit() else text

    def _call(self, tree: Call) -> str:
        first, *rest = (self.of(argument) for argument in tree.arguments)
        whole = self.typing.of(tree.arguments[0]) is Family.WHOLE
        match tree.name:
            case "matches":
                pattern = tree.arguments[1]
                assert isinstance(pattern, Text)  # noqa: S101 - the parser takes no other
                return f"({first} RLIKE {quote(anchored(pattern.value))})"
            case "abs" if whole:
                return f"abs(cast({first} AS decimal(20,0)))"  # the least number has no other in 64 bits
            case "round" if whole:
                return first
            case "date":
                return f"cast({first} AS date)"
            case "days_between":
                return f"datediff(cast({rest[0]} AS date), cast({first} AS date))"
            case function if function in _DAYS:
                return f"{_DAYS[function]}(cast({first} AS date))"
            case function:
                narrow = _INTS.get(function, len(rest) + 1)
                given = [t if n < narrow else f"try_cast({t} AS int)" for n, t in enumerate([first, *rest])]
                return f"{_NAMES.get(function, function)}({', '.join(given)})"


def _chain(tree: Logic) -> list[Tree]:
    """The conditions of a row of ANDs, or of ORs: nested by one level instead of many."""
    left = _chain(tree.left) if isinstance(tree.left, Logic) and tree.left.op == tree.op else [tree.left]
    return [*left, tree.right]


def _number(text: str) -> str:
    if "." in text or not -_LONG_MAX <= int(text) < _LONG_MAX:
        said = f"{text}BD"
    else:
        said = text if -_INT_MAX <= int(text) < _INT_MAX else f"{text}L"
    return f"({said})" if text.startswith("-") else said


def anchored(pattern: str) -> str:
    r"""A regular expression that matches whole texts only.

    >>> anchored("a|b")
    '\\A(?:a|b)\\z'
    """
    return rf"\A(?:{pattern})\z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """The checks of a batch. ``refused`` are (partition, offset) of rows whose stop a person has answered."""

    bounds: tuple[Bound, ...]
    columns: Shape
    writers: Sequence[Writer] = ()
    refused: frozenset[tuple[int, int]] = frozenset()
    sql: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by check: its parts

    def mask(self, *outcomes: OnFail) -> int:
        """The bits of the checks whose rows come to one of these."""
        return sum(1 << n for n, bound in enumerate(self.bounds) if bound.on_fail in outcomes)

    @property
    def held(self) -> str:
        """Whether a row goes into quarantine."""
        return _any("_failed", self.mask(OnFail.QUARANTINE, OnFail.FAIL))

    @property
    def dropped(self) -> str:
        """Whether a row does not land, and waits nowhere."""
        return f"({_any('_failed', self.mask(OnFail.DROP))} AND NOT {self.held})"

    @property
    def lands(self) -> str:
        """Whether no check keeps a row away."""
        return f"NOT {_any('_failed', self.mask(OnFail.QUARANTINE, OnFail.FAIL, OnFail.DROP))}"

    def counters(self, rows: int) -> dict[str, str]:
        """What a batch of at most so many rows counts: rows held, dropped, and that fail each check.

        Every counter costs every row, whatever it counts: the counts of three checks are one sum.
        """
        bits, sums = _lane(rows), {}
        for at, lanes in enumerate(self._sums(rows)):
            ones = (
                f"shiftleft(shiftright(_failed, {n}) & 1L, {lane * bits})" for lane, n in enumerate(lanes)
            )
            sums[f"k{at}"] = f"sum(CASE WHEN _failed <> 0L THEN {' | '.join(ones)} ELSE 0L END)"
        return {"held": _count(self.held), "dropped": _count(self.dropped), **sums}

    def counted(self, got: Mapping[str, Any], rows: int) -> dict[str, int]:
        """How many rows failed each check that some did, by its name; ``rows`` as in ``counters``."""
        bits = _lane(rows)
        found = {
            self.bounds[n].name: (got[f"k{at}"] or 0) >> lane * bits & (1 << bits) - 1
            for at, lanes in enumerate(self._sums(rows))
            for lane, n in enumerate(lanes)
        }
        return {check: count for check, count in found.items() if count}

    def _sums(self, rows: int) -> list[range]:
        """The checks that are counted together."""
        lanes = _LONG_BITS // _lane(rows)
        return [range(n, min(n + lanes, len(self.bounds))) for n in range(0, len(self.bounds), lanes)]

    def failed(self, passed_over: str) -> str:
        """The checks that a row fails, as bits; 0 for a row that is no row, or is passed over anyway."""
        conditions = [part for bound in self.bounds for part in self.sql[bound.name]]
        if not conditions:
            return "0L"
        bits = " | ".join(self._bit(n, bound) for n, bound in enumerate(self.bounds))
        exempt = f"_reason IS NOT NULL OR op NOT IN ('c', 'u', 'r') OR {passed_over}"
        return (
            f"CASE WHEN coalesce({' AND '.join(conditions)}, true) THEN 0L WHEN {exempt} THEN 0L "
            f"ELSE {bits} END"
        )

    def _bit(self, n: int, bound: Bound) -> str:
        fails = " OR ".join(self._fails(part, text) for part, text in self._parts(bound))
        if bound.on_fail is not OnFail.FAIL:
            return f"if({fails}, {1 << n}L, 0L)"
        answered = " OR ".join(f"partition = {p} AND offset = {o}L" for p, o in sorted(self.refused))
        stop = f"cast({halt.sql(Kind.CHECK, str(n))} AS bigint)"
        found = f"if({answered}, {1 << n}L, {stop})" if answered else stop
        return f"if({fails}, {found}, 0L)"

    def _parts(self, bound: Bound) -> Sequence[tuple[Part, str]]:
        return list(zip(bound.parts, self.sql[bound.name], strict=True))

    def _fails(self, part: Part, text: str) -> str:
        """Whether a row fails a part; one that reads what was not sent passes it.

        The lambda is interpreted, for the few rows that come so far. For its sake Spark makes a class of the
        checks alone, of many small methods; else they would stand in the method that decodes a record, and a
        method of that size runs interpreted for longer than a batch takes, until the JVM has compiled it.
        """
        read = ", ".join(quote(c) for c in part.columns)
        unsent = [f"exists(unchanged, c -> c IN ({read}))"] if read else []
        without = sorted(
            header(w.schema_id) for w in self.writers if any(c not in w.columns for c in part.columns)
        )
        if without:
            unsent.append(f"substring(value, 1, 5) IN ({', '.join(f'X{quote(h)}' for h in without)})")
        passes = "".join(f" AND NOT coalesce({each}, false)" for each in unsent)
        return f"(coalesce(NOT {text}, false){passes})"

    def reason(self) -> str:
        """Why a row is held: the checks that hold it."""
        names = ", ".join(
            f"if({_any('_failed', 1 << n)}, {quote(bound.name)}, NULL)"
            for n, bound in enumerate(self.bounds)
            if bound.on_fail in (OnFail.QUARANTINE, OnFail.FAIL)
        )
        return f"concat('check:', concat_ws(',', {names}))" if names else "cast(NULL AS string)"

    def offending(self) -> str:
        """Of a row that is held: the values of the columns that the checks found wrong."""
        wrong: dict[str, list[str]] = {}
        for bound in self.bounds:
            if bound.on_fail in (OnFail.QUARANTINE, OnFail.FAIL):
                for part, text in self._parts(bound):
                    for c in part.columns:
                        wrong.setdefault(c, []).append(self._fails(part, text))
        entries = ", ".join(
            f"if({' OR '.join(fails)}, named_struct('c', {quote(c)}, 't', {self._shown(c)}), NULL)"
            for c, fails in wrong.items()
        )
        return f"map_from_entries(filter(array({entries}), e -> e IS NOT NULL))" if entries else _NOTHING

    def _shown(self, c: str) -> str:
        if isinstance(self.columns[c], Binary):
            return f"hex(substring({column(c)}, 1, {_SHOWN_MAX // 2}))"
        return f"left(cast({column(c)} AS string), {_SHOWN_MAX})"


_NOTHING: Final = "cast(NULL AS map<string, string>)"


def _any(column_: str, mask: int) -> str:
    return f"({column_} & {mask}L) <> 0L" if mask else "false"


def _lane(rows: int) -> int:
    """How many bits the count of one check has in its sum."""
    return _LANE_BITS if rows < 1 << _LANE_BITS else _LONG_BITS


def _count(condition: str) -> str:
    """How many rows meet a condition; ``count_if`` would make a column of each condition, in every row."""
    return f"count(CASE WHEN {condition} THEN 1 END)"


def compiled(
    bounds: Sequence[Bound],
    columns: Shape,
    writers: Sequence[Writer] = (),
    refused: frozenset[tuple[int, int]] = frozenset(),
) -> Checker:
    """The checks of a batch as SQL. Raises Misfit for one that becomes too large."""
    sql = Sql(columns, Typing(columns))
    texts = {bound.name: tuple(sql.of(part.tree) for part in bound.parts) for bound in bounds}
    return Checker(bounds=tuple(bounds), columns=columns, writers=writers, refused=refused, sql=texts)
