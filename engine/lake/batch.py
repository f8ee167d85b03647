"""One batch of one flow: what is fixed before it runs, what was seen while it ran, what the ledger gets.

Rule: pure. Everything that completing the batch after a crash needs stands in its metadata, and the
metadata stands in the table's own commit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from engine.errors import LedgerDisagrees
from engine.lake.answer import Answer
from engine.lake.commits import Commit
from engine.lake.ranges import Offsets, Range
from engine.ledger import Entry
from engine.plan import FlowPlan

Position = tuple[int, int, int]
"""(era, major, minor)."""


Withdrawn = frozenset[tuple[int, int]]
"""The (era, major) of transactions that were taken back."""
Window = tuple[int, int]
"""Of some batches in a row: the records that were read, and those that went into quarantine."""
EMPTY: Final[Window] = (0, 0)


@dataclass(frozen=True, slots=True)
class Water:
    """How high a partition stands: the newest writer epoch and the highest position that came through it."""

    writer: int
    position: Position


Waters = Mapping[int, Water]


def waters_text(waters: Waters) -> dict[str, list[Any]]:
    """Waters as JSON: partition to (writer, position)."""
    return {str(p): [w.writer, list(w.position)] for p, w in sorted(waters.items())}


def waters_from(said: Mapping[str, Any]) -> dict[int, Water]:
    """Waters out of JSON.

    >>> waters_from(waters_text({0: Water(2, (1, 8, 4))}))
    {0: Water(writer=2, position=(1, 8, 4))}
    """
    found: dict[int, Water] = {}
    for partition, (writer, (era, major, minor)) in said.items():
        found[int(partition)] = Water(int(writer), (int(era), int(major), int(minor)))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch before it runs.

    ``waters`` are those before it, ``next`` is where the flow stands after it in every partition, ``driver``
    is who lands it.
    ``doubt``: up to there positions may stand in the table whatever the waters say.
    ``dedupe``: positions are compared inside the batch too, because a newer writer appears in it.
    ``foreign`` are the schema ids that were known to be nobody's. ``floor``: rows below it lose (scd1),
    ``floor_op``: because of what. ``withdrawn``: so do the rows of these transactions; the tombstones have
    them all, so that no commit says it again. ``floors_in_batch``: records of this batch say such things.
    ``stubs``: (partition, offset) of stubs of rows above the size limit that are quarantined, as a person
    has accepted; ``refused``: so are rows that fail a check which stops the flow. ``aside``: blocked schema
    ids whose records are quarantined, as a person has accepted, and the reason that stands there.
    ``accepted``: every answer that the batch goes on by. ``window``: what the breaker has so far.
    """

    flow: FlowPlan
    app_id: str
    seq: int
    span: Range
    topic_id: str
    driver: str
    landed_at_us: int
    waters: Waters
    next: Offsets
    doubt: Position | None = None
    dedupe: bool = False
    foreign: frozenset[int] = frozenset()
    floor: Position | None = None
    floors_in_batch: bool = False
    floor_op: str = "t"
    withdrawn: Withdrawn = frozenset()
    stubs: frozenset[tuple[int, int]] = frozenset()
    refused: frozenset[tuple[int, int]] = frozenset()
    aside: Mapping[int, str] = field(default_factory=dict)
    accepted: tuple[Answer, ...] = ()
    window: Window = EMPTY

    @property
    def lookup(self) -> bool:
        """Whether the table is asked for the positions of the range: some partition stands in doubt."""
        doubt, low = self.doubt, Water(0, (-1, -1, -1))
        return doubt is not None and any(self.waters.get(p, low).position < doubt for p in self.span)

    def metadata(self) -> str:
        """What the commit says of itself."""
        said = {
            "ecluse": 1,
            "app": self.app_id,
            "seq": self.seq,
            "writer": self.driver,
            "plan": self.flow.hash,
            "topic": self.flow.topic.name,
            "topic_id": self.topic_id,
            "offsets": {str(p): list(span) for p, span in sorted(self.span.items())},
            "next": {str(p): offset for p, offset in sorted(self.next.items())},
            "landed_at_us": self.landed_at_us,
            "waters": waters_text(self.waters),
            "doubt": self.doubt,
            "dedupe": self.dedupe,
            "foreign": sorted(self.foreign),
            "floor": self.floor,
            "floors_in_batch": self.floors_in_batch,
            "stubs": sorted(self.stubs),
            "refused": sorted(self.refused),
            "aside": _aside_text(self.aside),
            "accepted": [asdict(answer) for answer in self.accepted],
            "window": self.window,
        }
        return json.dumps(said, sort_keys=True)


def again(commit: Commit, flow: FlowPlan, driver: str) -> Batch:
    """The batch that a commit landed, to be completed by ``driver``."""
    said = commit.said
    return Batch(
        flow=flow,
        app_id=commit.app_id,
        seq=commit.seq,
        span=commit.span,
        topic_id=str(said["topic_id"]),
        driver=driver,
        landed_at_us=int(said["landed_at_us"]),
        waters=waters_from(said["waters"]),
        next=commit.next,
        doubt=_position(said["doubt"]),
        dedupe=bool(said["dedupe"]),
        foreign=frozenset(said["foreign"]),
        floor=_position(said["floor"]),
        floors_in_batch=bool(said["floors_in_batch"]),
        stubs=frozenset((p, offset) for p, offset in said["stubs"]),
        refused=frozenset((p, offset) for p, offset in said.get("refused", ())),
        aside=aside_from(said["aside"]),
        accepted=tuple(Answer(**each) for each in said["accepted"]),
        window=_window(said),
    )


def _aside_text(aside: Mapping[int, str]) -> dict[str, str]:
    return {str(schema_id): reason for schema_id, reason in sorted(aside.items())}


