"""The records that could not land: how many, why, and each with its bytes.

Rule: grouped by the short reason code, never by free text; what a record held is shown as it came, and only
where it is asked for: counting reads no values. Reads local folders through deltalake; writes nothing,
releases nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from engine.names import OWN_FOLDER
from engine.watch.lake import joined, opened, rows, translated

Span = Literal["day", "hour"]
"""How long one line of the statistics is."""

SHOWN_BYTES: Final = 64  # of a record's value on a terminal; --json gives all


@dataclass(frozen=True, slots=True)
class Group:
    """The quarantined records of one flow with one reason."""

    flow: str
    stage: str
    reason: str
    records: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Rejected:
    """One quarantined record: where it stands in the log, why it waits, and what it holds."""

    flow: str
    topic: str
    partition: int
    offset: int
    stage: str
    reason: str
    op: str | None
    key_json: str | None
    unfit: Mapping[str, str | None]  # the values that it is about, by column
    schema_id: int | None
    key: bytes | None
    value: bytes | None
    quarantined_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """The record as ``--json`` prints it: bytes in hexadecimal."""
        return {
            "flow": self.flow,
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "stage": self.stage,
            "reason": self.reason,
            "op": self.op,
            "key": self.key_json,
            "unfit": dict(self.unfit),
            "schema_id": self.schema_id,
            "key_hex": self.key.hex() if self.key is not None else None,
            "value_hex": self.value.hex() if self.value is not None else None,
            "quarantined_at": self.quarantined_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Tally:
    """The quarantined records of one flow with one reason in one span of time, which ``since`` begins (UTC).

    ``read`` is what the flow's batches read in that span, None where nobody knows it any more. The
    coordinates are those of the newest record.
    """

    flow: str
    stage: str
    reason: str
    since: datetime
    records: int
    read: int | None
    first: datetime
    last: datetime
    topic: str
    partition: int
    offset: int

    @property
    def share(self) -> float | None:
        """The part of what was read that is here; None: not known."""
        return self.records / self.read if self.read else None

    def as_dict(self) -> dict[str, Any]:
        """The tally as ``--json`` prints it."""
        return {
            "flow": self.flow,
            "stage": self.stage,
            "reason": self.reason,
            "since": self.since.isoformat(),
            "records": self.records,
            "read": self.read,
            "share": self.share,
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "newest": {"topic": self.topic, "partition": self.partition, "offset": self.offset},
        }


def folder(root: str) -> Path:
    """Where the quarantine is."""
    return Path(root, OWN_FOLDER, "quarantine")


def groups(root: str, flow: str | None = None) -> list[Group]:
    """What waits, by flow and reason; empty when nothing was ever quarantined."""
    where = f"WHERE flow = {_text(flow)}" if flow else ""
    found = _query(
        root,
        "SELECT flow, stage, reason, count(*) AS records, min(quarantined_at) AS first, "  # noqa: S608
        f"max(quarantined_at) AS last FROM q {where} GROUP BY flow, stage, reason "
        "ORDER BY flow, records DESC, reason",
    )
    return [Group(**row) for row in found]


def rejected(root: str, flow: str, *, reason: str | None = None, limit: int = 20) -> list[Rejected]:
    """The newest quarantined records of a flow."""
    also = f"AND reason = {_text(reason)}" if reason else ""
    found = _query(
        root,
        'SELECT flow, topic, "partition", "offset", stage, reason, op, key_json, unfit, schema_id, '  # noqa: S608
        f'"key", "value", quarantined_at FROM q WHERE flow = {_text(flow)} {also} '
        f'ORDER BY quarantined_at DESC, "partition", "offset" DESC LIMIT {limit:d}',
    )
    return [Rejected(**{**row, "unfit": dict(row["unfit"] or ())}) for row in found]


# Both sides are told apart by the batch, so that a record and what was read with it stand in one span.
_TALLIES: Final = """
with batch as (
  select app_id, seq, flow, min(landed_at_us) as at_us,
         case when count("read") = count(*) then max("read") end as "read"
  from l {only} group by app_id, seq, flow
), span as (
  select flow, date_trunc('{span}', to_timestamp_micros(at_us)) as since,
         case when count("read") = count(*) then sum("read") end as "read"
  from batch group by 1, 2
), bad as (
  select q.flow, q.stage, q.reason, q.topic, q."partition", q."offset", q.quarantined_at as at,
         date_trunc('{span}', coalesce(to_timestamp_micros(b.at_us), arrow_cast(q.quarantined_at,
           'Timestamp(Nanosecond, None)'))) as since
  from q left join batch b on b.app_id = q.app_id and b.seq = q.seq {also}
), tally as (
  select flow, stage, reason, since, count(*) as records, min(at) as first, max(at) as last,
         last_value(topic order by at, "partition", "offset") as topic,
         last_value("partition" order by at, "partition", "offset") as "partition",
         last_value("offset" order by at, "partition", "offset") as "offset"
  from bad group by flow, stage, reason, since
)
select t.*, s."read" from tally t left join span s on s.flow = t.flow and s.since = t.since
order by t.flow, t.since desc, t.records desc, t.reason
"""


def tallies(root: str, flow: str | None = None, *, span: Span = "day") -> list[Tally]:
    """How many records of each reason came in each span, the newest first; no value is read."""
    own = Path(root, OWN_FOLDER)
    quarantined, ledger = opened(folder(root)), opened(own / "ledger")
    if quarantined is None or ledger is None:
        return []
    query = _TALLIES.format(
        span=span,
        only=f"where flow = {_text(flow)}" if flow else "",
        also=f"where q.flow = {_text(flow)}" if flow else "",
    )
    with translated(root):
        found = joined({"q": quarantined, "l": ledger}, query)
    return [Tally(**{**row, "since": row["since"].replace(tzinfo=UTC)}) for row in found]


def readable(value: bytes | None, limit: int = SHOWN_BYTES) -> str:
    r"""The beginning of some bytes: printable ASCII as it is, the rest as ``\xNN``.

    >>> readable(b"\x00ab\xff", 10), readable(b"abcdef", 3), readable(None)
    ('\\x00ab\\xff', 'abc… 6 bytes', 'none')
    """
    if value is None:
        return "none"
    text = "".join(chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in value[:limit])  # noqa: PLR2004
    return f"{text}… {len(value)} bytes" if len(value) > limit else text


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _query(root: str, query: str) -> list[dict[str, Any]]:
    table = opened(folder(root))
    if table is None:
        return []
    with translated(root):
        return rows(table, "q", query)
