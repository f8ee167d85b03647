"""Fields of fixed width from records that have the right length.

Rule: nothing is judged here. Where characters are the unit and a block is not ASCII, it is first written with
as many bytes for each character, one where that is enough and four elsewhere; then all fields of a record are
taken at once, by ``struct``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import Final

from connectors.files.layouts import FixedField, FixedRecord
from connectors.files.records import Text

_END: Final = 1  # each record has a line end behind it


def columns(
    text: bytes, record: FixedRecord, asked: Sequence[int] | None, bad: Sequence[int], *, in_bytes: bool
) -> Sequence[Sequence[Text]]:
    """The declared columns, or those at some places; None in each of them for the records that are bad."""
    places = range(len(record.fields)) if asked is None else asked
    fields = [record.fields[place] for place in places]
    data, codec, width = _even(text, in_bytes=in_bytes)
    # struct wants them in the order in which they stand, and each once
    ordered = sorted({(one.begin, one.behind) for one in fields})
    if not ordered:
        return []
    rows = _struct(tuple(ordered), record.long + _END, width).iter_unpack(data)
    found = dict(zip(ordered, zip(*rows, strict=True), strict=True))
    taken = [_trimmed(found[one.begin, one.behind], one, codec) for one in fields]
    if not bad:
        return taken
    marked: list[list[Text]] = [[*column] for column in taken]
    for column in marked:
        for place in bad:
            column[place] = None
    return marked


def _even(text: bytes, *, in_bytes: bool) -> tuple[bytes, str, int]:
    """The text with a fixed number of bytes for each unit, in which encoding, and that number."""
    if in_bytes or text.isascii():
        return text, "", 1
    shown = text.decode()
    try:
        return shown.encode("latin-1"), "latin-1", 1
    except UnicodeEncodeError:
        return shown.encode("utf-32-le"), "utf-32-le", 4


@lru_cache(maxsize=64)
def _struct(ordered: tuple[tuple[int, int], ...], long: int, width: int) -> Struct:
    form, at = "<", 0
    for begin, behind in ordered:
        gap = f"{(begin - at) * width}x" if begin > at else ""
        form += f"{gap}{(behind - begin) * width}s"
        at = behind
    return Struct(f"{form}{(long - at) * width}x")


def _trimmed(values: Sequence[bytes], one: FixedField, codec: str) -> list[bytes]:
    found = [*values]
    if codec:
        # no field holds a line end: records were told apart by it
        found = "\n".encode(codec).join(values).decode(codec).encode().split(b"\n")
    pad = one.pad.encode()
    match one.trim:
        case "none":
            return found
        case "left":
            found = [value.lstrip(pad) for value in found]
        case "right":
            found = [value.rstrip(pad) for value in found]
        case "both":
            found = [value.strip(pad) for value in found]
    return [value or pad for value in found] if pad == b"0" else found
