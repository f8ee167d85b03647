"""The plan beside what runs: each part for itself, and what is known without it is told all the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.postgres import CONNECTOR
from connectors.postgres.compare import _settings
from engine import plugins
from engine.cli import compose, drift, places, start
from engine.cli.asking import Question
from engine.cli.compose import Call
from engine.cli.main import main
from engine.errors import LakeUnreachable, SourceUnreachable, TopicMismatch
from engine.marks import Found, Marks
from engine.plan import ProjectPlan, TopicPlan, as_json
from engine.registry import HttpRegistry
from engine.source import Need
from engine.topic.admin import Admin
from engine.topic.beside import TopicLook
from engine.watch import runs
from tests.unit.test_watch_lake import ENTRY, book

Out = pytest.CaptureFixture[str]
SQL = 'ALTER PUBLICATION "p" ADD TABLE "public"."parcels"'
NEEDS = (
    Need("slot", "ecluse_demo_shop", "there"),
    Need("published table", "public.parcels", "missing", "joins p", (SQL,)),
    Need("published table", "public.old", "extra", "no flow reads it", ("ALTER PUBLICATION DROP",)),
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose Kafka and registry hold all that it plans, and whose source lacks something."""

    def compare(
        _self: Admin, plans: Sequence[TopicPlan], *, compacted: bool = False
    ) -> Mapping[str, TopicLook]:
        del compacted
        return {plan.name: TopicLook(plan.partitions) for plan in plans}

    start.write_project(tmp_path)
    monkeypatch.setattr(plugins, "load", lambda: {"postgres": replace(CONNECTOR, compare=lambda *_: NEEDS)})
    monkeypatch.setattr(places, "configure", lambda *_: None)
    monkeypatch.setattr(places, "kafka", lambda *_: {})
    monkeypatch.setattr(places, "registry", lambda *_: "http://127.0.0.1:1")
    monkeypatch.setattr(Admin, "compare", compare)
    monkeypatch.setattr(Marks, "all", lambda _: {"shop": Found(None, 1), "gone": Found(None, 1)})
    monkeypatch.setattr(HttpRegistry, "subjects", lambda _, names: dict.fromkeys(names, "BACKWARD"))
    return tmp_path


def ecluse(project: Path, *words: str) -> int:
    return main(["-p", str(project), "plan", *words], environment={})


def built(project: Path) -> ProjectPlan:
    return compose.build(Call(project, {}))


def told(project: Path, capsys: Out, *words: str) -> dict[str, dict[str, tuple[str, str]]]:
    assert ecluse(project, "--json", *words) == 0
    parts = json.loads(capsys.readouterr().out)["parts"]
    return {p["part"]: {n["name"]: (n["standing"], n["text"]) for n in p["needs"]} for p in parts}


def test_what_is_missing_is_told_with_the_sql_that_makes_it_and_no_other(project: Path, capsys: Out) -> None:
    assert ecluse(project) == 0
    said = capsys.readouterr()
    assert "  =  slot             1 as planned" in said.out
    assert "  +  published table  public.parcels: joins p" in said.out
    assert "  -  published table  public.old: no flow reads it" in said.out
    assert said.out.endswith(f"{SQL};\n")
    assert "DROP;" not in said.out
    assert "ecluse_demo_shop" not in said.out
    assert ecluse(project, "--all") == 0
    assert "  =  slot             ecluse_demo_shop" in capsys.readouterr().out


