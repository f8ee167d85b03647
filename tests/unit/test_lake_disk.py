"""A lake that takes nothing for a while: its disk is full, or its share is away."""

# ruff: noqa: SLF001

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from engine.errors import GapAhead, LakeUnreachable, OffsetsGone
from engine.lake import book
from engine.lake.book import Book, FlowState
from engine.state import State
from tests.unit.test_lake_plans import FLOW
from tests.unit.test_lake_stops import ENDS, GAP, Handed, lane

__all__ = ["lane"]


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    return monkeypatch


@pytest.mark.usefixtures("full")
def test_a_full_disk_is_a_lake_that_may_come_back_and_leaves_no_draft(tmp_path: Path) -> None:
    with pytest.raises(LakeUnreachable, match="No space left") as told:
        book.store_state(tmp_path, FlowState("f"))
    assert "space" in told.value.hint
    with pytest.raises(LakeUnreachable):
        book.store_plan(tmp_path, FLOW)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_lake_that_is_no_folder_is_unreachable(tmp_path: Path) -> None:
    root = tmp_path / "file"
    root.write_text("")
    for ask in (Book(root).open, lambda: book.load_state(root, "f"), lambda: book.load_plan(root, "h")):
        with pytest.raises(LakeUnreachable):
            ask()


def test_i9_a_state_that_the_lake_does_not_take_ends_no_landing_and_is_told_later(
    lane: Handed, full: pytest.MonkeyPatch
) -> None:
    lane.stop_at_gaps(ENDS, {FLOW.name: GAP})
    assert lane.seats[0].state.code == GapAhead.code
    lane.time.now_s += 10
    lane.dispatch(ENDS, defer=False)  # a stop that nobody has been told of is not answered
    lane.settle()
    assert lane.handed == []
    lane.reconsider({FLOW.name}, GapAhead.code)
    lane._failed(lane.seats[0], OffsetsGone("gone", where="here"))
    log: Any = lane.log
    assert [fact["code"] for fact in log.facts("not-stored")] == [LakeUnreachable.code]
    full.undo()
    lane.dispatch({})
    told = book.load_state(lane.root, FLOW.name)
    assert (told.state, told.code) == (State.STOPPED, OffsetsGone.code)


def test_i9_a_state_that_cannot_be_read_leaves_its_flow_stopped_and_the_others_go_on(
    lane: Handed, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane.stop_at_gaps(ENDS, {FLOW.name: GAP})
    lane.seats[0].at_gap = False

    def away(*_: Any) -> FlowState:
        raise LakeUnreachable("the share is away")

    monkeypatch.setattr(book, "load_state", away)
    lane.dispatch({FLOW.topic.name: {0: 9}}, defer=False)
    lane.settle()
    assert lane.handed == []
    assert lane.seats[0].state.state is State.STOPPED
