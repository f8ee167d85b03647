"""The topic on a real broker that is killed, full, or says no: nothing is lost, doubled or out of order."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from engine.envelope import Record
from engine.errors import TopicRefused, TopicUnreachable
from engine.marks import MARK_BYTES_MAX, Marks
from engine.plan import TopicPlan
from engine.source import Mark
from engine.topic import KafkaTopic
from tests.support.services import Services
from tests.support.waits import wait_until

pytestmark = pytest.mark.stack


def plan(name: str, row_bytes_max: int = 1 << 20) -> TopicPlan:
    return TopicPlan(name, 2, 1, 86_400_000, "backward", row_bytes_max)


@pytest.fixture
def topic(services: Services) -> Iterator[KafkaTopic]:
    found = KafkaTopic({"bootstrap.servers": services.kafka}, queue_bytes_max=4 << 20)
    yield found
    found.close()


def values(services: Services, name: str, partition: int) -> list[bytes]:
    reader = KafkaTopic({"bootstrap.servers": services.kafka})
    start, stop = reader.offsets([name])[name][partition]
    found = [s.value or b"" for s in reader.read(name, partition, start, stop)]
    reader.close()
    return found


def numbered(name: str, partition: int, first: int, count: int, size: int) -> list[Record]:
    return [(name, b"%08d" % n + os.urandom(size), None, partition) for n in range(first, first + count)]


def test_a_broker_that_is_killed_and_comes_back_gets_every_record_once_and_in_order(
    services: Services, topic: KafkaTopic, prefix: str
) -> None:
    name = f"{prefix}.killed"
    topic.prepare([plan(name)])
    killed, back = threading.Event(), threading.Event()
    waited: list[int] = []

    def kill() -> None:
        services.kill("kafka")
        killed.set()
        wait_until(lambda: waited, "the sender waits for the broker")
        services.restart("kafka")
        back.set()

    helper = threading.Thread(target=kill)
    sent = 0
    while not back.is_set() or sent < 20_000:
        for partition in (0, 1):
            topic.send(numbered(name, partition, sent, 100, 400), lambda: waited.append(1))
        sent += 100
        if sent == 5000:
            helper.start()
            wait_until(killed.is_set, "the broker is killed")
    topic.flush(lambda: waited.append(1))
    helper.join()
    for partition in (0, 1):
        found = [int(value[:8]) for value in values(services, name, partition)]
        assert found == list(range(sent))
    assert waited


def test_a_broker_that_stays_away_is_an_error_within_the_time_given(services: Services, prefix: str) -> None:
    name = f"{prefix}.away"
    topic = KafkaTopic({"bootstrap.servers": services.kafka}, unreachable_after_s=2.0)
    topic.prepare([plan(name)])
    services.kill("kafka")
    try:
        topic.send(numbered(name, 0, 0, 10, 10))
        with pytest.raises(TopicUnreachable, match="nothing acknowledged"):
            topic.flush()
        with pytest.raises(TopicUnreachable):
            topic.send(numbered(name, 0, 10, 10, 10))
    finally:
        services.restart("kafka")
        topic.close()


def test_a_mark_as_large_as_may_be_is_taken_and_comes_back(services: Services, prefix: str) -> None:
    topic = KafkaTopic({"bootstrap.servers": services.kafka}, row_bytes_max=MARK_BYTES_MAX)
    marks = Marks(topic, prefix, lambda: "now")
    marks.prepare(1)
    large = Mark({"stream": 1}, os.urandom(MARK_BYTES_MAX // 3).hex().encode(), 0, 0)
    marks.send("shop", 1, large)
    topic.flush()
    assert marks.find("shop").mark == large
    topic.close()


def test_a_queue_that_is_full_makes_the_sender_wait_and_loses_nothing(
    services: Services, topic: KafkaTopic, prefix: str
) -> None:
    name = f"{prefix}.full"
    topic.prepare([plan(name)])
    waited: list[int] = []
    for first in range(0, 400, 20):
        topic.send(numbered(name, 0, first, 20, 200_000), lambda: waited.append(1))
    topic.flush()
    assert waited
    assert [int(value[:8]) for value in values(services, name, 0)] == list(range(400))


@pytest.mark.parametrize("before", [0, 3])
def test_nothing_lands_behind_a_record_that_the_broker_refuses(
    services: Services, topic: KafkaTopic, prefix: str, before: int
) -> None:
    # a broker that has nothing of a producer yet would take its second batch without its first
    name = f"{prefix}.refused{before}"
    topic.prepare([plan(name, row_bytes_max=1 << 20)])
    limit = ConfigEntry("max.message.bytes", "100000", incremental_operation=AlterConfigOpType.SET)
    admin = AdminClient({"bootstrap.servers": services.kafka, "log_level": 0})
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[limit])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()
    if before:
        topic.send(numbered(name, 0, 0, before, 10))
        topic.flush()

    def send() -> None:
        topic.send(numbered(name, 0, before, 1, 900_000))
        for n in range(before + 1, before + 50):
            topic.send(numbered(name, 0, n, 1, 60_000))
        topic.flush()

    with pytest.raises(TopicRefused, match="too large"):
        send()
    with pytest.raises(TopicRefused):
        topic.flush()
    topic.close()
    assert [int(value[:8]) for value in values(services, name, 0)] == list(range(before))
