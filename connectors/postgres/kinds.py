"""What a type is made of, as the server's catalogue has it.

Rule: the types that every server has are known by number, because it is the same everywhere; the types of
extensions are known by the extension's name and their own, because their numbers are not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from connectors.postgres.session import Connection

BOOL, BYTEA, CHAR, NAME, INT8, INT2, INT4, TEXT = 16, 17, 18, 19, 20, 21, 23, 25
OID, TID, XID, CID, JSON, XML, CIDR, FLOAT4, FLOAT8 = 26, 27, 28, 29, 114, 142, 650, 700, 701
MACADDR8, MONEY, MACADDR, INET, BPCHAR, VARCHAR = 774, 790, 829, 869, 1042, 1043
DATE, TIME, TIMESTAMP, TIMESTAMPTZ, INTERVAL, TIMETZ = 1082, 1083, 1114, 1184, 1186, 1266
BIT, VARBIT, NUMERIC, REFCURSOR, UUID, PG_LSN = 1560, 1562, 1700, 1790, 2950, 3220
JSONB, JSONPATH, XID8 = 3802, 4072, 5069

PLAIN: Final = frozenset({
    BOOL, BYTEA, INT8, INT2, INT4, TEXT, OID, JSON, FLOAT4, FLOAT8, MONEY, BPCHAR, VARCHAR, DATE, TIME,
    TIMESTAMP, TIMESTAMPTZ, INTERVAL, NUMERIC, UUID, JSONB,
})  # fmt: skip
"""Types of which nothing more has to be asked."""

_OWN_FROM: Final = 16384  # what a database makes itself is numbered from here on

Form = Literal["base", "enum", "array", "range", "multirange", "composite", "pseudo"]
_FORMS: Final[Mapping[str, Form]] = {
    "b": "base", "e": "enum", "r": "range", "m": "multirange", "c": "composite", "p": "pseudo",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """A type; domains are followed to their base.

    ``name`` is extension.type, or schema.type where no extension owns it. ``part`` is what an array, a range
    or a multirange is made of. ``delimiter`` stands between values of this type in an array.
    """

    oid: int
    name: str
    form: Form
    part: Kind | None = None
    delimiter: str = ","

    @property
    def built_in(self) -> bool:
        """Whether every server has it."""
        return self.oid < _OWN_FROM


_KINDS: Final = """
with recursive piece as (
  select t.oid, case t.typtype when 'd' then t.typbasetype else coalesce(
           (select e.oid from pg_catalog.pg_type e where e.oid = t.typelem and e.typarray = t.oid),
           (select g.rngsubtype from pg_catalog.pg_range g where g.rngtypid = t.oid),
           (select g.rngtypid from pg_catalog.pg_range g where g.rngmultitypid = t.oid), 0) end as part
  from pg_catalog.pg_type t
), reached(oid) as (
  select unnest(%s::oid[])
  union
  select p.part from reached r join piece p on p.oid = r.oid where p.part <> 0
)
select t.oid::int8, t.typtype::text, t.typdelim::text, p.part::int8, t.typname::text,
       coalesce((
         select e.extname::text from pg_catalog.pg_depend d
         join pg_catalog.pg_extension e on e.oid = d.refobjid
         where d.classid = 'pg_catalog.pg_type'::regclass and d.objid = t.oid and d.deptype = 'e'
           and d.refclassid = 'pg_catalog.pg_extension'::regclass), n.nspname::text)
from reached r
join pg_catalog.pg_type t on t.oid = r.oid
join piece p on p.oid = r.oid
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
"""


def kinds(side: Connection, oids: Collection[int]) -> dict[int, Kind]:
    """The types of these numbers; one that is gone is not in it."""
    known = {oid: built_in(oid) for oid in oids if oid in PLAIN}
    others = sorted({oid for oid in oids if oid not in known})
    rows = {row[0]: row for row in side.execute(_KINDS, (others,)).fetchall()} if others else {}
    return known | {oid: made for oid in others if (made := _made(oid, rows)) is not None}


def built_in(oid: int) -> Kind:
    """A type by itself that every server has."""
    return Kind(oid, f"pg_catalog.{oid}", "base")


def _made(oid: int, rows: Mapping[int, Any]) -> Kind | None:
    if oid not in rows:
        return None
    _, letter, delimiter, part, name, owner = rows[oid]
    if letter == "d":
        return _made(part, rows)
    of = _made(part, rows) if part else None
    form = "array" if letter == "b" and part else _FORMS[letter]
    return Kind(oid, f"{owner}.{name}", form, of, delimiter)
