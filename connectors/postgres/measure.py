"""The source's end as seen from outside: what lag is computed from.

Rule: an ordinary connection of its own, so that a dead worker's lag is seen to grow. Unknown is None.
"""

from __future__ import annotations

from contextlib import closing

from connectors.postgres import facts, session
from connectors.postgres.config import PostgresConfig
from engine.source import Measure


def measure(config: PostgresConfig) -> Measure:
    """Where the log ends, where the slot is, and what it holds back."""
    with closing(session.side(config)) as side, session.translated(config):
        end = facts.end_of_log(side)
        row = side.execute("select (extract(epoch from clock_timestamp()) * 1000000)::int8").fetchone()
        at_us = int(row[0]) if row else None
        slot = facts.slot(side, config.slot)
        if slot is None:
            return Measure(state="missing", end=end, at_us=at_us)
        lost = slot.wal_status == "lost" or bool(slot.invalid)
        state = "lost" if lost else "active" if slot.active_pid else "inactive"
        return Measure(
            state=state,
            end=end,
            confirmed=slot.confirmed,
            retained_bytes=max(end - slot.restart, 0) if slot.restart else None,
            at_us=at_us,
        )
