"""What a capture stands between: its source, its topic, the registry, time, and where it says what it does.

Rule: they are handed in by whoever composes a worker; nothing here opens or does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from engine.errors import EcluseError
from engine.metrics import CaptureMeters
from engine.registry import Registry
from engine.source import Kept, Mark, Source
from engine.supervise import Clock, Policy
from engine.topic import Topic


class Log(Protocol):
    """Where a capture says what it does."""

    def info(self, event: str, **facts: Any) -> Any:
        """Say something that a person may want to know."""

    def warning(self, event: str, **facts: Any) -> Any:
        """Say something that a person should know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """The doors. ``open`` and ``topic`` give new ones: after an error both are spent.

    ``unfit`` tells the tables (``schema.name``) that cannot be opened now, and why. ``open`` takes a mark,
    the tables to leave out, how often a person asked for each to be read again, and the rows of what the
    connector keeps. ``show`` writes a major for people.
    """

    project: str
    unfit: Callable[[], Mapping[str, EcluseError]]
    open: Callable[[Mark | None, Collection[str], Mapping[str, int], Kept], AbstractContextManager[Source]]
    topic: Callable[[], Topic]
    registry: Registry
    clock: Clock
    policy: Policy
    meters: CaptureMeters
    log: Log
    at: Callable[[str], None]
    show: Callable[[int], str] = str
