"""The encoder of rows whose values come as lanes: a column at a time, in arrays.

Rule: it gives what the encoder of rows gives, byte for byte. A row of which some lane says that it is odd,
that has no whole key, or that is above the limit is left to that one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple

import numpy as np

from engine.envelope.fast import NULL, PLAIN, SOME, Frame
from engine.lanes import Lane, Part, constant, either, joined, optional, sizes, varints
from engine.schema import Relation

_LEFT_MAX: Final = 8  # of so many rows one may be left out: with more it takes longer than row by row


class Head(NamedTuple):
    """What stands before the minor of each row, the minors, and the ``op`` of all."""

    prefix: bytes
    minors: range
    op: str


def encode(
    relation: Relation, frame: Frame, lanes: Sequence[Lane], head: Head
) -> tuple[list[Any], int, list[int]] | None:
    """The records of rows in their order, their bytes, and the rows that are left out; None: many would be.

    What stands in the place of a row that is left out is nothing to send.
    """
    prefix, minors, op = head
    count = len(minors)
    keys = [lane for column, lane in zip(relation.columns, lanes, strict=True) if column.name in relation.key]
    places = varints(np.arange(minors.start, minors.stop, minors.step)).parts
    image = [part for lane in lanes for part in optional(lane)]
    parts = [
        *constant(prefix),
        *places,
        *constant(SOME + op.encode() + NULL + SOME),
        *image,
        *constant(PLAIN),
    ]
    size = np.broadcast_to(sizes(parts), (count,))
    left = either(*(lane.odd for lane in lanes), *(lane.null for lane in keys), size > frame.row_bytes_max)
    if left is not None and _LEFT_MAX * int(left.sum()) > count:
        return None
    values = joined(count, parts)
    if relation.key:
        bodies = joined(count, [part for lane in keys for part in lane.parts])
        heads: Iterable[bytes | None] = map(frame.key_head.__add__, bodies)
    else:
        bodies, heads = _images(values, image), repeat(None, count)
    at = [hashed % frame.partitions for hashed in map(zlib.crc32, bodies)]
    made = list(zip(repeat(frame.topic, count), values, heads, at, strict=True))
    if left is None:
        return made, int(size.sum()), []
    return made, int(size[~left].sum()), np.flatnonzero(left).tolist()


def _images(values: Sequence[bytes], image: Sequence[Part]) -> list[bytes]:
    """The new image of each row with the branch before it: without a key it says the partition."""
    stop = -len(PLAIN)
    starts = np.broadcast_to(stop - len(SOME) - sizes(image), (len(values),))
    return [value[start:stop] for value, start in zip(values, starts.tolist(), strict=True)]
