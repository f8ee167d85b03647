"""An exact range of a topic as a DataFrame, and a first look at it.

Rule: offsets are always explicit and data loss is always an error: what Kafka lacks is found here, loudly.
``fetch.max.wait.ms=1``: each read asks the log's end behind its own long poll, half a second by default.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping
from typing import Final

from pyspark.sql import DataFrame, DataFrameReader, Row, SparkSession

from engine import names
from engine.lake import halt
from engine.lake.ranges import Range

_READ: Final = {
    "failOnDataLoss": "true",
    "kafka.isolation.level": "read_committed",
    "kafka.fetch.max.wait.ms": "1",
    "kafkaConsumer.pollTimeoutMs": "10000",
    "kafka.max.partition.fetch.bytes": "8388608",
    "kafka.max.poll.records": "5000",
}

_IDS_MAX: Final = 1000


def java(kafka: Mapping[str, str]) -> dict[str, str]:
    """The client's options (librdkafka's names) as Spark's Java client takes them.

    >>> java({"bootstrap.servers": "k:9092", "security.protocol": "ssl", "ssl.ca.location": "ca.pem"})
    {'kafka.bootstrap.servers': 'k:9092', 'kafka.security.protocol': 'SSL', \
'kafka.ssl.truststore.type': 'PEM', 'kafka.ssl.truststore.location': 'ca.pem'}
    """
    found: dict[str, str] = {}
    for name, value in kafka.items():
        match name:
            case "bootstrap.servers":
                found["kafka.bootstrap.servers"] = value
            case "security.protocol":
                found["kafka.security.protocol"] = value.upper()
            case "sasl.mechanism" | "sasl.mechanisms":
                found["kafka.sasl.mechanism"] = value.upper()
            case "ssl.ca.location":
                found |= {"kafka.ssl.truststore.type": "PEM", "kafka.ssl.truststore.location": value}
            case _:
                continue
    if "sasl.username" in kafka:
        found["kafka.sasl.jaas.config"] = _jaas(kafka)
    return found


def _jaas(kafka: Mapping[str, str]) -> str:
    plain = kafka.get("sasl.mechanism", kafka.get("sasl.mechanisms", "PLAIN")).upper() == "PLAIN"
    module = "plain.PlainLoginModule" if plain else "scram.ScramLoginModule"
    user, password = (
        kafka.get(f"sasl.{part}", "").replace("\\", "\\\\").replace('"', '\\"')
        for part in ("username", "password")
    )
    return f'org.apache.kafka.common.security.{module} required username="{user}" password="{password}";'


def options(kafka: Mapping[str, str], *, group: str, lane: str) -> dict[str, str]:
    """The options of every range read of a lane; the group's name follows from them."""
    mine = {**java(kafka), **_READ}
    mine["kafka.group.id"] = names.consumer_group(group, lane, json.dumps(mine, sort_keys=True))
    return mine


def frame(session: SparkSession, topic: str, span: Range, kafka: Mapping[str, str]) -> DataFrame:
    """The records of a range: key, value, partition, offset, timestamp."""
    reader = _reader(session, tuple(kafka.items())).option("assign", json.dumps({topic: sorted(span)}))
    reader = reader.option("startingOffsets", json.dumps({topic: {str(p): a for p, (a, _) in span.items()}}))
    reader = reader.option("endingOffsets", json.dumps({topic: {str(p): b for p, (_, b) in span.items()}}))
    return reader.load()


@functools.lru_cache(maxsize=64)
def _reader(session: SparkSession, options: tuple[tuple[str, str], ...]) -> DataFrameReader:
    """A worker's reader: what is the same in each of its reads is told once, and a session has one thread."""
    return session.read.format("kafka").options(**dict(options))


def first_values(
    session: SparkSession, topic: str, span: Range, kafka: Mapping[str, str]
) -> dict[int, bytes | None]:
    """The value of the first record of each partition: one small job per start of a flow."""
    head = {p: (a, a + 1) for p, (a, b) in span.items() if b > a}
    work = lambda: frame(session, topic, head, kafka).select("partition", "value").collect()  # noqa: E731
    rows = halt.sure(work, where=topic)
    return {row.partition: None if row.value is None else bytes(row.value) for row in rows}


def schema_ids(
    session: SparkSession, topic: str, span: Range, kafka: Mapping[str, str], *, known: Collection[int]
) -> list[int]:
    """The ids, beside the known ones, that framed records of a range bring; at most so many, in one job."""
    id_ = "cast(conv(hex(substring(value, 2, 4)), 16, 10) AS bigint) AS id"
    others = f"id NOT IN ({', '.join(str(i) for i in (-1, *sorted(known)))})"

    def work() -> list[Row]:
        framed = frame(session, topic, span, kafka).where(
            "length(value) >= 5 AND substring(value, 1, 1) = X'00'"
        )
        found = framed.selectExpr(id_).where(others).distinct().limit(_IDS_MAX)
        return list(found.collect())

    return sorted(int(row.id) for row in halt.sure(work, where=topic))
