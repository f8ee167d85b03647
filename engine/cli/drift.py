"""The verb that compares the plan with what runs: plan.

Rule: it only reads. Every part is asked for itself; where one does not answer, that is said, and what can be
told without it is told all the same: the SQL of a capture needs no server. What needs nothing but the files
is ``render``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final

import typer

from engine import plugins
from engine.cli import compose, places, screen, show
from engine.cli.asking import LIMIT_S, Question, ask, way_out
from engine.cli.compose import Call
from engine.cli.look import Json
from engine.errors import Unmet
from engine.marks import Marks, marks_plan
from engine.names import subject
from engine.plan import CapturePlan, ProjectPlan, TopicPlan, changed
from engine.registry import COMPATIBILITY, HttpRegistry
from engine.source import Need, Standing
from engine.template.mistakes import count

PANEL: Final = "Change"
_MARKS: Final[Mapping[Standing, str]] = {"there": "=", "missing": "+", "differs": "~", "extra": "-"}
_SOURCE: Final = "source "


def add(app: typer.Typer) -> None:
    """Put this verb into the application."""
    app.command("plan", rich_help_panel=PANEL)(plan)


def plan(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also what is as planned, one by one.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 4 unless everything is as planned.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare the plan with what runs, and print the SQL that a DBA would run. Changes nothing.

    = as planned, + to be made, ~ differs, - there and in no flow.
    """
    call: Call = context.obj
    built = compose.build(call)
    questions = parts(call, built)
    ask(questions, limit_s=LIMIT_S)
    sql = {f"{_SOURCE}{c.name}": _sql(c, questions) for c in built.captures if c.tables}
    if as_json:
        show.data({"parts": [
            {"part": q.name, "needs": [asdict(need) for need in q.answers],
             "error": q.error.as_dict() if q.error else None, "sql": sql.get(q.name, [])}
            for q in questions
        ]})  # fmt: skip
    else:
        for question in questions:
            show.listing(question.name, [*_rows(question, everything=everything)])
        for name, statements in sql.items():
            _script(name, statements)
    standings = [need.standing for q in questions for need in q.answers]
    silent = [q.name for q in questions if q.error]
    show.note(_summary(standings, silent))
    if check and (silent or set(standings) - {"there"}):
        raise Unmet(
            "the plan is not what runs", where=str(call.folder), hint="see what + ~ - and ? say above"
        )


def _rows(question: Question[Need], *, everything: bool) -> Iterator[show.Row]:
    same = [need.kind for need in question.answers if need.standing == "there"]
    if not everything:
        for kind in dict.fromkeys(same):
            yield "=", [(kind, f"{same.count(kind)} as planned")]
    for need in question.answers:
        if everything or need.standing != "there":
            text = f"{need.name}: {need.text}" if need.text else need.name
            yield _MARKS[need.standing], [(need.kind, text)]
    if question.error:
        fixes = [("", line) for line in way_out(question.error).splitlines()]
        yield "?", [("no answer", f"{question.error.code}: {question.error.what}"), *fixes]
    elif not question.answers:
        yield "=", [("", "nothing is planned here")]


def _sql(capture: CapturePlan, questions: Sequence[Question[Need]]) -> list[str]:
    """What a DBA would run: what is missing, or all of it where the server does not say."""
    (mine,) = [q for q in questions if q.name == f"{_SOURCE}{capture.name}"]
    if mine.error is None:
        return [s for need in mine.answers if need.standing != "extra" for s in need.statements]
    return list(plugins.load()[capture.connector].provision(compose.unopened(capture), capture.tables))


def _script(name: str, statements: Sequence[str]) -> None:
    if statements:
        show.line("")
        show.line(f"-- {name}: the first start runs what its role may, a DBA the rest")
    for statement in statements:
        for text in f"{statement};".splitlines():
            show.line(text)


def _summary(standings: Sequence[Standing], silent: Sequence[str]) -> str:
    words = {"there": "as planned", "missing": "to be made", "differs": "differ", "extra": "in no flow"}
    counts = ", ".join(f"{standings.count(s)} {word}" for s, word in words.items() if standings.count(s))
    return (counts or "nothing is known") + (f"; no answer: {', '.join(silent)}" if silent else "")


# --- the parts -------------------------------------------------------------------------------------------


