"""What a capture's opening lets through: nothing is published that preflight has not looked at."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from engine.cli import places
from engine.cli.run import Opening
from engine.errors import EcluseError, GapSuspected, SourceUnreachable, SourceUnready
from engine.plan import CapturePlan
from engine.source import Finding, TableSpec
from tests.support.memory import Told

TABLES = (TableSpec("parcel", "public", "parcel"), TableSpec("town", "public", "town"))


def unfit(*findings: Finding) -> Mapping[str, EcluseError]:
    capture = CapturePlan(
        name="shop", connector="scripted", config={}, tables=TABLES, topics={}, heartbeat_s=30.0,
        queue_bytes_max=1 << 20, mark_interval_s=1.0,
    )  # fmt: skip
    connector: Any = SimpleNamespace(preflight=lambda *_: findings)
    call: Any = nullcontext()
    return Opening(call, capture, connector, Told()).unfit()


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "configure", lambda *_: None)


def not_fit(table: str, text: str = "none") -> Finding:
    return Finding(
        "fail", "replica identity", text, fix=f"ALTER {text}", code=SourceUnready.code, table=table
    )


def test_i9_a_table_that_is_not_fit_is_set_aside_and_the_others_go_on() -> None:
    found = unfit(Finding("ok", "connection", "there"), not_fit("public.town"), not_fit("public.town", "b"))
    assert list(found) == ["public.town"]
    why = found["public.town"]
    assert (why.code, why.what, why.where) == ("source.unready", "public.town: none; public.town: b", "shop")
    assert why.hint == "ALTER none\nALTER b"


def test_a_capture_without_a_single_fit_table_says_so() -> None:
    with pytest.raises(SourceUnready, match=r"public\.parcel: none; public\.town: none"):
        unfit(*(not_fit(f"public.{spec.table}") for spec in TABLES))


@pytest.mark.parametrize("kind", [SourceUnreachable, SourceUnready])
def test_what_could_not_be_looked_at_is_not_published(kind: type[EcluseError]) -> None:
    with pytest.raises(kind):
        unfit(Finding("fail", "connection", "cut off in the middle", code=kind.code))


def test_a_doubt_about_the_slot_is_left_to_the_gap_check_which_knows_the_position() -> None:
    doubt = Finding("fail", "slot", "not ours", code=GapSuspected.code)
    assert unfit(doubt) == {}
