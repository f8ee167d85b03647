"""The verb ``run watch``: the numbers of all flows, as they are seen from outside.

Rule: it asks Kafka, the lake, the sources and the ledgers of files, and no worker: what a dead worker leaves
undone grows here. What does not answer is logged once, and its numbers are absent until it does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from engine.cli import compose, shelves, telling
from engine.cli.asking import failure
from engine.cli.compose import Call
from engine.cli.look import looker
from engine.cli.run import told_to_stop
from engine.metrics import WatchMeters
from engine.plan import ProjectPlan
from engine.state import State
from engine.watch.expected import Awaited
from engine.watch.observe import Look

_EVERY_S: Final = 15.0
_FILES: Final = "files"


def watch(
    context: typer.Context,
    metrics_port: Annotated[
        int, typer.Option(metavar="PORT", help="Show metrics at http://127.0.0.1:PORT/metrics.")
    ],
    every: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How often to look.")] = _EVERY_S,
) -> None:
    """Look at every flow from outside, until told to stop: lag, state, files that are overdue."""
    from prometheus_client import CollectorRegistry

    from engine import metrics

    call: Call = context.obj
    plan = compose.build(call)
    numbers = CollectorRegistry()
    metrics.serve(metrics_port, numbers)
    meters, log = WatchMeters(numbers), telling.worker_log(watch=plan.name)
    take, before = looker(call, plan), None
    silent: Mapping[str, str] = {}
    with told_to_stop() as stop:
        while not stop.is_set():
            before = take(before)
            show(meters, before)
            silent = _told(log, silent, {**before.silent, **_files(call, plan, meters)})
            stop.wait(every)
    log.info("stopped")


def show(meters: WatchMeters, look: Look) -> None:
    """What a look says of each flow."""
    for flow in look.flows:
        lag = flow.lag
        meters.lag(flow.flow, source_s=lag.source_s, records=lag.kafka_records, kafka_s=lag.kafka_s)
        meters.state(flow.flow, flow.state.value, [state.value for state in State])


def _files(call: Call, plan: ProjectPlan, meters: WatchMeters) -> Mapping[str, str]:
    """Show which flows wait for a file that is due; gives why that is not known, where it is not."""
    found: list[Awaited] = []
    error = failure(_FILES, lambda: found.extend(shelves.awaiting(call, plan, time.time_ns() // 1000)))
    known = {flow: one.overdue_s for one in found for flow in one.flows} if error is None else {}
    for flow in plan.flows:
        meters.overdue(flow.name, known.get(flow.name))
    return {} if error is None else {_FILES: f"{error.code}: {error.what}"}


def _told(log: Any, before: Mapping[str, str], now: Mapping[str, str]) -> Mapping[str, str]:
    for part in now.keys() - before.keys():
        log.warning("silent", part=part, what=now[part])
    for part in before.keys() - now.keys():
        log.info("answers", part=part)
    return now
