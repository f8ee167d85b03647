"""The only retry loop."""

from __future__ import annotations

import pytest

from engine.errors import ContractBroken, EcluseError, SourceRefused, SourceUnreachable, TemplateInvalid
from engine.supervise import Done, Parked, Policy, Progress, attempt
from tests.support.memory import ManualClock

POLICY = Policy(first_s=1, most_s=8, give_up_s=60, chance=lambda: 0)


class Work:
    """Fails as often as told; makes progress before the failures of ``moved``."""

    def __init__(self, *errors: EcluseError, moved: tuple[int, ...] = ()) -> None:
        self.errors, self.moved, self.calls = list(errors), moved, 0

    def __call__(self, progress: Progress) -> str:
        self.calls += 1
        if self.calls in self.moved:
            progress()
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_work_that_ends_well_is_done_at_once() -> None:
    clock = ManualClock()
    assert attempt(Work(), POLICY, clock.clock()) == Done("done")
    assert clock.waited == []


def test_what_may_pass_is_waited_out_longer_each_time() -> None:
    clock = ManualClock()
    work = Work(*(SourceUnreachable("gone") for _ in range(6)))
    assert attempt(work, POLICY, clock.clock()) == Done("done")
    assert clock.waited == [1, 2, 4, 8, 8, 8]


def test_progress_starts_the_count_anew() -> None:
    clock = ManualClock()
    work = Work(*(SourceUnreachable("gone") for _ in range(4)), moved=(3,))
    assert attempt(work, POLICY, clock.clock()) == Done("done")
    assert clock.waited == [1, 2, 1, 2]


@pytest.mark.parametrize(
    "error", [SourceRefused("no"), TemplateInvalid("wrong"), ContractBroken("a fault of ours")]
)
def test_what_a_person_must_mend_is_not_tried_again(error: EcluseError) -> None:
    clock = ManualClock()
    assert attempt(Work(error), POLICY, clock.clock()) == Parked(error, 1)
    assert clock.waited == []


def test_failures_in_a_row_are_bounded_in_time() -> None:
    clock = ManualClock()
    work = Work(*(SourceUnreachable("gone") for _ in range(100)))
    end = attempt(work, POLICY, clock.clock())
    assert isinstance(end, Parked)
    assert 60 < sum(clock.waited) < 80


def test_a_stop_ends_the_waiting() -> None:
    clock = ManualClock()
    clock.stop.set()
    end = attempt(Work(SourceUnreachable("gone")), POLICY, clock.clock())
    assert isinstance(end, Parked)
    assert end.stopped


def test_every_failure_is_told() -> None:
    told: list[tuple[str, int, float]] = []
    work = Work(SourceUnreachable("a"), SourceUnreachable("b"))
    attempt(work, POLICY, ManualClock().clock(), lambda e, n, s: told.append((e.what, n, s)))
    assert told == [("a", 1, 1.0), ("b", 2, 2.0)]


def test_waits_are_shortened_by_chance_and_never_by_more_than_half() -> None:
    lucky = Policy(first_s=1, most_s=8, give_up_s=60, chance=lambda: 1)
    assert [lucky.wait_s(n) for n in (1, 2, 9)] == [0.5, 1.0, 4.0]
    assert lucky.wait_s(10_000) == 4.0
