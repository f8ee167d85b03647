"""The peer that does nothing with what it reads: pg_recvlogical, into /dev/null.

Rule: the same kind of slot, publication and wire options as ours, to the same end; it shows the pace of
the server with a compiled client. An untimed pass into a file, in text form, says what it reads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Final

from bench import reference, tally
from bench.backlog import Backlog
from bench.rounds import Run
from bench.tally import Tally

NAME: Final = "pg_recvlogical"


class PeerFailed(RuntimeError):
    """It ended with an error."""


def installed() -> bool:
    """Whether this machine has it."""
    return shutil.which(NAME) is not None


def run(work: Backlog, number: int) -> Run:
    """One timed run; what it read is nowhere."""
    slot = work.slot(NAME, number)
    processes = []

    def begin() -> int:
        processes.append(_start(work, slot, into="/dev/null", binary=True))
        return processes[0].pid

    used, start_s = work.timed(slot, begin, lambda: ended(processes[0].pid), lambda: None)
    if processes[0].wait() != 0:
        raise PeerFailed(f"{NAME} ended with {processes[0].returncode}")
    return Run(used, None, {"start_s": start_s})


def read(work: Backlog) -> Tally:
    """The tally of what it reads from a slot like the others."""
    slot = work.slot("reference", 0)
    path = work.place.folder / f"{slot}.out"
    process = _start(work, slot, into=str(path), binary=False)
    if process.wait() != 0:
        raise PeerFailed(f"{NAME} ended with {process.returncode}")
    found = tally.of(reference.rows(path))
    path.unlink()
    return found


def _start(work: Backlog, slot: str, *, into: str, binary: bool) -> subprocess.Popen[bytes]:
    place = work.place
    options = {"proto_version": "1", "publication_names": f'"{slot}"', "messages": "true"}
    options["binary"] = str(binary).lower()
    words = [NAME, "--start", "--no-loop", f"--slot={slot}", f"--endpos={work.at.end}", f"--file={into}"]
    words += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    words += [f"--host={place.host}", f"--port={place.port}", f"--username={place.user}"]
    # the session's settings decide the text form of instants
    session = {"PGPASSWORD": place.password, "PGOPTIONS": "-c timezone=UTC -c datestyle=ISO"}
    return subprocess.Popen([*words, f"--dbname={work.database}"], env={**os.environ, **session})


def ended(pid: int) -> bool:
    """Whether it has ended; it stays unburied, so that what it has used can still be read."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
