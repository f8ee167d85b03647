"""Records of a partner's files: their texts become typed columns, or a reason.

A record has its texts, the file and the number that it stood at, and a problem where the source could not
take it apart. Behind decoding stand two projections more. The first makes a cell of each column, NULL where
the text has no value; the second makes the row's image of them, and says why a row does not land. What only
such a row needs is behind one condition.

Rule: pure. Cells stand in columns of their own, which are read more than once: so Spark does not put what
makes them into every place that reads them. Each projection has a lambda, which keeps Spark from writing it
into one method with the decoding, and for which no row pays that lands (ADR 0028).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from engine.contract import FILE, PLACE, PROBLEM, RAW, RECORD, Contract, ContractColumn, typed
from engine.errors import SchemaBlocked
from engine.lake import values
from engine.lake.decode import Writer, name, quote
from engine.names import avro_name
from engine.plan import FlowPlan
from engine.schema import Binary, Shape, String, Type, delta

_OWN: Final[Shape] = {**PLACE, PROBLEM: String(), RAW: Binary()}
_SHOWN_MAX: Final = 200  # characters of a text in quarantine
_CHANGES: Final = "op IN ('c', 'u', 'r')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What a batch of texts is made typed by: the contract, and the columns that the table has."""

    contract: Contract
    columns: Shape
    keys: tuple[str, ...] = ()

    @property
    def read(self) -> Shape:
        """What is read of a record: the text of every column, and what the source says of it."""
        return {**{column.name: String() for column in self.contract}, **_OWN}

    # the cells: one column of the frame for each of the contract

    def cells(self) -> list[str]:
        """The values; of an instant that a zone's clock showed, what it showed."""
        found = [f"{values.value(c, _field(c.name))} AS _c{n}" for n, c in enumerate(self.contract)]
        code = f"element_at(transform(array({_field(PROBLEM)}), p -> substring_index(p, ':', 1)), 1)"
        return [*found, f"if({_field(PROBLEM)} IS NULL, NULL, {code}) AS _problem"]

    def zoned(self) -> list[str]:
        """The cells again, with instants for what clocks showed; empty where there are none."""
        if not any(values.is_zoned(column) for column in self.contract):
            return []
        return [
            f"{values.zoned(c, f'_c{n}')} AS _c{n}" if values.is_zoned(c) else f"_c{n}"
            for n, c in enumerate(self.contract)
        ]

    # what a row is made of

    def image(self) -> str:
        """The row's columns, in the table's order and types."""
        at = {column.name: n for n, column in enumerate(self.contract)}
        fields = [f"{quote(avro_name(c))}, {self._cell(c, t, at)}" for c, t in self.columns.items()]
        return f"named_struct({', '.join(fields)})"

    def _cell(self, column: str, type_: Type, at: dict[str, int]) -> str:
        if column in PLACE:
            return _field(column)
        if column not in at:  # the contract had it once, and the table has it still
            return f"cast(NULL AS {delta(type_)})"
        cell = f"_c{at[column]}"
        return cell if self.contract[at[column]].kind == type_ else f"cast({cell} AS {delta(type_)})"

    def reason(self) -> str:
        """Why a row does not land: it is no record, its source has a problem with it, a text has no value."""
        wrong = [
            f"if({w}, {quote(c.name)}, NULL)" for n, c in enumerate(self.contract) if (w := _wrong(n, c))
        ]
        empty = [
            f"if(_c{n} IS NULL, {quote(c.name)}, NULL)"
            for n, c in enumerate(self.contract)
            if not c.nullable and c.name not in self.keys
        ]
        keyless = [
            f"if(_c{n} IS NULL, {quote(c.name)}, NULL)"
            for n, c in enumerate(self.contract)
            if c.name in self.keys
        ]
        slow = [_named(kind, those) for kind, those in
                (("unfit", wrong), ("key-null", keyless), ("null", empty)) if those]  # fmt: skip
        sound = " AND ".join(("_problem IS NULL", *self._sound()))
        return (
            f"CASE WHEN _reason IS NOT NULL THEN _reason WHEN {sound} THEN NULL "
            f"WHEN _problem IS NOT NULL THEN _problem WHEN NOT {_CHANGES} THEN NULL "
            f"ELSE coalesce({', '.join([*slow, 'NULL'])}) END"
        )

    def _sound(self) -> list[str]:
        """One condition for each column that can be wrong; all true of a row that lands."""
        found = []
        for n, column in enumerate(self.contract):
            if not column.nullable or column.name in self.keys:
                found.append(f"_c{n} IS NOT NULL")
            elif _can_be_wrong(column):
                found.append(f"(_c{n} IS NOT NULL OR {_is_nothing(column)})")
        return found

    def wrong(self) -> str:
        """What a person needs who looks at a row in quarantine: where it stood, and which texts are wrong."""
        entries = [_entry(FILE, _field(FILE)), _entry(RECORD, f"cast({_field(RECORD)} AS string)")]
        raw = _field(RAW)
        shown = f"if(is_valid_utf8(cast({raw} AS string)), cast({raw} AS string), hex({raw}))"
        entries += [f"if(_problem IS NULL, NULL, {_entry(c, text)})"
                    for c, text in ((PROBLEM, _field(PROBLEM)), (RAW, shown))]  # fmt: skip
        for n, column in enumerate(self.contract):
            about = _wrong(n, column)
            if not column.nullable or column.name in self.keys:
                about = f"(_c{n} IS NULL)"
            if about:
                entries.append(
                    f"if(_problem IS NULL AND {about}, {_entry(column.name, _field(column.name))}, NULL)"
                )
        return f"map_from_entries(filter(array({', '.join(entries)}), e -> e IS NOT NULL))"


