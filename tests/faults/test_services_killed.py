"""Broker and source are killed under load and come back: the workers live through it, or are started again.

Nothing is lost, nothing stands twice, and no worker needs a person: what fails here may pass by itself.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tests.support.flows import World
from tests.support.killer import kill_tree
from tests.support.oracles_walk import judge_lake, judge_stream
from tests.support.services import Services

pytestmark = [pytest.mark.stack, pytest.mark.spark, pytest.mark.timeout(3600)]

STILL_S: Final = 15.0  # longer than a request of the client waits before it asks again


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
