"""The breaker of a flow: a batch with too much in quarantine is the last one, until somebody looks.

The batch itself is whole by then: its good rows have landed, the others wait with their reason and bytes, and
the ledger has it. What stops is the next one. So it is asked of the ledger's newest entry, before a batch and
behind it, and a landing that starts again finds it there.

Rule: pure.
"""

from __future__ import annotations

from engine.errors import QuarantineTooFull
from engine.lake.desk import Standing


def tripped(standing: Standing) -> QuarantineTooFull | None:
    """The stop that the newest batch is the reason for."""
    entry, limit, flow = standing.last, standing.flow.quarantine, standing.flow.name
    if entry is None or entry.read is None or entry.quarantined is None or entry.read < limit.min_rows:
        return None
    if entry.quarantined <= limit.max_ratio * entry.read:
        return None
    return QuarantineTooFull(
        f"{entry.quarantined} of {entry.read} records of batch {entry.seq} went into quarantine, more than "
        f"{limit.max_ratio:.4g} of it; nothing is lost",
        where=f"{flow}, batch {entry.seq}",
        hint=f"ecluse quarantine ls {flow} tells why; ecluse resolve {flow} --accept-gap goes on behind it",
    )
