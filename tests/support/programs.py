"""The command with a hand that kills: ``... tests.support.programs POINT NTH RECORD --project DIR run ...``.

Rule: it composes what ``ecluse run`` composes, and passes a ``Killer`` as the hook of the fault points; the
product knows nothing of it. Other verbs are not reachable from here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from engine.cli import land, run
from engine.cli.compose import Call
from engine.errors import EcluseError, explain
from tests.support.killer import Killer


def main(words: list[str]) -> int:
    """Run one worker with a killer at one point; gives its exit code when it survives."""
    point, nth, record, _, project, _, kind, *rest = words
    call = Call(folder=Path(project), environment=os.environ)
    killer = Killer(point, int(nth), Path(record))
    try:
        if kind == "capture":
            run.run_capture(call, rest[0], at=killer)
        else:
            land.run_landing(call, "default", available_now="--available-now" in rest, at=killer)
    except EcluseError as error:
        sys.stderr.write(explain(error) + "\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
