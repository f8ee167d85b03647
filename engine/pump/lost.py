"""Marks that are lost: seen by what a capture's topics hold, and begun again above all of it.

Rule: a capture that has no mark and never had a writer, in front of topics that hold records, is no first
start: nobody knows what is missing between those records and where the source would begin now, nor in which
era its positions would not repeat. So it stops, and a person accepts that, in an era above every record's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from engine.envelope import decode, schema_id
from engine.errors import GapSuspected, Missing, answers
from engine.marks import Found
from engine.plan import CapturePlan
from engine.registry import Registry
from engine.topic import Topic

_LOOKED_AT: Final = 100  # records at the end of a partition: what other hands put there is passed over


def refuse(topic: Topic, capture: CapturePlan, found: Found) -> None:
    """Raise GapSuspected when this is no first start, and no mark says where to go on."""
    told = [] if found.mark is not None or found.epoch else _told(topic, capture)
    if told:
        raise GapSuspected(
            f"capture {capture.name} has no mark, and {', '.join(told)} hold its records: its marks are lost",
            where=capture.name,
            hint=answers(capture.name),
        )


def newest(topic: Topic, registry: Registry, capture: CapturePlan) -> tuple[int, int]:
    """The highest era and writer of what the topics end with.

    Raises Missing when they never held a record, and when none is left that can be read.
    """
    if not _told(topic, capture):
        raise Missing(
            f"capture {capture.name} has no mark: it never ran",
            where=capture.name,
            hint=f"ecluse run capture {capture.name}",
        )
    said = [(r["position"]["era"], r["writer"]) for r in _last(topic, registry, capture)]
    if not said:
        raise Missing(
            f"no record of capture {capture.name} is left that says in which era it was",
            where=capture.name,
            hint="delete its topics: they are made again, and the landing asks flow by flow",
        )
    return max(era for era, _ in said), max(writer for _, writer in said)


def _ends(topic: Topic, capture: CapturePlan) -> Mapping[str, Mapping[int, tuple[int, int]]]:
    return topic.offsets(sorted({plan.name for plan in capture.topics.values()}))


def _told(topic: Topic, capture: CapturePlan) -> list[str]:
    """The topics that hold records, or held some that are past their time."""
    ends = _ends(topic, capture)
    return [name for name, parts in ends.items() if any(stop for _, stop in parts.values())]


def _last(topic: Topic, registry: Registry, capture: CapturePlan) -> Iterator[Mapping[str, Any]]:
    for name, parts in _ends(topic, capture).items():
        for partition, (first, stop) in parts.items():
            if first == stop:
                continue
            for stored in topic.read(name, partition, max(first, stop - _LOOKED_AT), stop):
                try:
                    value = stored.value or b""
                    schema = registry.schema(schema_id(value))
                    if schema is not None:
                        yield decode(value, schema)
                except ValueError:
                    continue  # none of ours