def _field(column: str) -> str:
    return f"i.{name(avro_name(column))}"


def _can_be_wrong(column: ContractColumn) -> bool:
    return not isinstance(column.kind, String) or getattr(column.format, "length", None) is not None


def _is_nothing(column: ContractColumn) -> str:
    field = _field(column.name)
    return f"{field} IS NULL OR {values.blank(column, field)}" if column.blank else f"{field} IS NULL"


def _wrong(n: int, column: ContractColumn) -> str:
    """Whether there is a text and it has no value; empty where that cannot be."""
    return f"(_c{n} IS NULL AND NOT ({_is_nothing(column)}))" if _can_be_wrong(column) else ""


def _named(kind: str, columns: Sequence[str]) -> str:
    named = f"array_join(filter(array({', '.join(columns)}), c -> c IS NOT NULL), ',')"
    return f"concat('{kind}:', nullif({named}, ''))"


def _entry(column: str, text: str) -> str:
    return f"named_struct('c', {quote(column)}, 't', left({text}, {_SHOWN_MAX}))"


# --- the writers of such a topic ---------------------------------------------------------------------------


def writer(found: Writer, flow: FlowPlan) -> Writer:
    """A writer as the table sees it: with typed columns, and without what does not land.

    Raises SchemaBlocked for one whose records are not those of a partner's files.
    """
    for column, type_ in _OWN.items():
        if found.columns.get(column) != type_:
            raise _stranger(found, flow, f"has no column {column} of type {delta(type_)}")
    for each in flow.contract:
        type_ = found.columns.get(each.name, String())
        if type_ != String():
            raise _stranger(found, flow, f"has column {each.name} as {delta(type_)}, not as text")
    plain = {c: t for c, t in found.columns.items() if c not in (PROBLEM, RAW)}
    return replace(found, columns=typed(flow.contract) if flow.contract else plain, defaults={})


def _stranger(found: Writer, flow: FlowPlan, what: str) -> SchemaBlocked:
    return SchemaBlocked(
        f"schema {found.schema_id} {what}: these are no records of a partner's files",
        where=flow.name,
        hint="a contract is for a flow whose source gives texts: take it out, or name another source",
    )


def contract(flow: FlowPlan, columns: Shape) -> Contract:
    """The flow's contract; where it has none, every column is the text that it is."""
    return flow.contract or [ContractColumn(c) for c in columns if c not in PLACE]


def two_texts(flow: FlowPlan, keys: Sequence[str]) -> bool:
    """Whether one key may have two texts, and with them two partitions of the topic."""
    plain = {c.name for c in flow.contract if isinstance(c.kind, String) and c.trim == "none"}
    return bool(flow.contract) and not plain.issuperset(keys)
