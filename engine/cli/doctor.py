"""The verb that asks of every part whether it would run: doctor.

Rule: it changes nothing. Every look stands for itself: one that fails, or gives no answer in time, is a
finding with its fix, and the others go on (I9). No text of a finding holds a secret (I8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import typer

from engine import plugins
from engine.cli import compose, places, screen, show
from engine.cli.asking import LIMIT_S, Question, ask, failure, way_out
from engine.cli.compose import Call
from engine.cli.look import PANEL, Json, project_option
from engine.errors import EcluseError, StackFailed, Unmet
from engine.marks import marks_plan
from engine.names import subject
from engine.plan import CapturePlan, ProjectPlan
from engine.registry import COMPATIBILITY, HttpRegistry
from engine.source import Finding
from engine.template.mistakes import count

Look = Callable[[], Iterable[Finding]]
Looks = Mapping[str, Look]
"""By the name of what is looked at."""


def add(app: typer.Typer) -> None:
    """Put this verb into the application."""
    app.command("doctor", rich_help_panel=PANEL)(doctor)


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Look at source, Kafka, registry, lake and this machine: what is in the way, and its fix.

    Changes nothing. Exit code 4 when a look fails.
    """
    call: Call = context.obj
    plan = compose.build(call)
    found = examine(parts(call, plan))
    levels = [finding.level for _, findings in found for finding in findings]
    failed = levels.count("fail")
    if as_json:
        show.data({
            "ok": not failed, "looks": len(levels), "failed": failed, "warned": levels.count("warn"),
            "parts": [{"part": name, "findings": [asdict(f) for f in each]} for name, each in found],
        })  # fmt: skip
    else:
        for name, findings in found:
            show.listing(name, [_row(finding) for finding in findings])
        show.note(screen.tally(levels))
    if failed:
        hint = f"mend what is told above, then: ecluse{project_option(call)} doctor"
        raise Unmet(f"{failed} of {len(levels)} looks failed", where=str(call.folder), hint=hint)


def _row(finding: Finding) -> show.Row:
    fixes = finding.fix.splitlines()
    labels = ["fix", *[""] * len(fixes)]
    mark = "FAIL" if finding.level == "fail" else finding.level
    return mark.ljust(4), [(finding.subject, finding.text), *zip(labels, fixes, strict=False)]


def examine(wanted: Mapping[str, Looks], *, limit_s: float = LIMIT_S) -> list[tuple[str, list[Finding]]]:
    """Look at all parts at once; a part that gives no answer in time is told with what it has found."""
    questions = [Question(name, partial(_look, looks)) for name, looks in wanted.items()]
    ask(questions, limit_s=limit_s)
    return [
        (q.name, [*q.answers, *([] if q.error is None else [_failed("time", q.error)])]) for q in questions
    ]


def _look(looks: Looks) -> Iterator[Finding]:
    """Everything that the looks of a part find; the failure of one is a finding."""
    for name, look in looks.items():
        found: list[Finding] = []
        error = failure(name, partial(_extend, found, look))
        yield from found
        if error is not None:
            yield _failed(name, error)


def _extend(found: list[Finding], look: Look) -> None:
    found.extend(look())  # what came before a failure stays


def _failed(subject_: str, error: EcluseError) -> Finding:
    return Finding("fail", subject_, error.what, fix=way_out(error), code=error.code)


# --- the parts -------------------------------------------------------------------------------------------


def parts(call: Call, plan: ProjectPlan) -> dict[str, Looks]:
    """Everything that a project touches."""
    from engine.embedded import fitness as machine
    from engine.embedded.stack import cache_folder
    from engine.watch import fitness as lake

    root, scratch = Path(places.lake_root(call, plan)), places.state_folder(call) / "spark"
    cache = cache_folder(call.environment)
    sources = {
        f"source {c.name}": {"connection": partial(_source, call, c)} for c in plan.captures if c.tables
    }
    return {
        **sources,
        "kafka": {"brokers": partial(_kafka, call, plan)},
        "registry": {"registry": partial(_registry, call, plan)},
        "lake": lake.looks(root, plan.flows, scratch),
        "this machine": {"landing": partial(machine.look, cache, call.environment)},
    }


def _source(call: Call, capture: CapturePlan) -> Iterable[Finding]:
    if capture.config.get("host") == places.EMBEDDED and not places.runs(call, "postgres"):
        return [_at_rest("connection", "sample database")]
    config = places.configure(call, capture)
    return plugins.load()[capture.connector].preflight(config, capture.tables)


def _at_rest(subject_: str, what: str) -> Finding:
    """A part of the embedded stack that nobody has started: no trouble, and nothing to look at."""
    text = f"the embedded {what} does not run"
    return Finding("warn", subject_, text, fix="ecluse up starts it", code=StackFailed.code)


def _kafka(call: Call, plan: ProjectPlan) -> Iterator[Finding]:
    from engine.topic.admin import Admin

    if not plan.kafka.bootstrap_servers and not places.runs(call, "kafka"):
        yield _at_rest("brokers", "Kafka")
        return
    options = places.kafka(call, plan)
    admin = Admin(options)
    looks = dict(admin.compare(list(plan.topics.values())))
    yield Finding("ok", "brokers", f"{options['bootstrap.servers']} answers")
    marks = marks_plan(plan.name, -1)
    looks |= admin.compare([marks], compacted=True)
    kept = {marks.name, *(name for name, planned in plan.topics.items() if planned.compact)}
    for name, look in looks.items():
        yield from _topic(name, look, ", compacted" if name in kept else "")


def _topic(name: str, look: Any, how: str) -> Iterator[Finding]:
    for trouble in look.troubles:
        yield Finding("fail", "topic", trouble.what, fix=trouble.hint, code=trouble.code)
    if look.denied:
        what = f"{name}: we may not {', '.join(look.denied)}"
        fix = f"kafka-acls.sh --add --topic {name} " + " ".join(f"--operation {o}" for o in look.denied)
        yield Finding("fail", "topic", what, fix=fix, code="topic.refused")
    if look.leaderless:
        which = ", ".join(str(n) for n in look.leaderless)
        yield Finding("fail", "topic", f"{name}: nobody leads partition {which}", code="topic.unreachable",
                      fix="start the brokers that hold it")  # fmt: skip
    if look.troubles or look.denied or look.leaderless:
        return
    if look.partitions is None:
        yield Finding("ok", "topic", f"{name} is not there yet: the first start may make it")
    else:
        yield Finding("ok", "topic", f"{name} is as planned, {count(look.partitions, 'partition')}{how}")


def _registry(call: Call, plan: ProjectPlan) -> Iterator[Finding]:
    if not plan.registry.url and not places.runs(call, "registry"):
        yield _at_rest("registry", "registry")
        return
    registry = HttpRegistry(places.registry(call, plan))
    wanted = [subject(topic, "value", 1) for topic in sorted(plan.topics)]
    found = registry.subjects(wanted)
    yield Finding("ok", "registry", f"{registry.where} answers")
    other = {name: level for name, level in found.items() if level not in ("", COMPATIBILITY)}
    for name, level in other.items():
        text = f"{name} is {level}: the capture makes it {COMPATIBILITY} at its next start"
        yield Finding("warn", "subject", text, fix="see who else writes this subject")
    yield Finding("ok", "subjects", f"{len(found)} of {len(wanted)} are there; a capture makes the others")
