"""What the server's catalogue says about a table: types under domains, primary key, defaults.

Rule: the Relation message is the truth about which columns there are; the catalogue, which is of now and
not of then, only adds what the message does not say. A column that cannot be captured blocks its table,
never the capture; one that only the server can write as text makes the capture start again, to read text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from connectors.postgres.cells import Form, column_cell, type_of
from connectors.postgres.kinds import MONEY, Kind, kinds
from connectors.postgres.session import Connection
from connectors.postgres.wire import WireRelation
from engine.errors import SourceUnreachable
from engine.schema import ENGINE_COLUMNS, Column, Identity, Relation, String, Type
from engine.source import TableSpec

_IDENTITY: Final = {"d": Identity.DEFAULT, "n": Identity.DEFAULT, "i": Identity.INDEX, "f": Identity.FULL}

# Domains are followed to their base; the innermost domain's modifier is the one that holds.
_DESCRIBE: Final = """
with recursive column_(at, name, type, modifier) as (
  select ordinality::int, name, type, modifier
  from unnest(%s::text[], %s::oid[], %s::int4[]) with ordinality as u(name, type, modifier, ordinality)
), base(at, type, modifier) as (
  select at, type, modifier from column_
  union all
  select b.at, t.typbasetype, t.typtypmod
  from base b join pg_catalog.pg_type t on t.oid = b.type and t.typtype = 'd'
)
select b.type::int8, b.modifier, pg_catalog.format_type(c.type, c.modifier), coalesce(a.attnotnull, false),
       coalesce(a.atttypid = c.type, false),
       case when a.atthasmissing then (a.attmissingval::text::text[])[1] end
from column_ c
join base b on b.at = c.at
join pg_catalog.pg_type t on t.oid = b.type and t.typtype <> 'd'
left join pg_catalog.pg_attribute a
  on a.attrelid = %s::oid and a.attname = c.name and not a.attisdropped and a.attnum > 0
order by c.at
"""

_PRIMARY_KEY: Final = """
select a.attname::text
from pg_catalog.pg_index i
join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
where i.indrelid = %s::oid and i.indisprimary
"""


class Described(NamedTuple):
    """A column's facts: its base type, and what the source calls it; ``current``: its table has it so now."""

    kind: Kind
    modifier: int
    declared: str
    nullable: bool
    current: bool
    default: str | None

    def type(self, *, as_text: bool) -> Type:
        """Its type in the lake."""
        return String() if as_text else type_of(self.kind.oid, self.modifier)


@dataclass(frozen=True, slots=True)
class Known:
    """A relation that can be captured: what the engine sees, and the base types the parser is made of."""

    relation: Relation
    bases: tuple[int, ...]


def describe(side: Connection, columns: Sequence[tuple[str, int, int]], relid: int) -> list[Described | None]:
    """The facts of columns given as (name, type, modifier); None for a type that is gone."""
    names, types, modifiers = (list(part) for part in zip(*columns, strict=True)) if columns else ([], [], [])
    rows = side.execute(_DESCRIBE, (names, types, modifiers, relid)).fetchall()
    if len(rows) != len(columns):  # a type was dropped since: look at them one by one
        if len(columns) == 1:
            return [None]
        return [describe(side, [column], relid)[0] for column in columns]
    known = kinds(side, [row[0] for row in rows])
    return [
        Described(known[base], modifier, declared, not not_null, current, default) if base in known else None
        for base, modifier, declared, not_null, current, default in rows
    ]


def primary_key(side: Connection, relid: int) -> frozenset[str]:
    """The names of a table's primary key; empty when it has none."""
    return frozenset(name for (name,) in side.execute(_PRIMARY_KEY, (relid,)).fetchall())


def know(side: Connection, wire: WireRelation, spec: TableSpec, form: Form) -> Known | str:
    """The relation that a message announces, or why its table cannot be captured.

    Raises SourceUnreachable when a column has to be read as text, and the stream is binary.
    """
    facts = describe(side, [(c.name, c.type_oid, c.modifier) for c in wire.columns], wire.id)
    trouble = naming_trouble([c.name for c in wire.columns]) or _excluded(wire, spec)
    if trouble:
        return trouble
    columns: list[Column] = []
    for column, fact in zip(wire.columns, facts, strict=True):
        if fact is None:
            return f"column {column.name} is of type {column.type_oid}, which is gone"
        type_ = fact.type(as_text=column.name in spec.text)
        cell = column_cell(fact.kind, type_, form)
        if cell is None:
            why = f"column {column.name} is {fact.declared}, which is read as text only"
            if fact.current:  # the next start sees it, and asks for text
                raise SourceUnreachable(f"{spec.qualified}: {why}: the stream starts again")
            return why
        default = fact.default
        if default is not None and fact.kind.oid == MONEY and type_ != String():
            default = default.replace("$", "").replace(",", "")  # as a decimal is written
        columns.append(Column(column.name, type_, fact.nullable, fact.declared, cell, default))
    identity = _IDENTITY[wire.identity]
    flagged = (
        primary_key(side, wire.id)
        if identity is Identity.FULL
        else {column.name for column in wire.columns if column.flagged}
    )
    names = tuple(column.name for column in wire.columns)
    key = tuple(name for name in names if name in flagged) if flagged <= set(names) else ()
    bases = tuple(fact.kind.oid for fact in facts if fact)
    return Known(Relation(wire.id, wire.schema, wire.table, tuple(columns), key, identity), bases)


def _excluded(wire: WireRelation, spec: TableSpec) -> str:
    """What the source sends and its flow leaves out: nothing of it goes any further."""
    sent = [column.name for column in wire.columns if column.name in spec.exclude]
    return f"{', '.join(sent)}: excluded by the flow, and published all the same" if sent else ""


def naming_trouble(names: Sequence[str]) -> str:
    """Why these column names cannot stand in a table of the lake; empty when they can.

    >>> naming_trouble(["id", "ID"]), naming_trouble(["id", "name"])
    ('columns ID and id differ in case only', '')
    """
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in ENGINE_COLUMNS:
            return f"column {name} has a name that the landing writes itself"
        if name.lower() in seen:
            return "columns {} and {} differ in case only".format(*sorted((name, seen[name.lower()])))
        seen[name.lower()] = name
    return ""
