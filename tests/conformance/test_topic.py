"""The topic contract: Kafka keeps it, and so does the topic in memory that other tests are built on."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from confluent_kafka.admin import AdminClient

from engine.topic import KafkaTopic, MemoryTopic, Topic
from tests.conformance.topic_contract import CHECKS, Check
from tests.support.services import Services
from tests.support.waits import wait_until


@dataclass
class InMemory:
    """One log for all that open it."""

    topic: MemoryTopic = field(default_factory=MemoryTopic)

    def open(self) -> Topic:
        return self.topic

    def name(self, text: str) -> str:
        return text

    def delete(self, name: str) -> None:
        self.topic.delete(name)


@dataclass
class InKafka:
    """A broker, and names that no other test has."""

    servers: str
    prefix: str

    def open(self) -> Topic:
        return KafkaTopic({"bootstrap.servers": self.servers}, row_bytes_max=4 << 20)

    def name(self, text: str) -> str:
        return f"{self.prefix}.{text}"

    def delete(self, name: str) -> None:
        admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        for future in admin.delete_topics([name]).values():
            future.result()
        wait_until(lambda: name not in admin.list_topics(timeout=10).topics, f"{name} is gone")


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_memory_keeps(check: Check) -> None:
    check(InMemory())


@pytest.mark.stack
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_kafka_keeps(check: Check, services: Services, prefix: str) -> None:
    check(InKafka(services.kafka, prefix))
