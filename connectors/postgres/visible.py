"""Waiting until a transaction that the log has told of is visible to everybody else.

The server writes a commit to its log first, and lets others see it afterwards: a moment later by rule, as
late as its standby answers where replication is synchronous. Whoever looks in between sees the state before.

Rule: what is asked beside the stream about a transaction is asked after this, so that no answer is older
than the change.
"""

from __future__ import annotations

import time
from typing import Final

from connectors.postgres.session import Connection
from engine.errors import SourceUnreachable

WAIT_S: Final = 10.0  # the stream is not read meanwhile: well below what the server is patient for
_PAUSE_S: Final = 0.005

# A number in the log has 32 bits. The newest one below the snapshot's end that has them is meant; where that
# is half the circle away, it is not below the end yet.
_VISIBLE: Final = """
select back < 2147483648 and txid_visible_in_snapshot(top - back, now)
  from (select now, top, (top - %s) & 4294967295 as back
          from (select now, txid_snapshot_xmax(now) as top from txid_current_snapshot() as now) as n) as b
"""


def wait_visible(side: Connection, xid: int) -> None:
    """Return once the transaction is visible to ``side``. Raises SourceUnreachable when it stays hidden.

    Number 0 is no transaction's: there is nothing to wait for.
    """
    if not xid:
        return
    end = time.monotonic() + WAIT_S
    while not _visible(side, xid):
        if time.monotonic() > end:
            raise SourceUnreachable(
                f"transaction {xid} is in the log and not visible after {WAIT_S:.0f} s",
                hint="SELECT pid, wait_event FROM pg_stat_activity WHERE wait_event = 'SyncRep';",
            )
        time.sleep(_PAUSE_S)


def _visible(side: Connection, xid: int) -> bool:
    row = side.execute(_VISIBLE, (xid,)).fetchone()
    return row is not None and bool(row[0])
