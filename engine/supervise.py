"""The only retry loop: tries a work again while its errors say that this may help.

Rule: an error with ``Act.RETRY`` is waited out, longer each time and never all at once with others; any
other act stops at once, because no amount of trying replaces a person. What the work made durable starts
the count anew. This room does not log, sleep or read a clock: they are arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from engine.errors import Act, EcluseError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, and a way to be told to stop: ``wait`` gives True when that ended it."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]
    wait: Callable[[float], bool]
    stopped: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Policy:
    """How long to go on: waits grow from ``first_s`` to ``most_s``; ``give_up_s`` bounds a row of failures.

    ``chance`` gives numbers from 0 to 1: each wait is shortened by up to half.
    """

    first_s: float
    most_s: float
    give_up_s: float
    chance: Callable[[], float]

    def wait_s(self, failures: int) -> float:
        """The wait after so many failures in a row.

        >>> [Policy(0.5, 8, 60, lambda: 0).wait_s(n) for n in (1, 2, 3, 9)]
        [0.5, 1.0, 2.0, 8.0]
        """
        longest: float = min(self.first_s * 2.0 ** min(failures - 1, 30), self.most_s)
        return longest * (1 - self.chance() / 2)


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The work came to its own end."""

    value: T


@dataclass(frozen=True, slots=True)
class Parked:
    """The work is given up: a person must act, or retries are spent, or it was told to stop while failing."""

    error: EcluseError
    failures: int
    stopped: bool = False


Progress = Callable[[], None]
"""Called by a work whenever something of it became durable."""

Failed = Callable[[EcluseError, int, float], None]
"""Told of every failure that is waited out: the error, how many in a row, the wait in seconds."""


def attempt(
    work: Callable[[Progress], T], policy: Policy, clock: Clock, failed: Failed | None = None
) -> Done[T] | Parked:
    """Do the work, again and again while that may help."""
    failures = 0
    since = clock.monotonic()

    def progress() -> None:
        nonlocal failures
        failures = 0

    while True:
        try:
            return Done(work(progress))
        except EcluseError as error:
            now = clock.monotonic()
            since = now if failures == 0 else since
            failures += 1
            if error.act is not Act.RETRY or now - since > policy.give_up_s:
                return Parked(error, failures)
            wait_s = policy.wait_s(failures)
            if failed is not None:
                failed(error, failures, wait_s)
            if clock.wait(wait_s):
                return Parked(error, failures, stopped=True)
