"""Calls that wait for somebody else, while the source is kept alive.

Rule: the call runs in a thread of its own and is the only one to touch what it asks; whoever called does
nothing meanwhile but keep alive, and leaves only when the call has ended. The call bounds its own time.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final, TypeVar

from engine.topic import Waiting

T = TypeVar("T")

_SLICE_S: Final = 0.25


def patiently(call: Callable[[], T], waiting: Waiting) -> T:
    """What the call gives or raises; ``waiting`` is called while it takes its time."""
    with ThreadPoolExecutor(1) as beside:
        answer = beside.submit(call)
        while not wait([answer], timeout=_SLICE_S).done:
            waiting()
        return answer.result()
