"""The breaker of a flow: too much in quarantine, and no batch follows until somebody has looked.

It judges each batch that is large enough, and small ones together until they are. What it judges is whole by
then: the good rows have landed, the others wait with their reason and bytes, and the ledger has it. What
stops is the next batch. So it is asked of the ledger's newest entry, before a batch and behind it, and a
landing that starts again finds it there.

Rule: pure.
"""

from __future__ import annotations

from engine.errors import QuarantineTooFull
from engine.lake import batch
from engine.lake.desk import Standing


def tripped(standing: Standing) -> QuarantineTooFull | None:
    """The stop that the newest batch, or the small ones up to it, are the reason for."""
    entry, limit, flow = standing.last, standing.flow.quarantine, standing.flow.name
    if entry is None or entry.read is None or entry.quarantined is None:
        return None
    for read, held in ((entry.read, entry.quarantined), batch.after(entry).window):
        if read >= limit.min_rows and held > limit.max_ratio * read:
            return QuarantineTooFull(
                f"{held} of {read} records up to batch {entry.seq} went into quarantine, more than "
                f"{limit.max_ratio:.4g} of them; nothing is lost",
                where=f"{flow}, batch {entry.seq}",
                hint=f"ecluse quarantine ls {flow} tells why; "
                f"ecluse resolve {flow} --accept-gap goes on behind it",
            )
    return None
