"""The verbs of somebody who runs a project: look, compare, pause, adopt; on the real services."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.flows import REPOSITORY, World
from tests.support.waits import wait_until
from tests.support.workload import COUNTERS, LISTS

pytestmark = [pytest.mark.stack, pytest.mark.spark]

COUNTED, LISTED = f"{COUNTERS}_now", f"{LISTS}_now"
FLOWS = {
    flow: {"table": f"public.{table}", "sink": flow, "mode": "scd1"}
    for flow, table in ((COUNTED, COUNTERS), (LISTED, LISTS))
}


@pytest.fixture(scope="module")
def world(worlds: Callable[[str], World]) -> World:
    found = worlds("verbs")
    found.write_project(FLOWS)
    return found


@pytest.fixture(autouse=True)
def nothing_shows_the_secret(world: World, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:  # I8
    yield
    shown = capfd.readouterr()
    assert world.canary not in shown.out + shown.err
    for path in (p for p in world.folder.rglob("*") if p.is_file() and p.parent.name != "secrets"):
        assert world.canary.encode() not in path.read_bytes(), path


def said(world: World, *words: str, code: int = 0) -> Any:
    """What a verb prints as JSON."""
    done = world.ecluse(*words, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    assert world.canary not in done.stdout + done.stderr
    return json.loads(done.stdout)


def levels(found: Any, part: str) -> set[str]:
    (its,) = [each for each in found["parts"] if each["part"].startswith(part)]
    return {finding["level"] for finding in its["findings"]}


def needs(found: Any, part: str) -> dict[str, dict[str, Any]]:
    (its,) = [each for each in found["parts"] if each["part"].startswith(part)]
    assert its["error"] is None, its
    return {f"{need['kind']} {need['name']}": need for need in its["needs"]}


def standings(found: Any) -> dict[str, int]:
    every = [need["standing"] for each in found["parts"] for need in each["needs"]]
    return {standing: every.count(standing) for standing in sorted(set(every))}


def landed(world: World, *flows: str) -> None:
    for flow in flows:
        wait_until(lambda flow=flow: world.caught_up(flow), f"{flow} has landed", limit_s=120)  # type: ignore[misc]


def test_a_project_is_looked_at_and_compared_before_it_runs_and_nothing_is_changed(world: World) -> None:
    found = said(world, "doctor")
    assert found["ok"], found
    assert {part["part"] for part in found["parts"]} == {
        f"source {world.name}", "kafka", "registry", "lake", "this machine",
    }  # fmt: skip
    compared = said(world, "plan", "--check", code=4)
    source = needs(compared, "source")
    missing = {name for name, need in source.items() if need["standing"] == "missing"}
    assert missing == {f"publication {slot(world)}", f"slot {slot(world)}"}
    assert {need["standing"] for need in needs(compared, "kafka").values()} == {"missing"}
    assert len(needs(compared, "registry")) == 4
    assert not world.lake.exists()
    with psycopg.connect(world.admin) as admin:
        assert admin.execute("select pubname from pg_publication").fetchall() == []
        slots = "select slot_name from pg_replication_slots where database = %s"
        assert admin.execute(slots, (world.name,)).fetchall() == []


def test_i9_a_part_that_is_broken_is_told_with_its_fix_and_the_others_are_looked_at(world: World) -> None:
    secret, project = world.folder / "secrets" / "walk_password", world.folder / "ecluse.yaml"
    right, text = secret.read_text(), project.read_text()
    spec = json.loads(text)
    spec["spec"]["kafka"]["bootstrap_servers"] = ["127.0.0.1:1"]
    spec["spec"]["registry"]["url"] = "http://127.0.0.1:1"
    try:
        secret.write_text("wrong\n")
        project.write_text(json.dumps(spec))
        done = world.ecluse("doctor", "--json")
        project.write_text(text)
        plan = world.ecluse("plan")
    finally:
        secret.write_text(right)
        project.write_text(text)
    found = json.loads(done.stdout)
    assert done.returncode == 4
    assert "looking at kafka" in done.stderr
    codes = {f["code"]: f["fix"] for part in found["parts"] for f in part["findings"] if f["level"] == "fail"}
    assert {*codes} == {"source.refused", "topic.unreachable", "registry.unreachable"}
    assert all(codes.values())
    assert levels(found, "lake") == {"ok"}
    assert plan.returncode == 0
    assert plan.stdout.count("?  no answer  source.refused") == 1
    assert "no answer: source" in plan.stderr
    assert "CREATE PUBLICATION" in plan.stdout


def test_the_sql_of_the_plan_is_what_the_source_needs(world: World) -> None:
    source = needs(said(world, "plan"), "source")
    with psycopg.connect(world.dsn, autocommit=True) as owner:
        for need in source.values():
            for statement in need["statements"]:
                owner.execute(statement.encode())
    assert {need["standing"] for need in needs(said(world, "plan"), "source").values()} == {"there"}
    assert said(world, "doctor")["ok"]


def test_what_runs_is_as_planned_and_a_paused_flow_rests_while_the_others_go_on(world: World) -> None:
    assert world.ecluse("pause", f"walk.{LISTED}").returncode == 1  # there is no lake yet
    world.lake.mkdir()
    (wish,) = said(world, "pause", f"walk.{LISTED}", "--why", "its table is being repaired")
    assert wish["changed"]
    world.reading_capture()
    world.play(20)
    world.streamed()
    done = world.land()
    assert f"walk.{LISTED} is paused" in done.text()
    assert world.caught_up(COUNTED)
    assert world.ledger(LISTED) == []
    flows = {flow["flow"]: flow for flow in said(world, "status")["flows"]}
    resting = flows[f"walk.{LISTED}"]
    assert (resting["state"], resting["health"]) == ("paused", "OK")
    assert resting["pause"]["why"] == "its table is being repaired"
    assert resting["lag"]["kafka_records"] > 0
    assert resting["lag"]["kafka_s"] > 0

    said(world, "resume", f"walk.{LISTED}")
    landing = world.landing()
    landed(world, LISTED)
    said(world, "pause", f"walk.{COUNTED}")
    wait_until(lambda: "paused" in [e.get("event") for e in landing.events()], "the landing has heard")
    before = world.ledger(COUNTED)
    world.play(20)
    world.streamed()
    landed(world, LISTED)
    assert not world.caught_up(COUNTED)
    assert world.ledger(COUNTED) == before
    said(world, "resume", f"walk.{COUNTED}")
    landed(world, COUNTED)
    assert landing.stop() == 0, landing.text()
    assert standings(said(world, "plan", "--check")) == {"there": 19}
    assert said(world, "doctor")["ok"]


def test_what_differs_from_what_runs_is_told_part_by_part(world: World) -> None:
    with psycopg.connect(world.dsn, autocommit=True) as owner:
        owner.execute(f"alter publication {slot(world)} add table played")
    changed = {COUNTED: {**FLOWS[COUNTED], "mode": "append", "freshness": "1s"}}
    world.write_project({**changed, "more": {"table": "public.played", "sink": "more", "mode": "scd1"}})
    try:
        found = said(world, "plan", "--check", code=4)
    finally:
        world.write_project(FLOWS)
    told = {
        need["name"]: (need["standing"], need["text"])
        for part in found["parts"] for need in part["needs"] if need["standing"] != "there"
    }  # fmt: skip
    assert told[f"public.{LISTS}"][0] == "extra"
    assert told[world.topic("played")][0] == "missing"
    assert told["walk.more"] == ("missing", "lands in bronze.more (scd1)")
    assert told[f"walk.{COUNTED}"] == ("differs", "freshness_s: 0.5 → 1.0, sink.mode: scd1 → append")
    standing, text = told[f"walk.{LISTED}"]
    assert standing == "extra"
    assert f"bronze.{LISTED}" in text
    shown = world.ecluse("plan")
    assert "  -  published table  public.played" in shown.stdout
    with psycopg.connect(world.dsn, autocommit=True) as owner:
        for need in needs(said(world, "plan"), "source").values():
            for statement in need["statements"]:
                owner.execute(statement.encode())
    assert said(world, "plan", "--check")


ODD = (
    'create table "Or der" (id int primary key)',
    'create table "pièce ""€"" $${x}" (id int primary key)',
    "create table keyless (note text)",
    "create table journal (note text)",
    "alter table journal replica identity full",
    "create unlogged table fleeting (id int primary key)",
    "create schema sales",
    f"create table sales.{COUNTERS} (id int, at date, primary key (at, id))",
    "create table part (id int primary key) partition by range (id)",
    "create table part_1 partition of part for values from (0) to (9)",
    "create view looked as select 1 as id",
)


def test_a_project_is_written_from_the_tables_that_a_database_holds(world: World, tmp_path: Path) -> None:
    with psycopg.connect(world.dsn, autocommit=True) as owner:
        for statement in ODD:
            owner.execute(statement.encode())
    parts = dict(p.split("=", 1) for p in world.dsn.split())
    folder = tmp_path / "Adopted-Shop"
    where = f"{parts['host']}:{parts['port']}/{world.name}"
    kept = {k: os.environ[k] for k in ("PATH", "HOME", "LANG") if k in os.environ}
    kept |= {"PYTHONPATH": str(REPOSITORY), "PGPASSWORD": world.canary}

    def ecluse(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "engine.cli", *words]
        done = subprocess.run(command, capture_output=True, text=True, env=kept, check=False, cwd=tmp_path)
        assert world.canary not in done.stdout + done.stderr
        return done

    refused = ecluse("init", "--from", f"postgres://{world.name}:{world.canary}@{where}", str(folder))
    assert refused.returncode == 2
    assert "PGPASSWORD" in refused.stderr
    assert not folder.exists()
    done = ecluse("init", "--from", f"postgres://{world.name}@{where}", "--json", str(folder))
    assert done.returncode == 0, done.stderr
    told = {f"{t['schema']}.{t['table']}": t for t in json.loads(done.stdout)["tables"]}
    flows = {name: t["flow"] for name, t in told.items() if t["flow"]}
    assert flows == {
        f"public.{COUNTERS}": COUNTERS, f"public.{LISTS}": LISTS, "public.played": "played",
        "public.journal": "journal", "public.part": "part", f"sales.{COUNTERS}": f"sales_{COUNTERS}",
    }  # fmt: skip
    assert told["public.journal"]["params"]["mode"] == "append"
    assert told[f"sales.{COUNTERS}"]["params"]["layer"] == "bronze_sales"
    assert told[f"sales.{COUNTERS}"]["key"] == ["at", "id"]
    assert "replica identity" in told["public.keyless"]["reason"]
    assert "unlogged" in told["public.fleeting"]["reason"]
    assert "has no place in the lake" in told["public.Or der"]["reason"]
    assert {"public.part_1", "public.looked"}.isdisjoint(told)
    for path in (p for p in folder.rglob("*") if p.is_file()):
        assert world.canary not in path.read_text(), path
    assert ecluse("-p", str(folder), "lint").returncode == 0
    again = ecluse("init", "--from", f"postgres://{world.name}@{where}", str(folder))
    assert again.returncode == 2

    with psycopg.connect(world.dsn, autocommit=True) as owner:
        text = (folder / "dba.sql").read_text()
        for statement in text.split(";\n"):
            if not any(word in statement for word in ("ALTER SYSTEM", "CREATE ROLE")):
                owner.execute(statement.encode())
    kept[f"ECLUSE_SECRET_{world.name.upper()}_PASSWORD"] = world.canary
    looked = json.loads(ecluse("-p", str(folder), "doctor", "--json").stdout)
    assert "fail" not in levels(looked, "source"), looked


def slot(world: World) -> str:
    """The name of the slot and the publication."""
    from engine import names

    return names.slot(world.name, world.name)
