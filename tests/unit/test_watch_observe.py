"""A look at a project asks each part by itself; a part that is silent takes only its own numbers with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.checks import Check, NotNull, OnFail
from engine.cli import compose, screen
from engine.cli.compose import Call
from engine.cli.main import main
from engine.errors import LakeUnreachable, SourceUnreachable, TopicUnreachable
from engine.marks import Stop, TableReading
from engine.plan import FlowPlan, ProjectPlan
from engine.source import Measure
from engine.state import State
from engine.watch import observe, stale
from engine.watch.lag import Health
from engine.watch.observe import Bounds, Doors, MarkReading, OpenGap

NOW = 1_800_000_000_000_000


@pytest.fixture
def plan(tmp_path: Path) -> ProjectPlan:
    main(["init", str(tmp_path / "mine")], environment={})
    return compose.build(Call(tmp_path / "mine", {}))


def doors(tmp_path: Path, **given: Any) -> Doors:
    def bounds(names: Sequence[str]) -> Bounds:
        return {name: {0: (0, 0)} for name in names}

    def marks() -> Mapping[str, MarkReading]:
        return {"shop": MarkReading(1_000_000, NOW - 400_000)}

    answers: dict[str, Any] = {
        "measure": lambda _: Measure("active", end=1_050_000, retained_bytes=77),
        "bounds": bounds,
        "marks": marks,
        "gaps": dict,
        "stops": dict,
        "accepted": tuple,
        "readings": tuple,
        "kafka": {},
        "lake": str(tmp_path),
    }
    return Doors(**{**answers, **given})


def test_a_project_whose_parts_all_answer_is_known_in_every_number(plan: ProjectPlan, tmp_path: Path) -> None:
    found = observe.look(plan, doors(tmp_path), now_us=NOW)
    assert found.silent == {}
    assert {flow.health for flow in found.flows} == {Health.OK}
    assert {flow.lag.source_s for flow in found.flows} == {0.4}
    assert {flow.lag.source_bytes for flow in found.flows} == {77}
    assert {flow.lag.kafka_records for flow in found.flows} == {0}


@pytest.mark.parametrize("skew_s", [-40, 40])
def test_two_clocks_that_disagree_are_no_lag(plan: ProjectPlan, tmp_path: Path, skew_s: int) -> None:
    at_us = NOW + skew_s * 1_000_000

    def measure(_: str) -> Measure:
        return Measure("active", end=1_050_000, at_us=at_us)

    def marks() -> Mapping[str, MarkReading]:
        return {"shop": MarkReading(1_000_000, at_us - 400_000)}

    found = observe.look(plan, doors(tmp_path, measure=measure, marks=marks), now_us=NOW)
    assert {flow.lag.source_s for flow in found.flows} == {0.4}
    assert {flow.health for flow in found.flows} == {Health.OK}


@pytest.mark.parametrize(
    ("waits", "since_us", "lag_s", "health"),
    [
        (0, None, 0.0, Health.OK),
        (7, NOW - 3_000_000, 3.0, Health.OK),
        (7, NOW - 90_000_000, 90.0, Health.UNKNOWN),
    ],
)
def test_of_a_source_without_an_end_what_waits_there_is_its_lag(
    plan: ProjectPlan, tmp_path: Path, *, waits: int, since_us: int | None, lag_s: float, health: Health
) -> None:
    given = doors(
        tmp_path, measure=lambda _: Measure("there", waits_bytes=waits, waits_since_us=since_us), marks=dict
    )
    found = observe.look(plan, given, now_us=NOW)
    assert {flow.lag.source_s for flow in found.flows} == {lag_s}
    assert {flow.health for flow in found.flows} == {health}


def test_an_open_gap_is_shown_with_what_it_waits_for_i5(plan: ProjectPlan, tmp_path: Path) -> None:
    name = plan.flows[0].name
    gap = OpenGap("source.gap-suspected", "the table left the publication", "1.150", f"ecluse resolve {name}")
    found = observe.look(plan, doors(tmp_path, gaps=lambda: {name: gap}), now_us=NOW)
    shown = {flow.flow: (flow.gap, flow.health) for flow in found.flows}
    assert shown.pop(name) == (gap, Health.STALLED)
    assert set(shown.values()) == {(None, Health.OK)}
    told = next(flow for flow in found.flows if flow.flow == name).as_dict()["gap"]
    assert told == {"code": gap.code, "text": gap.text, "first": "1.150", "hint": gap.hint}


STOP = Stop(
    "shop", "source.slot-missing", "it is gone", "shop", "ecluse resolve shop", "t1", "era 0, after 9"
)


@pytest.mark.parametrize(
    ("source", "marked", "stop", "state", "next_"),
    [
        ("active", True, None, "running", ""),
        ("inactive", True, None, "not running", "ecluse run capture shop"),
        ("missing", False, None, "never ran", "ecluse run capture shop"),
        ("unreachable", True, None, "unknown", ""),
        ("there", True, None, "unknown", ""),
        ("there", False, None, "never ran", "ecluse run capture shop"),
        ("unreachable", True, STOP, "stopped", "ecluse resolve shop"),
        ("missing", True, STOP, "stopped", "ecluse resolve shop"),
        ("missing", True, replace(STOP, accepted_by="ana"), "stopped", "ecluse run capture shop"),
        ("active", True, replace(STOP, code="source.slot-busy"), "running", "ecluse resolve shop"),
        ("inactive", True, replace(STOP, code="source.slot-busy"), "stopped", "ecluse resolve shop"),
    ],
)
def test_a_capture_is_shown_with_what_stands_in_its_way(
    plan: ProjectPlan, tmp_path: Path, source: str, *, marked: bool, stop: Stop | None, state: str, next_: str
) -> None:
    given: dict[str, Any] = {
        "measure": lambda _: Measure(source),
        "stops": lambda: {"shop": stop} if stop else {},
    }
    if not marked:
        given["marks"] = dict
    (shown,) = observe.look(plan, doors(tmp_path, **given), now_us=NOW).captures
    told = shown.as_dict()
    assert (told["capture"], told["state"], told["next"]) == ("shop", state, next_)
    assert told["position"] == (1_000_000 if marked else None)
    assert (told["code"], told["first"]) == ((stop.code, stop.first) if stop else (None, None))


def test_a_stop_that_a_person_accepted_is_shown_after_the_capture_streams_again(
    plan: ProjectPlan, tmp_path: Path
) -> None:
    taken = replace(STOP, accepted_by="ana", accepted_at="t2")
    given = doors(tmp_path, accepted=lambda: (taken, replace(taken, capture="another")))
    (shown,) = observe.look(plan, given, now_us=NOW).captures
    assert shown.state == "running"
    assert [(a["code"], a["first"], a["accepted_by"]) for a in shown.as_dict()["accepted"]] == [
        ("source.slot-missing", "era 0, after 9", "ana")
    ]
    assert list(screen.stops([shown])) == ["shop: source.slot-missing accepted by ana, t2: era 0, after 9"]


def test_accepted_stops_that_cannot_be_read_are_not_taken_for_none(plan: ProjectPlan, tmp_path: Path) -> None:
    def accepted() -> Sequence[Stop]:
        raise TopicUnreachable("no answer")

    (shown,) = observe.look(plan, doors(tmp_path, accepted=accepted), now_us=NOW).captures
    assert shown.as_dict()["accepted"] is None


def test_a_capture_whose_stops_cannot_be_read_is_unknown_unless_its_source_is_read(
    plan: ProjectPlan, tmp_path: Path
) -> None:
    def stops() -> Mapping[str, Stop]:
        raise TopicUnreachable("no answer")

    for source, state in (("active", "running"), ("inactive", "unknown")):
        given = doors(tmp_path, stops=stops, measure=lambda _, said=source: Measure(said))
        found = observe.look(plan, given, now_us=NOW)
        assert [c.state for c in found.captures] == [state]
        assert list(found.silent) == ["stops"]


def test_a_flow_that_a_person_let_rest_is_shown_with_what_waits_and_alarms_nobody(
    plan: ProjectPlan, tmp_path: Path
) -> None:
    flow = plan.flows[0]
    (tmp_path / "_ecluse" / "pauses").mkdir(parents=True)
    wish = {"by": "ana", "at": "t1", "why": "the table is repaired"}
    (tmp_path / "_ecluse" / "pauses" / f"{flow.name}.json").write_text(json.dumps(wish))
    gap = OpenGap("source.gap-suspected", "the table left the publication", "1.150", "ecluse resolve")
    given = doors(
        tmp_path,
        gaps=lambda: {flow.name: gap},
        bounds=lambda names: {name: {0: (0, 1200)} for name in names},
    )
    resting, *others = observe.look(plan, given, now_us=NOW).flows
    assert (resting.state, resting.health) == (State.PAUSED, Health.OK)
    assert {flow.health for flow in others} == {Health.UNKNOWN}  # as much waits, and nobody asked for that
    assert resting.as_dict()["pause"] == {"flow": flow.name, **wish}
    assert list(screen.resting(resting)) == [
        f"{flow.name}: paused by ana, t1: the table is repaired",
        "  waits 1 200 records",
        f"  next ecluse resume {flow.name}",
    ]
    assert [text for flow in others for text in screen.resting(flow)] == []


@pytest.mark.parametrize("words", ["", "{", "[1]", '{"by": 7, "why": null}'])
def test_a_pause_whose_words_nobody_can_read_is_a_pause(
    plan: ProjectPlan, tmp_path: Path, words: str
) -> None:
    (tmp_path / "_ecluse" / "pauses").mkdir(parents=True)
    (tmp_path / "_ecluse" / "pauses" / f"{plan.flows[0].name}.json").write_text(words)
    found = observe.look(plan, doors(tmp_path), now_us=NOW)
    assert [flow.state for flow in found.flows] == [State.PAUSED, State.NEW, State.NEW, State.NEW]


def test_gaps_that_cannot_be_read_are_not_taken_for_none(plan: ProjectPlan, tmp_path: Path) -> None:
    def gaps() -> Mapping[str, OpenGap]:
        raise TopicUnreachable("no answer")

    found = observe.look(plan, doors(tmp_path, gaps=gaps), now_us=NOW)
    assert list(found.silent) == ["gaps"]


def test_a_source_that_is_silent_leaves_kafka_and_lake_known(plan: ProjectPlan, tmp_path: Path) -> None:
    def measure(_: str) -> Measure:
        raise SourceUnreachable("no answer")

    found = observe.look(plan, doors(tmp_path, measure=measure), now_us=NOW)
    assert list(found.silent) == ["source shop"]
    assert {(flow.lag.source_s, flow.lag.kafka_records) for flow in found.flows} == {(None, 0)}
    assert {flow.health for flow in found.flows} == {Health.UNKNOWN}


def test_a_kafka_that_is_silent_is_asked_once(plan: ProjectPlan, tmp_path: Path) -> None:
    asked = []

    def bounds(_: Sequence[str]) -> Bounds:
        asked.append("bounds")
        raise TopicUnreachable("no broker answers")

    def marks() -> Mapping[str, MarkReading]:
        asked.append("marks")
        return {}

    found = observe.look(plan, doors(tmp_path, bounds=bounds, marks=marks), now_us=NOW)
    assert asked == ["bounds"]
    assert {flow.in_kafka for flow in found.flows} == {None}
    assert {flow.health for flow in found.flows} == {Health.UNKNOWN}


def test_a_topic_that_does_not_exist_yet_is_unknown(plan: ProjectPlan, tmp_path: Path) -> None:
    found = observe.look(plan, doors(tmp_path, bounds=lambda _: {}), now_us=NOW)
    assert {flow.lag.kafka_records for flow in found.flows} == {None}


def test_the_look_prints_as_json_with_null_for_unknown(plan: ProjectPlan, tmp_path: Path) -> None:
    found = observe.look(plan, doors(tmp_path, bounds=lambda _: {}), now_us=NOW)
    assert found.flows[0].as_dict()["lag"]["kafka_records"] is None
    assert found.flows[0].as_dict()["behind_s"] is None


def test_a_table_that_is_read_is_shown_with_its_rows_and_the_time_left(
    plan: ProjectPlan, tmp_path: Path
) -> None:
    reading = TableReading("shop", "public.parcel", 1_200_000, 5_000_000, 95.0, "", "t1")
    held = replace(
        reading, table="public.scan", expected=None, left_s=None, waits_for="open writers: process 7"
    )
    found = observe.look(plan, doors(tmp_path, readings=lambda: (reading, held)), now_us=NOW)
    assert list(screen.readings(found.captures)) == [
        "shop: reading public.parcel: 1 200 000 rows of about 5 000 000 (24%), 1 min 35 left",
        "shop: reading public.scan: 1 200 000 rows",
        "  waits for open writers: process 7, t1",
    ]
    (shown,) = found.captures
    assert [r["rows"] for r in shown.as_dict()["readings"]] == [1_200_000, 1_200_000]


def test_keys_that_wait_are_asked_for_only_where_something_is_in_quarantine_and_a_silent_lake_knows_none(
    plan: ProjectPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = observe.look(plan, doors(tmp_path), now_us=NOW)
    name, asked = found.flows[0].flow, list[str]()

    def silent(_root: str, flow: FlowPlan) -> int:
        asked.append(flow.name)
        raise LakeUnreachable("no answer")

    monkeypatch.setattr(stale, "keys", silent)
    for quarantined, keys in ((3, None), (0, 0)):
        first = replace(found.flows[0], quarantined=quarantined)
        look = replace(found, flows=(first, *found.flows[1:]))
        assert observe.stale_keys(plan, str(tmp_path), look)[name] == keys
    assert asked.count(name) == 1


def test_rows_that_failed_checks_are_shown_with_what_becomes_of_them(plan: ProjectPlan) -> None:
    checks = (Check("heavy", OnFail.WARN, NotNull(("id",))), Check("late", OnFail.DROP, NotNull(("id",))))
    flow = replace(plan.flows[0], checks=checks)
    assert list(screen.failures(flow, {"late": 1, "heavy": 12, "gone": 3})) == [
        f"{flow.name}: 12 rows failed heavy (warn)",
        f"{flow.name}: 3 rows failed gone (not any more)",
        f"{flow.name}: 1 row failed late (drop)",
    ]
