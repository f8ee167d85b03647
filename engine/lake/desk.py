"""What a worker has on its desk when it lands a flow: the doors to the world, and where the flow stands.

Rule: doors are handed in, so that a test can hand in others. This room does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pyspark.sql import SparkSession

from engine.errors import SchemaBlocked
from engine.lake.answer import Answer
from engine.lake.batch import Position, Water, Withdrawn
from engine.lake.book import Book
from engine.lake.decode import Writer
from engine.lake.evolve import Target
from engine.lake.log import Log
from engine.ledger import Entry
from engine.plan import FlowPlan, LanePlan
from engine.schema import Shape


class Schemas(Protocol):
    """The registry, as the landing needs it."""

    def schema(self, schema_id: int) -> str | None:
        """The schema's text; None when the registry answers that there is none."""
        ...

    def ask(self, schema_ids: Collection[int]) -> None:
        """Look up many ids at once, so that ``schema`` answers without a wait for each."""
        ...


class Topics(Protocol):
    """The topics, as the landing needs them."""

    def topic_ids(self, topics: list[str]) -> Mapping[str, str]:
        """Topic to its id; a topic that does not exist is absent.

        So is one of many that we may not see; asked for alone it is TopicRefused.
        """
        ...

    def offsets(self, topics: list[str]) -> Mapping[str, Mapping[int, tuple[int, int]]]:
        """Topic to partition to (earliest, latest)."""
        ...


@dataclass(frozen=True, slots=True)
class Gap:
    """A gap in one table that the capture found and nobody has accepted yet."""

    era: int
    major: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A worker's doors. ``driver`` is this process as a writer: a new name at every start."""

    root: Path
    lane: LanePlan
    session: SparkSession
    kafka: Mapping[str, str]  # Spark's options of a range read
    book: Book
    schemas: Schemas
    topics: Topics
    gaps: Callable[[], Mapping[str, Gap]]
    at: Callable[[str], None]
    now_us: Callable[[], int]
    nonce: bytes
    driver: str


@dataclass
class Standing:
    """Where a flow stands: what its table says, kept in memory between batches.

    ``taken`` are the answers that it has gone on by, until a commit has recorded them.
    """

    flow: FlowPlan
    app_id: str
    seq: int = 0
    version: int = -1
    offsets: dict[int, int] = field(default_factory=dict)
    topic_id: str = ""
    waters: dict[int, Water] = field(default_factory=dict)
    target: Target = field(default_factory=Target)
    writers: dict[int, Writer] = field(default_factory=dict)
    foreign: set[int] = field(default_factory=set)
    blocked: dict[int, SchemaBlocked] = field(default_factory=dict)
    aside: dict[int, str] = field(default_factory=dict)  # see ``Batch``: kept from commit to commit
    floor: Position | None = None
    withdrawn: Withdrawn = frozenset()
    doubt: Position | None = None  # see ``landed``
    three_state: bool = False
    large: bool = False  # it has had a record that ``native`` does not hold in memory
    small_files: int = 0
    last: Entry | None = None  # the newest batch, as it was booked
    bound: Shape = field(default_factory=dict)  # the columns that its checks are known to fit
    taken: list[Answer] = field(default_factory=list)
    log: Log | None = None  # the table's, as native appends hold it
