"""How looks and numbers are written for people: units, tables, lines for a pipe.

Rule: what is not known is written ``unknown`` (``?`` in a narrow column), never 0; units are the reader's:
seconds, records, bytes. This room computes nothing and reads nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from engine.plan import FlowPlan
from engine.state import State
from engine.template import mistakes
from engine.watch.captures import CaptureLook
from engine.watch.lag import Health
from engine.watch.lake import Written
from engine.watch.observe import FlowLook, Look

UNKNOWN: Final = "?"
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_KIB: Final = 1024
_COLOURS: Final[Mapping[Health, str]] = {
    Health.OK: "green",
    Health.CATCHING_UP: "yellow",
    Health.FALLING_BEHIND: "red",
    Health.STALLED: "bold red",
    Health.UNKNOWN: "magenta",
}


def seconds(value: float | None) -> str:
    """A duration as people say it.

    >>> seconds(0.43), seconds(41.2), seconds(124), seconds(7440), seconds(None)
    ('0.4 s', '41 s', '2 min 04', '2 h 04', '?')
    """
    if value is None:
        return UNKNOWN
    if value < 10:  # noqa: PLR2004
        return f"{value:.1f} s"
    if value < _MINUTE:
        return f"{value:.0f} s"
    whole = int(value)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d}"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d}"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR:02d} h"


def size(value: int | None) -> str:
    """A number of bytes.

    >>> size(512), size(3_250_585), size(None)
    ('512 B', '3.1 MiB', '?')
    """
    if value is None:
        return UNKNOWN
    if value < _KIB:
        return f"{value} B"
    amount = float(value)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        amount /= _KIB
        if amount < _KIB or unit == "TiB":
            return f"{amount:.1f} {unit}"
    raise AssertionError


def count(value: int | None) -> str:
    """A whole number, in groups of three.

    >>> count(1234567), count(0), count(None)
    ('1 234 567', '0', '?')
    """
    return UNKNOWN if value is None else f"{value:,}".replace(",", " ")


def kafka_lag(flow: FlowLook) -> str:
    """Records and the age of the oldest."""
    if flow.lag.kafka_records is None:
        return UNKNOWN
    return f"{count(flow.lag.kafka_records)} ({seconds(flow.lag.kafka_s)})"


def health(flow: FlowLook) -> Text:
    """The health in its colour; a flow that waits for somebody shows its state instead."""
    waits = flow.state in (State.PARKED, State.STOPPED, State.PAUSED)
    shown = flow.state.value if waits else flow.health.value.lower().replace("_", " ")
    return Text(shown, style="cyan" if flow.state is State.PAUSED else _COLOURS[flow.health])


def narrow(title: str = "") -> Table:
    """A table that has room in a terminal of a hundred columns."""
    return Table(
        title=title or None,
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )


def live(look: Look, *, changes: Mapping[str, int] | None = None, title: str = "") -> Table:
    """The table that ``up`` and ``demo`` keep on the screen; ``changes``: committed in the source."""
    table = narrow(title)
    table.add_column("flow", no_wrap=True)
    if changes is not None:
        table.add_column("source\nchanges", justify="right", no_wrap=True)
    for name in ("in\nKafka", "in\nDelta", "quaran-\ntined", "source\nlag", "kafka\nlag", "end to\nend"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("health", no_wrap=True)
    for flow in look.flows:
        cells: list[str | Text] = [flow.flow]
        if changes is not None:
            cells.append(count(changes.get(flow.flow)))
        waits = Text(kafka_lag(flow), style="yellow" if flow.lag.kafka_records else "")
        rejected = Text(count(flow.quarantined), style="yellow" if flow.quarantined else "")
        cells += [count(flow.in_kafka), count(flow.in_delta), rejected, seconds(flow.lag.source_s), waits]
        cells += [seconds(flow.lag.end_to_end_s), health(flow)]
        table.add_row(*cells)
    return table


def lines(look: Look, *, changes: Mapping[str, int] | None = None) -> list[str]:
    """One ``key=value`` line per flow, for a pipe."""
    found = []
    for flow in look.flows:
        values: list[tuple[str, object]] = [("flow", flow.flow), ("state", flow.state.value)]
        values.append(("health", flow.health.value))
        if changes is not None:
            values.append(("source_changes", changes.get(flow.flow)))
        values += [
            ("in_kafka", flow.in_kafka),
            ("in_delta", flow.in_delta),
            ("quarantined", flow.quarantined),
            ("source_lag_s", flow.lag.source_s),
            ("kafka_lag_records", flow.lag.kafka_records),
            ("kafka_lag_s", flow.lag.kafka_s),
            ("end_to_end_s", flow.lag.end_to_end_s),
        ]
        found.append(" ".join(f"{key}={plain(value)}" for key, value in values))
    return found


def plain(value: object) -> str:
    """A value of a ``key=value`` line.

    >>> plain(None), plain(1.25), plain(3)
    ('unknown', '1.2', '3')
    """
    if value is None:
        return "unknown"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def silent(look: Look) -> list[str]:
    """Which parts did not answer, and why."""
    return [f"{part} does not answer: {why}" for part, why in sorted(look.silent.items())]


STATUS_COLUMNS: Final = ("flow", "table", "state", "health", "in kafka", "in delta", "quarantined", "behind")
CAPTURE_COLUMNS: Final = ("capture", "state", "source", "position")
LAG_COLUMNS: Final = (
    "flow", "health", "source lag", "slot holds", "kafka records", "kafka time", "end to end p50", "p95",
    "retention used",
)  # fmt: skip


def status_rows(flows: Sequence[FlowLook]) -> list[tuple[str, ...]]:
    """The rows of ``ecluse status``."""
    return [
        (
            flow.flow, flow.table, flow.state.value, _judged(flow), count(flow.in_kafka),
            count(flow.in_delta), count(flow.quarantined), seconds(flow.lag.behind_s),
        )
        for flow in flows
    ]  # fmt: skip


def _judged(flow: FlowLook) -> str:
    """The health; one that rests has none to speak of."""
    return flow.state.value if flow.state is State.PAUSED else flow.health.value


def capture_rows(captures: Sequence[CaptureLook]) -> list[tuple[str, ...]]:
    """The rows of ``ecluse status`` about captures."""
    return [
        (c.capture, c.state.value, c.source_state, UNKNOWN if c.position is None else str(c.position))
        for c in captures
    ]


def stops(captures: Sequence[CaptureLook]) -> Iterator[str]:
    """What stopped each capture, from where on something may be missing, and what to type."""
    for c in captures:
        for taken in c.accepted or () if c.stop is None else ():
            first = taken.first or taken.where
            yield f"{c.capture}: {taken.code} accepted by {taken.accepted_by}, {taken.accepted_at}: {first}"
        if c.stop is None:
            continue
        yield f"{c.capture}: {c.stop.code}: {c.stop.what}"
        yield f"  at   {c.stop.where}, {c.stop.stopped_at}"
        yield f"  from {c.stop.first or 'nothing is marked yet'}"
        if c.stop.accepted_by:
            yield f"  accepted by {c.stop.accepted_by}, {c.stop.accepted_at}"
        yield from (f"  next {line}" for line in c.next.splitlines())


def readings(captures: Sequence[CaptureLook]) -> Iterator[str]:
    """How far each snapshot is, and what it waits for."""
    for c in captures:
        for r in c.readings:
            of = "" if r.expected is None else f" of about {count(r.expected)} ({r.rows / r.expected:.0%})"
            left = "" if r.left_s is None else f", {seconds(r.left_s)} left"
            yield f"{c.capture}: reading {r.table}: {count(r.rows)} rows{of}{left}"
            if r.waits_for:
                yield f"  waits for {r.waits_for}, {r.told_at}"


def stale(flow: str, keys: int | None) -> Iterator[str]:
    """How many rows are older than the source's, because what changed them waits."""
    if keys:
        yield f"{flow}: {mistakes.count(keys, 'key')} whose newest change waits in quarantine"


