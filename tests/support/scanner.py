"""Delimited records read one character at a time: slow, and plain enough to be believed."""

from __future__ import annotations

Row = tuple[bytes, ...]


def scanned(data: bytes, delimiter: bytes = b";", quote: bytes = b'"') -> list[Row] | None:
    """Every record of lines that end with LF; None where a quote is not where it may be, or a CR outside."""
    rows: list[Row] = []
    fields: list[bytes] = []
    at, field, begun = 0, b"", False
    while at < len(data):
        one = data[at : at + 1]
        if one == quote:
            if begun:
                return None
            behind = _closing(data, at + 1, quote)
            if behind is None or data[behind : behind + 1] not in (delimiter, b"\n", b""):
                return None
            field, begun, at = data[at + 1 : behind - 1].replace(quote * 2, quote), True, behind
            continue
        if one == b"\r":
            return None
        if one in (delimiter, b"\n"):
            fields.append(field)
            field, begun = b"", False
            if one == b"\n":
                rows.append(tuple(fields))
                fields = []
        else:
            field, begun = field + one, True
        at += 1
    return [*rows, (*fields, field)] if fields or field or begun else rows


def _closing(data: bytes, at: int, quote: bytes) -> int | None:
    """Behind the quote that closes a field."""
    while (found := data.find(quote, at)) >= 0:
        if data[found + 1 : found + 2] != quote:
            return found + 1
        at = found + 2
    return None
