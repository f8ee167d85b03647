"""A JVM that ends under a running landing: the process ends by name, to be started again; without Spark."""

# ruff: noqa: SLF001

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from py4j.protocol import Py4JError, Py4JNetworkError

from engine.errors import LakeUnreachable
from engine.lake import dispatch, halt, land, lane, session
from engine.lake.batch import Seen
from engine.lake.desk import Standing
from engine.lake.merge import Merged
from tests.unit.test_lake_plans import FLOW, a_batch


def gone(*_: Any, **__: Any) -> Any:
    raise Py4JNetworkError("answer from Java side is empty")


class Query:
    """A streaming query whose JVM is gone."""

    isActive = property(gone)  # noqa: N815 - pyspark's name
    stop = exception = gone


def a_session(code: int | None) -> Any:
    """A session whose JVM has ended with that code, or runs."""
    gateway = SimpleNamespace(proc=SimpleNamespace(poll=lambda: code))
    context = SimpleNamespace(_gateway=gateway, appName="here", setLocalProperty=gone)
    return SimpleNamespace(sparkContext=context, newSession=gone, stop=gone)


@pytest.mark.parametrize("code", [-9, None])
def test_i7_a_landing_whose_jvm_ends_says_so_and_can_be_started_again(code: int | None) -> None:
    driver: Any = object.__new__(dispatch._Driver)
    driver.spark, driver.stop = a_session(None), threading.Event()
    driver.lane = SimpleNamespace(group="default", trigger_s=0.0, flows=())
    driver._start = lambda _before: Query()

    def tick() -> None:
        driver.spark = a_session(code)  # None: its end is not known to the system yet

    driver._tick = tick
    with pytest.raises(LakeUnreachable) as told:
        driver.stream()
    assert told.value.exit_code == 1
    session.end(a_session(-9))


def test_a_jvm_that_takes_no_connection_is_an_unreachable_lake() -> None:
    def refused() -> None:
        raise ConnectionRefusedError("connection refused")

    with pytest.raises(LakeUnreachable, match="connection refused"):
        halt.run(refused, where="here")


def an_attempt() -> land._Attempt:
    return land._Attempt(cast("Any", SimpleNamespace(session=None)), Standing(FLOW, "a"), {0: (3, 9)}, None)


def test_a_batch_whose_jvm_is_gone_parks_its_flow_and_is_no_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing: Any = None
    begun = an_attempt()
    begun.done = a_batch()
    monkeypatch.setattr(session, "tune", gone)
    seat: Any = object.__new__(lane.Lane)
    seat._local, seat.spark, seat.plan = threading.local(), a_session(None), SimpleNamespace(lane="live")
    seat.desk = lambda _session: nothing
    merged = Merged(Seen(read=1, bad=1), None)
    run = land._Run(a_batch(), lambda: merged, gone)
    steps: list[Callable[[], Any]] = [
        begun.run,
        lambda: an_attempt()._quarantine(run, merged),
        seat._own_desk,
        lambda: session.end(a_session(None)),
    ]
    for step in steps:
        with pytest.raises(LakeUnreachable):
            step()


def test_a_halt_is_still_told_from_a_jvm_that_ends() -> None:
    def halted() -> None:
        raise Py4JError("ecluse!stub!2!17!0!")

    assert halt.run(halted, where="here") == halt.Halt(halt.Kind.STUB, 2, 17, 0)
