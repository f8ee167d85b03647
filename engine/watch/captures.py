"""Every capture as ``status`` shows it: whether it streams, and what stands in its way.

Rule: whether it runs is asked of the source, why it does not of the marks topic: the process that knew is
gone. Unknown is a state of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from engine.errors import SlotBusy
from engine.marks import Stop, TableReading

_ACTIVE = "active"  # a source that is being read, as ``Measure`` says it
_SILENT = "unreachable"  # one that did not answer
_UNTOLD = "there"  # one that answers, and cannot say who reads it


class CaptureState(StrEnum):
    """Where a capture is in its life."""

    NEW = "never ran"
    RUNNING = "running"
    ENDED = "not running"  # told to stop, or killed: the next start goes on from the mark
    STOPPED = "stopped"  # a person must act
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CaptureLook:
    """One capture at one moment; ``position`` is its mark's major, ``next`` the command to type.

    ``accepted`` are the stops that a person took on, whatever has come since; None: not known. ``readings``
    are the tables whose snapshot is not done.
    """

    capture: str
    state: CaptureState
    source_state: str
    position: int | None
    stop: Stop | None
    next: str
    accepted: tuple[Stop, ...] | None = None
    readings: tuple[TableReading, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The look as ``--json`` prints it: the stop's fields beside the others, null without one."""
        told = asdict(self.stop) if self.stop else dict.fromkeys(Stop.__dataclass_fields__)
        return {
            **told, "capture": self.capture, "state": self.state.value, "source_state": self.source_state,
            "position": self.position, "next": self.next,
            "accepted": None if self.accepted is None else [asdict(stop) for stop in self.accepted],
            "readings": [asdict(reading) for reading in self.readings],
        }  # fmt: skip


def look(
    capture: str,
    source_state: str,
    position: int | None,
    stops: Mapping[str, Stop] | None,
    accepted: Sequence[Stop] | None,
) -> CaptureLook:
    """A capture; ``stops`` and ``accepted`` are None where the marks topic does not answer."""
    stop = (stops or {}).get(capture)
    state = _state(source_state, position, stop)
    if stops is None and state is not CaptureState.RUNNING:
        state = CaptureState.UNKNOWN
    its = None if accepted is None else tuple(taken for taken in accepted if taken.capture == capture)
    return CaptureLook(capture, state, source_state, position, stop, _next(capture, state, stop), its)


def _state(source_state: str, position: int | None, stop: Stop | None) -> CaptureState:
    reads = source_state == _ACTIVE
    if stop is not None and not (
        reads and stop.code == SlotBusy.code
    ):  # a second worker gave up, the first reads
        return CaptureState.STOPPED
    if reads:
        return CaptureState.RUNNING
    if source_state == _SILENT or (source_state == _UNTOLD and position is not None):
        return CaptureState.UNKNOWN
    return CaptureState.NEW if position is None else CaptureState.ENDED


def _next(capture: str, state: CaptureState, stop: Stop | None) -> str:
    run = f"ecluse run capture {capture}"
    if stop is not None and not stop.accepted_by:
        return stop.hint
    return "" if state in (CaptureState.RUNNING, CaptureState.UNKNOWN) else run
