"""The verb that asks of every part whether it would run: doctor.

Rule: it changes nothing. Every look is bounded in time and stands for itself: one that fails, or gives no
answer, is a finding with its fix, and the others go on (I9). No text of a finding holds a secret (I8).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import typer

from engine import plugins
from engine.cli import compose, places, screen, show
from engine.cli.compose import Call
from engine.cli.look import PANEL, Json, project_option
from engine.errors import Bug, EcluseError, StackFailed, Unmet
from engine.marks import marks_plan
from engine.names import subject
from engine.plan import CapturePlan, ProjectPlan
from engine.registry import COMPATIBILITY, HttpRegistry
from engine.source import Finding

Look = Callable[[], Iterable[Finding]]

LIMIT_S: Final = 45.0  # more than the sum of what one part may wait for its answers
_QUIET_S: Final = 2.0
_AGAIN_S: Final = 5.0


@dataclass
class Part:
    """One part of the project, with its looks by name, and what they found."""

    name: str
    looks: Mapping[str, Look]
    found: list[Finding] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def examine(self) -> None:
        """Look at everything, one after the other."""
        for subject_, look in self.looks.items():
            self.found += _seen(subject_, look)
        self.done.set()


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
            show.findings(name, findings)
        show.note(screen.tally(levels))
    if failed:
        hint = f"mend what is told above, then: ecluse{project_option(call)} doctor"
        raise Unmet(f"{failed} of {len(levels)} looks failed", where=str(call.folder), hint=hint)


def examine(wanted: Sequence[Part], *, limit_s: float = LIMIT_S) -> list[tuple[str, list[Finding]]]:
    """Look at all parts at once; a part that gives no answer in time is told with what it has found."""
    for part in wanted:
        # whoever hangs in a foreign library is left behind when the command ends
        threading.Thread(target=part.examine, name=part.name, daemon=True).start()
    began = time.monotonic()
    _wait(wanted, began, limit_s)
    return [(part.name, [*part.found, *_late(part, limit_s)]) for part in wanted]


def _wait(wanted: Sequence[Part], began: float, limit_s: float) -> None:
    """Until all have ended, or their time has; tells who is waited for."""
    tell_at = began + _QUIET_S
    for part in wanted:
        while not part.done.wait(max(0.0, min(tell_at, began + limit_s) - time.monotonic())):
            now = time.monotonic()
            if now >= began + limit_s:
                return
            waiting = ", ".join(other.name for other in wanted if not other.done.is_set())
            show.note(f"looking at {waiting}: {now - began:.0f} s")
            tell_at = now + _AGAIN_S


def _late(part: Part, limit_s: float) -> Iterator[Finding]:
    if not part.done.is_set():
        fix = "see that it answers from here: the address, the firewall, its own logs"
        yield Finding("fail", "time", f"no answer within {limit_s:.0f} s", fix=fix)


def _seen(name: str, look: Look) -> list[Finding]:
    """What a look found; its failure is a finding."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except EcluseError as error:
        found.append(Finding("fail", name, error.what, fix=error.hint, code=error.code))
    except Exception as error:  # noqa: BLE001 - a fault in one look must not hide the others (I9)
        text = f"unexpected {type(error).__name__}: a fault of ours"  # its text could hold a secret (I8)
        fix = "send us this line, and what ecluse --version says"
        found.append(Finding("fail", name, text, fix=fix, code=Bug.code))
    return found


# --- the parts -------------------------------------------------------------------------------------------


def parts(call: Call, plan: ProjectPlan) -> list[Part]:
    """Everything that a project touches."""
    from engine.embedded import fitness as machine
    from engine.embedded.stack import cache_folder
    from engine.watch import fitness as lake

    root, scratch = Path(places.lake_root(call, plan)), places.state_folder(call) / "spark"
    cache = cache_folder(call.environment)
    return [
        *(_source(call, capture) for capture in plan.captures if capture.tables),
        Part("kafka", {"brokers": partial(_kafka, call, plan)}),
        Part("registry", {"registry": partial(_registry, call, plan)}),
        Part("lake", lake.looks(root, plan.flows, scratch)),
        Part("this machine", {"landing": partial(machine.look, cache, call.environment)}),
    ]


def _source(call: Call, capture: CapturePlan) -> Part:
    def preflight() -> Iterable[Finding]:
        if capture.config.get("host") == places.EMBEDDED and not places.runs(call, "postgres"):
            return [_at_rest("connection", "sample database")]
        config = places.configure(call, capture)
        return plugins.load()[capture.connector].preflight(config, capture.tables)

    return Part(f"source {capture.name}", {"connection": preflight})


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
    wanted = {flow.topic.name: flow.topic for flow in plan.flows}
    looks = dict(admin.compare(list(wanted.values())))
    yield Finding("ok", "brokers", f"{options['bootstrap.servers']} answers")
    marks = marks_plan(plan.name, -1)
    looks |= admin.compare([marks], compacted=True)
    for name, look in looks.items():
        yield from _topic(name, look)


def _topic(name: str, look: Any) -> Iterator[Finding]:
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
        yield Finding("ok", "topic", f"{name} is as planned, {look.partitions} partitions")


def _registry(call: Call, plan: ProjectPlan) -> Iterator[Finding]:
    if not plan.registry.url and not places.runs(call, "registry"):
        yield _at_rest("registry", "registry")
        return
    registry = HttpRegistry(places.registry(call, plan))
    wanted = [subject(topic, "value", 1) for topic in sorted({flow.topic.name for flow in plan.flows})]
    found = registry.subjects(wanted)
    yield Finding("ok", "registry", f"{registry.where} answers")
    other = {name: level for name, level in found.items() if level not in ("", COMPATIBILITY)}
    for name, level in other.items():
        text = f"{name} is {level}: the capture makes it {COMPATIBILITY} at its next start"
        yield Finding("warn", "subject", text, fix="see who else writes this subject")
    yield Finding("ok", "subjects", f"{len(found)} of {len(wanted)} are there; a capture makes the others")
