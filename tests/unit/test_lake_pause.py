"""A person lets a flow rest: nothing of it lands, the others go on, and nothing overwrites the wish."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from engine.cli import start
from engine.cli.main import main
from engine.errors import LakeUnreachable
from engine.lake import book, pause
from engine.lake.desk import Gap, Standing
from engine.metrics import LandingMeters
from engine.plan import LanePlan
from engine.state import Pause, State
from engine.supervise import Policy
from tests.support.memory import Told
from tests.unit.test_lake_plans import FLOW
from tests.unit.test_lake_stops import Handed, Time

OTHER = replace(FLOW, name="other", topic=replace(FLOW.topic, name="other"))
ENDS = {FLOW.topic.name: {0: 5}, OTHER.topic.name: {0: 5}}
WISH = Pause(FLOW.name, "ana", "noon", "the table is repaired")


def lane_of(root: Path) -> Handed:
    no_spark: Any = None
    plan, numbers, time = LanePlan("default", "live", (FLOW, OTHER), 1, 0.2), CollectorRegistry(), Time()
    policy = Policy(1, 1, -1, lambda: 0)
    found = Handed(plan, root, no_spark, no_spark, time.clock(), policy, Told(), LandingMeters(numbers))
    found.numbers, found.time = numbers, time
    return found


def handed(lane: Handed) -> list[str]:
    lane.handed.clear()
    lane.time.now_s += 100
    lane.dispatch(ENDS)
    lane.settle()
    return sorted(lane.handed)


def shown_as(lane: Handed, state: str) -> float | None:
    return lane.numbers.get_sample_value("ecluse_landing_state", {"flow": FLOW.name, "state": state})


def test_i9_a_paused_flow_rests_and_the_others_go_on(tmp_path: Path) -> None:
    lane = lane_of(tmp_path)
    assert handed(lane) == sorted([FLOW.name, "other"])
    pause.begin(tmp_path, WISH)
    assert handed(lane) == ["other"]
    assert (shown_as(lane, "paused"), shown_as(lane, "new")) == (1.0, 0.0)
    assert lane.seats[0].shown.state is State.PAUSED
    pause.end(tmp_path, FLOW.name)
    assert handed(lane) == sorted([FLOW.name, "other"])
    assert (shown_as(lane, "paused"), shown_as(lane, "new")) == (0.0, 1.0)


def test_a_pause_outlives_the_landing_and_whatever_the_landing_stores(tmp_path: Path) -> None:
    pause.begin(tmp_path, WISH)
    lane = lane_of(tmp_path)
    lane._failed(lane.seats[0], LakeUnreachable("no space"))  # noqa: SLF001 - of a batch in flight
    assert book.load_state(tmp_path, FLOW.name).state is State.PARKED
    assert handed(lane) == ["other"]
    assert handed(lane_of(tmp_path)) == ["other"]


def test_a_flow_that_stopped_before_it_was_paused_is_found_as_it_was(tmp_path: Path) -> None:
    lane = lane_of(tmp_path)
    lane.seats[0].standing = Standing(FLOW, "a", offsets={0: 5})
    lane.stop_at_gaps(ENDS, {FLOW.name: Gap(1, 24, "it left the publication")})
    stopped = book.load_state(tmp_path, FLOW.name)
    assert stopped.state is State.STOPPED
    pause.begin(tmp_path, WISH)
    assert handed(lane) == ["other"]
    pause.end(tmp_path, FLOW.name)
    assert handed(lane) == ["other"]
    assert book.load_state(tmp_path, FLOW.name) == stopped


def test_a_paused_flow_is_not_stopped_at_a_gap_that_is_told_meanwhile(tmp_path: Path) -> None:
    pause.begin(tmp_path, WISH)
    lane = lane_of(tmp_path)
    lane.seats[0].standing = Standing(FLOW, "a", offsets={0: 5})
    gaps = {FLOW.name: Gap(1, 24, "it left the publication")}
    handed(lane)
    lane.stop_at_gaps(ENDS, gaps)
    assert book.load_state(tmp_path, FLOW.name).state is State.NEW
    pause.end(tmp_path, FLOW.name)
    handed(lane)
    lane.stop_at_gaps(ENDS, gaps)
    assert book.load_state(tmp_path, FLOW.name).state is State.STOPPED


def test_wishes_that_cannot_be_read_stay_as_they_were(tmp_path: Path) -> None:
    pause.begin(tmp_path, WISH)
    lane = lane_of(tmp_path)
    assert handed(lane) == ["other"]
    folder = tmp_path / "_ecluse" / "pauses"
    folder.rename(tmp_path / "kept")
    folder.write_text("no folder")
    assert handed(lane) == ["other"]
    assert lane.log.facts("not-read")
    with pytest.raises(LakeUnreachable):  # who does not know them yet lands nothing
        lane_of(tmp_path)


# --- the verbs


@pytest.fixture
def project(tmp_path: Path) -> Path:
    start.write_project(tmp_path)
    (tmp_path / ".ecluse" / "lake").mkdir(parents=True)
    return tmp_path


Out = pytest.CaptureFixture[str]


def ecluse(project: Path, *words: str) -> int:
    return main(["-p", str(project), *words], environment={})


def test_a_person_pauses_flows_and_resumes_them(project: Path, capsys: Out) -> None:
    lake = project / ".ecluse" / "lake"
    assert ecluse(project, "pause", "shop.parcels", "shop.scans", "--why", "repaired", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [(t["flow"], t["why"], t["paused"], t["changed"]) for t in told] == [
        ("shop.parcels", "repaired", True, True), ("shop.scans", "repaired", True, True),
    ]  # fmt: skip
    assert pause.resting(lake) == {"shop.parcels", "shop.scans"}
    assert ecluse(project, "pause", "shop.parcels", "--why", "another") == 0
    said = capsys.readouterr()
    assert "shop.parcels is paused already" in said.out
    assert said.out.endswith(": repaired\n")  # whose wish it is stays
    assert "30 d 00 h" in said.err
    assert ecluse(project, "status", "shop.parcels") == 0
    assert "shop.parcels: paused by" in capsys.readouterr().out
    assert ecluse(project, "resume", "shop.parcels") == 0
    assert capsys.readouterr().out == "shop.parcels goes on\n"
    assert ecluse(project, "resume", "shop.parcels") == 0
    assert capsys.readouterr().out == "shop.parcels was not paused\n"
    assert pause.resting(lake) == {"shop.scans"}


def test_a_name_that_is_no_flow_pauses_nothing_at_all(project: Path, capsys: Out) -> None:
    assert ecluse(project, "pause", "shop.parcels", "shop.scan") == 2
    assert "shop.scans" in capsys.readouterr().err
    assert ecluse(project, "pause", "shop") == 2
    said = capsys.readouterr().err
    assert "shop is a capture" in said
    assert "ecluse pause shop.customers shop.invoices shop.parcels shop.scans" in said
    assert pause.resting(project / ".ecluse" / "lake") == frozenset()


def test_a_lake_that_is_not_there_is_not_made_for_a_wish(project: Path, capsys: Out) -> None:
    (project / ".ecluse" / "lake").rmdir()
    assert ecluse(project, "pause", "shop.parcels") == 1
    assert "there is no lake yet" in capsys.readouterr().err
    assert not (project / ".ecluse" / "lake").exists()
