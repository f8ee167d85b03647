import pytest

from engine.state import MOVES, Event, IllegalMove, State, move


def test_every_state_has_a_way_on() -> None:
    assert set(MOVES) == set(State) - {State.PAUSED}  # which lies over a state, and is none itself
    assert all(MOVES.values())


def test_a_stopped_flow_goes_on_only_when_a_person_resolves_it() -> None:
    assert move(State.STOPPED, Event.RESOLVED) is State.STREAMING
    with pytest.raises(IllegalMove, match="landed while stopped"):
        move(State.STOPPED, Event.LANDED)
