"""What a capture is composed of: preflight before each opening, and what is set aside."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from engine.cli import compose, places
from engine.cli.compose import Call
from engine.cli.run import Opening, clock_of, told_to_stop
from engine.errors import SourceUnready
from engine.plan import CapturePlan
from engine.source import Connector, Finding, Kept, Mark, Measure, TableSpec
from tests.support.memory import Told

TABLES = (TableSpec("parcel", "public", "parcel"), TableSpec("letter", "public", "letter"))


class Config(BaseModel):
    """Nothing to configure."""


class World:
    """A connector that remembers the tables it was opened with."""

    def __init__(self, *findings: Finding) -> None:
        self.findings, self.opened = findings, list[Sequence[TableSpec]]()

    @contextmanager
    def open(
        self, config: Config, tables: Sequence[TableSpec], mark: Mark | None, kept: Kept
    ) -> Iterator[Any]:
        del config, mark, kept
        self.opened.append(tables)
        yield object()

    def opening(self, log: Told) -> Opening:
        connector = Connector(
            "scripted", Config, self.open, lambda *_: self.findings, lambda *_: (), lambda _: Measure("ok")
        )
        plan = CapturePlan("shop", "scripted", {}, TABLES, {}, 30, 1 << 20, 1)
        return Opening(Call(Path(), {}), plan, connector, log)


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "configure", lambda *_: Config())
    monkeypatch.setattr(compose, "configure", lambda *_: Config())


def unready(table: str = "") -> Finding:
    return Finding("fail", "table", "has no key", fix="ALTER TABLE", code="source.unready", table=table)


def test_a_source_without_trouble_is_opened_with_all_its_tables() -> None:
    world, log = World(Finding("ok", "role", "may replicate")), Told()
    with world.opening(log)(None):
        assert world.opened == [list(TABLES)]
    assert log.lines == []


def test_a_table_that_is_not_fit_is_told_with_its_fix() -> None:
    world, log = World(unready("public.letter")), Told()
    assert list(world.opening(log).unfit()) == ["public.letter"]
    (line,) = log.facts("preflight")
    assert line == {
        "subject": "public.letter",
        "code": "source.unready",
        "what": "has no key",
        "fix": "ALTER TABLE",
    }


def test_a_source_that_is_not_ready_says_so_with_the_fix() -> None:
    world = World(unready())
    with pytest.raises(SourceUnready) as caught:
        world.opening(Told()).unfit()
    assert caught.value.hint == "ALTER TABLE"


def test_a_finding_is_told_once_however_often_the_source_is_opened() -> None:
    world, log = World(Finding("warn", "rows", "holds 3 rows", table="public.parcel")), Told()
    opening = world.opening(log)
    for _ in range(3):
        opening.unfit()
    assert len(log.facts("preflight")) == 1


def test_a_signal_asks_to_stop_and_the_second_one_ends_the_process() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with told_to_stop() as stop:
        clock = clock_of(stop)
        assert not clock.stopped()
        signal.raise_signal(signal.SIGTERM)
        assert clock.stopped()
        assert clock.wait(60)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) != signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == before


def test_i9_a_table_that_the_capture_leaves_out_is_not_opened() -> None:
    world = World()
    with world.opening(Told())(None, {"public.parcel"}):
        assert [[t.table for t in tables] for tables in world.opened] == [["letter"]]
