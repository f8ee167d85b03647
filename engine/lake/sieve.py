"""Which records of a large batch go into quarantine, roughly: so that the others are not decoded again.

The batch's own job keeps a bitmap per partition, of a fixed size however many records are bad: a bit stands
for so many offsets in a row. The second look reads from the first bit that is set to the last, and passes
over the records whose bit is not set before it decodes anything. What it finds is counted like every
quarantine (I4): a bit too few would stop the flow.

Rule: pure; only a help. A batch that is small, or is completed after a crash, is looked at whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.lake import given
from engine.lake.ranges import Range

_BITS: Final = 32_768  # what Spark's bitmap holds
_PARTITIONS_MAX: Final = 32  # above it the bitmaps would weigh more than they save
_WORD: Final = 64
_SPARSE: Final = 0.5  # with more bits than that set there is nothing to pass over


def counters(span: Range, bad: str) -> dict[str, str]:
    """The bitmaps of a batch's job, alias to aggregate; ``bad`` says which records go into quarantine."""
    if len(span) > _PARTITIONS_MAX:
        return {}
    return {
        f"s{p}": f"bitmap_construct_agg(CASE WHEN partition = {p} AND ({bad}) THEN {_bit(span)} END)"
        for p in sorted(span)
    }


@dataclass(frozen=True, slots=True)
class Look:
    """Where the records lie that have to be looked at again: a range, and of it what meets ``condition``."""

    span: Range
    condition: str = "true"


def look(span: Range, got: Mapping[str, Any]) -> Look:
    """What of a batch's range has to be looked at again; ``got`` are its counters."""
    bitmaps = {p: got.get(f"s{p}") for p in span}
    found = {p: bytes(bitmap) for p, bitmap in bitmaps.items() if bitmap is not None and any(bitmap)}
    if None in bitmaps.values() or not found:
        return Look(span)
    strides = {p: _stride(*span[p]) for p in found}
    near = {p: _reach(span[p], strides[p], int.from_bytes(each, "little")) for p, each in found.items()}
    used = sum(-(-(end - first) // strides[p]) for p, (first, end) in near.items())
    if sum(int.from_bytes(each, "little").bit_count() for each in found.values()) > _SPARSE * used:
        return Look(near)
    words = given.lists_by_partition({p: _words(each) for p, each in found.items()})
    word = f"get({words}, cast({_bit(span)} div {_WORD} AS int))"
    return Look(near, f"getbit({word}, cast({_bit(span)} % {_WORD} AS int)) = 1")


def _reach(of: tuple[int, int], stride: int, bits: int) -> tuple[int, int]:
    """From the first offset that a bit is set for to the one behind the last."""
    first, end = of
    lowest = (bits & -bits).bit_length() - 1
    return first + lowest * stride, min(end, first + bits.bit_length() * stride)


def _stride(first: int, end: int) -> int:
    return -(-(end - first) // _BITS)


def _bit(span: Range) -> str:
    first = given.by_partition({p: first for p, (first, _) in span.items()})
    stride = given.by_partition({p: _stride(first, end) for p, (first, end) in span.items()})
    return f"((offset - {first}) div {stride})"


def _words(bitmap: bytes) -> list[int]:
    """The bitmap in words of 64 bits; the least bit of the first stands for the first offsets."""
    size = _WORD // 8
    return [
        int.from_bytes(bitmap[at : at + size], "little", signed=True) for at in range(0, len(bitmap), size)
    ]
