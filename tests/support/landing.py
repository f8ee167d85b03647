"""A landing in this process: one Spark for a test run, flows made by hand, topics filled by hand.

Rule: real Kafka, real Spark, real Delta; only the schema registry is a mapping, and time may be a number.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from engine import ledger, names
from engine.checks import Check
from engine.lake import book, commits, quarantine
from engine.lake.book import FlowState
from engine.lake.desk import Gap
from engine.lake.dispatch import World, drive
from engine.ledger import Entry
from engine.plan import FlowPlan, LanePlan, QuarantinePlan, SchemaPolicy, SinkPlan, TopicPlan
from engine.source import TableSpec
from engine.topic import KafkaTopic
from tests.support.avro_records import DATE, TIMESTAMP, Field, Maker, Schemas, decimal, envelope
from tests.support.oracles_lake import table_rows

PARCEL = [
    Field("id", "long", nullable=False),
    Field("name", "string"),
    Field("weight", decimal(10, 3)),
    Field("at", TIMESTAMP),
    Field("day", DATE),
    Field("ok", "boolean"),
]
NO_LIMIT = QuarantinePlan(1.0, 1_000)
POLICY = SchemaPolicy("evolve", "evolve", "keep", "park", "park")


@dataclass
class Table:
    """One table of a test: its topic, its flow, and a maker of its records."""

    flow: FlowPlan
    schemas: Schemas
    kafka: str
    lake: Path
    maker: Maker
    fields: list[Field]
    _producer: Producer = field(init=False)

    def __post_init__(self) -> None:
        self._producer = Producer({"bootstrap.servers": self.kafka, "linger.ms": 5})

    @property
    def topic(self) -> str:
        return self.flow.topic.name

    def send(self, *values: bytes | None, partition: int = 0, key: bytes | None = None) -> None:
        """Put records into a partition, in order, acknowledged."""
        for value in values:
            self._producer.produce(self.topic, value=value, key=key, partition=partition)
        assert self._producer.flush(30) == 0

    def change(self, op: str, row: dict[str, Any] | None = None, *, partition: int = 0, **more: Any) -> None:
        """Send one change."""
        before, after = (row, None) if op == "d" else (None, row)
        self.send(self.maker.value(op, after, before, **more), partition=partition)

    def evolve(self, fields: Sequence[Field], key: Sequence[str] = ("id",)) -> int:
        """From now on records have these columns."""
        self.fields = list(fields)
        schema = envelope(self.topic, fields, key)
        number = self.schemas.add(schema)
        self.maker = replace(self.maker, schema=schema, schema_id=number, parsed=None)
        return number

    @property
    def path(self) -> Path:
        return book.table_path(self.lake, self.flow.sink.table)

    def rows(self) -> list[dict[str, Any]]:
        return table_rows(self.path)

    def by_id(self) -> dict[Any, dict[str, Any]]:
        rows = self.rows()
        found = {row["id"]: row for row in rows}
        assert len(found) == len(rows), "a key stands twice"
        return found

    def entries(self) -> list[Entry]:
        path = book.ledger_path(self.lake)
        found = [ledger.from_row(row) for row in table_rows(path)] if book.exists(path) else []
        return sorted((e for e in found if e.flow == self.flow.name), key=lambda e: e.seq)

    def quarantined(self) -> list[dict[str, Any]]:
        rows = table_rows(book.quarantine_path(self.lake))
        return [row for row in rows if row["flow"] == self.flow.name]

    def natively(self, path: Path | None = None) -> list[bool]:
        """Of each of the flow's commits, the oldest first: whether the native library made it."""
        found, path, app_id = [], path or self.path, names.app_id(self.flow.name, 1)
        for version in range(commits.head(path) + 1):
            actions = commits.read(path, version) or []
            if any(action.get("txn", {}).get("appId") == app_id for action in actions):
                (said,) = (a["commitInfo"] for a in actions if "commitInfo" in a)
                found.append(said["engineInfo"].startswith("ecluse/"))
        return found

    def state(self) -> FlowState:
        return book.load_state(self.lake, self.flow.name)


