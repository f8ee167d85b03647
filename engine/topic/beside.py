"""A topic beside its plan: which settings it is made with, and where one that exists falls short of them.

Rule: pure. More than the plan wants is no trouble: a topic may keep its records for longer, and take larger
ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.errors import EcluseError, TopicMismatch
from engine.plan import TopicPlan

SLACK_BYTES: Final = 1 << 20
_NEEDED: Final = ("READ", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS")


@dataclass(frozen=True, slots=True)
class TopicLook:
    """A topic beside its plan: ``partitions`` is None where it does not exist.

    ``troubles`` are what keeps it from being used, or made; ``denied`` are the operations that we may not do;
    ``leaderless`` the partitions that nobody leads.
    """

    partitions: int | None
    troubles: tuple[EcluseError, ...] = ()
    denied: tuple[str, ...] = ()
    leaderless: tuple[int, ...] = ()


def uneven(plan: TopicPlan, found: Any) -> list[EcluseError]:
    """Whether a topic has another number of partitions than its plan."""
    count = len(found.partitions)
    if count == plan.partitions:
        return []
    return [
        TopicMismatch(
            f"topic {plan.name} has {count} partitions, the plan says {plan.partitions}",
            where=plan.name,
            hint="stop its capture, and see who made it: what a connector keeps has one partition"
            if plan.compact
            else f"set topic.partitions to {count} in the template",
        )
    ]


def denied(found: Any) -> tuple[str, ...]:
    """What we need and may not do; a broker that does not say so lets everybody."""
    allowed = getattr(found, "authorized_operations", None)
    if not allowed:
        return ()
    names = {operation.name for operation in allowed}
    return tuple(name for name in _NEEDED if name not in names)


def leaderless(found: Any) -> tuple[int, ...]:
    """The partitions that no broker leads now."""
    return tuple(p.id for p in found.partitions if getattr(p, "leader", p) is None)


def unequal(plan: TopicPlan, now: Mapping[str, str], *, compacted: bool) -> list[EcluseError]:
    """Where a topic's settings keep, or take, less than the plan wants."""
    return [
        TopicMismatch(
            f"topic {plan.name} has {name}={now.get(name, '')}, the plan needs {value}",
            where=plan.name,
            hint=f"kafka-configs.sh --alter --entity-type topics --entity-name {plan.name} "
            f"--add-config {name}={value}",
        )
        for name, value in settings(plan, compacted=compacted).items()
        if not _suffices(name, now.get(name, ""), value)
    ]


def settings(plan: TopicPlan, *, compacted: bool) -> dict[str, str]:
    """The settings that a topic is made with.

    >>> settings(TopicPlan("marks", 1, 1, -1, "backward", 4 << 20), compacted=True)["max.message.bytes"]
    '5242880'
    """
    if compacted or plan.compact:
        # a mark a second would otherwise wait for a week, or a gigabyte, to be compacted
        kept = {"cleanup.policy": "compact", "segment.ms": "600000", "segment.bytes": "16777216"}
    else:
        kept = {"cleanup.policy": "delete", "retention.ms": str(plan.retention_ms)}
    return {**kept, "max.message.bytes": str(plan.row_bytes_max + SLACK_BYTES)}


def _suffices(name: str, is_now: str, wanted: str) -> bool:
    """Whether a setting keeps as much, and takes as much, as the plan wants.

    >>> _suffices("retention.ms", "-1", "1000"), _suffices("retention.ms", "999", "1000")
    (True, False)
    """
    match name:
        case "retention.ms":
            return int(is_now or 0) == -1 or int(is_now or 0) >= int(wanted) >= 0
        case "segment.ms" | "segment.bytes":
            return True
        case "max.message.bytes":
            return int(is_now or 0) >= int(wanted)
        case _:
            return is_now == wanted
