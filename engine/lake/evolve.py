"""How a flow's table follows the schemas of its topic.

Rule: pure. A table only ever gains columns and width; a schema that would need more is blocked, and blocks
its own flow only. An older schema than the table's is no change: its records fit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal as Exact
from decimal import InvalidOperation
from typing import Final

from engine.errors import SchemaBlocked
from engine.lake.decode import Writer, name, quote
from engine.plan import SchemaPolicy
from engine.schema import (
    ENGINE_COLUMNS,
    Binary,
    Boolean,
    Change,
    Date,
    Decimal,
    Difference,
    Shape,
    Timestamp,
    TimestampNtz,
    Type,
    delta,
    evolve,
    widens,
)

_FOLLOWS: Final = {Change.ADD_COLUMN: "evolve", Change.WIDEN_TYPE: "evolve", Change.DROP_COLUMN: "keep"}
_REFUSED: Final = re.compile(r"[ ,;{}()\n\t=]")
_BYTEA: Final = re.compile(r"\\x([0-9a-fA-F]*)")


@dataclass(frozen=True, slots=True)
class Added:
    """A column that the table did not begin with: the first schema that had it, and its default."""

    schema_id: int
    default: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """A flow's table as the driver knows it: the source's columns in order, and the record key."""

    columns: Shape = field(default_factory=dict)
    key: tuple[str, ...] = ()
    added: Mapping[str, Added] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One change of a table: a new column (``before`` None) or a wider one."""

    column: str
    before: Type | None
    after: Type
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a schema asks of the table."""

    target: Target
    steps: tuple[Step, ...]


def judge(target: Target, writer: Writer, policy: SchemaPolicy, *, where: str) -> Verdict:
    """What has to be done before records of a schema can land.

    Raises SchemaBlocked when the policy parks the flow at such a record.
    """
    _check_names(writer, where=where)
    _check_case(target, writer, where=where)
    if not target.columns:
        return Verdict(Target(dict(writer.columns), writer.key), ())
    steps: list[Step] = []
    for difference in evolve(target.columns, writer.columns, target.key, writer.key):
        column, before, after = difference.column, difference.before, difference.after
        narrower = before is not None and after is not None and widens(after, before)
        older = column in target.added and writer.schema_id < target.added[column].schema_id
        if narrower or (difference.kind is Change.DROP_COLUMN and older):
            continue
        match getattr(policy, difference.kind.value):
            case "park":
                raise _blocked(difference, writer, where)
            case "evolve" if after is not None:
                default = _default(writer, column, after, where) if before is None else None
                steps.append(Step(column, before, after, default))
            case _:
                continue
    return Verdict(_apply(target, steps, writer.schema_id), tuple(steps))


def _apply(target: Target, steps: Sequence[Step], schema_id: int) -> Target:
    columns = {**target.columns, **{s.column: s.after for s in steps}}
    added = {s.column: Added(schema_id, s.default) for s in steps if s.before is None}
    return replace(target, columns=columns, added={**target.added, **added})


def _blocked(difference: Difference, writer: Writer, where: str) -> SchemaBlocked:
    kind, column = difference.kind, difference.column
    old, new = ("nothing" if t is None else delta(t) for t in (difference.before, difference.after))
    text = f"{column} becomes the key" if kind is Change.CHANGE_KEY else f"column {column}: {old} → {new}"
    return SchemaBlocked(
        f"schema {writer.schema_id} brings {kind.value} ({text}), which the flow's policy parks",
        where=where,
        hint=follow(kind),
    )


def follow(kind: Change) -> str:
    """What to set so that tables follow a kind of change; empty where none can."""
    value = _FOLLOWS.get(kind)
    return (
        ""
        if value is None
        else f"or set schema.{kind.value}: {value} in the template, and run the landing again"
    )


def _default(writer: Writer, column: str, type_: Type, where: str) -> str | None:
    """The constant that the rows which are there get in a new column; one that fits nowhere is blocked."""
    text = writer.defaults.get(column)
    if text is None or _has_place(text, type_):
        return text
    raise SchemaBlocked(
        f"column {column} came with the default {text}, which has no place in {delta(type_)}",
        where=where,
        hint="land the column as text: columns.text in the template",
    )


def _has_place(text: str, type_: Type) -> bool:
    """Whether the source's text of a constant is a value of a type.

    >>> _has_place("infinity", Date()), _has_place("NaN", Decimal(10, 2)), _has_place("1.50", Decimal(10, 2))
    (False, False, True)
    """
    try:
        match type_:
            case Date():
                date.fromisoformat(text)
            case Timestamp() | TimestampNtz():
                datetime.fromisoformat(text)
            case Decimal():
                return Exact(text).is_finite()
            case _:
                pass
    except (ValueError, InvalidOperation):
        return False
    return True


def _check_names(writer: Writer, *, where: str) -> None:
    seen: dict[str, str] = {}
    for column in writer.columns:
        hint = "give the column another name in the source"
        if column.lower() in ENGINE_COLUMNS:
            raise SchemaBlocked(f"the column name {column} is ours", where=where, hint=hint)
        if _REFUSED.search(column):
            raise SchemaBlocked(f"Delta refuses the column name {column!r}", where=where, hint=hint)
        if column.lower() in seen:
            raise SchemaBlocked(
                f"the columns {seen[column.lower()]} and {column} differ by case only", where=where, hint=hint
            )
        seen[column.lower()] = column


def _check_case(target: Target, writer: Writer, *, where: str) -> None:
    """Delta tells no names apart by case: a column renamed by case only would be added beside itself."""
    known = {column.lower(): column for column in target.columns}
    for column in writer.columns:
        before = known.get(column.lower(), column)
        if before != column:
            raise SchemaBlocked(
                f"the column {before} is called {column} now, which Delta does not tell apart",
                where=where,
                hint="give the column its old name back, or one that differs by more than case",
            )


def constant(text: str, type_: Type) -> str:
    r"""The SQL expression of a default, from the source's own text.

    >>> constant("t", Boolean()), constant(r"\xff", Binary())
    ("cast('t' as boolean)", "X'ff'")
    """
    hex_ = _BYTEA.fullmatch(text)
    if isinstance(type_, Binary) and hex_:
        return f"X'{hex_[1]}'"
    return f"cast({quote(text)} as {delta(type_)})"


def absent(target: Target, writer: Writer) -> tuple[str, ...]:
    """Columns of the table that records of a schema do not have."""
    return tuple(c for c in target.columns if c not in writer.columns)


def initial(target: Target, writer: Writer, column: str) -> str:
    """What a new row gets in a column that its schema does not have: the default if it is older."""
    type_ = target.columns[column]
    added = target.added.get(column)
    if added is not None and writer.schema_id < added.schema_id and added.default is not None:
        return constant(added.default, type_)
    return f"cast(NULL as {delta(type_)})"


def add_column(table: str, columns: Shape, step: Step) -> str:
    """The statement that makes a step's column: after the last column of the source, before ours."""
    if step.before is not None:
        return f"ALTER TABLE {table} ALTER COLUMN {name(step.column)} TYPE {delta(step.after)}"
    last = list(columns)[-1] if columns else None
    place = f"AFTER {name(last)}" if last is not None else "FIRST"
    return f"ALTER TABLE {table} ADD COLUMNS ({name(step.column)} {delta(step.after)} {place})"


CLUSTERABLE: Final = frozenset({"int", "bigint", "string", "date", "timestamp", "float", "double"})


def can_cluster(type_: Type) -> bool:
    """Whether Delta keeps the statistics of a type that clustering needs."""
    text = delta(type_)
    return not isinstance(type_, Binary | Boolean) and (text in CLUSTERABLE or text.startswith("decimal"))
