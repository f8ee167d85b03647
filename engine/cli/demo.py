"""The verb ``demo``: a parcel company in four acts, each moves a number that one can see, and a verdict.

Rule: it writes into ``.ecluse/demo`` here and into the cache folder, and says so; it ends by itself; its exit
code is 0 only if each act has shown what it says, and an independent reader finds every row of the source in
the lake, waiting keys set apart, and of each file that a partner sends beside what ought to become of it.
"""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path

import typer

from engine.cli import curtain, places, screen, show, start
from engine.cli.compose import Call
from engine.cli.download import Meter, announce
from engine.cli.running import Running, owner
from engine.cli.stage import SECONDS
from engine.embedded import record
from engine.embedded.stack import cache_folder
from engine.errors import Exit, StackFailed, Unusable


def demo(context: typer.Context) -> None:
    """See it work in about two minutes: a parcel company, four acts, a verdict. Needs nothing but Python.

    DEMO_SECONDS=n: seconds of traffic (0: until Ctrl-C); KEEP=1: the services go on afterwards.
    """
    outer: Call = context.obj
    seconds = _seconds(outer.environment.get("DEMO_SECONDS", ""))
    folder = Path(".ecluse", "demo")
    _fresh(folder)
    call = Call(folder, outer.environment)
    keep = outer.environment.get("KEEP", "") not in ("", "0")
    from engine.cli.play import Play  # it brings the driver of the sample database

    with start.ended_by_signal(), Meter() as meter:
        project = Running(call, meter, keep=keep, lasting=False)
        cache = cache_folder(call.environment)
        show.note(f"writes only into {folder.resolve()} and {cache}")
        announce(project.download_bytes(), str(cache))
        show.note("starting PostgreSQL, Kafka and a schema registry on this machine …")
        began = time.monotonic()
        with project:
            meter.close()
            show.note(f"started in {screen.seconds(time.monotonic() - began)}")
            holds = Play(project, seconds).run()
    curtain.farewell(str(folder), places.lake_root(call, project.plan), keep=keep)
    if not holds:
        raise typer.Exit(Exit.UNMET)


def _seconds(text: str) -> float:
    """Seconds of traffic; 0 has no end."""
    try:
        seconds = float(text or SECONDS)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise Unusable(
            f'"{text}" is no number of seconds', where="DEMO_SECONDS", hint="DEMO_SECONDS=45 ecluse demo"
        )
    return seconds


def _fresh(folder: Path) -> None:
    """A new project in ``folder``; what an earlier demo left there is stopped and removed."""
    if folder.is_dir():
        if not (folder / "ecluse.yaml").is_file():
            raise StackFailed("the folder holds something else", where=str(folder), hint=f"mv {folder} away")
        state = folder.resolve() / ".ecluse"
        other = owner(state)
        if other is not None:
            raise StackFailed(
                f"a demo runs here, pid {other.pid}", where=str(folder), hint=f"ecluse -p {folder} down"
            )
        record.down(state, delete=True)
        shutil.rmtree(folder)
    start.write_project(folder)
    start.add_partner(folder)