def aside_from(said: Mapping[str, str]) -> dict[int, str]:
    """The schema ids that a person has set aside, out of JSON."""
    return {int(schema_id): reason for schema_id, reason in said.items()}


def _position(said: Sequence[int] | None) -> Position | None:
    return None if said is None else (said[0], said[1], said[2])


@dataclass(frozen=True, slots=True)
class After:
    """Where a flow stands after a batch, as the ledger keeps it: enough to go on without the table's log."""

    next: Offsets
    waters: Waters
    doubt: Position | None = None
    aside: Mapping[int, str] = field(default_factory=dict)
    window: Window = EMPTY

    def text(self) -> str:
        """The same as JSON."""
        said = {
            "next": {str(p): offset for p, offset in sorted(self.next.items())},
            "waters": waters_text(self.waters),
            "doubt": self.doubt,
            "aside": _aside_text(self.aside),
            "window": self.window,
        }
        return json.dumps(said)


def after(entry: Entry) -> After:
    """Where a flow stands after the batch of an entry.

    >>> made = After({0: 9}, {0: Water(2, (1, 8, 4))}, (1, 8, 4), {7: "why"})
    >>> import types; after(types.SimpleNamespace(marks=made.text())) == made
    True
    """
    said = json.loads(entry.marks)
    offsets = {int(p): int(offset) for p, offset in said["next"].items()}
    doubt, aside = _position(said["doubt"]), aside_from(said["aside"])
    return After(offsets, waters_from(said["waters"]), doubt, aside, _window(said))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the batch's own job counted on its way, and the waters after it."""

    read: int
    bad: int
    duplicates: int = 0
    merged_away: int = 0
    late: int = 0
    dropped: int = 0  # by a check that says so
    checks: Mapping[str, int] = field(default_factory=dict)  # rows that failed it, by check
    unset: int = 0  # sound records without a row to apply them to, quarantined as such
    remembered: int = 0  # deletes, floors and withdrawals: rows of the tombstones' own commit
    leaving: int = 0  # rows of the table that its deletes and floors meet
    committed_us_min: int | None = None
    committed_us_max: int | None = None
    waters: Waters = field(default_factory=dict)


def entry(
    batch: Batch,
    seen: Seen,
    *,
    version: int,
    landed: int,
    quarantined: int,
    now_us: int,
    state: str = "landed",
) -> Entry:
    """The batch's entry in the ledger."""
    return Entry(
        flow=batch.flow.name,
        table=batch.flow.sink.table,
        app_id=batch.app_id,
        seq=batch.seq,
        plan=batch.flow.hash,
        writer=batch.driver,
        topic=batch.flow.topic.name,
        topic_id=batch.topic_id,
        offsets=dict(batch.span),
        read=seen.read,
        landed=landed,
        merged_away=seen.merged_away,
        duplicates=seen.duplicates,
        late=seen.late,
        dropped=seen.dropped,
        quarantined=quarantined,
        table_version=version,
        committed_us_min=seen.committed_us_min,
        committed_us_max=seen.committed_us_max,
        landed_at_us=now_us,
        duration_ms=max(0, (now_us - batch.landed_at_us) // 1000),
        state=state,
        reasons=tuple(answer.reason for answer in batch.accepted),
        checks=dict(sorted(seen.checks.items())),
        marks=After(
            batch.next, seen.waters, batch.doubt, batch.aside, window(batch, seen, quarantined)
        ).text(),
    )


def window(batch: Batch, seen: Seen, quarantined: int) -> Window:
    """What the breaker judges after a batch: batches in a row, until they are as many records as it wants."""
    read, held = batch.window if batch.window[0] < batch.flow.quarantine.min_rows else EMPTY
    return read + seen.read, held + quarantined


def _window(said: Mapping[str, Any]) -> Window:
    read, held = said.get("window", EMPTY)
    return int(read), int(held)


def check_deleted(batch: Batch, seen: Seen, commit: Commit) -> None:
    """Raise LedgerDisagrees unless the commit deleted the rows that the batch had to delete (I4)."""
    deleted = commit.metrics.get("numTargetRowsDeleted", 0)
    if deleted != seen.leaving:
        raise LedgerDisagrees(
            f"the batch had {seen.leaving} rows to delete, and its commit has deleted {deleted}",
            where=f"{batch.flow.name} seq {batch.seq}",
            hint=f"compare {batch.flow.sink.table} version {commit.version} with the one before and with the "
            "offsets in its commit; a restart counts again, and stops here while they differ",
        )


def rebooked(commit: Commit, flow: FlowPlan) -> Entry:
    """What a commit alone still tells of an old batch."""
    said = commit.said
    return replace(
        entry(
            again(commit, flow, commit.writer),
            Seen(read=0, bad=0, waters=waters_from(said["waters"])),
            version=commit.version,
            landed=0,
            quarantined=0,
            now_us=commit.at_ms * 1000,
            state="rebooked",
        ),
        plan=str(said.get("plan", "")),
        read=None,
        landed=landed_rows(commit),
        merged_away=None,
        duplicates=None,
        late=None,
        dropped=None,
        quarantined=None,
    )


def landed_rows(commit: Commit) -> int:
    """The rows that a commit put into its table, by the commit's own metrics.

    A MERGE's deletes are not among them: they are counted where they are remembered.
    """
    if "numTargetRowsInserted" in commit.metrics:
        matched = "numTargetRowsMatchedUpdated"
        updated = commit.metrics.get(matched, commit.metrics.get("numTargetRowsUpdated", 0))
        return commit.metrics["numTargetRowsInserted"] + updated
    return commit.metrics.get("numOutputRows", 0)
