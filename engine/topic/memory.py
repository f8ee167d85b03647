"""A topic without a broker: passes the same suite as Kafka, and forgets everything with the process.

Rule: what is sent lies in nobody's hands until ``flush``, as a crash would have it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from engine.envelope import Record
from engine.errors import EcluseError, TopicMismatch, TopicRefused, TopicUnreachable
from engine.plan import TopicPlan
from engine.topic.door import Stored, Waiting, silent


@dataclass
class _Log:
    plan: TopicPlan
    partitions: list[list[Stored]]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass
class MemoryTopic:
    """Topics as lists."""

    _logs: dict[str, _Log] = field(default_factory=dict)
    _sent: list[Record] = field(default_factory=list)

    def prepare(self, plans: Sequence[TopicPlan], *, compacted: bool = False) -> Mapping[str, EcluseError]:
        """Create what does not exist."""
        del compacted  # nothing is ever thrown away here
        troubled: dict[str, EcluseError] = {}
        for plan in plans:
            log = self._logs.setdefault(plan.name, _Log(plan, [[] for _ in range(plan.partitions)]))
            number = len(log.partitions)
            if number != plan.partitions:
                troubled[plan.name] = TopicMismatch(
                    f"topic {plan.name} has {number} partitions, the plan says {plan.partitions}",
                    hint=f"set topic.partitions to {number} in the template",
                )
        return troubled

    def send(self, records: Sequence[Record], waiting: Waiting = silent) -> None:
        """Keep the records aside."""
        del waiting
        self._sent += records

    def flush(self, waiting: Waiting = silent) -> None:
        """Put what was kept aside into the logs."""
        del waiting
        sent, self._sent = self._sent, []
        for name, value, key, partition in sent:
            log = self._logs.get(name)
            if log is None or partition >= len(log.partitions):
                raise TopicUnreachable(f"topic {name} has no partition {partition}")
            size = len(value or b"")
            if size > log.plan.row_bytes_max:
                raise TopicRefused(
                    f"a record of {size} bytes is too large for {name}",
                    where=f"{name}/{partition}",
                    hint="raise max.message.bytes of the topic",
                )
            records = log.partitions[partition]
            records.append(Stored(len(records), key, value))

    def topic_ids(self, names: Sequence[str]) -> Mapping[str, str]:
        """The ids of the topics that exist."""
        return {name: self._logs[name].id for name in names if name in self._logs}

    def offsets(self, names: Sequence[str]) -> Mapping[str, Mapping[int, tuple[int, int]]]:
        """Earliest offset, and the one after the last."""
        return {
            name: {n: (0, len(records)) for n, records in enumerate(self._logs[name].partitions)}
            for name in names
            if name in self._logs
        }

    def read(self, name: str, partition: int, start: int, stop: int) -> Iterator[Stored]:
        """The records from ``start`` up to ``stop``."""
        yield from self._logs[name].partitions[partition][start:stop]

    def delete(self, name: str) -> None:
        """Delete a topic, as an operator may."""
        del self._logs[name]

    def close(self) -> None:
        """Forget what was not flushed."""
        self._sent = []
