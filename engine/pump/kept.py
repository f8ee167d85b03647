"""What a connector keeps in a compacted topic: read before each opening, and where topics end.

Rule: of each key the newest record counts, and a record of a newer writer is newer whatever its place is: one
that was replaced may still have sent some. Nothing may have come between reading and taking the source over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.envelope import decode, schema_id
from engine.errors import GapSuspected, SourceUnreachable, answers
from engine.plan import CapturePlan
from engine.registry import Registry
from engine.source import Ends, Kept
from engine.topic import Topic


@dataclass(frozen=True, slots=True)
class Keeping:
    """The rows that were kept, and where their topic ended then; no topic: the connector keeps nothing."""

    rows: Kept = ()
    topic: str = ""
    end: int = 0

    def unchanged(self, topic: Topic, capture: str) -> None:
        """Raise SourceUnreachable when another writer has added to it since."""
        if self.topic and _end(topic, self.topic)[1] != self.end:
            raise SourceUnreachable(f"another writer of {capture} went on meanwhile", where=capture)


def read(topic: Topic, registry: Registry, capture: CapturePlan) -> Keeping:
    """What the capture's connector keeps."""
    name = next((plan.name for plan in capture.topics.values() if plan.compact), "")
    if not name:
        return Keeping()
    first, end = _end(topic, name)
    newest: dict[bytes | None, tuple[int, int, Mapping[str, Any]]] = {}
    for stored in topic.read(name, 0, first, end) if first < end else ():
        record = _decoded(stored.value or b"", registry, f"{name}/0/{stored.offset}", capture.name)
        found = (int(record["writer"]), stored.offset, record["after"])
        newest[stored.key] = max(newest.get(stored.key, found), found, key=lambda one: one[:2])
    rows = [row for _, _, row in sorted(newest.values(), key=lambda one: one[:2])]
    return Keeping(rows, name, end)


def ends(topic: Topic, capture: CapturePlan) -> Ends:
    """Where the topics of the capture's tables end now."""
    names = {table: plan.name for table, plan in capture.topics.items() if not plan.compact}
    found = topic.offsets(sorted({*names.values()}))
    return {
        table: {partition: end for partition, (_, end) in found[name].items()}
        for table, name in names.items()
        if name in found
    }


def _end(topic: Topic, name: str) -> tuple[int, int]:
    return topic.offsets([name]).get(name, {}).get(0, (0, 0))


def _decoded(value: bytes, registry: Registry, where: str, capture: str) -> Mapping[str, Any]:
    """A record of ours; unknown means stop: what it said may be what keeps rows from coming twice."""
    try:
        schema = registry.schema(schema_id(value))
        if schema is not None:
            return decode(value, schema)
        what = "has a schema that the registry does not know"
    except ValueError as error:
        what = str(error)
    raise GapSuspected(
        f"what capture {capture} keeps cannot be read: {what}", where=where, hint=answers(capture)
    )
