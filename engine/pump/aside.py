"""What a capture leaves out for now: unfit tables, and those whose topic or schema is refused.

Rule (I9): one table's trouble stops one table. It is told, and recorded as a gap from the first position that
its topic may lack, so that the landing stops that flow and nothing is missing without a word; the others go
on. What a look at tables and topics finds holds until the next look; a topic that refused a record is left
out as long as this process lives, because its next record would end the others' reading again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from engine.errors import EcluseError, RegistryRefused, RegistryUnreachable, TopicRefused, TopicUnreachable
from engine.marks import Marks
from engine.plan import CapturePlan
from engine.source import STREAM, Mark, TableGap
from engine.topic import Waiting, silent


@dataclass(slots=True)
class Aside:
    """The tables that are left out, and why; ``tell`` is told of each once."""

    capture: CapturePlan
    tell: Callable[..., Any]
    tables: Mapping[str, EcluseError] = field(default_factory=dict)
    _refused: dict[str, EcluseError] = field(default_factory=dict)  # by topic
    _told: set[tuple[str, str]] = field(default_factory=set)

    def look(self, troubled: Mapping[str, EcluseError], unfit: Mapping[str, EcluseError]) -> None:
        """Set aside what is unfit or stands in front of a troubled topic; raises when nothing is left."""
        refused = {**self._refused, **troubled}
        topics = {table: plan for table, plan in self.capture.topics.items() if not plan.compact}
        for name in {plan.name for plan in self.capture.topics.values() if plan.compact} & refused.keys():
            raise refused[name]  # without what the connector keeps, no table is safe
        behind = {table: refused[plan.name] for table, plan in topics.items() if plan.name in refused}
        self.tables = {**behind, **unfit}
        if self.tables and len(self.tables) == len(topics):
            raise next(iter(self.tables.values()))
        for table, error in self.tables.items():
            if (table, error.code) not in self._told:
                self._told.add((table, error.code))
                self.tell("set aside", table=table, **error.as_dict())

    def refuse(self, error: TopicRefused | RegistryRefused) -> NoReturn:
        """Leave out a topic that refused a record, or whose schema was refused: the next opening goes on.

        Raises the error itself where it is about no topic of ours, or the only one.
        """
        name = error.where.rpartition("/")[0]
        mine = {plan.name for plan in self.capture.topics.values() if not plan.compact}
        if name not in mine or mine == {*self._refused, name}:
            raise error
        self._refused[name] = error
        kind = TopicUnreachable if isinstance(error, TopicRefused) else RegistryUnreachable
        raise kind(
            f"the table of topic {name} is set aside: {error.what}", where=error.where, hint=error.hint
        ) from error

    def record(self, marks: Marks, mark: Mark | None, waiting: Waiting = silent) -> None:
        """Open a gap for every table that is left out, unless one of the same kind is open."""
        open_ = {(g.table, g.code) for g in marks.gaps() if g.capture == self.capture.name and not g.accepted}
        era, first = (mark.era, mark.at.get(STREAM, -1) + 1) if mark else (0, 0)
        for name, error in self.tables.items():
            if (name, error.code) not in open_:
                schema, _, table = name.partition(".")
                marks.open_gap(
                    self.capture.name, TableGap(schema, table, error.code, era, first, error.what), waiting
                )
