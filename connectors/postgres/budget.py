"""What the slot costs the server: how much of its log it holds back, and how much it may.

Rule: read only. A server without a bound keeps everything for a capture that stands still, until its disk is
full; one with a bound throws away what was not read. Both are told before they happen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from connectors.postgres.session import Connection
from engine.source import Finding

_SUBJECT: Final = "log budget"
_SOON: Final = 0.5  # of the budget
_READ: Final = """
select pg_catalog.pg_size_bytes(pg_catalog.current_setting('max_slot_wal_keep_size')),
       s.safe_wal_size, s.wal_status,
       case when pg_catalog.pg_is_in_recovery() then null
            else pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::int8 end
from (select 1) one left join pg_catalog.pg_replication_slots s on s.slot_name = %s
"""


def findings(side: Connection, slot: str) -> Iterator[Finding]:
    """How much log the slot holds back, beside what the server lets it."""
    row = side.execute(_READ, (slot,)).fetchone()
    if row is None:
        return
    bound, left, status, held = row
    holds = "" if held is None else f"; {slot} holds back {mib(held)}"
    if bound is None or bound < 0:
        yield Finding(
            "warn",
            _SUBJECT,
            f"max_slot_wal_keep_size is not set: a capture that stands still fills the server's disk{holds}",
            fix="ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();"
            " with less than the disk has free",
        )
    elif held is not None and status != "lost" and left is not None and left < (1 - _SOON) * bound:
        yield Finding(
            "warn",
            _SUBJECT,
            f"{slot} holds back {mib(held)} of {mib(bound)}: after {mib(max(left, 0))} more it is lost",
            fix="run the capture, or raise max_slot_wal_keep_size",
        )
    else:
        yield Finding("ok", _SUBJECT, f"at most {mib(bound)}{holds}")


def mib(size: int) -> str:
    """A size as people say it.

    >>> mib(3_250_585), mib(64 << 30)
    ('3.1 MiB', '64.0 GiB')
    """
    amount, unit = size / (1 << 20), "MiB"
    if amount >= 1024:  # noqa: PLR2004
        amount, unit = amount / 1024, "GiB"
    return f"{amount:.1f} {unit}"
