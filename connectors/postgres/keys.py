"""How the server compares the values of a key: by the operators of the order that its index is in.

Rule: an operator is named with its schema where it is not one of the server's own, because no session here
looks for names anywhere else. This room does not know what a key is compared for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from psycopg import sql

from connectors.postgres.columns import identifier
from connectors.postgres.kinds import PLAIN, kinds
from connectors.postgres.session import Connection


class Compared(NamedTuple):
    """A column of a key as SQL names it, and the operators of its type's order."""

    name: str
    equal: str = "="
    not_less: str = ">="
    greater: str = ">"
    cast: str = ""  # to its type: some texts mean nothing without it

    @property
    def plain(self) -> bool:
        """Whether the server's own operators compare it."""
        return self.greater == ">"


_NAMES: Final = "select t::int8, pg_catalog.format_type(t, -1) from unnest(%s::oid[]) as t"
_TYPES: Final = """
select a.attname::text, a.atttypid::int8 from pg_catalog.pg_attribute a
where a.attrelid = %s::oid and a.attname = any(%s::text[]) and not a.attisdropped
"""
# Of the types that come with their own order; all others are compared by what the server has for their kind.
_OPERATORS: Final = """
select c.opcintype::int8, m.amopstrategy, n.nspname::text, p.oprname::text
from pg_catalog.pg_opclass c
join pg_catalog.pg_am a on a.oid = c.opcmethod and a.amname = 'btree'
join pg_catalog.pg_amop m on m.amopfamily = c.opcfamily and m.amopstrategy in (3, 4, 5)
  and m.amoplefttype = c.opcintype and m.amoprighttype = c.opcintype
join pg_catalog.pg_operator p on p.oid = m.amopopr
join pg_catalog.pg_namespace n on n.oid = p.oprnamespace and n.nspname <> 'pg_catalog'
where c.opcdefault and c.opcintype = any(%s::oid[])
order by 1, 2
"""


def compared(side: Connection, relid: int, names: Sequence[str]) -> tuple[Compared, ...]:
    """The columns of these names, in their order."""
    types: dict[str, int] = dict(side.execute(_TYPES, (relid, list(names))).fetchall())
    known = kinds(side, set(types.values()))
    bases = {name: known[oid].oid for name, oid in types.items() if oid in known}
    own = _own(side, sorted(set(bases.values()) - PLAIN))
    return tuple(Compared(name=identifier(name), **own.get(bases.get(name, 0), {})) for name in names)


def _own(side: Connection, oids: Sequence[int]) -> dict[int, dict[str, str]]:
    """What has to be said for types that are not plain."""
    if not oids:
        return {}
    found = {oid: {"cast": f"::{name}"} for oid, name in side.execute(_NAMES, (oids,)).fetchall()}
    which = {3: "equal", 4: "not_less", 5: "greater"}
    for oid, strategy, schema, operator in side.execute(_OPERATORS, (oids,)).fetchall():
        found[oid][which[strategy]] = f"operator({identifier(schema)}.{operator})"
    return found


def behind(key: Sequence[Compared], after: Sequence[str]) -> str:
    r"""The condition that a key lies behind the one that these texts stand for.

    >>> behind([Compared('"a"'), Compared('"b"')], ["1", "x"])
    '("a", "b") > (\'1\', \'x\')'
    """
    pairs = zip(key, after, strict=True)
    literals = [sql.Literal(text).as_string() + column.cast for column, text in pairs]
    if all(column.plain for column in key):
        return f"({', '.join(column.name for column in key)}) > ({', '.join(literals)})"
    return _stepwise(list(zip(key, literals, strict=True)))


def _stepwise(pairs: Sequence[tuple[Compared, str]]) -> str:
    """The same one column after the other; the first one bounds where the index is read from."""
    (column, literal), *rest = pairs
    greater = f"{column.name} {column.greater} {literal}"
    if not rest:
        return greater
    equal = f"{column.name} {column.equal} {literal} and {_stepwise(rest)}"
    return f"{column.name} {column.not_less} {literal} and ({greater} or ({equal}))"
