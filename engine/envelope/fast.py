"""The generated encoder: one Python function per relation, strung together from the columns' cells.

Rule: the function has no branch for a bad value; whatever is not a plain row of plain values raises in
it, and the row goes to ``careful`` whole. So a cell's expression must raise for anything but bytes, which
is tried here before it is trusted. What one row costs is a tuple of byte strings and one join.
"""

from __future__ import annotations

import ast
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engine.errors import ContractBroken
from engine.schema import BAD, Cell, Column, Relation
from engine.source import UNCHANGED, Row
from engine.varint import Sizes

NULL: Final = b"\x00"
SOME: Final = b"\x02"
PLAIN: Final = b"\x00\x00\x00"  # nothing unchanged, nothing unfit, no stub

SOME_SIZES: Final = Sizes(SOME)

Fast = Callable[[Sequence[Row], Sequence[bytes], bytes, list[Any], Any], tuple[int, int, int, int, int]]
Part = bytes | str
"""A constant, or an expression that gives bytes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What the generated function is made for, beyond the relation."""

    topic: str
    partitions: int
    key_head: bytes
    row_bytes_max: int


def generate(relation: Relation, frame: Frame) -> Fast:
    """The encoder of a relation: (rows, minors, prefix, out, careful) → what ``Tally`` says.

    Records are appended to ``out``; ``careful`` takes a row that is not plain and gives its bytes.
    """
    scope: dict[str, Any] = {"BAD": BAD, "join": b"".join, "crc32": zlib.crc32, "SOME_SIZES": SOME_SIZES}
    for number, column in enumerate(relation.columns):
        trust(column.cell)
        names = dict(column.cell.scope) if column.cell.inline else {f"cell_{number}": column.cell.encode}
        for name, value in names.items():
            if scope.setdefault(name, value) is not value:
                raise ContractBroken(f"two cells mean different things by {name!r}", where=column.name)
    source = "\n".join(_lines(relation, frame))
    exec(compile(source, f"<encoder of {relation.name}>", "exec"), scope)  # noqa: S102 - made of cells, never of data
    fast: Fast = scope["encode"]
    return fast


def trust(cell: Cell) -> None:
    """Refuse a cell that takes NULL or an unchanged field for a value: the row would lie."""
    for field in (None, UNCHANGED):
        try:
            if cell.inline:
                eval(cell.inline, dict(cell.scope) | {"v": field})  # noqa: S307 - a cell's own expression
            else:
                cell.encode(field)  # type: ignore[arg-type]
        except BAD:
            continue
        raise ContractBroken(f"the cell {cell.name} takes {field} for a value")


def _lines(relation: Relation, frame: Frame) -> Iterator[str]:
    yield "def encode(rows, minors, prefix, out, careful):"
    yield "    size = created = updated = deleted = read = 0"
    yield "    add = out.append"
    yield "    for row, minor in zip(rows, minors):"
    yield "        op, before, after = row"
    yield "        try:"
    yield "            if op == 'c':"
    yield from _case(relation, frame, "c")
    yield "                created += 1"
    yield "            elif op == 'u' and before is None:"
    yield from _case(relation, frame, "u")
    yield "                updated += 1"
    yield "            elif op == 'd':"
    yield from _case(relation, frame, "d")
    yield "                deleted += 1"
    yield "            elif op == 'u':"
    yield from _case(relation, frame, "both")
    yield "                updated += 1"
    yield "            elif op == 'r':"
    yield from _case(relation, frame, "r")
    yield "                read += 1"
    yield "            else:"
    yield "                raise TypeError"
    yield f"            if len(value) > {frame.row_bytes_max}:"
    yield "                value = None"
    yield "                raise ValueError"
    yield "        except BAD:"
    yield "            size += careful(row, minor, prefix, out)"
    yield "        else:"
    yield "            size += len(value)"
    yield f"            add(({frame.topic!r}, value, {_key(relation, frame)}, {_place(frame)}))"
    yield "    return size, created, updated, deleted, read"


