"""On a terminal that is not high the newest line is seen: the old ones make room, not the new ones."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from engine.cli.stage import Stage
from engine.watch.observe import Look
from tests.unit.test_demo_acts import FLOW

HEIGHT = 24


@pytest.mark.parametrize("flows", [1, 5])
def test_the_newest_line_is_seen_on_a_small_terminal(flows: int) -> None:
    out = StringIO()
    console = Console(file=out, width=100, height=HEIGHT, force_terminal=True)
    eyes: Any = SimpleNamespace(look=Look(0, tuple(replace(FLOW, flow=f"shop.f{n}") for n in range(flows))))
    crew: Any = SimpleNamespace(workers=[], tick=list)
    with Stage(crew, eyes, changes=dict, console=console) as stage:
        for n in range(30):
            stage.say(f"line {n}.")
        stage.step()
        shown = out.getvalue()
    assert f"shop.f{flows - 1}" in shown
    assert "line 29." in shown
    assert "line 2." not in shown
