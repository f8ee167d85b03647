"""The generated encoder of new rows that come packed: column by column, many rows in each step.

Rule: it gives what the encoder of rows gives, byte for byte, or raises before it has given anything; then
the rows go one by one. A step runs inside the interpreter's own loops wherever a cell allows it (``map`` over
a function, ``Cell.many``): what a value costs in a loop written here is what there is to save. A length is
looked up in a tuple, by a comprehension: the interpreter takes half the time there of ``map`` over a dict.
What is the same in all rows is one constant.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from operator import length_hint
from typing import Any, Final

from engine.envelope.fast import NULL, PLAIN, SOME, SOME_SIZES, Frame, Part, expressions, merged, trust
from engine.errors import ContractBroken
from engine.schema import BAD, Cell, Column, Relation
from engine.source import UNCHANGED, Field

ByColumns = Callable[[Sequence[Sequence[Field]], Sequence[bytes], bytes, bytes, list[Any]], int]
Many = Callable[[Sequence[bytes]], Sequence[bytes]]
Parts = bytes | Iterable[bytes]
"""A part of each row in their order, or of all of them."""

_SIZE_OF: Final = tuple(SOME_SIZES.values())


def generate(relation: Relation, frame: Frame, op: str = "r") -> ByColumns:
    """The encoder of a relation's columns: (columns, minors, end, prefix, out) → bytes made.

    All rows are of one ``op``, and all their minors have ``end`` behind them; their records are appended to
    ``out``. Raises one of ``BAD`` where a row is not plain.
    """
    scope: dict[str, Any] = {
        "crc32": zlib.crc32, "repeat": repeat, "SOME_SIZES": SOME_SIZES, "joined": _joined,
        "optional": _optional, "sized": _sized, "texts": _texts, "key_head": frame.key_head,
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
    yield "def encode(columns, minors, end, prefix, out):"
    yield "    count = len(minors)"
    yield f"    ({names}) = columns"
    for number, column in enumerate(columns):
        if column.name in relation.key:
            yield f"    k{number} = {_key_column(number, column.cell)}"
    if not relation.key:
        yield f"    bodies = {_call([SOME, *image])}"
        image = ["bodies"]
    else:
        kept = [f"k{n}" for n, c in enumerate(columns) if c.name in relation.key]
        yield f"    bodies = {kept[0] if len(kept) == 1 else _call(kept)}"
    head += SOME if relation.key else b""
    yield f"    values = {_call(['prefix', 'minors', 'end', head, *image, PLAIN])}"
    yield "    size, most = sum(map(len, values)), " + str(frame.row_bytes_max)
    yield "    if size > most and max(map(len, values)) > most: raise ValueError"
    yield f"    keys = {'map(key_head.__add__, bodies)' if relation.key else 'repeat(None, count)'}"
    yield f"    places = {_places(frame)}"
    yield f"    out.extend(zip(repeat({frame.topic!r}, count), values, keys, places, strict=True))"
    yield "    return size"


def _places(frame: Frame) -> str:
    if frame.partitions == 1:
        return "repeat(0, count)"
    return f"[hashed % {frame.partitions} for hashed in map(crc32, bodies)]"


def _call(parts: Sequence[Part]) -> str:
    """What the parts are together, row by row."""
    return f"joined(count, {', '.join(repr(p) if isinstance(p, bytes) else p for p in merged(parts))})"


def _joined(count: int, *parts: bytes | Iterable[bytes]) -> list[bytes]:
    """The parts of so many rows, row by row: bytes are the same in all of them."""
    made: list[bytes | Iterable[bytes]] = []
    for part in parts:
        if isinstance(part, bytes) and made and isinstance(made[-1], bytes):
            made[-1] += part
        else:
            made.append(part)
    each = (repeat(part, count) if isinstance(part, bytes) else part for part in made if part != b"")
    # ``strict``: a part that is short would lose rows
    return list(map(b"".join, zip(*each, strict=True)))


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
        if cell.many:
            return [f"*optional(many_{number}, {name})"]
        if _is_text(number, cell):
            return [f"*texts({name})"]
        return [f"[{_or_null(expressions(cell, number, 'v'))} for v in {name}]"]
    if cell.many:
        return [SOME, f"many_{number}({name})"]
    parts = expressions(cell, number, "v")
    if _is_text(number, cell):
        return [f"*sized({name})"]
    return [SOME, *(_each(part, name) for part in parts)]


def _is_text(number: int, cell: Cell) -> bool:
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


def _optional(many: Many, fields: Sequence[bytes | None]) -> tuple[Parts, Parts]:
    """The fields of a column that may be NULL: their union branches, and what stands behind each."""
    nulls = _nulls(fields)
    if not nulls:
        return SOME, many(fields)  # type: ignore[arg-type]
    if len(nulls) == len(fields):
        return NULL, b""
    some = next(v for v in fields if v is not None)
    branches, filled = [SOME] * len(fields), list(fields)
    for at in nulls:
        branches[at], filled[at] = NULL, some
    made = list(many(filled))  # type: ignore[arg-type]
    for at in nulls:
        made[at] = b""
    return branches, made


def _texts(fields: Sequence[bytes | None]) -> tuple[Parts, Parts]:
    """The same for texts, whose encoding is a length and themselves."""
    nulls = _nulls(fields)
    if not nulls:
        return _sized(fields)  # type: ignore[arg-type]
    if len(nulls) == len(fields):
        return NULL, b""
    filled = list(fields)
    for at in nulls:
        filled[at] = b""
    sizes = _sizes(filled)  # type: ignore[arg-type]
    for at in nulls:
        sizes[at] = NULL
    return sizes, filled  # type: ignore[return-value]


def _nulls(fields: Sequence[bytes | None]) -> list[int]:
    """Where a column is NULL: ``all`` runs to the next field that is empty or none, its iterator says where.

    >>> _nulls([b"a", None, b"", b"b", None]), _nulls([b"a"])
    ([1, 4], [])
    """
    found: list[int] = []
    left = iter(fields)
    while not all(left):
        at = len(fields) - length_hint(left) - 1
        if fields[at] is None:
            found.append(at)
    return found


def _sized(fields: Sequence[bytes]) -> tuple[Parts, Parts]:
    """Texts of which none is NULL: the lengths behind their branches, and themselves."""
    if fields and fields[0] is fields[-1] and fields.count(fields[0]) == len(fields):
        return SOME_SIZES[len(fields[0])] + fields[0], b""
    return _sizes(fields), fields


def _sizes(fields: Sequence[bytes]) -> list[bytes]:
    try:
        return [_SIZE_OF[len(v)] for v in fields]
    except IndexError:  # one of them is longer than most
        return [SOME_SIZES[len(v)] for v in fields]
