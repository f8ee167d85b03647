"""The generated encoder of new rows that come packed: column by column, many rows in each step.

Rule: it gives what the encoder of rows gives, byte for byte, or raises before it has given anything; then
the rows go one by one. A step runs inside the interpreter's own loops wherever a cell allows it (``map`` over
a table or a function, ``Cell.many``): what a value costs in a loop written here is what there is to save.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any

from engine.envelope.fast import BAD, NULL, PLAIN, SOME, SOME_SIZES, Frame, Part, expressions, merged, trust
from engine.errors import ContractBroken
from engine.schema import Cell, Column, Relation
from engine.source import UNCHANGED, Field

ByColumns = Callable[[Sequence[Sequence[Field]], Sequence[bytes], bytes, Sequence[Any]], int]
Many = Callable[[Sequence[bytes]], Sequence[bytes]]


def generate(relation: Relation, frame: Frame, op: str = "r") -> ByColumns:
    """The encoder of a relation's columns: (columns, minors, prefix, out) → bytes made.

    All rows are of one ``op``; ``out`` holds one list per partition. Raises one of ``BAD`` where a row is not
    plain.
    """
    scope: dict[str, Any] = {
        "join": b"".join, "crc32": zlib.crc32, "repeat": repeat, "SOME_SIZES": SOME_SIZES,
        "optional": _optional, "texts": _texts, "key_head": frame.key_head,
    }  # fmt: skip
    for number, column in enumerate(relation.columns):
        trust(column.cell)
        _trust_many(column.cell)
        names = dict(column.cell.scope) if column.cell.inline else {f"cell_{number}": column.cell.encode}
        scope |= names | {f"many_{number}": column.cell.many}
    source = "\n".join(_lines(relation, frame, op))
    exec(compile(source, f"<columns of {relation.name}>", "exec"), scope)  # noqa: S102 - made of cells, never of data
    encode: ByColumns = scope["encode"]
    return encode


def _trust_many(cell: Cell) -> None:
    """Refuse a cell that takes NULL or an unchanged field for a value."""
    for field in (None, UNCHANGED) if cell.many else ():
        try:
            cell.many([field])  # type: ignore[list-item, misc]
        except BAD:
            continue
        raise ContractBroken(f"the cell {cell.name} takes {field} for a value")


def _lines(relation: Relation, frame: Frame, op: str) -> Iterator[str]:
    columns, head = relation.columns, SOME + op.encode() + NULL  # no old image
    image = [part for n, c in enumerate(columns) for part in _image(n, c, in_key=c.name in relation.key)]
    names = "".join(f"c{n}, " for n in range(len(columns)))
    yield "def encode(columns, minors, prefix, out):"
    yield "    count = len(minors)"
    yield f"    ({names}) = columns"
    for number, column in enumerate(columns):
        if column.name in relation.key:
            yield f"    k{number} = {_key_column(number, column.cell)}"
        elif column.nullable and column.cell.many:
            yield f"    b{number}, e{number} = optional(many_{number}, c{number})"
        elif column.nullable and _sized(number, column.cell):
            yield f"    b{number}, e{number} = texts(c{number})"
    if not relation.key:
        yield f"    bodies = {_joined([SOME, *image])}"
        image = ["bodies"]
    else:
        kept = [f"k{n}" for n, c in enumerate(columns) if c.name in relation.key]
        yield f"    bodies = {kept[0] if len(kept) == 1 else _joined(kept)}"
    head += SOME if relation.key else b""
    yield f"    values = {_joined(['repeat(prefix, count)', 'minors', head, *image, PLAIN])}"
    yield "    sizes = list(map(len, values))"
    yield f"    if max(sizes) > {frame.row_bytes_max}: raise ValueError"
    yield f"    keys = {'map(key_head.__add__, bodies)' if relation.key else 'repeat(None, count)'}"
    yield "    records = [{'value': v, 'key': k} for v, k in zip(values, keys, strict=True)]"
    yield from _placed(frame)
    yield "    return sum(sizes)"


def _placed(frame: Frame) -> Iterator[str]:
    if frame.partitions == 1:
        yield "    out[0].extend(records)"
        return
    yield f"    places = [crc32(body) % {frame.partitions} for body in bodies]"
    yield "    add = [records.append for records in out]"
    yield "    for place, record in zip(places, records, strict=True): add[place](record)"


def _joined(parts: Sequence[Part]) -> str:
    """What the parts are together, row by row; ``strict``: a part that is short would lose rows."""
    items = (f"repeat({p!r}, count)" if isinstance(p, bytes) else p for p in merged(parts))
    return f"list(map(join, zip({', '.join(items)}, strict=True)))"


def _key_column(number: int, cell: Cell) -> str:
    """A column of the key: what is encoded of it stands in the value and in the key."""
    if cell.many:
        return f"many_{number}(c{number})"
    return f"[{' + '.join(expressions(cell, number, 'v'))} for v in c{number}]"


def _image(number: int, column: Column, *, in_key: bool) -> list[Part]:
    """A column's parts of the new image, with its union branch."""
    cell, name = column.cell, f"c{number}"
    if in_key:
        return [SOME, f"k{number}"]
    if column.nullable:
        if cell.many or _sized(number, cell):
            return [f"b{number}", f"e{number}"]
        return [f"[{_or_null(expressions(cell, number, 'v'))} for v in {name}]"]
    if cell.many:
        return [SOME, f"many_{number}({name})"]
    parts = expressions(cell, number, "v")
    if _sized(number, cell):
        return [f"map(SOME_SIZES.__getitem__, map(len, {name}))", name]
    return [SOME, *(_each(part, name) for part in parts)]


