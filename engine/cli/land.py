"""The verb ``run landing``: topics of a group → tables, by one Spark.

Rule: the doors are put together here; the work is in ``lake``.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from engine.cli import compose, places, show, telling
from engine.cli.compose import Call
from engine.cli.run import told_to_stop
from engine.errors import Missing, Unmet
from engine.plan import LanePlan, ProjectPlan
from engine.registry import Registry
from engine.template.mistakes import nearest

_DEFAULT: Final = "default"
_HEAP: Final = "2g"
_SCHEMA_ID_MAX: Final = 2**31 - 1


def no_point(_: str) -> None:
    """A named point that nobody watches."""


def landing(
    context: typer.Context,
    group: Annotated[str, typer.Argument(metavar="[GROUP]", help="The flows' metadata.group.")] = _DEFAULT,
    available_now: Annotated[
        bool, typer.Option("--available-now", help="Land what is there now, then end.")
    ] = False,
    metrics_port: Annotated[
        int, typer.Option(metavar="PORT", help="Show metrics at http://127.0.0.1:PORT/metrics.")
    ] = 0,
) -> None:
    """Land topics in Delta tables, until told to stop (SIGTERM ends after the batches in flight)."""
    run_landing(context.obj, group, available_now=available_now, metrics_port=metrics_port)


def run_landing(
    call: Call,
    group: str = _DEFAULT,
    *,
    available_now: bool = False,
    at: Callable[[str], None] = no_point,
    metrics_port: int = 0,
) -> None:
    """Run a group's landing; raises Unmet when, available now, a flow could not reach the ends."""
    from prometheus_client import CollectorRegistry

    from engine import metrics
    from engine.lake import dispatch
    from engine.lake.session import Engine
    from engine.state import State
    from engine.topic import KafkaTopic

    plan = compose.build(call)
    lane = _lane(plan, group)
    where, runtime = places.find(call, plan), places.spark(call)
    topic = KafkaTopic(where.kafka)
    numbers = CollectorRegistry()
    if metrics_port:
        metrics.serve(metrics_port, numbers)
    engine = Engine(
        java_home=Path(runtime.java_home),
        jars=[Path(jar) for jar in runtime.spark_jars],
        scratch=places.state_folder(call) / "spark" / group,
        memory=_HEAP,
        archives=places.archives(call),
    )
    with told_to_stop() as stop:
        world = dispatch.World(
            lake_root=Path(where.lake),
            kafka=where.kafka,
            schemas=_Schemas(registry(where.registry)),
            topics=topic,
            gaps=_Gaps(plan, topic),
            at=at,
            log=telling.worker_log(group=group),
            meters=metrics.LandingMeters(numbers),
        )
        gc.freeze()  # what is loaded by now stays: else each batch or two looks through all of it
        states = dispatch.run(lane, world, engine=engine, stop=stop, available_now=available_now)
    stuck = [s for s in states.values() if s.state is State.STOPPED or s.state is State.PARKED]
    for state in stuck:
        show.note(f"{state.flow} {state.state.value} {state.code}: {state.what}\n  next {state.hint}")
    for state in states.values():
        if state.state is State.PAUSED:
            show.note(f"{state.flow} is paused\n  next ecluse resume {state.flow}")
    if available_now and stuck:
        names = ", ".join(state.flow for state in stuck)
        raise Unmet(f"{len(stuck)} flows have not reached the ends: {names}", hint="ecluse status")


def registry(url: str) -> Registry:
    """The schema registry of a project."""
    from engine.registry import HttpRegistry

    return HttpRegistry(url)


def _lane(plan: ProjectPlan, group: str) -> LanePlan:
    groups = {lane.group: lane for lane in plan.lanes}
    if group not in groups:
        raise Missing(f"no group {group} in project {plan.name}", hint=nearest(group, groups))
    return groups[group]


@dataclass(frozen=True, slots=True)
class _Schemas:
    """A registry as the landing asks it: an id that it does not know is an answer, no error."""

    registry: Registry

    def schema(self, schema_id: int) -> str | None:
        """The schema's text; None when the registry has none. A refusal (credentials) is no such answer."""
        return None if schema_id > _SCHEMA_ID_MAX else self.registry.schema(schema_id)

    def ask(self, schema_ids: Collection[int]) -> None:
        """Look up many ids at once."""
        self.registry.ask([id_ for id_ in schema_ids if id_ <= _SCHEMA_ID_MAX])


@dataclass(slots=True)
class _Gaps:
    """The gaps that captures told of and nobody has accepted, by flow."""

    plan: ProjectPlan
    topic: Any
    _marks: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self) -> Mapping[str, Any]:
        """Read anew: a gap may be accepted at any time."""
        from engine.cli.doors import first_gaps, iso_now
        from engine.lake.desk import Gap
        from engine.marks import Marks

        with self._lock:  # Spark's thread and the timer's
            if self._marks is None:
                self._marks = Marks(self.topic, self.plan.name, iso_now)
            gaps = self._marks.gaps()
        first = first_gaps(gaps, self.plan.flows)
        return {flow: Gap(gap.era, gap.major, gap.text) for flow, gap in first.items()}
