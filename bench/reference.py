"""What PostgreSQL itself says was changed: pgoutput as pg_recvlogical wrote it to a file, in text form.

Rule: independent of the connector's decoder, so that a fault there cannot hide here. One plain pass over
the file, messages one after the other, each followed by the newline that pg_recvlogical adds; anything
but the messages that the bench's table can cause is an error. Speed is no aim.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Final

from bench import change
from bench.tally import Plain

_U16: Final = Struct(">H").unpack_from
_U32: Final = Struct(">I").unpack_from
_FIXED: Final = {ord("B"): 20, ord("C"): 25}
_OPS: Final = {ord("I"): "c", ord("U"): "u", ord("D"): "d"}


def rows(path: Path) -> Iterator[Plain]:
    """The changes in a file, as plain values."""
    data = path.read_bytes()
    at = 0
    while at < len(data):
        kind = data[at]
        at += 1
        if kind in _FIXED:
            at += _FIXED[kind]
        elif kind == ord("M"):
            at = _message(data, at)
        elif kind == ord("R"):
            at = _relation(data, at)
        elif kind in _OPS:
            fields, at = _image(data, at + 4)
            yield _plain(_OPS[kind], fields)
        else:
            raise ValueError(f"message {chr(kind)!r} at byte {at - 1} of {path}")
        if data[at : at + 1] != b"\n":
            raise ValueError(f"no end of message at byte {at} of {path}")
        at += 1


def _message(data: bytes, at: int) -> int:
    at = data.index(b"\0", at + 9) + 1
    (size,) = _U32(data, at)
    return int(at + 4 + size)


def _relation(data: bytes, at: int) -> int:
    at = data.index(b"\0", at + 4) + 1
    at = data.index(b"\0", at) + 1
    (columns,) = _U16(data, at + 1)
    at += 3
    for _ in range(columns):
        at = data.index(b"\0", at + 1) + 9
    return at


def _image(data: bytes, at: int) -> tuple[list[str | None], int]:
    """The image of a row: of an update the new one, of a delete the key."""
    fields: list[str | None] = []
    (columns,) = _U16(data, at + 1)
    at += 3
    for _ in range(columns):
        kind = data[at]
        at += 1
        if kind == ord("n"):
            fields.append(None)
        elif kind == ord("t"):
            (size,) = _U32(data, at)
            fields.append(data[at + 4 : at + 4 + size].decode())
            at += 4 + size
        else:
            raise ValueError(f"field of kind {chr(kind)!r} at byte {at - 1}")
    return fields, at


def _plain(op: str, fields: list[str | None]) -> Plain:
    key, customer, weight, price, at, day, express, tracking, status, address = fields
    if op == "d":
        return (op, int(str(key)))
    return (
        op,
        int(str(key)),
        int(str(customer)),
        _unscaled(weight),
        _unscaled(price),
        change.instant_us(str(at)),
        change.day_number(str(day)),
        express == "t",
        tracking,
        status,
        address,
    )


def _unscaled(text: str | None) -> int | None:
    return None if text is None else int(text.replace(".", ""))
