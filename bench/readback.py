"""What a side wrote into its topic, read back whole and decoded by libraries that are not ours.

Rule: one process per core reads its share of the partitions; fastavro or the JSON parser decodes, with
decimals and times left as the integers that they are, and the row becomes plain values (``tally``). The
registry is asked for the schema that a record names; nothing is taken from the side's own code.
"""

from __future__ import annotations

import base64
import io
import json
import multiprocessing
import os
import struct
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Literal

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from bench import change, partner, tally
from bench.tally import Plain, Tally
from bench.web import ask

Format = Literal["envelope", "avro", "json", "file", "delimited", "fixed_width"]
PARTITIONS: Final = 4  # of every side's topic
_WAIT_S: Final = 30.0
_BATCH: Final = 10_000


def _admin(bootstrap: str) -> AdminClient:
    # what the client has to say when a service is stopped is of no interest
    return AdminClient({"bootstrap.servers": bootstrap, "error_cb": lambda _: None, "log_level": 0})


def make_topic(bootstrap: str, topic: str, partitions: int) -> None:
    """An empty topic."""
    admin = _admin(bootstrap)
    settings = {"max.message.bytes": "8388608"}
    admin.create_topics([NewTopic(topic, partitions, 1, config=settings)])[topic].result(_WAIT_S)


def drop_topic(bootstrap: str, topic: str) -> None:
    """The topic goes, with its disk space."""
    admin = _admin(bootstrap)
    admin.delete_topics([topic])[topic].result(_WAIT_S)


class Ends:
    """How many records of a topic the broker has acknowledged: asked again and again."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self._admin = _admin(bootstrap)
        self._ask = {TopicPartition(topic, n): OffsetSpec.latest() for n in range(partitions)}

    def total(self) -> int:
        """The sum of the partitions' end offsets; 0 while the topic is not there."""
        try:
            answers = self._admin.list_offsets(self._ask)
            return sum(int(future.result(_WAIT_S).offset) for future in answers.values())
        except KafkaException:
            return 0


def read(bootstrap: str, registry: str, topic: str, partitions: int, form: Format) -> Tally:
    """The tally of everything in the topic."""
    cores = min(partitions, os.cpu_count() or 1)
    shares = [(bootstrap, registry, topic, list(range(n, partitions, cores)), form) for n in range(cores)]
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        return sum(pool.starmap(_share, shares), Tally())


def _share(bootstrap: str, registry: str, topic: str, partitions: list[int], form: Format) -> Tally:
    plain = _PLAIN[form]
    decode: Callable[[bytes], Any] = _DECODE.get(form) or _avro(registry)
    return tally.of(plain(decode(value)) for value in _values(bootstrap, topic, partitions))


def stamps(bootstrap: str, registry: str, topic: str) -> dict[int, int]:
    """Of each row, by the ``id`` in its key, when its record was handed to the producer, in microseconds."""
    decode = _avro(registry)
    messages = _messages(bootstrap, topic, list(range(PARTITIONS)))
    return {decode(message.key())["id"]: message.timestamp()[1] * 1000 for message in messages}


def _values(bootstrap: str, topic: str, partitions: list[int]) -> Iterator[bytes]:
    for message in _messages(bootstrap, topic, partitions):
        yield message.value()


def _messages(bootstrap: str, topic: str, partitions: list[int]) -> Iterator[Any]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", "enable.auto.commit": False})
    ends = {}
    for number in partitions:
        _, ends[number] = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_WAIT_S)
    consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n, end in ends.items() if end])
    left = sum(ends.values())
    while left:
        # a batch waits until it is full: never ask for more than is there
        messages = consumer.consume(min(left, _BATCH), timeout=_WAIT_S)
        if not messages:
            raise TimeoutError(f"{topic}: nothing came for {_WAIT_S:g} s, {left} records are left")
        for message in messages:
            if message.error() is not None:
                raise KafkaException(message.error())
            yield message
        left -= len(messages)
    consumer.close()


def _avro(registry: str) -> Callable[[bytes], Any]:
    @lru_cache
    def schema(number: int) -> Any:
        return fastavro.parse_schema(_bare(json.loads(_schema_text(registry, number))))

    def decode(value: bytes) -> Any:
        (number,) = struct.unpack_from(">I", value, 1)
        return fastavro.schemaless_reader(io.BytesIO(value[5:]), schema(number), None)

    return decode


def _schema_text(registry: str, number: int) -> str:
    """A schema by the id in a record: Confluent's API, or Apicurio's own for its content ids."""
    root = registry.partition("/apis/")[0]
    try:
        return str(ask(f"{registry}/schemas/ids/{number}")["schema"])
    except urllib.error.HTTPError:
        return json.dumps(ask(f"{root}/apis/registry/v2/ids/contentIds/{number}"))


def _bare(schema: Any) -> Any:
    """The schema without logical types: values stay the integers and bytes that travel."""
    if isinstance(schema, Mapping):
        return {name: _bare(part) for name, part in schema.items() if name != "logicalType"}
    return [_bare(part) for part in schema] if isinstance(schema, list) else schema


# --- records as plain values -----------------------------------------------------------------------------


def _ours(record: Mapping[str, Any]) -> Plain:
    if record["op"] == "d":
        return ("d", record["before"]["id"])
    assert not record["unchanged"]
    assert not record["unfit"]
    row = record["after"]
    return (
        *(record["op"], row["id"], row["customer"]),
        *(change.unscaled(row["weight"]), change.unscaled(row["price"]), row["updated_at"], row["day"]),
        *(row["express"], row["tracking"], row["status"], row["address"]),
    )


def _debezium(record: Mapping[str, Any]) -> Plain:
    if record["op"] == "d":
        return ("d", record["before"]["id"])
    row = record["after"]
    return (
        *(record["op"], row["id"], row["customer"]),
        *(_decimal(row["weight"]), _decimal(row["price"]), change.instant_us(row["updated_at"]), row["day"]),
        *(row["express"], row["tracking"], row["status"], row["address"]),
    )


def _decimal(value: bytes | str | None) -> int | None:
    return change.unscaled(base64.b64decode(value) if isinstance(value, str) else value)


_PLAIN: Final[Mapping[Format, Callable[[Any], Plain]]] = {
    "envelope": _ours,
    "avro": _debezium,
    "json": _debezium,
    "file": partner.row,
    "delimited": partner.KINDS["delimited"].fields,
    "fixed_width": partner.KINDS["fixed_width"].fields,
}
_DECODE: Final[Mapping[Format, Callable[[bytes], Any]]] = {
    "json": json.loads,
    "delimited": bytes,  # a line is a record as it stands
    "fixed_width": bytes,
}
