"""Reads a topic as a stranger would: the Kafka client, the registry's HTTP, fastavro; nothing of the engine.

Rule: whatever is in the topic comes back, in the order of each partition; a record that cannot be decoded is
an error here, unless the test says that it put poison there.
"""

from __future__ import annotations

import io
import json
import struct
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import fastavro
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from tests.support.waits import wait_until
from tests.support.workload import Change

_WAIT_S = 20.0
_NO_LEADER = (
    KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - of one that the broker has just named
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Raw:
    """A record as the broker has it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


def read_raw(bootstrap: str, topic: str, after: Mapping[int, int] | None = None) -> list[Raw]:
    """Every record to the end of now, partition by partition; ``after`` names offsets already read."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "oracle", "enable.auto.commit": False, "log_level": 0}
    )
    try:
        partitions = consumer.list_topics(topic, timeout=_WAIT_S).topics[topic].partitions
        found: list[Raw] = []
        for number in sorted(partitions):
            found += _read_partition(consumer, topic, number, (after or {}).get(number, -1))
        return found
    finally:
        consumer.close()


def _read_partition(consumer: Any, topic: str, number: int, after: int) -> list[Raw]:
    low, high = _bounds(consumer, topic, number)
    low = max(low, after + 1)
    consumer.assign([TopicPartition(topic, number, low)])
    found: list[Raw] = []
    while low < high and (not found or found[-1].offset < high - 1):
        message = consumer.poll(_WAIT_S)
        if message is None:
            raise AssertionError(f"{topic}/{number} ends at {high}, nothing came after {found[-1:]}")
        if message.error() is None:
            found.append(Raw(number, message.offset(), message.key(), message.value()))
    return [raw for raw in found if raw.offset < high]


def _bounds(consumer: Any, topic: str, number: int) -> tuple[int, int]:
    """Where a partition begins and ends; a broker that has just come back does not lead it at once."""

    def asked() -> tuple[int, int] | None:
        try:
            found: tuple[int, int] = consumer.get_watermark_offsets(
                TopicPartition(topic, number), timeout=_WAIT_S
            )
        except KafkaException as error:
            if error.args[0].code() not in _NO_LEADER:
                raise
            return None
        return found

    return wait_until(asked, f"a leader of {topic}/{number}", limit_s=_WAIT_S)


def ends(bootstrap: str, topic: str) -> dict[str, int]:
    """The end of each partition now; empty while there is no topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "oracle", "log_level": 0})
    try:
        known = consumer.list_topics(topic, timeout=_WAIT_S).topics[topic].partitions
        return {str(p): _bounds(consumer, topic, p)[1] for p in known}
    finally:
        consumer.close()


def produce(bootstrap: str, topic: str, partition: int, key: bytes | None, value: bytes) -> int:
    """Put one record where it was told to go; gives its offset."""
    offsets: list[int] = []
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "log_level": 0})
    producer.produce(
        topic, value, key, partition, on_delivery=lambda _, message: offsets.append(message.offset())
    )
    if producer.flush(_WAIT_S) or not offsets:
        raise AssertionError(f"nothing could be put into {topic}/{partition}")
    return offsets[0]


class Registry:
    """Schemas by id, over HTTP, each asked for once."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._schemas: dict[int, Any] = {}
        self._text: dict[int, dict[str, Any]] = {}

    def schema(self, number: int) -> Any:
        """The parsed schema of an id."""
        if number not in self._schemas:
            self._schemas[number] = fastavro.parse_schema(self.source(number))
        return self._schemas[number]

    def source(self, number: int) -> dict[str, Any]:
        """The schema of an id as it was registered."""
        if number not in self._text:
            with urllib.request.urlopen(f"{self._url}/schemas/ids/{number}", timeout=_WAIT_S) as answer:  # noqa: S310
                self._text[number] = json.loads(json.load(answer)["schema"])
        return self._text[number]


def decode(registry: Registry, value: bytes) -> dict[str, Any]:
    """An envelope in Confluent's wire format; bytes left over are an error."""
    magic, number = struct.unpack(">bI", value[:5])
    if magic != 0:
        raise ValueError(f"magic byte {magic}")
    body = io.BytesIO(value[5:])
    record = fastavro.schemaless_reader(body, registry.schema(number), None)
    if body.read(1):
        raise ValueError("bytes after the record")
    if not isinstance(record, dict):
        raise TypeError(f"not a record: {record!r}")
    return record


def changes(registry: Registry, raws: Iterable[Raw], key: str = "id") -> list[Change]:
    """Records as changes of a table whose key is one column."""
    return [_change(raw, decode(registry, raw.value or b""), key) for raw in raws]


def _change(raw: Raw, record: dict[str, Any], key: str) -> Change:
    row = record["before"] if record["op"] == "d" else record["after"]
    unchanged = frozenset(record["unchanged"])
    row = {k: v for k, v in (row or {}).items() if k not in unchanged}
    place = record["position"]
    return Change(
        position=(place["era"], place["major"], place["minor"]),
        op=record["op"],
        key=row.get(key),
        row=row,
        strand=record["source"]["strand"],
        unchanged=unchanged,
        partition=raw.partition,
        offset=raw.offset,
        writer=record["writer"],
    )
