"""Waiting on a state: the only place where a test lets time pass.

Rule: a test names the state that it waits for; a limit is a safety net that fails the test, never a measure.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class NeverCame(AssertionError):
    """The state that a test waited for did not come within its limit."""


def wait_until(state: Callable[[], T | None], what: str, *, limit_s: float = 90, every_s: float = 0.1) -> T:
    """The first value of ``state`` that is true; what it was last is told when it never comes."""
    pause, start = threading.Event(), time.monotonic()
    while True:
        value = state()
        if value:
            return value
        if time.monotonic() - start > limit_s:
            raise NeverCame(f"{what}: not within {limit_s:.0f} s; last seen {value!r}")
        pause.wait(every_s)
