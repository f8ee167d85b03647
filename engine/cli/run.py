"""Verbs that run a worker: capture (source → topic) and landing (topic → table).

Rule: this is where a worker's doors are put together, and nothing else: the work is in ``pump`` and
``lake``. A worker ends at a mark (or a batch) when it is told to, and with the code of what stopped it.
"""

from __future__ import annotations

import gc
import random
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer

from engine import plugins
from engine.cli import compose, places, telling
from engine.cli.compose import Call
from engine.errors import CODES, EcluseError, GapSuspected, Missing, SlotLost, SlotMissing, SourceUnready
from engine.marks import MARK_BYTES_MAX
from engine.plan import CapturePlan, ProjectPlan
from engine.source import AnyConnector, Finding, Kept, Mark, Source, wanted
from engine.supervise import Clock, Parked, Policy
from engine.template.mistakes import nearest

PANEL: Final = "Run"
_FIRST_S, _MOST_S, _GIVE_UP_S = 0.5, 15.0, 900.0
_SAID_BY_OPEN: Final = frozenset({GapSuspected.code, SlotLost.code, SlotMissing.code})
_NONE: Final[Mapping[str, int]] = MappingProxyType({})
_YOUNG_OBJECTS: Final = 20_000  # rows are many and short-lived: looking for cycles in them finds none

At = Callable[[str], None]


def add(app: typer.Typer) -> None:
    """Put these verbs into the application."""
    workers = typer.Typer(no_args_is_help=True, help="Run one worker in the foreground.")
    from engine.cli.land import landing
    from engine.cli.watch import watch

    workers.command("capture")(capture)
    workers.command("landing")(landing)
    workers.command("watch")(watch)
    app.add_typer(workers, name="run", rich_help_panel=PANEL)


def capture(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The connection to capture.")],
    metrics_port: Annotated[
        int, typer.Option(metavar="PORT", help="Show metrics at http://127.0.0.1:PORT/metrics.")
    ] = 0,
) -> None:
    """Read a source's changes into topics, until told to stop (SIGTERM ends at the next mark)."""
    run_capture(context.obj, name, metrics_port=metrics_port)


def no_point(_: str) -> None:
    """A named point that nobody watches."""


@contextmanager
def told_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; a second signal ends the process."""
    stop = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def told(number: int, _: Any) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, told) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def clock_of(stop: threading.Event) -> Clock:
    """The machine's clock, and a wait that ends when told to stop."""
    return Clock(time.monotonic, time.time, stop.wait, stop.is_set)


def policy() -> Policy:
    """How a worker waits out what may pass."""
    return Policy(_FIRST_S, _MOST_S, _GIVE_UP_S, random.random)


# --- capture ---------------------------------------------------------------------------------------------


def run_capture(call: Call, name: str, *, at: At = no_point, metrics_port: int = 0) -> None:
    """Run a capture until told to stop; raises what stopped it otherwise."""
    from prometheus_client import CollectorRegistry

    from engine import metrics, pump
    from engine.registry import HttpRegistry
    from engine.topic import KafkaTopic

    plan = compose.build(call)
    wanted = _wanted(plan, name)
    where = places.find(call, plan)
    log = telling.worker_log(capture=name)
    numbers = CollectorRegistry()
    if metrics_port:
        metrics.serve(metrics_port, numbers)
    connector = plugins.load()[wanted.connector]
    opening = Opening(call, wanted, connector, log)
    row_bytes_max = max(MARK_BYTES_MAX, *(topic.row_bytes_max for topic in wanted.topics.values()))
    with told_to_stop() as stop:
        doors = pump.Doors(
            project=plan.name,
            open=opening,
            unfit=opening.unfit,
            topic=lambda: KafkaTopic(
                where.kafka, queue_bytes_max=wanted.queue_bytes_max, row_bytes_max=row_bytes_max
            ),
            registry=HttpRegistry(where.registry),
            clock=clock_of(stop),
            policy=policy(),
            meters=metrics.CaptureMeters(name, numbers),
            log=log,
            at=at,
            show=connector.show,
        )
        gc.set_threshold(_YOUNG_OBJECTS)
        end = pump.run(wanted, doors)
    if isinstance(end, Parked):
        raise end.error
    log.info("stopped")


def _wanted(plan: ProjectPlan, name: str) -> CapturePlan:
    captures = {capture.name: capture for capture in plan.captures}
    if name not in captures:
        raise Missing(f"no connection {name} in project {plan.name}", hint=nearest(name, captures))
    if not captures[name].tables:
        raise Missing(f"no flow reads from {name}", hint="write a flow whose source is this connection")
    return captures[name]


@dataclass
class Opening:
    """A capture's source, looked at before each opening: what it needs as a whole, and each table's fitness.

    A table that is not fit is told to the pump, which sets it aside; the others go on (I9), and it joins at
    a later start.
    """

    call: Call
    capture: CapturePlan
    connector: AnyConnector
    log: Any
    _said: set[Finding] = field(default_factory=set)

    @contextmanager
    def __call__(
        self,
        mark: Mark | None,
        out: Collection[str] = (),
        asked: Mapping[str, int] = _NONE,
        kept: Kept = (),
    ) -> Iterator[Source]:
        """Open the source behind a mark, without the tables that the capture leaves out.

        ``asked``: how often a person asked for a table to be read again. ``kept``: what the connector keeps.
        """
        config = places.configure(self.call, self.capture)
        named = {spec.qualified: spec for spec in self.capture.tables}
        tables = [
            spec
            if spec.snapshot is None
            else replace(spec, snapshot=wanted(spec.snapshot, asked.get(name, 0)))
            for name, spec in named.items()
            if name not in out
        ]
        with self.connector.open(config, tables, mark, kept) as source:
            yield source

    def unfit(self) -> Mapping[str, EcluseError]:
        """The tables that are not fit now, and why; raises what keeps the capture as a whole from opening."""
        config = places.configure(self.call, self.capture)
        findings = self.connector.preflight(config, self.capture.tables)
        for finding in findings:
            if finding.level != "ok" and finding not in self._said:
                self._said.add(finding)
                self.log.warning("preflight", **_facts(finding))
        # what is wrong with slot, line or log, ``open`` says with the position at stake; but nothing is
        # published that was not looked at: a table without identity would break the application's updates
        failed = [f for f in findings if f.level == "fail" and not f.table and f.code not in _SAID_BY_OPEN]
        unready = [f for f in findings if f.level == "fail" and f.table and f.code == SourceUnready.code]
        tables = {spec.qualified for spec in self.capture.tables}
        why = {name: [f for f in unready if f.table == name] for name in {f.table for f in unready} & tables}
        whole = failed or (unready if len(why) == len(tables) else [])
        if whole:
            raise _error(whole, self.capture.name)
        return {name: _error(found, self.capture.name) for name, found in why.items()}


def _error(findings: Sequence[Finding], where: str) -> EcluseError:
    """The findings as one error."""
    return CODES[findings[0].code](
        "; ".join(_what(f) for f in findings),
        where=where,
        hint="\n".join(f.fix for f in findings if f.fix),
    )


def _what(finding: Finding) -> str:
    subject = finding.table or finding.subject
    return finding.text if finding.text.startswith(subject) else f"{subject}: {finding.text}"


def _facts(finding: Finding) -> Mapping[str, str]:
    facts = {
        "subject": finding.table or finding.subject, "code": finding.code, "what": finding.text,
        "fix": finding.fix,
    }  # fmt: skip
    return {name: text for name, text in facts.items() if text}
