"""An answer is for one flow: a table of the same name elsewhere keeps its stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import plugins
from engine.cli import places, resolve
from engine.errors import Missing
from engine.marks import Marks
from engine.pump import run
from engine.source import Mark, TableGap
from engine.supervise import Done, Parked
from engine.topic import MemoryTopic
from tests.support.memory import Bench
from tests.support.pumped import stopped_after, tx
from tests.support.scripted import Scripted

TOLD = TableGap("public", "parcel", "source.gap-suspected", 0, 150, "left the publication")


def test_i9_accepting_a_gap_accepts_none_of_another_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = Marks(MemoryTopic(), "demo", lambda: "now")
    marks.prepare(1)
    for capture in ("shop", "depot"):
        marks.open_gap(capture, TOLD)

    @contextmanager
    def same(*_: Any) -> Iterator[Marks]:
        yield marks

    monkeypatch.setattr(resolve, "_marks", same)
    monkeypatch.setattr(places, "lake_root", lambda *_: tmp_path)
    table = SimpleNamespace(schema="public", table="parcel")
    plan: Any = SimpleNamespace(flows=[SimpleNamespace(name="parcel", connection="shop", table=table)])
    nobody: Any = None
    resolve._accept_flow(nobody, plan, "parcel", "ana", "now")  # noqa: SLF001
    assert {gap.capture: gap.accepted for gap in marks.gaps()} == {"shop": True, "depot": False}


def test_a_capture_whose_marks_are_lost_begins_again_above_everything_that_it_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Scripted([tx(100, 1)], era=2)
    bench = stopped_after(Bench(world.open), world)
    run(bench.capture, bench.doors)
    marks = Marks(bench.topic, "demo", lambda: "now")

    @contextmanager
    def same(*_: Any) -> Iterator[Marks]:
        yield marks

    still = SimpleNamespace(measure=lambda _: SimpleNamespace(state="inactive"))
    monkeypatch.setattr(resolve, "_marks", same)
    monkeypatch.setattr(resolve, "_registry", lambda *_: bench.registry)
    monkeypatch.setattr(places, "configure", lambda *_: None)
    monkeypatch.setattr(plugins, "load", lambda: {"scripted": still})
    nobody: Any = None

    def accept() -> list[dict[str, Any]]:
        return resolve._accept_capture(nobody, nobody, bench.capture, "ana", "12:00")  # noqa: SLF001

    bench.topic.delete(marks.name)
    assert isinstance(run(bench.capture, bench.doors), Parked)
    (done,) = accept()
    assert done["era"] == 3
    found = marks.find("shop")
    assert found.epoch == 2  # writer 1 has written to the topics
    assert found.mark == Mark({}, b'{"accept_gap": true, "accepted_by": "ana", "accepted_at": "12:00"}', 3)
    world.script.append(tx(200, 2))
    world.era = 3
    bench.clock.stop.clear()
    stopped_after(bench, world)
    assert run(bench.capture, bench.doors) == Done(None)
    assert world.opened[-1] == found.mark

    bench.topic.delete(marks.name)
    bench.topic.delete("shop.public.parcel")
    with pytest.raises(Missing, match="never ran"):
        accept()
