"""What the lake was landed by last: which flows it knows, and the plan of each one's newest batch.

Rule: read only; a flow that the lake knows nothing of is absent. No Spark, no JVM.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.errors import LakeUnreachable
from engine.names import OWN_FOLDER
from engine.watch.lake import opened, rows, translated

_NEWEST: Final = """
select flow, last_value(plan order by landed_at_us, seq) as plan,
       last_value("table" order by landed_at_us, seq) as "table", max(landed_at_us) as at_us
from l group by flow
"""


@dataclass(frozen=True, slots=True)
class Run:
    """A flow as it landed last: its table, and the plan of that batch (None: the lake has not kept it)."""

    table: str
    plan: dict[str, Any] | None
    landed_at_us: int


def last(root: str) -> dict[str, Run]:
    """Every flow that has ever landed here."""
    table = opened(Path(root, OWN_FOLDER, "ledger"))
    if table is None:
        return {}
    with translated(root):
        found = rows(table, "l", _NEWEST)
    return {row["flow"]: Run(row["table"], _plan(root, row["plan"]), row["at_us"]) for row in found}


def _plan(root: str, hash_: str) -> dict[str, Any] | None:
    path = Path(root, OWN_FOLDER, "plans", f"{Path(hash_).name}.json")
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LakeUnreachable(str(error), where=str(path)) from error
    return said if isinstance(said, dict) else None
