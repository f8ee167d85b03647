"""Lag and health: what a set of readings means.

Rule: pure. A number that could not be read is None and makes the sum of which it is a part None; nothing
unknown is ever taken for zero. Health is derived here and stored nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from engine.state import State

SLACK_S: Final = 10.0  # beside three times the flow's freshness: below it a flow is on time
NOISE_BYTES: Final = 16_384  # two pages: a checkpoint and one full page that it caused
READ: Final = "active"  # a source's state while somebody reads it
STALL_S: Final = 60.0  # work waits, and nothing has landed for as long


class Health(StrEnum):
    """How a flow is doing, as far as the readings tell."""

    OK = "OK"
    CATCHING_UP = "CATCHING_UP"
    FALLING_BEHIND = "FALLING_BEHIND"
    STALLED = "STALLED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class SourceReading:
    """A capture, seen from its source and from its newest mark; None: not known.

    ``state`` is the slot's state in the source's words; ``committed_us`` the commit time that the newest
    mark covers; ``behind_bytes`` the log between the source's end and the mark; ``at_us`` when it was looked
    at, by the source's own clock, which wrote the commit times as well.
    """

    state: str
    committed_us: int | None = None
    behind_bytes: int | None = None
    retained_bytes: int | None = None
    at_us: int | None = None


@dataclass(frozen=True, slots=True)
class LandingReading:
    """A flow's table, seen from its own commits and the ledger.

    ``offsets`` are the next offsets to land; ``changes`` what has landed so far, quarantine included;
    ``commits_us`` pairs each recent batch's oldest source commit with the moment it landed; ``failed`` are
    the rows so far that failed each check, whatever became of them.
    """

    offsets: Mapping[int, int]
    landed_at_us: int | None = None
    changes: int | None = None
    quarantined: int | None = None
    commits_us: Sequence[tuple[int, int]] = ()
    failed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicReading:
    """A topic: its bounds per partition, and when the oldest record that has not landed was written."""

    bounds: Mapping[int, tuple[int, int]]
    waiting_since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Lag:
    """The three numbers of a flow; None: not known."""

    source_s: float | None
    source_bytes: int | None
    kafka_records: int | None
    kafka_s: float | None
    end_to_end_s: float | None

    @property
    def behind_s(self) -> float | None:
        """How far the table is behind the source: the sum, known only when both parts are."""
        if self.source_s is None or self.kafka_s is None:
            return None
        return self.source_s + self.kafka_s


def waiting(topic: TopicReading | None, landing: LandingReading | None) -> int | None:
    """How many records of the topic have not landed.

    >>> waiting(TopicReading({0: (0, 5), 1: (2, 9)}), LandingReading({0: 3}))
    9
    """
    if topic is None or landing is None:
        return None
    return sum(end - first for first, end in unlanded(topic.bounds, landing.offsets).values())


def unlanded(bounds: Mapping[int, tuple[int, int]], offsets: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Per partition that has some: the range that has not landed and is still there.

    >>> unlanded({0: (0, 5), 1: (2, 9), 2: (0, 4)}, {0: 3, 2: 4})
    {0: (3, 5), 1: (2, 9)}
    """
    left = {p: (max(offsets.get(p, 0), first), end) for p, (first, end) in bounds.items()}
    return {p: (start, end) for p, (start, end) in left.items() if end > start}


def source_lag_s(source: SourceReading | None, now_us: int) -> float | None:
    """Seconds between now and the last commit that is safe in Kafka; 0 when nothing lies behind it.

    A log always goes on a little: its own commit record, a checkpoint, other databases. While somebody reads
    it, a page or two is taken for nothing; when nobody does, for what it may be.
    """
    if source is None or source.behind_bytes is None:
        return None
    if source.behind_bytes <= (NOISE_BYTES if source.state == READ else 0):
        return 0.0
    # two clocks that disagree would be lag, or hide it
    at_us = now_us if source.at_us is None else source.at_us
    return None if source.committed_us is None else max(0.0, (at_us - source.committed_us) / 1e6)


def kafka_lag_s(topic: TopicReading | None, records: int | None, now_us: int) -> float | None:
    """The age of the oldest record that has not landed; 0 when all have."""
    if topic is None or records is None:
        return None
    if records == 0:
        return 0.0
    return None if topic.waiting_since_ms is None else max(0.0, now_us / 1e6 - topic.waiting_since_ms / 1e3)


def measure(
    source: SourceReading | None, topic: TopicReading | None, landing: LandingReading | None, now_us: int
) -> Lag:
    """The three numbers from the three readings.

    End to end is the oldest row of the last batch, or what waits now where that is older: it grows when
    nothing lands.
    """
    records = waiting(topic, landing)
    source_s, kafka_s = source_lag_s(source, now_us), kafka_lag_s(topic, records, now_us)
    last = landing.commits_us[-1] if landing and landing.commits_us else None
    landed_s = (last[1] - last[0]) / 1e6 if last else None
    waits_s = kafka_s if records else None
    known = [s for s in (landed_s, waits_s) if s is not None]
    return Lag(
        source_s=source_s,
        source_bytes=source.retained_bytes if source else None,
        kafka_records=records,
        kafka_s=kafka_s,
        end_to_end_s=max(known) if known else None,
    )


@dataclass(frozen=True, slots=True)
class Promise:
    """What a flow is held to: its freshness, and how often an idle source lets its capture move."""

    freshness_s: float
    heartbeat_s: float

    def kept(self, now: Lag) -> bool:
        """Whether both parts of the lag are within their slack."""
        return (now.source_s or 0.0) <= self.heartbeat_s + SLACK_S and (
            now.kafka_s or 0.0
        ) <= 3 * self.freshness_s + SLACK_S


def health(now: Lag, before: Lag | None, *, state: State, promise: Promise, idle_s: float | None) -> Health:
    """What the numbers mean; ``before``: an earlier look at the flow, ``idle_s``: the age of its last commit.

    A flow that a person let rest alarms nobody: what waits for it is told as what waits.

    >>> calm = Lag(0.1, 0, 0, 0.0, 1.0)
    >>> health(calm, None, state=State.STREAMING, promise=Promise(2.0, 30.0), idle_s=900.0).value
    'OK'
    """
    records, behind_s = now.kafka_records, now.behind_s
    if state is State.PAUSED:
        return Health.OK
    if state in (State.PARKED, State.STOPPED):
        return Health.STALLED
    if records is None or behind_s is None:
        return Health.UNKNOWN
    if promise.kept(now):
        return Health.OK
    still_s = (
        now.kafka_s if idle_s is None else idle_s
    )  # one that never landed stands since its oldest record
    if records and still_s is not None and still_s > 3 * promise.freshness_s + STALL_S:
        return Health.STALLED
    if before is None or before.behind_s is None or before.kafka_records is None:
        return Health.UNKNOWN
    better = behind_s < before.behind_s or records < before.kafka_records
    return Health.CATCHING_UP if better else Health.FALLING_BEHIND


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that ``share`` of all values do not exceed (nearest rank); None of nothing.

    >>> percentile([3.0, 1.0, 2.0, 10.0], 0.5), percentile([], 0.5)
    (2.0, None)
    """
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 100) * len(ordered) // 100) - 1)]
