"""An answer is for one flow: a table of the same name elsewhere keeps its stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.cli import places, resolve
from engine.marks import Marks
from engine.source import TableGap
from engine.topic import MemoryTopic

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
