"""A topic full of our own records, made without a database: the work of the landing bench.

Rule: the envelope's own encoder and a registered schema make them, so they are byte for byte what a
capture writes: the rows of the capture bench's series, inserts and updates, in transactions of a hundred.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Any, Final

from confluent_kafka import Producer

from bench import change
from bench.tally import Plain
from bench.web import ask
from connectors.postgres.cells import cell_of, type_of
from connectors.postgres.kinds import BOOL, DATE, INT4, INT8, NUMERIC, TEXT, TIMESTAMPTZ
from engine import names
from engine.envelope import Address, Encoder, Record, key_schema, value_schema
from engine.schema import Column, Identity, Relation
from engine.source import STREAM, Row, Rows

_PER_TRANSACTION: Final = 100
_COLUMNS: Final = (
    # name, base type, modifier, what PostgreSQL calls it, nullable
    ("id", INT8, -1, "bigint", False),
    ("customer", INT4, -1, "integer", False),
    ("weight", NUMERIC, (8 << 16 | 3) + 4, "numeric(8,3)", True),
    ("price", NUMERIC, (10 << 16 | 2) + 4, "numeric(10,2)", True),
    ("updated_at", TIMESTAMPTZ, -1, "timestamp with time zone", False),
    ("day", DATE, -1, "date", False),
    ("express", BOOL, -1, "boolean", False),
    ("tracking", TEXT, -1, "text", False),
    ("status", TEXT, -1, "text", False),
    ("address", TEXT, -1, "text", True),
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def rows(count: int) -> Iterator[Plain]:
    """The rows of the topic, as plain values."""
    return islice((row for row in change.expected(count * 2) if row[0] != "d"), count)


def relation() -> Relation:
    """The bench's table, in the text form of its values."""
    columns = []
    for name, base, modifier, declared, nullable in _COLUMNS:
        type_ = type_of(base, modifier)
        columns.append(Column(name, type_, nullable, declared, cell_of(base, type_, "text")))
    return Relation(1, change.SCHEMA, change.TABLE, tuple(columns), ("id",), Identity.DEFAULT)


def fill(bootstrap: str, registry: str, topic: str, partitions: int, count: int) -> None:
    """Write ``count`` records into an empty topic."""
    table = relation()
    ids = {
        part: _register(registry, names.subject(topic, part, 1), schema)
        for part, schema in (("key", key_schema(table, topic)), ("value", value_schema(table, topic)))
    }
    address = Address(
        topic=topic, partitions=partitions, row_bytes_max=1 << 20, connector="postgres", name="bench.shop",
        database="bench", writer=1,
    )  # fmt: skip
    encoder = Encoder(table, address, key_id=ids["key"], value_id=ids["value"])
    producer = Producer({
        "bootstrap.servers": bootstrap, "acks": "all", "compression.type": "lz4", "linger.ms": 20,
        "queue.buffering.max.messages": 1_000_000,
    })  # fmt: skip
    for number, run in enumerate(_runs(table, count)):
        out: list[Record] = []
        encoder.encode(run, 0, out)
        for record in out:
            _send(producer, record)
        if number % 100 == 0:
            producer.poll(0)
    left = producer.flush(120)
    if left:
        raise TimeoutError(f"{left} records of {topic} were not acknowledged")


def _send(producer: Any, record: Record) -> None:
    while True:
        try:
            producer.produce(*record)
        except BufferError:
            producer.poll(0.1)
        else:
            return


def _runs(table: Relation, count: int) -> Iterator[Rows]:
    series = rows(count)
    for number in range(-(-count // _PER_TRANSACTION)):
        run: list[Row] = [_row(plain) for plain in islice(series, _PER_TRANSACTION)]
        moment_us = 1_795_240_800_000_000 + number * 1000
        yield Rows(table, STREAM, 0, 8 * (number + 1), 0, moment_us, number + 1, run)


def _row(plain: Plain) -> Row:
    """The row as the server would send it."""
    op, key, customer, weight, price, moment_us, day, express, *texts = plain
    moment = _EPOCH + timedelta(microseconds=moment_us)
    fields = (
        str(key), str(customer), _decimal(weight, 3), _decimal(price, 2), f"{moment:%Y-%m-%d %H:%M:%S.%f}+00",
        date.fromordinal(day + 719163).isoformat(), "t" if express else "f", *texts,
    )  # fmt: skip
    return (op, None, tuple(None if field is None else field.encode() for field in fields))


def _decimal(unscaled: int | None, scale: int) -> str | None:
    return None if unscaled is None else f"{unscaled // 10**scale}.{unscaled % 10**scale:0{scale}}"


def _register(registry: str, subject: str, schema: object) -> int:
    url = f"{registry}/subjects/{subject}/versions"
    kind = "application/vnd.schemaregistry.v1+json"
    return int(ask(url, method="POST", body={"schema": json.dumps(schema)}, kind=kind)["id"])