def _case(relation: Relation, frame: Frame, case: str) -> Iterator[str]:
    """The lines that make ``value``, and ``body`` of the key or, without a key, of the image."""
    indent = " " * 16
    columns = relation.columns
    op = SOME + (b"u" if case == "both" else case.encode())
    old = (
        [] if case in "cur" else list(_image(columns, "b", relation.key if case == "d" else (), strict=False))
    )
    new = [] if case == "d" else list(_image(columns, "a", relation.key, strict=True))
    if old:
        yield f"{indent}({_targets('b', columns)}) = before"
    if new:
        yield f"{indent}({_targets('a', columns)}) = after"
    if case == "d":
        yield f"{indent}if after is not None: raise TypeError"
    if case in "cr":
        yield f"{indent}if before is not None: raise TypeError"
    images: list[Part]
    if not relation.key and frame.partitions > 1:
        # without a key the new image (of a delete the old one) says the partition
        yield f"{indent}body = join(({_tuple([SOME, *(new or old)])}))"
        images = ["body", NULL] if case == "d" else [*_optional(old), "body"]
    else:
        images = [*_optional(old), *_optional(new)]
    yield f"{indent}value = join(({_tuple(['prefix', 'minor', op, *images, PLAIN])}))"
    if relation.key:
        letter = "b" if case == "d" else "a"
        at = [n for n, c in enumerate(columns) if c.name in relation.key]
        yield f"{indent}body = {' + '.join(f'{letter}k{n}' for n in at)}"


def _optional(image: list[Part]) -> list[Part]:
    return [SOME, *image] if image else [NULL]


def _targets(letter: str, columns: Sequence[Column]) -> str:
    return "".join(f"{letter}{n}, " for n in range(len(columns)))


def _image(columns: Sequence[Column], letter: str, key: Sequence[str], *, strict: bool) -> list[Part]:
    """The parts of one image; a column of the key is kept under its own name.

    Only with ``strict`` is a column that its table declares NOT NULL taken at its word: an old image may
    hold nothing but the key. A NULL all the same raises in the cell.
    """
    image: list[Part] = []
    for number, column in enumerate(columns):
        name = f"{letter}{number}"
        parts = expressions(column.cell, number, name)
        if column.name in key:
            image += [SOME, f"({letter}k{number} := {' + '.join(parts)})"]
        elif strict and not column.nullable:
            image += [SOME, *parts]
        else:
            image += _optional_value(parts, name)
    return image


def _optional_value(parts: list[str], name: str) -> list[Part]:
    """The parts of a value that may be NULL, its union branch before them."""
    first, *rest = parts
    some = f"SOME_SIZES[len({name})]" if first == f"SIZES[len({name})]" else f"{SOME!r} + {first}"
    return [f"({NULL!r} if {name} is None else {some})", *(f"(b'' if {name} is None else {p})" for p in rest)]


def expressions(cell: Cell, number: int, name: str) -> list[str]:
    """The cell's expression over ``name``; what only follows a length is a part of its own, never copied."""
    tree = ast.parse(cell.inline or f"cell_{number}(v)", mode="eval").body
    parts = [tree]
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Add) and ast.unparse(tree.right) == "v":
        parts = [tree.left, tree.right]
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "v":
            node.id = name
    texts = [ast.unparse(part) for part in parts]
    return [text if text.isidentifier() or text.startswith("SIZES[") else f"({text})" for text in texts]


def _tuple(parts: Sequence[Part]) -> str:
    """The parts as the items of a tuple."""
    return ", ".join(repr(i) if isinstance(i, bytes) else i for i in merged(parts)) + ","


def merged(parts: Sequence[Part]) -> list[Part]:
    """The parts, neighbouring constants as one."""
    items: list[Part] = []
    for part in parts:
        if isinstance(part, bytes) and items and isinstance(items[-1], bytes):
            items[-1] += part
        else:
            items.append(part)
    return items


def _key(relation: Relation, frame: Frame) -> str:
    return f"{frame.key_head!r} + body" if relation.key else "None"


def _place(frame: Frame) -> str:
    return "0" if frame.partitions == 1 else f"crc32(body) % {frame.partitions}"