def failures(plan: FlowPlan, failed: Mapping[str, int]) -> Iterator[str]:
    """How many rows failed each check so far, and what the check does with such a row."""
    does = {check.name: str(check.on_fail) for check in plan.checks}
    for check, count in sorted(failed.items(), key=lambda of: (-of[1], of[0])):
        then = does.get(check, "not any more")
        yield f"{plan.name}: {mistakes.count(count, 'row')} failed {check} ({then})"


def trouble(flow: str, written: Written) -> Iterator[str]:
    """What a flow waits for, from which offsets on nothing has landed, and what to type."""
    yield f"{flow}: {written.code}: {written.what}"
    yield f"  at   {written.where}"
    if written.first_unapplied:
        first = ", ".join(f"{p}: {offset}" for p, offset in sorted(written.first_unapplied.items()))
        yield f"  from offset by partition {first}"
    if written.attempts:
        yield f"  tried {written.attempts} ×, since {written.since}"
    yield from (f"  next {line}" for line in written.hint.splitlines())


def resting(flow: FlowLook) -> Iterator[str]:
    """Who let a flow rest, what waits meanwhile, and how long the topic will keep it."""
    wish = flow.pause
    if wish is None:
        return
    said = f": {wish.why}" if wish.why else ""
    yield f"{flow.flow}: paused by {wish.by or 'somebody'}, {wish.at or 'nobody knows when'}{said}"
    used = flow.retention_used
    kept = "" if not used else f", the oldest has used up {used:.1%} of the topic's retention"
    waits = flow.lag.kafka_records
    yield f"  waits {'nobody knows how many' if waits is None else count(waits)} records{kept}"
    yield f"  next ecluse resume {flow.flow}"


def tally(levels: Sequence[str]) -> str:
    """How many looks were well, and how many were not.

    >>> tally(["ok", "fail", "ok", "warn"])
    '4 looks: 2 ok, 1 warning, 1 failed'
    """
    warned = levels.count("warn")
    return (
        f"{len(levels)} looks: {levels.count('ok')} ok, {warned} warning{'' if warned == 1 else 's'}, "
        f"{levels.count('fail')} failed"
    )


def lag_rows(flows: Sequence[FlowLook]) -> list[tuple[str, ...]]:
    """The rows of ``ecluse lag``."""
    return [
        (
            flow.flow, _judged(flow), seconds(flow.lag.source_s), size(flow.lag.source_bytes),
            count(flow.lag.kafka_records), seconds(flow.lag.kafka_s), seconds(flow.end_to_end_p50_s),
            seconds(flow.end_to_end_p95_s),
            UNKNOWN if flow.retention_used is None else f"{flow.retention_used:.1%}",
        )
        for flow in flows
    ]  # fmt: skip