@dataclass
class Landing:
    """Lands tables of a test, in the Spark that it is given."""

    spark: Any
    kafka: str
    lake: Path
    prefix: str
    schemas: Schemas = field(default_factory=Schemas)
    tables: list[Table] = field(default_factory=list)
    gaps: dict[str, Gap] = field(default_factory=dict)
    at: Callable[[str], None] = lambda _point: None
    workers: int = 2

    def table(
        self,
        name: str = "parcel",
        *,
        mode: str = "append",
        deletes: str = "hard",
        fields: Sequence[Field] = tuple(PARCEL),
        partitions: int = 1,
        rows_per_commit: int = 1000,
        policy: SchemaPolicy = POLICY,
        keys: Sequence[str] = ("id",),
        create: bool = True,
        checks: Sequence[Check] = (),
        quarantine: QuarantinePlan = NO_LIMIT,
    ) -> Table:
        topic = f"{self.prefix}.public.{name}"
        if create:
            self.create(topic, partitions)
        flow = FlowPlan(
            name=f"{self.prefix}.{name}", group="default", owner="o", template="t@1.0.0", connection="shop",
            table=TableSpec(f"{self.prefix}.{name}", "public", name),
            topic=TopicPlan(topic, partitions, 1, 86_400_000, "backward", 1 << 20), schema=policy,
            sink=SinkPlan(f"bronze.{name}", mode, (), deletes),  # type: ignore[arg-type]
            freshness_s=0.2, rows_per_commit=rows_per_commit, checks=tuple(checks), quarantine=quarantine,
        )  # fmt: skip
        schema = envelope(topic, fields, keys)
        maker = Maker(schema, self.schemas.add(schema))
        maker.begin()
        table = Table(flow, self.schemas, self.kafka, self.lake, maker, list(fields))
        self.tables.append(table)
        return table

    def create(self, topic: str, partitions: int = 1) -> None:
        admin = AdminClient({"bootstrap.servers": self.kafka})
        for done in admin.create_topics([NewTopic(topic, partitions, 1)]).values():
            done.result(30)

    def drop(self, topic: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.kafka})
        for done in admin.delete_topics([topic]).values():
            done.result(30)
        while topic in KafkaTopic({"bootstrap.servers": self.kafka}).topic_ids([topic]):
            time.sleep(0.05)

    def lane(self) -> LanePlan:
        return LanePlan("default", "live", tuple(t.flow for t in self.tables), self.workers, 0.2)

    def world(self, **more: Any) -> World:
        options = {"bootstrap.servers": self.kafka}
        given: dict[str, Any] = {
            "lake_root": self.lake, "kafka": options, "schemas": self.schemas,
            "topics": KafkaTopic(options), "gaps": lambda: dict(self.gaps), "at": self.at,
        }  # fmt: skip
        return World(**(given | more))

    def land(self, **more: Any) -> dict[str, FlowState]:
        """Everything up to the ends of now."""
        return drive(self.spark, self.lane(), self.world(**more), stop=threading.Event(), available_now=True)

    def live(self, **more: Any) -> Live:
        """The streaming landing, in a thread."""
        return Live(self, more)


class Live:
    """A landing that streams until the block ends."""

    def __init__(self, landing: Landing, more: dict[str, Any]) -> None:
        self.stop = threading.Event()
        self._landing, self._more = landing, more
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failure: BaseException | None = None

    def _run(self) -> None:
        try:
            drive(
                self._landing.spark, self._landing.lane(), self._landing.world(**self._more), stop=self.stop
            )
        except BaseException as error:  # noqa: BLE001  (told by __exit__)
            self.failure = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        assert self.failure is None, self.failure


__all__ = ["PARCEL", "Landing", "Live", "Table", "quarantine"]
