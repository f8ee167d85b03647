"""Lag is honest: what is not known is unknown, and what waits grows older."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.state import State
from engine.watch import lag
from engine.watch.lag import Health, Lag, LandingReading, Promise, SourceReading, TopicReading

NOW = 1_000_000_000_000_000
TOPIC = TopicReading({0: (0, 10), 1: (0, 4)}, waiting_since_ms=NOW // 1000 - 7_000)
LANDED = LandingReading({0: 6, 1: 4}, commits_us=((NOW - 9_000_000, NOW - 8_000_000),))
SOURCE = SourceReading("active", committed_us=NOW - 500_000, behind_bytes=64_000, retained_bytes=900)


def health(now: Lag, before: Lag | None = None, **given: object) -> Health:
    settings = {"state": State.STREAMING, "promise": Promise(2.0, 30.0), "idle_s": 1.0, **given}
    return lag.health(now, before, **settings)  # type: ignore[arg-type]


def test_the_three_numbers_and_their_sum() -> None:
    found = lag.measure(SOURCE, TOPIC, LANDED, NOW)
    assert found == Lag(0.5, 900, 4, 7.0, 7.0)
    assert found.behind_s == 7.5


@pytest.mark.parametrize(
    ("source", "topic", "landing"),
    [(None, TOPIC, LANDED), (SOURCE, None, LANDED), (SOURCE, TOPIC, None)],
)
def test_a_part_that_does_not_answer_is_unknown_and_never_zero(
    source: SourceReading | None, topic: TopicReading | None, landing: LandingReading | None
) -> None:
    found = lag.measure(source, topic, landing, NOW)
    assert found.behind_s is None
    assert health(found) is Health.UNKNOWN


def test_a_capture_without_a_mark_has_no_known_lag() -> None:
    assert lag.source_lag_s(SourceReading("active"), NOW) is None


def test_an_idle_source_that_is_read_has_no_lag_and_one_that_is_not_read_may_have_some() -> None:
    idle = SourceReading("active", committed_us=NOW - 29_000_000, behind_bytes=200)
    assert lag.source_lag_s(idle, NOW) == 0.0
    assert lag.source_lag_s(replace(idle, state="inactive"), NOW) == 29.0


def test_the_pause_between_two_heartbeats_is_no_trouble() -> None:
    assert health(Lag(29.0, 0, 0, 0.0, None)) is Health.OK


def test_a_waiting_record_of_unknown_age_has_no_known_lag() -> None:
    found = lag.measure(SOURCE, TopicReading(TOPIC.bounds, None), LANDED, NOW)
    assert (found.kafka_records, found.kafka_s) == (4, None)


def test_nothing_waiting_is_zero_seconds_whatever_the_clock() -> None:
    done = LandingReading({0: 10, 1: 4})
    assert lag.measure(SOURCE, TopicReading(TOPIC.bounds, None), done, NOW).kafka_s == 0.0


def test_records_that_retention_removed_are_not_counted_as_waiting() -> None:
    assert lag.waiting(TopicReading({0: (8, 10)}), LandingReading({})) == 2


def test_a_dead_landing_lets_every_number_grow() -> None:
    before = lag.measure(SOURCE, TOPIC, LANDED, NOW)
    after = lag.measure(
        SOURCE, TopicReading({0: (0, 90), 1: (0, 4)}, TOPIC.waiting_since_ms), LANDED, NOW + 10**7
    )
    assert after.kafka_records == 84
    assert after.kafka_s == 17.0
    assert after.end_to_end_s is not None
    assert before.end_to_end_s is not None
    assert after.end_to_end_s > before.end_to_end_s


def test_health_follows_the_trend_of_two_looks() -> None:
    worse, better = Lag(0.0, 0, 500, 90.0, None), Lag(0.0, 0, 300, 80.0, None)
    assert health(better, worse) is Health.CATCHING_UP
    assert health(worse, better) is Health.FALLING_BEHIND


def test_work_that_waits_while_nothing_lands_is_stalled() -> None:
    assert health(Lag(0.0, 0, 500, 90.0, None), idle_s=120.0) is Health.STALLED
    assert health(Lag(0.0, 0, 500, 90.0, None), idle_s=None) is Health.STALLED


@pytest.mark.parametrize("state", [State.PARKED, State.STOPPED])
def test_a_flow_that_waits_for_somebody_is_stalled_even_without_lag(state: State) -> None:
    assert health(Lag(0.0, 0, 0, 0.0, None), state=state) is Health.STALLED


@given(
    st.dictionaries(st.integers(0, 5), st.tuples(st.integers(0, 50), st.integers(0, 50))), st.integers(0, 60)
)
def test_waiting_is_never_negative(bounds: dict[int, tuple[int, int]], at: int) -> None:
    topic = TopicReading({p: (min(pair), max(pair)) for p, pair in bounds.items()})
    waits = lag.waiting(topic, LandingReading(dict.fromkeys(bounds, at)))
    assert waits is not None
    assert waits >= 0
