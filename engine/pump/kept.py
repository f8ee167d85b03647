"""What a connector keeps in a compacted topic: read before each opening, and where topics end.

Rule: what was read is whole (``engine.newest``), and nothing may have come between reading and taking the
source over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import SourceUnreachable
from engine.newest import newest
from engine.plan import CapturePlan
from engine.registry import Registry
from engine.source import Ends
from engine.topic import Topic


@dataclass(frozen=True, slots=True)
class Keeping:
    """The rows that were kept, and where their topic ended then; no topic: the connector keeps nothing."""

    rows: Sequence[Mapping[str, Any]] = ()
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
    end = _end(topic, name)[1]
    return Keeping([*newest(topic, registry, name, end, capture.name)], name, end)


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
