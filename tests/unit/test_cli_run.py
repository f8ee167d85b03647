"""What a capture's opening lets through: nothing is published that preflight has not looked at."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from engine.cli.run import Opening
from engine.errors import EcluseError, GapSuspected, SourceUnreachable, SourceUnready
from engine.plan import CapturePlan
from engine.source import Finding, TableSpec
from tests.support.memory import Told

TABLES = (TableSpec("parcel", "public", "parcel"), TableSpec("town", "public", "town"))


def opening(log: Told) -> Opening:
    capture = CapturePlan(
        name="shop", connector="scripted", config={}, tables=TABLES, topics={}, heartbeat_s=30.0,
        queue_bytes_max=1 << 20, mark_interval_s=1.0,
    )  # fmt: skip
    connector: Any = nullcontext()
    call: Any = nullcontext()
    return Opening(call, capture, connector, log)


def fit(*findings: Finding) -> Sequence[TableSpec]:
    return opening(Told()).fit(findings)


def test_i9_a_table_that_is_not_fit_is_set_aside_and_the_others_go_on() -> None:
    unfit = Finding("fail", "replica identity", "none", code=SourceUnready.code, table="public.town")
    assert fit(Finding("ok", "connection", "there"), unfit) == [TABLES[0]]


def test_a_capture_without_a_single_fit_table_says_so() -> None:
    unfit = [
        Finding("fail", "table", "gone", code=SourceUnready.code, table=f"public.{spec.table}")
        for spec in TABLES
    ]
    with pytest.raises(SourceUnready):
        fit(*unfit)


@pytest.mark.parametrize("kind", [SourceUnreachable, SourceUnready])
def test_what_could_not_be_looked_at_is_not_published(kind: type[EcluseError]) -> None:
    with pytest.raises(kind):
        fit(Finding("fail", "connection", "cut off in the middle", code=kind.code))


def test_a_doubt_about_the_slot_is_left_to_the_gap_check_which_knows_the_position() -> None:
    doubt = Finding("fail", "slot", "not ours", code=GapSuspected.code)
    assert fit(doubt) == list(TABLES)
