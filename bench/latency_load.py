"""The load of the latency bench, as a program: transactions at a fixed pace, each a row in every table.

Rule: a transaction has its moment, counted from the start: one that is late is not left out, and how late
the latest was is told. The clock is read when the server has answered the commit. Nothing else is done here,
so that the pace holds on a machine whose cores are all at work.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import psycopg


def main(given: dict[str, Any]) -> None:
    """Write ``transactions``, and then the clock after each commit and the greatest delay into a file."""
    committed: list[int] = []
    behind_s = 0.0
    with psycopg.connect(given["dsn"], autocommit=True) as session:
        begun = time.monotonic()
        for number in range(given["transactions"]):
            due = begun + number / given["per_s"]
            time.sleep(max(0.0, due - time.monotonic()))
            behind_s = max(behind_s, time.monotonic() - due)
            session.execute("SELECT put(%s)", (number,))
            committed.append(time.time_ns() // 1000)
    told = {"committed_us": committed, "behind_s": round(behind_s, 3)}
    Path(given["out"]).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
