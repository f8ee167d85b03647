"""The source contract: kept by the scripted source, which other tests are built on, and missed by no liar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from engine.errors import ContractBroken
from engine.pump import run
from engine.source import Mark
from engine.supervise import Parked
from tests.conformance.liars import CAUGHT_LIVE, LIARS
from tests.conformance.scripted_world import PARCEL, ScriptedWorld
from tests.conformance.source_contract import CHECKS, Check
from tests.support.memory import Bench
from tests.support.scripted import ScriptedSource


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_the_scripted_source_keeps(check: Check) -> None:
    check(ScriptedWorld())


@pytest.mark.parametrize("liar", LIARS)
def test_the_suite_catches(liar: type[ScriptedSource]) -> None:
    caught = []
    for name, check in CHECKS.items():
        try:
            check(ScriptedWorld(liar))
        except AssertionError:
            caught.append(name)
    assert caught


@pytest.mark.parametrize("liar", CAUGHT_LIVE)
def test_the_pump_catches(liar: type[ScriptedSource]) -> None:
    world = ScriptedWorld(liar)
    for rows in (5, 3, 30_000, 4):
        world.change(rows)

    @contextmanager
    def open_(mark: Mark | None, *_: Any) -> Iterator[Any]:
        with world.open(mark) as source:
            yield source

    bench = Bench(open_, {f"{PARCEL.schema}.{PARCEL.table}": 1})
    bench.clock.tick = 0.0
    look = bench.clock.clock()
    clock = type(look)(world.now, look.wall, look.wait, look.stopped)
    bench.at = lambda point: bench.clock.stop.set() if "after-read" in point and world.now() > 1200 else None
    end = run(bench.capture, bench.doors_with(clock))
    assert isinstance(end, Parked)
    assert isinstance(end.error, ContractBroken)
