"""One text per row, the same from PostgreSQL and from a Delta table, and a hash that knows no order.

Rule: two rows have the same text if and only if they are equal, value by value; nothing is rounded. The
source's text is made by SQL in the source, the table's by Python from Arrow: neither uses a line of the
engine. A table's hash is the sum of its rows' 128-bit digests, so no sort is needed on either side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

MODULUS: Final = 2**128
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()

_SQL: Final = {
    "timestamp with time zone": "(extract(epoch FROM {c}) * 1000000)::bigint::text",
    "timestamp without time zone": "(extract(epoch FROM {c}) * 1000000)::bigint::text",
    "date": "({c} - date '1970-01-01')::text",
    "boolean": "CASE WHEN {c} THEN 't' ELSE 'f' END",
}
_INSTANTS: Final = frozenset(_SQL) - {"boolean"}


def sql(column: str, declared: str) -> str:
    r"""The SQL expression of a column's part of the text: its length and its text, ``-`` for NULL.

    >>> sql("id", "bigint")
    '(CASE WHEN "id" IS NULL THEN \'-\' ELSE length(("id"::text)) || \':\' || ("id"::text) END)'
    """
    name = '"' + column.replace('"', '""') + '"'
    kind = declared.partition("(")[0]
    text = f"({_SQL.get(kind, '{c}::text').format(c=name)})"
    if kind in _INSTANTS:  # infinity has no number: it is its own text
        text = f"(CASE WHEN isfinite({name}) THEN {text} ELSE {name}::text END)"
    return f"(CASE WHEN {name} IS NULL THEN '-' ELSE length({text}) || ':' || {text} END)"


def of(value: Any) -> str:
    """The same part of the text, from a value that Arrow gave; instants come as microseconds.

    >>> of(None), of(True), of("né"), of(date(1970, 1, 3)), of(-12)
    ('-', '1:t', '2:né', '1:2', '3:-12')
    """
    match value:
        case None:
            return "-"
        case bool():
            text = "t" if value else "f"
        case datetime():
            raise TypeError("an instant goes in as microseconds")
        case date():
            text = str(value.toordinal() - _EPOCH_DAY)
        case str():
            text = value
        case int():
            text = str(value)
        case Decimal():
            text = format(value, "f")
        case _:
            raise TypeError(f"no canonical text for {type(value).__name__}")
    return f"{len(text)}:{text}"


def digest(parts: Iterable[str]) -> int:
    """The 128-bit digest of a row's text.

    >>> digest(["1:5", "-"]) == int(hashlib.md5(b"1:5-").hexdigest(), 16)
    True
    """
    return int(hashlib.md5("".join(parts).encode(), usedforsecurity=False).hexdigest(), 16)


def total(digests: Iterable[int]) -> int:
    """The hash of a set of rows, in any order."""
    return sum(digests) % MODULUS
