"""Keys whose newest change waits in quarantine: until it lands, their rows are older than the source's.

Rule: asked of tables of newest rows only. A key waits when its newest quarantined position is above all that
the table and its tombstones have of it, and above every floor; what was withdrawn does not wait. What cannot
be compared is not known, which is not zero: keys of a type whose text in the quarantine is not exact, and
more keys than are worth asking for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.names import table_folder
from engine.plan import FlowPlan
from engine.watch import quarantine
from engine.watch.lake import joined, opened, translated

if TYPE_CHECKING:
    from deltalake import DeltaTable

KEYS_MAX: Final = 10_000
_TYPES: Final = {
    "byte": "Int8", "short": "Int16", "integer": "Int32", "long": "Int64", "float": "Float32",
    "double": "Float64", "string": "Utf8", "boolean": "Boolean", "date": "Date32",
}  # fmt: skip
_DECIMAL: Final = re.compile(r"decimal\((\d+), ?(\d+)\)")

Position = tuple[int, int, int]


def keys(root: str, flow: FlowPlan) -> int | None:
    """How many keys of a flow wait; None where that is not known, or is no question."""
    table, waiting = opened(Path(root, table_folder(flow.sink.table))), opened(quarantine.folder(root))
    if flow.sink.mode != "scd1" or table is None:
        return None
    if waiting is None:
        return 0
    with translated(root):
        tombstones = _tombstones(root, flow)
        newest = _newest(waiting, flow.name, _withdrawn(tombstones))
        if newest is None or not newest:
            return None if newest is None else 0
        known = _known(table, tombstones, list(newest))
    if known is None:
        return None
    return sum(at > known.get(key, (-1, -1, -1)) for key, at in newest.items())


def _tombstones(root: str, flow: FlowPlan) -> DeltaTable | None:
    folder = Path(root, table_folder(flow.sink.table))
    return opened(folder.with_name(f"{folder.name}__tombstones"))


def _newest(
    waiting: DeltaTable, flow: str, withdrawn: Collection[tuple[int, int]]
) -> dict[str, Position] | None:
    """The newest quarantined position of each key, by the key's text."""
    where = f"flow = '{flow}' and key_json is not null and position is not null"
    count = joined({"q": waiting}, f"select count(distinct key_json) as n from q where {where}")  # noqa: S608
    if count[0]["n"] > KEYS_MAX:
        return None
    found: dict[str, Position] = {}
    for row in joined({"q": waiting}, f"select key_json, position from q where {where}"):  # noqa: S608
        if None not in json.loads(row["key_json"]).values():
            at = _position(row["position"])
            if at[:2] in withdrawn:
                continue
            found[row["key_json"]] = max(at, found.get(row["key_json"], at))
    return found


def _known(table: DeltaTable, tombstones: DeltaTable | None, texts: list[str]) -> dict[str, Position] | None:
    """The highest position that is known of each of these keys: of its row, its delete, or a floor."""
    columns = list(json.loads(texts[0]))
    values = _values(table, columns, texts)
    if values is None:
        return None
    sides = {"t": table} if tombstones is None else {"t": table, "d": tombstones}
    names = ", ".join(["n", *(f"k{n}" for n, _ in enumerate(columns))])
    on = " and ".join(f"x.{_name(column)} = w.k{n}" for n, column in enumerate(columns))
    found: dict[str, Position] = {}
    for side in sides:
        wanted = f"with w({names}) as (values {values})"
        query = f'{wanted} select w.n, x."_position" as at from w join {side} x on {on}'  # noqa: S608
        for row in joined(sides, query):
            text = texts[row["n"]]
            found[text] = max(_position(row["at"]), found.get(text, (-1, -1, -1)))
    floor = _floor(tombstones, columns[0])
    return found if floor is None else {text: max(floor, found.get(text, floor)) for text in texts}


def _floor(tombstones: DeltaTable | None, column: str) -> Position | None:
    """The highest floor: it stands beside the deletes, under no key."""
    if tombstones is None:
        return None
    query = f'select "_position" as at from d where {_name(column)} is null'  # noqa: S608
    query += " and coalesce(_op, '') <> 'w'" if _says_ops(tombstones) else ""
    return max((_position(row["at"]) for row in joined({"d": tombstones}, query)), default=None)


def _withdrawn(tombstones: DeltaTable | None) -> Collection[tuple[int, int]]:
    """The (era, major) of the transactions that were taken back."""
    if tombstones is None or not _says_ops(tombstones):
        return ()
    found = joined({"d": tombstones}, "select \"_position\" as at from d where _op = 'w'")
    return {_position(row["at"])[:2] for row in found}


def _says_ops(tombstones: DeltaTable) -> bool:
    """Those that were made before there were withdrawals say of no row what it is."""
    return any(field.name == "_op" for field in tombstones.schema().fields)


def _values(table: DeltaTable, columns: Sequence[str], texts: Sequence[str]) -> str | None:
    """The keys as rows of SQL, each with its number and in the types of the table's columns."""
    fields = {field.name: str(getattr(field.type, "type", "")) for field in table.schema().fields}
    types = [_arrow(fields.get(column, "")) for column in columns]
    if None in types:
        return None
    rows = []
    for n, text in enumerate(texts):
        key = json.loads(text, parse_float=str)
        cells = (f"arrow_cast({_text(key[c])}, '{type_}')" for c, type_ in zip(columns, types, strict=True))
        rows.append(f"({n}, {', '.join(cells)})")
    return ", ".join(rows)


def _arrow(type_: str) -> str | None:
    decimal = _DECIMAL.fullmatch(type_)
    return f"Decimal128({decimal[1]}, {decimal[2]})" if decimal else _TYPES.get(type_)


def _text(value: Any) -> str:
    said = json.dumps(value) if isinstance(value, bool) else str(value)
    return "'" + said.replace("'", "''") + "'"


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _position(value: Mapping[str, int]) -> Position:
    return value["era"], value["major"], value["minor"]
