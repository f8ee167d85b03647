"""An answer is for what was shown, of one flow or capture, and only where an answer helps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import plugins
from engine.cli import places, resolve
from engine.envelope import Record
from engine.errors import GapSuspected, Missing, SlotMissing, SourceRefused, TemplateInvalid
from engine.lake import answer, book
from engine.marks import Marks
from engine.pump import run
from engine.source import STREAM, TableGap, TableSpec
from engine.state import State
from engine.supervise import Done, Parked
from engine.topic import MemoryTopic
from tests.support.memory import Bench
from tests.support.pumped import marked, stopped_after, stopped_by, tx
from tests.support.scripted import Scripted

TOLD = TableGap("public", "parcel", "source.gap-suspected", 0, 150, "left the publication")


@pytest.fixture
def gaps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Marks:
    """The marks of two captures, each with a gap of its table public.parcel."""
    marks = Marks(MemoryTopic(), "demo", lambda: "now")
    marks.prepare(1)
    for capture in ("shop", "depot"):
        marks.open_gap(capture, TOLD)

    @contextmanager
    def same(*_: Any) -> Iterator[Marks]:
        yield marks

    monkeypatch.setattr(resolve, "_marks", same)
    monkeypatch.setattr(places, "lake_root", lambda *_: tmp_path)
    return marks


def accept_parcel(*, again: bool = False, snapshot: int | None = 0, **said: Any) -> list[dict[str, Any]]:
    """``ecluse resolve parcel --accept-gap``, as ana."""
    table = TableSpec("parcel", "public", "parcel", snapshot=snapshot, said=said)
    plan: Any = SimpleNamespace(flows=[SimpleNamespace(name="parcel", connection="shop", table=table)])
    nobody: Any = None
    return resolve._accept_flow(nobody, plan, "parcel", "ana", "now", again=again)  # noqa: SLF001


def test_i9_accepting_a_gap_accepts_none_of_another_source(gaps: Marks) -> None:
    accept_parcel()
    assert {gap.capture: gap.accepted for gap in gaps.gaps()} == {"shop": True, "depot": False}


def test_a_stop_that_no_answer_helps_says_so_and_nothing_is_accepted(gaps: Marks, tmp_path: Path) -> None:
    stop = book.FlowState("parcel", State.STOPPED, "ledger.disagrees", "rows differ", "seq 4", "look at it")
    book.store_state(tmp_path, stop)
    with pytest.raises(Missing, match=r"ledger\.disagrees: rows differ") as refused:
        accept_parcel()
    assert refused.value.hint == "look at it"
    assert not any(gap.accepted for gap in gaps.gaps())
    assert book.load_state(tmp_path, "parcel") == stop


@pytest.mark.usefixtures("gaps")
@pytest.mark.parametrize("code", sorted(answer.ANSWERABLE))
def test_an_answer_is_for_the_stop_that_was_shown(tmp_path: Path, code: str) -> None:
    book.store_state(tmp_path, book.FlowState("parcel", State.STOPPED, code, "gone", "offsets [3, 5)"))
    told = accept_parcel()[-1]
    assert (told["code"], told["where"]) == (code, "offsets [3, 5)")
    (kept,) = book.load_state(tmp_path, "parcel").accepted
    assert kept.fits(code, "offsets [3, 5)")


@pytest.mark.parametrize(
    "since",
    [
        book.FlowState("parcel", State.STREAMING),
        book.FlowState("parcel", State.STOPPED, "landing.offsets-gone", "gone", "offsets [3, 9)"),
        book.FlowState("parcel", State.PARKED, "lake.unreachable", "no answer"),
    ],
)
def test_what_the_landing_has_found_since_it_was_shown_is_not_answered(
    gaps: Marks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, since: book.FlowState
) -> None:
    stop = book.FlowState("parcel", State.STOPPED, "landing.offsets-gone", "gone", "offsets [3, 5)")
    book.store_state(tmp_path, stop)
    monkeypatch.setattr(resolve, "_say", lambda *_: book.store_state(tmp_path, since))
    with pytest.raises(Missing, match=r"does not stand at landing\.offsets-gone") as refused:
        accept_parcel()
    assert refused.value.hint == "ecluse status parcel"
    assert book.load_state(tmp_path, "parcel") == since
    assert not any(gap.accepted for gap in gaps.gaps())


Accept = Callable[..., dict[str, Any]]


@pytest.fixture
def world() -> Scripted:
    return Scripted([tx(100, 1)], era=2)


@pytest.fixture
def bench(world: Scripted) -> Bench:
    return marked(world)


@pytest.fixture
def marks(bench: Bench) -> Marks:
    return Marks(bench.topic, "demo", lambda: "now")


@pytest.fixture
def accept(bench: Bench, marks: Marks, monkeypatch: pytest.MonkeyPatch) -> Accept:
    """``ecluse resolve shop --accept-gap``, as ana."""

    @contextmanager
    def same(*_: Any) -> Iterator[Marks]:
        yield marks

    still = SimpleNamespace(measure=lambda _: SimpleNamespace(state="inactive"))
    monkeypatch.setattr(resolve, "_marks", same)
    monkeypatch.setattr(resolve, "_registry", lambda *_: bench.registry)
    monkeypatch.setattr(places, "configure", lambda *_: None)
    monkeypatch.setattr(plugins, "load", lambda: {"scripted": still})
    nobody: Any = None
    read = {"parcel": 0, "log": None, "scan": 0}
    specs = (TableSpec("f", "public", name, snapshot=number) for name, number in read.items())
    capture = replace(bench.capture, tables=tuple(specs))

    def accept(*, again: bool = False) -> dict[str, Any]:
        (done,) = resolve._accept_capture(nobody, nobody, capture, "ana", "12:00", again=again)  # noqa: SLF001
        return done

    return accept


def test_a_person_accepts_what_the_capture_said_when_it_stopped_and_it_stays(
    bench: Bench, marks: Marks, accept: Accept, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped_by(bench, SlotMissing("the slot is gone"))
    done = accept()
    assert (done["code"], done["what"], done["first"]) == (
        "source.slot-missing", "the slot is gone", "era 2, after 0/64",
    )  # fmt: skip
    mark = marks.find("shop").mark
    assert mark is not None
    assert mark.at == {STREAM: 100}
    assert json.loads(mark.resume) == {
        "after": 100,
        "accepted": [["source.slot-missing", "the slot is gone"]],
    }
    (kept,) = marks.accepted_stops()
    assert (kept.what, kept.at, kept.accepted_by) == ("the slot is gone", {STREAM: 100}, "ana")
    said = capsys.readouterr().err
    assert "ana accepts source.slot-missing: the slot is gone" in said
    assert "first position at stake: era 2, after 0/64" in said

    stopped_by(bench, GapSuspected("another server"))  # found at the next start, before any new mark
    accept()
    mark = marks.find("shop").mark
    assert mark is not None
    assert [code for code, _ in json.loads(mark.resume)["accepted"]] == [
        "source.slot-missing", "source.gap-suspected",
    ]  # fmt: skip
    assert len(marks.accepted_stops()) == 2


def test_what_is_accepted_is_said_before_anything_is_written(
    bench: Bench, marks: Marks, accept: Accept, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped_by(bench, SlotMissing("the slot is gone"))
    before = marks.find("shop")

    class Down(BaseException):
        pass

    def send(*_: Any) -> None:
        raise Down

    marks.topic.send = send  # type: ignore[method-assign,assignment]
    with pytest.raises(Down):
        accept()
    assert "the slot is gone" in capsys.readouterr().err
    assert marks.find("shop") == before


def test_nothing_is_accepted_where_nothing_has_stopped_or_a_gap_is_not_why(
    bench: Bench, marks: Marks, accept: Accept
) -> None:
    before = marks.find("shop")
    with pytest.raises(Missing, match="nothing has stopped it"):
        accept()
    stopped_by(bench, SourceRefused("the password is wrong", hint="set the secret"))
    with pytest.raises(Missing, match="the password is wrong") as caught:
        accept()
    assert "set the secret" in caught.value.hint
    assert marks.find("shop") == before
    assert marks.accepted_stops() == ()


def test_a_capture_whose_marks_are_lost_begins_again_above_everything_that_it_told(
    world: Scripted, bench: Bench, marks: Marks, accept: Accept
) -> None:
    bench.topic.delete(marks.name)
    assert isinstance(run(bench.capture, bench.doors), Parked)
    assert accept()["era"] == 2
    found = marks.find("shop")
    assert found.epoch == 2  # writer 1 has written to the topics
    assert found.mark is not None
    assert (found.mark.at, found.mark.era) == ({}, 3)
    assert [kept.code for kept in marks.accepted_stops()] == ["source.gap-suspected"]
    world.script.append(tx(200, 2))
    world.era = 3
    bench.clock.stop.clear()
    stopped_after(bench, world)
    assert run(bench.capture, bench.doors) == Done(None)
    assert world.opened[-1] == found.mark

    bench.topic.delete(marks.name)
    bench.topic.delete("shop.public.parcel")
    with pytest.raises(Missing, match="nothing has stopped it"):
        accept()


def test_a_table_is_asked_for_before_its_gap_is_accepted(gaps: Marks, tmp_path: Path) -> None:
    stop = book.FlowState("parcel", State.STOPPED, "landing.offsets-gone", "gone", "offsets [3, 5)")
    book.store_state(tmp_path, stop)
    keys: list[str] = []
    send = gaps.topic.send

    def noted(records: Sequence[Record], *more: Any) -> None:
        keys.extend(
            next(iter(json.loads(key or b"").keys() - {"capture", "table"})) for _, _, key, _ in records
        )
        send(records, *more)

    gaps.topic.send = noted  # type: ignore[method-assign,assignment]
    done = accept_parcel(again=True)
    assert keys == ["again", "gap"]
    assert gaps.asked("shop") == {"public.parcel": 1}
    assert gaps.asked("depot") == {}
    assert [each["read_again"] for each in done] == ["public.parcel"] * 2
    assert {gap.capture: gap.accepted for gap in gaps.gaps()} == {"shop": True, "depot": False}


def test_what_reading_again_does_not_bring_back_is_not_answered_so(gaps: Marks, tmp_path: Path) -> None:
    stop = book.FlowState("parcel", State.STOPPED, "landing.schema-blocked", "a type", "schema 7", "widen it")
    book.store_state(tmp_path, stop)
    with pytest.raises(Missing, match="another reason than a gap"):
        accept_parcel(again=True)
    assert gaps.asked("shop") == {}
    assert not any(gap.accepted for gap in gaps.gaps())


def test_a_table_that_is_never_read_is_not_read_again(gaps: Marks) -> None:
    with pytest.raises(TemplateInvalid, match=r"snapshot\.mode is none"):
        accept_parcel(again=True, snapshot=None)
    assert not any(gap.accepted for gap in gaps.gaps())


def test_a_feed_of_files_has_no_table_to_read_again(gaps: Marks) -> None:
    with pytest.raises(TemplateInvalid, match="no tables to read again") as refused:
        accept_parcel(again=True, snapshot=None, partner="acme")
    assert refused.value.hint == "ecluse resolve parcel --accept-gap"
    assert not any(gap.accepted for gap in gaps.gaps())


def test_a_capture_has_all_its_tables_read_again_that_are_read_at_all(
    bench: Bench, marks: Marks, accept: Accept
) -> None:
    stopped_by(bench, SlotMissing("the slot is gone"))
    told = accept(again=True)
    assert told["read_again"] == "public.parcel, public.scan"
    assert marks.asked("shop") == {"public.parcel": 1, "public.scan": 1}
    assert marks.accepted_stops()
