"""Which records of a large batch go into quarantine, roughly: so that the others are not decoded again.

The batch's own job keeps a bitmap per partition, of a fixed size however many records are bad: a bit stands
for so many offsets in a row. The second look at the range passes over the records whose bit is not set before
it decodes anything. What it finds is counted like every quarantine (I4): a bit too few would stop the flow.

Rule: pure; only a help. A batch that is small, or is completed after a crash, is looked at whole.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def condition(span: Range, got: Mapping[str, Any]) -> str | None:
    """Whether a record has to be looked at again, as SQL; None where all have to be."""
    bitmaps = {p: got.get(f"s{p}") for p in span}
    if any(bitmap is None for bitmap in bitmaps.values()):
        return None
    found = {p: _words(bytes(b)) for p, b in bitmaps.items() if b is not None}
    if sum(word.bit_count() for words in found.values() for word in words) > _SPARSE * _used(span):
        return None
    signed = {p: [word - (word >> _WORD - 1 << _WORD) for word in words] for p, words in found.items()}
    word = f"get({given.lists_by_partition(signed)}, cast({_bit(span)} div {_WORD} AS int))"
    return f"getbit({word}, cast({_bit(span)} % {_WORD} AS int)) = 1"


def _stride(first: int, end: int) -> int:
    return -(-(end - first) // _BITS)


def _bit(span: Range) -> str:
    first = given.by_partition({p: first for p, (first, _) in span.items()})
    stride = given.by_partition({p: _stride(first, end) for p, (first, end) in span.items()})
    return f"((offset - {first}) div {stride})"


def _used(span: Range) -> int:
    return sum(-(-(end - first) // _stride(first, end)) for first, end in span.values())


def _words(bitmap: bytes) -> list[int]:
    """The bitmap in words of 64 bits; the least bit of the first byte stands for the first offsets."""
    size = _WORD // 8
    return [int.from_bytes(bitmap[at : at + size], "little") for at in range(0, len(bitmap), size)]