def _sized(number: int, cell: Cell) -> bool:
    """Whether a cell gives nothing but a length and the field itself."""
    return expressions(cell, number, "v") == ["SIZES[len(v)]", "v"]


def _each(part: str, name: str) -> str:
    """One part for each field, without a loop of ours where it is a table or a function of the field."""
    for end, call in (("[v]", ".__getitem__"), ("(v)", "")):
        bare = part.removeprefix("(").removesuffix(")") if part.startswith("(") else part
        if bare.endswith(end) and bare.removesuffix(end).isidentifier():
            return f"map({bare.removesuffix(end)}{call}, {name})"
    return name if part == "v" else f"[{part} for v in {name}]"


def _or_null(parts: Sequence[str]) -> str:
    first, *rest = parts
    some = "SOME_SIZES[len(v)]" if first == "SIZES[len(v)]" else f"{SOME!r} + {first}"
    return f"{NULL!r} if v is None else {' + '.join([some, *rest])}"


def _optional(many: Many, fields: Sequence[bytes | None]) -> tuple[Iterable[bytes], Iterable[bytes]]:
    """The fields of a column that may be NULL: their union branches, and what stands behind each."""
    if None not in fields:
        return repeat(SOME, len(fields)), many(fields)  # type: ignore[arg-type]
    some = next((v for v in fields if v is not None), None)
    if some is None:
        return repeat(NULL, len(fields)), repeat(b"", len(fields))
    branches = [SOME] * len(fields)
    made = list(many([some if v is None else v for v in fields]))
    for at, v in enumerate(fields):
        if v is None:
            branches[at], made[at] = NULL, b""
    return branches, made


def _texts(fields: Sequence[bytes | None]) -> tuple[Iterable[bytes], Iterable[bytes]]:
    """The same for texts, whose encoding is a length and themselves."""
    if None not in fields:
        return map(SOME_SIZES.__getitem__, map(len, fields)), fields  # type: ignore[arg-type, return-value]
    if fields.count(None) == len(fields):
        return repeat(NULL, len(fields)), repeat(b"", len(fields))
    sizes = [NULL if v is None else SOME_SIZES[len(v)] for v in fields]
    return sizes, [b"" if v is None else v for v in fields]
