"""Records on their way to the Kafka client: none is left out, and none goes behind one that is refused."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from engine.envelope import Record
from engine.errors import TopicRefused, TopicUnreachable
from engine.topic import KafkaTopic


class Client:
    """A client's queue with room for so many records, emptied by ``poll``; a value may be refused."""

    def __init__(self, room: int = 3, refused: int = KafkaError.MSG_SIZE_TOO_LARGE) -> None:
        self.room, self.refused = room, refused
        self.queue: list[Record] = []
        self.gone: list[Record] = []

    def produce(self, topic: str, value: bytes, key: bytes | None, partition: int) -> None:
        if value == b"refused":
            raise KafkaException(KafkaError(self.refused))
        if len(self.queue) == self.room:
            raise BufferError("Local: Queue full")
        self.queue.append((topic, value, key, partition))

    def poll(self, timeout: float) -> int:
        if timeout:
            self.gone, self.queue = self.gone + self.queue, []
        return 0

    def __len__(self) -> int:
        return len(self.queue)

    def __bool__(self) -> bool:
        return True  # as the client's own


def sending_to(client: Client) -> KafkaTopic:
    topic = KafkaTopic({"bootstrap.servers": "127.0.0.1:1"})
    topic._producer = client  # noqa: SLF001 - in the place of a broker
    return topic


def numbered(count: int) -> list[Record]:
    return [("t", b"%d" % n, None, n % 2) for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 10])
def test_what_a_full_queue_leaves_out_is_sent_again_in_its_order(count: int) -> None:
    client, waited = Client(room=3), list[int]()
    sending_to(client).send(numbered(count), lambda: waited.append(1))
    assert client.gone + client.queue == numbered(count)
    assert len(waited) == max(0, -(-count // 3) - 1)


@pytest.mark.parametrize("before", [0, 2, 4])
def test_nothing_goes_behind_a_record_that_the_client_refuses_and_its_place_is_told(before: int) -> None:
    client = Client(room=3)
    records = [*numbered(before), ("t", b"refused", None, 7), *numbered(2)]
    with pytest.raises(TopicRefused, match="too large") as found:
        sending_to(client).send(records)
    assert found.value.where == "t/7"
    assert client.gone + client.queue == numbered(before)


def test_a_topic_that_is_gone_passes() -> None:
    with pytest.raises(TopicUnreachable) as found:
        sending_to(Client(refused=KafkaError._UNKNOWN_TOPIC)).send([("t", b"refused", None, 0)])  # noqa: SLF001
    assert found.value.where == "t/0"


class Doomed(Client):
    """A client that has failed for good, as its next call tells at once, and its events a moment later."""

    def produce(self, *_: Any) -> None:
        raise KafkaException(KafkaError(KafkaError._FATAL))  # noqa: SLF001 - the client's own code

    def poll(self, timeout: float) -> int:
        if timeout:
            told = "ProduceRequest for t [7] with 1 message(s) failed: Broker: Message size too large"
            raise KafkaException(KafkaError(KafkaError._FATAL, told))  # noqa: SLF001
        return 0


def test_what_a_client_has_died_of_is_told_and_not_only_that_it_has() -> None:
    topic = sending_to(Doomed())
    with pytest.raises(TopicRefused, match="too large") as found:
        topic.send([("t", b"1", None, 0)])
    assert found.value.where == "t/7"
    with pytest.raises(TopicRefused, match="too large"):
        topic.flush()