def test_a_plan_that_is_not_what_runs_is_an_exit_code_where_that_is_asked_for(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ecluse(project, "--check") == 4
    monkeypatch.setattr(drift, "parts", lambda *_: [Question("source shop", lambda: NEEDS[:1])])
    assert ecluse(project, "--check") == 0

    def silent() -> Sequence[Need]:
        raise SourceUnreachable("no answer")

    monkeypatch.setattr(drift, "parts", lambda *_: [Question("source shop", silent)])
    assert ecluse(project, "--check") == 4


def test_i9_a_part_that_does_not_answer_is_told_and_the_sql_needs_no_server(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    def silent(*_: Any) -> Any:
        raise SourceUnreachable("no answer", where="shop", hint="is it up?")

    monkeypatch.setattr(plugins, "load", lambda: {"postgres": replace(CONNECTOR, compare=silent)})
    assert ecluse(project) == 0
    said = capsys.readouterr()
    assert "  ?  no answer  source.unreachable: no answer" in said.out
    assert "is it up?" in said.out
    assert 'CREATE PUBLICATION "ecluse_demo_shop" FOR TABLE "public"."customers"' in said.out
    assert "  =  topic" in said.out
    assert "no answer: source shop" in said.err
    assert ecluse(project, "--check") == 4


def test_topics_and_subjects_that_differ_are_told_in_what(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    def compare(
        _self: Admin, plans: Sequence[TopicPlan], *, compacted: bool = False
    ) -> Mapping[str, TopicLook]:
        if compacted:
            return {plan.name: TopicLook(None) for plan in plans}
        few = TopicMismatch("it has 3 partitions", where="t", hint="set topic.partitions to 3")
        looks = (TopicLook(3, (few,)), TopicLook(4, denied=("WRITE",)), TopicLook(None), TopicLook(4))
        return {plan.name: look for plan, look in zip(plans, looks, strict=True)}

    monkeypatch.setattr(Admin, "compare", compare)
    monkeypatch.setattr(HttpRegistry, "subjects", lambda *_: {"shop.public.parcels-value": "NONE"})
    found = told(project, capsys)
    assert found["kafka"] == {
        "shop.public.customers": ("differs", "it has 3 partitions; set topic.partitions to 3"),
        "shop.public.invoices": ("differs", "we may not WRITE"),
        "shop.public.parcels": ("missing", "4 partitions, kept 30 d 00 h"),
        "shop.public.scan_events": ("there", ""),
        "ecluse.demo.marks": ("missing", "1 partition, kept for ever"),
        "shop": ("missing", "has never run"),
    }
    assert found["registry"]["shop.public.parcels-value"][0] == "differs"
    assert found["registry"]["shop.public.parcels-key"] == ("missing", "where the table has a key")


def test_a_capture_that_no_flow_reads_from_any_more_is_told(project: Path, capsys: Out) -> None:
    found = told(project, capsys)["kafka"]
    assert (found["shop"][0], found["gone"][0]) == ("there", "extra")
    assert "drop its slot" in found["gone"][1]


def test_flows_are_new_gone_changed_or_paused(project: Path, capsys: Out) -> None:
    root = project / ".ecluse" / "lake"
    same, other, *_ = built(project).flows
    plans = root / "_ecluse" / "plans"
    plans.mkdir(parents=True)
    was = replace(other, freshness_s=7.0, sink=replace(other.sink, mode="append"))
    for planned in (same, other, was):
        (plans / f"{planned.hash}.json").write_text(as_json(planned))
    for planned in (same, other):
        book(root, replace(ENTRY, flow=planned.name, plan=planned.hash, table=planned.sink.table))
    book(root, replace(ENTRY, flow="shop.gone", plan="unknown", landed_at_us=1_795_000_000_000_000))
    book(root, replace(ENTRY, flow=other.name, plan=was.hash, seq=2, landed_at_us=ENTRY.landed_at_us + 1))
    (root / "_ecluse" / "pauses").mkdir()
    (root / "_ecluse" / "pauses" / "shop.scans.json").write_text('{"by": "ana"}')
    found = told(project, capsys)["lake"]
    assert found[same.name] == ("there", "")
    assert found[other.name] == ("differs", "freshness_s: 7.0 → 2.0, sink.mode: append → scd1")
    assert found["shop.parcels"] == ("missing", "lands in bronze.parcels (scd1)")
    assert found["shop.scans"] == ("missing", "lands in bronze.scan_events (append); paused by ana")
    standing, text = found["shop.gone"]
    assert standing == "extra"
    assert text.startswith("landed in bronze.parcels until 2026-11-18")


def test_a_plan_in_the_lake_that_is_torn_is_told(project: Path) -> None:
    root = project / ".ecluse" / "lake"
    (root / "_ecluse" / "plans").mkdir(parents=True)
    (root / "_ecluse" / "plans" / "p.json").write_text("{")
    book(root, ENTRY)
    with pytest.raises(LakeUnreachable):
        runs.last(str(root))


def test_a_publication_that_tells_less_than_it_should_is_told_with_the_statement() -> None:
    fine = dict.fromkeys(("insert", "update", "delete", "truncate", "via root"), "true") | {
        "all tables": "false"
    }
    assert _settings("p", fine) == Need("publication", "p", "there")
    less = _settings("p", {**fine, "truncate": "false", "via root": "false"})
    assert (less.standing, less.text) == (
        "differs", "leaves out truncate, publishes partitions by their own names",
    )  # fmt: skip
    assert less.statements[0].startswith('ALTER PUBLICATION "p" SET (publish =')
    assert "DROP PUBLICATION" in _settings("p", {**fine, "all tables": "true"}).statements[0]
