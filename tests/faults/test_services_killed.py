"""Broker and source are killed under load, or find their disk full, and come back: nothing needs a person.

The workers live through it, or are started again; nothing is lost, nothing stands twice.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Final

import psycopg
import pytest

from tests.support.flows import World
from tests.support.killer import kill_tree
from tests.support.oracles_walk import judge_lake, judge_stream
from tests.support.services import Services
from tests.support.waits import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.spark, pytest.mark.timeout(3600)]

STILL_S: Final = 15.0  # longer than a request of the client waits before it asks again
ONE_BYTE: Final = 1
HALF_A_SEGMENT: Final = 8 << 20


@pytest.fixture(scope="module")
def walk(worlds: Callable[[str], World]) -> Iterator[World]:
    world = worlds("services_killed")
    world.reading_capture()
    world.landing()
    world.play(10)
    world.landed()
    yield world
    world.close()


def judged(walk: World) -> None:
    told = walk.landed()
    assert judge_stream(walk, told) == []
    assert judge_lake(walk, told) == []
    for worker in walk.workers:
        assert worker.process.poll() is None, worker.text()[-3000:]


def test_a_broker_killed_under_load_and_restarted_costs_nothing(walk: World, services: Services) -> None:
    with walk.traffic() as traffic:
        traffic.more(20)
        services.kill("kafka")
        traffic.more(20)
        services.restart("kafka")
        traffic.more(20)
    judged(walk)


def test_k1_a_broker_that_stands_still_for_a_while_costs_nothing(walk: World, services: Services) -> None:
    broker = services.stack.pid("kafka")
    with walk.traffic() as traffic:
        traffic.more(20)
        kill_tree(broker, signal.SIGSTOP)
        try:
            traffic.more(20)
            threading.Event().wait(STILL_S)
        finally:
            kill_tree(broker, signal.SIGCONT)
        traffic.more(20)
    judged(walk)


def test_a_source_killed_under_load_and_restarted_costs_nothing(walk: World, services: Services) -> None:
    with walk.traffic() as traffic:
        traffic.more(20)
        services.kill("postgres")
        services.restart("postgres")
        traffic.more(20)
    judged(walk)


def test_k12_a_broker_whose_disk_is_full_costs_nothing_once_it_is_back(
    walk: World, services: Services
) -> None:
    with walk.traffic() as traffic:
        traffic.more(20)
        services.fill_the_disk("kafka", ONE_BYTE)
        traffic.more(20)
        wait_until(lambda: "kafka" in services.stack.ended(), "the broker gives up its disk", limit_s=120)
        services.restart("kafka")
        traffic.more(20)
    judged(walk)


def test_s17_a_source_whose_disk_is_full_loses_nothing_of_what_it_has_committed(
    walk: World, services: Services
) -> None:
    with walk.traffic() as traffic:
        traffic.more(20)
        services.fill_the_disk("postgres", HALF_A_SEGMENT)
        with pytest.raises(psycopg.Error):
            write_much_log(services)
        services.kill("postgres")  # where its log stands decides whether it ends or recovers for ever
        services.restart("postgres")
        traffic.more(20)
    judged(walk)


def write_much_log(services: Services) -> None:
    """More than a segment of the server's log: it cannot keep it, and goes down with what it had.

    :raises psycopg.Error: then
    """
    with services.admin() as session:
        for _ in range(100):
            session.execute("select pg_logical_emit_message(false, 'much', repeat('x', 1 << 20))")
