"""The ledger: one entry per batch and flow, the quarantined row, and the equation that both must meet.

Rule (I4): what was read is what landed, was merged away, was a duplicate, came too late, was dropped by a
rule or was quarantined; every term is counted by itself and none is the difference of two others. This
room does not read or write tables, and is light: whoever shows numbers needs it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from engine.errors import LedgerDisagrees

Span = tuple[int, int]
"""The first offset of a range, and the first offset after it."""

TERMS: Final = ("landed", "merged_away", "duplicates", "late", "dropped", "quarantined")
"""What becomes of a record that was read: one of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One batch of one flow, durable and balanced.

    A count is None where nobody can know it any more: an old batch that was booked again from the table's
    own commits. ``checks`` are the rows that failed each check, whatever became of them. ``marks`` is JSON:
    where the flow stands after the batch, in every partition.
    """

    flow: str
    table: str
    app_id: str
    seq: int
    plan: str
    writer: str
    topic: str
    topic_id: str
    offsets: Mapping[int, Span]
    read: int | None
    landed: int | None
    merged_away: int | None = 0
    duplicates: int | None = 0
    late: int | None = 0
    dropped: int | None = 0
    quarantined: int | None = 0
    table_version: int
    committed_us_min: int | None = None
    committed_us_max: int | None = None
    landed_at_us: int
    duration_ms: int = 0
    state: str = "landed"  # landed, completed (after a crash), rebooked (from the table's own commits)
    reasons: tuple[str, ...] = field(default=())
    checks: Mapping[str, int] = field(default_factory=dict)
    marks: str = "{}"


def terms(entry: Entry) -> dict[str, int | None]:
    """What became of the records that were read."""
    return {name: getattr(entry, name) for name in TERMS}


def balance(entry: Entry) -> None:
    """Raise LedgerDisagrees unless the equation of the batch holds (I4)."""
    found = {name: count for name, count in terms(entry).items() if count is not None}
    if entry.read is None or len(found) < len(TERMS):
        return
    if entry.read != sum(found.values()):
        said = " + ".join(f"{count} {name}" for name, count in found.items() if count or name == "landed")
        raise LedgerDisagrees(
            f"read {entry.read} records, but found {said}",
            where=f"{entry.flow} seq {entry.seq}, {place(entry)}",
            hint=f"compare the range with {entry.table} version {entry.table_version}; "
            "a restart counts again, and stops here while they differ",
        )


def place(entry: Entry) -> str:
    """The batch's range as a person reads it."""
    spans = " ".join(f"{p}:[{a},{b})" for p, (a, b) in sorted(entry.offsets.items()))
    return f"{entry.topic} {spans}"


def to_row(entry: Entry) -> dict[str, Any]:
    """The entry as a row of the ledger's table; offsets are JSON, which every engine reads as a string."""
    row = asdict(entry)
    row["offsets"] = json.dumps({str(p): list(span) for p, span in sorted(entry.offsets.items())})
    row["reasons"] = list(entry.reasons)
    row["checks"] = json.dumps(dict(entry.checks), sort_keys=True)
    return row


def from_row(row: Mapping[str, Any]) -> Entry:
    """The entry that a row of the ledger's table holds."""
    values = dict(row)
    values["offsets"] = {int(p): (a, b) for p, (a, b) in json.loads(row["offsets"]).items()}
    values["reasons"] = tuple(row["reasons"] or ())
    values["checks"] = json.loads(row["checks"] or "{}")
    return Entry(**values)


QUARANTINE: Final = (
    ("flow", "string"),
    ("table", "string"),
    ("app_id", "string"),
    ("seq", "bigint"),
    ("plan", "string"),
    ("topic", "string"),
    ("topic_id", "string"),
    ("partition", "int"),
    ("offset", "bigint"),
    ("stage", "string"),
    ("reason", "string"),
    ("schema_id", "int"),
    ("op", "string"),
    ("position", "struct<era:bigint,major:bigint,minor:bigint>"),
    ("key_json", "string"),
    ("unfit", "map<string,string>"),
    ("key", "binary"),
    ("value", "binary"),
    ("record_at", "timestamp"),
    ("quarantined_at", "timestamp"),
)
"""The quarantine's columns. A row is known by (topic_id, partition, offset, stage) and (app_id, seq).

``stage`` is ``decode`` (the bytes are no record of ours), ``schema`` (the table cannot follow the record's
schema, and a person has accepted that), ``record`` (the source could not take a partner's record apart),
``type`` (a value has no place in its column, or a text no value), ``check`` (it fails checks) or ``apply``
(the record is sound, and the table has no row to apply it to). ``unfit`` holds the values that ``type`` and
``check`` are about, by column, and of a partner's record where it stood and what the source says of it.
"""
