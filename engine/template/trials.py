"""The ``tests:`` of templates and flows: rows that an author makes up, and what has to become of them.

Rule: a test says the types of its columns, because for a database the source is the contract and no file
knows it. Where a flow has a contract the columns are the contract's, and rows are texts. Its checks are bound
to those columns when files are read: a check that does not fit is a mistake like any other. Nothing runs
here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal as Exact
from typing import Any, Final

from engine.checks import Misfit
from engine.checks.bind import Bound, bind
from engine.checks.parse import moment
from engine.checks.scan import exact
from engine.contract import PLACE, ContractColumn, typed
from engine.schema import (
    Binary,
    Boolean,
    Date,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    Timestamp,
    TimestampNtz,
    Type,
    delta,
)
from engine.schema import (
    Shape as Columns,
)
from engine.template.checking import NAME, Written
from engine.template.mistakes import Code, Mistakes, Place, nearest, shown
from engine.template.nodes import Node
from engine.template.reader import Reader
from engine.template.shapes import ABSENT, Anything, Choice, Fields, Key, Many, Named, Shape, Text

_COLUMN: Final = Text("the name of a column", r"[\s\S]{1,200}")
BECOMES: Final = ("lands", "dropped", "quarantined", "stops")
_ROW: Final = Fields(
    {
        "row": Key(Named(Anything(), _COLUMN), "values by column; a column that is not named is NULL"),
        "op": Key(Choice(("c", "u", "r", "d")), "insert, update, read by a snapshot, delete", "c"),
        "unchanged": Key(
            Many(_COLUMN), "columns that the source has not sent, since they did not change", []
        ),
        "fails": Key(Many(NAME), "the checks that it fails", []),
        "unfit": Key(Many(_COLUMN), "by a contract: columns whose text has no value, or that have none", []),
        "becomes": Key(Choice(BECOMES), "what becomes of it", "lands"),
    }
)
_TEST: Final = {
    "columns": Key(
        Named(Text("a type such as bigint or decimal(10,2)"), _COLUMN, low=1),
        "columns and types; where there is a contract they are in it",
        ABSENT,
    ),
    "rows": Key(Many(_ROW, low=1, high=1_000), "the rows"),
}
FLOW_TESTS: Final[Shape] = Named(Fields(_TEST), NAME)
TEMPLATE_TESTS: Final[Shape] = Named(
    Fields({"params": Key(Named(Anything(), NAME), "what a flow would give", {}), **_TEST}), NAME
)
_DECIMAL: Final = re.compile(r"decimal\(([1-9][0-9]?), ?([0-9]{1,2})\)")
_TYPES: Final[Sequence[Type]] = (
    Boolean(), Int32(), Int64(), Float32(), Float64(), String(), Binary(),
    Date(), Timestamp(), TimestampNtz(),
)  # fmt: skip
_PLAIN: Final[Mapping[str, Type]] = {delta(each): each for each in _TYPES}


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a test. Values are text as SQL casts it (by a contract: as the file has it), or None."""

    place: Place
    values: Mapping[str, str | None]
    op: str
    unchanged: tuple[str, ...]
    fails: tuple[str, ...]
    becomes: str
    unfit: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """One test: whose it is (a template ``name@major`` or a flow), its checks on its columns, its rows."""

    about: str
    name: str
    place: Place
    checks: tuple[Bound, ...]
    columns: Columns
    rows: tuple[Case, ...]
    contract: tuple[ContractColumn, ...] = ()


def trials_of(
    about: str,
    tests: Node,
    checks: Sequence[Written],
    mistakes: Mistakes,
    *,
    contract: tuple[ContractColumn, ...] = (),
) -> tuple[Trial, ...]:
    """The tests that were read, each with the checks it is for."""
    found = []
    for name in sorted(tests.items):
        trial = trial_of(about, (name, tests.keys[name]), tests[name], checks, mistakes, contract=contract)
        if trial is not None:
            found.append(trial)
    return tuple(found)


def trial_of(
    about: str,
    name: tuple[str, Place],
    test: Node,
    checks: Sequence[Written],
    mistakes: Mistakes,
    *,
    contract: tuple[ContractColumn, ...] = (),
) -> Trial | None:
    """One test; None when a mistake is in it. ``name`` comes with its place."""
    before = len(mistakes)
    columns = typed(contract) if contract else _columns(test.get("columns"), test.place, mistakes)
    if contract and "columns" in test.items:
        mistakes.add(test.keys["columns"], Code.BAD_VALUE, "the contract says the columns: take these out")
    if len(mistakes) > before:
        return None
    bound = [bound_to(each, columns, f"{about}, test {name[0]}", mistakes) for each in checks]
    known = [each.check.name for each in checks]
    assert isinstance(test["rows"].value, tuple)  # noqa: S101 - its shape is a list
    read = {**dict.fromkeys((c.name for c in contract), String()), **PLACE} if contract else columns
    rows = [_case(row, read, known, mistakes) for row in test["rows"].value]
    if len(mistakes) > before:
        return None
    return Trial(about, *name, tuple(b for b in bound if b is not None), columns, tuple(rows), contract)


