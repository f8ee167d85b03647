"""Reading a partition up to an offset that was told: the end of the log may be told too early."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from confluent_kafka import KafkaError

from engine.errors import TopicUnreachable
from engine.topic.admin import _records


@dataclass
class Message:
    """A record, or with ``end`` the client's word that the log ends at this offset."""

    at: int
    end: bool = False

    def error(self) -> KafkaError | None:
        return KafkaError(KafkaError._PARTITION_EOF) if self.end else None  # noqa: SLF001 - the client's

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"v"


@dataclass
class Consumer:
    """A consumer to which batches come; nothing more comes behind the last one."""

    batches: list[list[Message]]
    _rest: list[Message] = field(default_factory=list)

    def poll(self, _: float) -> Message | None:
        if not self.batches:
            return None
        first, *self._rest = self.batches.pop(0)
        return first

    def consume(self, _: int, timeout: float) -> list[Message]:
        del timeout
        rest, self._rest = self._rest, []
        return rest


def offsets(*batches: list[Message], stop: int) -> list[int]:
    return [stored.offset for stored in _records(Consumer(list(batches)), stop)]


def test_an_end_below_what_was_told_is_waited_out() -> None:
    early = [[Message(0), Message(1), Message(2, end=True)], [Message(2, end=True)], [Message(2), Message(3)]]
    assert offsets(*early, stop=4) == [0, 1, 2, 3]


def test_a_log_that_stays_shorter_than_was_told_is_an_error_and_never_less() -> None:
    with pytest.raises(TopicUnreachable):
        offsets([Message(0), Message(1, end=True)], stop=3)


def test_holes_at_the_end_end_the_reading() -> None:
    assert offsets([Message(0), Message(3, end=True)], stop=3) == [0]
    assert offsets([Message(8, end=True)], stop=8) == []
    assert offsets([Message(0), Message(5)], stop=3) == [0]
