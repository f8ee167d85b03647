"""The life of a flow: states, events, and one table of moves.

Rule: everything that affects a flow's state stands in ``MOVES``; whoever stores a state has got it from
``move``. A pause is no such state: it is a person's wish that lies over one and leaves it as it is. Health
(OK, CATCHING_UP, ...) is derived by ``watch`` and never stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from engine.errors import Act, EcluseError


class State(StrEnum):
    """Where a flow is in its life."""

    NEW = "new"  # declared; nothing has landed yet
    STREAMING = "streaming"  # batches land
    PARKED = "parked"  # waits and is tried again: reason and first unapplied offset are known
    STOPPED = "stopped"  # a person must act: code, first position at stake, the command that resolves it
    PAUSED = "paused"  # a person asked: nothing lands until a person resumes it; shown, never stored


class Event(StrEnum):
    """What moves a flow from one state to another."""

    LANDED = "landed"  # a batch is durable and balanced
    FAILED = "failed"  # an error that may pass
    REFUSED = "refused"  # an error that a person must resolve
    RESOLVED = "resolved"  # a person resolved it


MOVES: Final[dict[State, dict[Event, State]]] = {
    State.NEW: {
        Event.LANDED: State.STREAMING,
        Event.FAILED: State.PARKED,
        Event.REFUSED: State.STOPPED,
    },
    State.STREAMING: {
        Event.LANDED: State.STREAMING,
        Event.FAILED: State.PARKED,
        Event.REFUSED: State.STOPPED,
    },
    State.PARKED: {
        Event.LANDED: State.STREAMING,
        Event.FAILED: State.PARKED,
        Event.REFUSED: State.STOPPED,
    },
    State.STOPPED: {
        Event.RESOLVED: State.STREAMING,
        Event.REFUSED: State.STOPPED,
    },
}


@dataclass(frozen=True, slots=True)
class Pause:
    """A person's wish that a flow rests: whose, since when and why; empty where nobody wrote it down."""

    flow: str
    by: str = ""
    at: str = ""
    why: str = ""


class IllegalMove(EcluseError, code="state.illegal-move", act=Act.BUG):
    """An event came in a state that has no move for it."""


def move(state: State, event: Event) -> State:
    """The state after an event.

    >>> move(State.NEW, Event.LANDED).value
    'streaming'
    """
    try:
        return MOVES[state][event]
    except KeyError:
        raise IllegalMove(f"{event.value} while {state.value}") from None


def shown(state: State, *, paused: bool) -> State:
    """What a flow is to people.

    >>> shown(State.STOPPED, paused=True).value, shown(State.STOPPED, paused=False).value
    ('paused', 'stopped')
    """
    return State.PAUSED if paused else state
