"""The promise of a topic, whatever is behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.envelope import Record
from engine.errors import EcluseError
from engine.plan import TopicPlan

Waiting = Callable[[], None]
"""Called while a topic makes its caller wait: the place for a keep-alive."""


def silent() -> None:
    """Nothing to keep alive."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One record of a partition as it lies in the log."""

    offset: int
    key: bytes | None
    value: bytes | None


class Topic(Protocol):
    """Every topic of one log; one thread sends."""

    def prepare(self, plans: Sequence[TopicPlan], *, compacted: bool = False) -> Mapping[str, EcluseError]:
        """Create what does not exist; gives what is wrong with a topic, by name, for those that have trouble.

        TopicMismatch: it exists with another number of partitions, or would not keep what the plan wants
        kept, or refuses rows that the plan allows. TopicRefused: the broker says no to this one (I9).
        """
        ...

    def send(self, records: Sequence[Record], waiting: Waiting = silent) -> None:
        """Take records in their order; waits while the queue is full."""
        ...

    def flush(self, waiting: Waiting = silent) -> None:
        """Wait until everything sent is acknowledged.

        Raises TopicUnreachable or TopicRefused when anything is not; then only ``close`` is left to call.
        Where one record is refused, ``where`` is its ``topic/partition``.
        """
        ...

    def topic_ids(self, names: Sequence[str]) -> Mapping[str, str]:
        """The ids of the topics that exist: another id means another topic under the same name.

        A topic that we may not see is TopicRefused where it alone is asked for, and else missing (I9).
        """
        ...

    def offsets(self, names: Sequence[str]) -> Mapping[str, Mapping[int, tuple[int, int]]]:
        """Per topic that exists and partition: the earliest offset, and the one after the last.

        A topic that we may not see: as in ``topic_ids``.
        """
        ...

    def read(self, name: str, partition: int, start: int, stop: int) -> Iterator[Stored]:
        """The records from offset ``start`` up to ``stop``, which is none beyond the end that was told.

        Records may be missing where compaction or retention took them; a log that stays shorter than
        ``stop`` is TopicUnreachable.
        """
        ...

    def close(self) -> None:
        """Let go; what was not flushed may or may not arrive. Never raises."""
        ...