def bound_to(written: Written, columns: Columns, where: str, mistakes: Mistakes) -> Bound | None:
    """A check on columns; None, and a mistake, where it does not fit them."""
    try:
        return bind(written.check, columns)
    except Misfit as misfit:
        Reader(mistakes).misfit(written.where, misfit, about=f", in {where}")
        return None


def _columns(node: Node | None, at: Place, mistakes: Mistakes) -> Columns:
    found: dict[str, Type] = {}
    if node is None:
        mistakes.add(at, Code.MISSING_KEY, '"columns" is missing in this test', "columns: {id: bigint}")
        return found
    for name, said in node.items.items():
        decimal = _DECIMAL.fullmatch(said.text)
        if decimal and int(decimal[2]) <= int(decimal[1]) <= 38:  # noqa: PLR2004 - digits of a decimal
            found[name] = Decimal(int(decimal[1]), int(decimal[2]))
        elif said.text in _PLAIN:
            found[name] = _PLAIN[said.text]
        else:
            near = nearest(said.text, (*_PLAIN, "decimal(10,2)"))
            mistakes.add(said.place, Code.BAD_VALUE, f"{shown(said.text)} is no type of a column", near)
    return found


def _case(node: Node, columns: Columns, checks: Sequence[str], mistakes: Mistakes) -> Case:
    unchanged, fails, unfit = node["unchanged"], node["fails"], node["unfit"]
    told = ((unchanged, columns, "column"), (fails, checks, "check"), (unfit, columns, "column"))
    for names, known, what in told:
        assert isinstance(names.value, tuple)  # noqa: S101 - its shape is a list
        for each in names.value:
            if each.text not in known:
                text = f"{shown(each.text)} is no {what} of this test"
                mistakes.add(each.place, Code.BAD_NAME, text, nearest(each.text, known))
    values: dict[str, str | None] = {}
    for name, value in node["row"].items.items():
        if name not in columns:
            text = f"{shown(name)} is no column of this test"
            mistakes.add(node["row"].keys[name], Code.BAD_NAME, text, nearest(name, columns))
        else:
            values[name] = _value(value, columns[name], name, mistakes)
    return Case(
        node.place, values, node["op"].text, tuple(unchanged.plain), tuple(fails.plain), node["becomes"].text,
        tuple(unfit.plain),
    )  # fmt: skip


def _value(node: Node, type_: Type, name: str, mistakes: Mistakes) -> str | None:
    """A value as the text that SQL casts to the very same value."""
    if node.value is None:
        return None
    text = _text(node.value, type_)
    if text is None:
        mistakes.add(
            node.place, Code.BAD_VALUE, f"this is no value of {shown(name)}, which is {delta(type_)}"
        )
    return text


_BITS: Final = {Int32: 31, Int64: 63}


def _text(value: Any, type_: Type) -> str | None:
    match type_, value:
        case Boolean(), bool():
            return str(value).lower()
        case _, bool():
            return None
        case String(), str():
            return value
        case ((Int32() | Int64()), int()):
            limit = 1 << _BITS[type(type_)]
            return str(value) if -limit <= value < limit else None
        case Decimal(precision=precision, scale=scale), str() | int() | float():
            return _decimal(str(value), precision, scale)
        case ((Float32() | Float64()), int() | float()):
            return repr(float(value)) if math.isfinite(float(value)) else None
        case ((Date() | Timestamp() | TimestampNtz()), str()):
            return _moment(value, type_)
        case Binary(), str():
            return value if re.fullmatch(r"([0-9a-f]{2})*", value) else None
        case _:
            return None


def _decimal(text: str, precision: int, scale: int) -> str | None:
    try:
        number = Exact(exact(text))
    except (ArithmeticError, Misfit):
        return None
    fits = number == round(number, scale) and abs(number) < 10 ** (precision - scale)
    return f"{number:f}" if fits else None


def _moment(text: str, type_: Type) -> str | None:
    try:
        return moment("date" if isinstance(type_, Date) else "timestamp", text)
    except Misfit:
        return None