def parts(call: Call, built: ProjectPlan) -> list[Question[Need]]:
    """Everything that the plan would make somewhere."""
    sources = [Question(f"{_SOURCE}{c.name}", partial(_source, call, c)) for c in built.captures if c.tables]
    return [
        *sources,
        Question("kafka", partial(_kafka, call, built)),
        Question("registry", partial(_registry, call, built)),
        Question("lake", partial(_lake, call, built)),
    ]


def _source(call: Call, capture: CapturePlan) -> Sequence[Need]:
    connector = plugins.load()[capture.connector]
    return connector.compare(places.configure(call, capture), capture.tables)


def _kafka(call: Call, built: ProjectPlan) -> Iterator[Need]:
    from engine.cli.doors import iso_now
    from engine.topic import KafkaTopic
    from engine.topic.admin import Admin

    options = places.kafka(call, built)
    admin = Admin(options)
    for name, look in admin.compare(list(built.topics.values())).items():
        yield _topic(built.topics[name], look)
    own = marks_plan(built.name, -1)
    (look,) = admin.compare([own], compacted=True).values()
    yield _topic(own, look)
    names = {capture.name for capture in built.captures if capture.tables}
    with closing(KafkaTopic(options)) as topic:
        known = Marks(topic, built.name, iso_now).all() if look.partitions else {}
    for name in sorted({*names, *known}):
        if name not in known:
            yield Need("capture", name, "missing", "has never run")
        elif name not in names:
            yield Need(
                "capture", name, "extra", "has marks, and no flow reads from it: drop its slot in the source"
            )
        else:
            yield Need("capture", name, "there")


def _topic(planned: TopicPlan, look: Any) -> Need:
    troubles = [f"{trouble.what}; {trouble.hint}" for trouble in look.troubles]
    troubles += [f"we may not {', '.join(look.denied)}"] if look.denied else []
    if troubles:
        return Need("topic", planned.name, "differs", "; ".join(troubles))
    if look.partitions is not None:
        return Need("topic", planned.name, "there")
    kept = (
        "kept for ever" if planned.retention_ms < 0 else f"kept {screen.seconds(planned.retention_ms / 1000)}"
    )
    kept = "compacted" if planned.compact else kept
    return Need("topic", planned.name, "missing", f"{count(planned.partitions, 'partition')}, {kept}")


def _registry(call: Call, built: ProjectPlan) -> Iterator[Need]:
    topics = sorted(built.topics)
    wanted = [subject(topic, part, 1) for topic in topics for part in ("key", "value")]
    found = HttpRegistry(places.registry(call, built)).subjects(wanted)
    for name in wanted:
        level = found.get(name)
        if level is None:
            text = "where the table has a key" if name.endswith("-key") else f"compatibility {COMPATIBILITY}"
            yield Need("subject", name, "missing", text)
        elif level not in ("", COMPATIBILITY):
            yield Need("subject", name, "differs", f"is {level}; the capture makes it {COMPATIBILITY}")
        else:
            yield Need("subject", name, "there")


def _lake(call: Call, built: ProjectPlan) -> Iterator[Need]:
    from engine.watch import lake, runs

    root = places.lake_root(call, built)
    landed, paused = runs.last(root), lake.pauses(root)
    for flow in built.flows:
        run = landed.get(flow.name)
        rests = f"paused by {paused[flow.name].by or 'somebody'}" if flow.name in paused else ""
        if run is None:
            text = f"lands in {flow.sink.table} ({flow.sink.mode})"
            yield Need("flow", flow.name, "missing", _both(text, rests))
            continue
        new = [] if run.plan is None else changed(run.plan, flow)
        text = ", ".join(f"{path}: {then} → {now}" for path, then, now in new)
        standing: Standing = "differs" if new or rests else "there"
        yield Need("flow", flow.name, standing, _both(text, rests))
    for name in sorted(landed.keys() - {flow.name for flow in built.flows}):
        at = datetime.fromtimestamp(landed[name].landed_at_us / 1e6, UTC)
        text = f"landed in {landed[name].table} until {at:%Y-%m-%d %H:%M}; its table stays"
        yield Need("flow", name, "extra", text)


def _both(one: str, other: str) -> str:
    return "; ".join(text for text in (one, other) if text)
