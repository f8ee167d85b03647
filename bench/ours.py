"""Our side of the capture bench: a project as a user writes it, and its capture worker.

Rule: nothing is tuned for the bench: the shipped template, its defaults, a plan, a worker process. The
worker is told to stop once all rows are acknowledged; that its last mark covers them is checked in the
server, which has then been told that it may forget them.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Final

from bench import change
from bench.backlog import PROJECT, Backlog
from bench.measure import peak_rss_bytes
from bench.place import Place
from bench.readback import PARTITIONS, Ends, drop_topic, read
from bench.rounds import OURS, Run
from engine import names

_TEMPLATE: Final = "postgres_table"
_OWN_TEMPLATE: Final = "bench_table"
_STOP_S: Final = 60.0
_STUCK_S: Final = 600.0
_POLL_S: Final = 0.02
_ECLUSE_YAML: Final = """\
apiVersion: ecluse/v1
kind: Project
metadata: {{name: {project}}}
spec:
  connections:
    {connection}:
      type: postgres
      host: {host}
      port: {port}
      database: {database}
      user: {user}
      password: ${{secret.bench}}
  kafka: {{bootstrap_servers: ["{bootstrap}"]}}
  registry: {{url: "{registry}"}}
  lake: {{root: "{lake}"}}
"""
_FLOW_YAML: Final = """\
apiVersion: ecluse/v1
kind: Flow
metadata: {{name: parcel, owner: bench@example.org}}
spec:
  template: {template}@1
  params:
    {{connection: {connection}, table: {table}, mode: append, snapshot: {snapshot}, partitions: {partitions}}}
"""


class WorkerFailed(RuntimeError):
    """Our worker ended, or left rows without a mark; its last words."""


def project(
    place: Place, *, connection: str, database: str, row_bytes_max: str = "", snapshot: str = "none"
) -> Path:
    """A project folder with one connection and one flow.

    With ``row_bytes_max`` its template is the shipped one with this limit, under a name of its own.
    """
    folder = place.folder / connection
    (folder / "flows").mkdir(parents=True)
    (folder / "secrets").mkdir()
    given = {
        "project": PROJECT,
        "connection": connection,
        "host": place.host,
        "port": place.port,
        "database": database,
        "user": place.user,
        "bootstrap": place.bootstrap,
        "registry": place.registry,
        "lake": folder / "lake",
        "table": f"{change.SCHEMA}.{change.TABLE}",
        "partitions": PARTITIONS,
        "snapshot": snapshot,
        "template": _OWN_TEMPLATE if row_bytes_max else _TEMPLATE,
    }
    if row_bytes_max:
        text = (resources.files("templates") / f"{_TEMPLATE}.yaml").read_text(encoding="utf-8")
        text = text.replace(f"name: {_TEMPLATE}", f"name: {_OWN_TEMPLATE}")
        text = re.sub(r"row_bytes_max: \w+", f"row_bytes_max: {row_bytes_max}", text)
        (folder / "templates").mkdir()
        (folder / "templates" / "own.yaml").write_text(text, encoding="utf-8")
    (folder / "ecluse.yaml").write_text(_ECLUSE_YAML.format(**given), encoding="utf-8")
    (folder / "flows" / "parcel.yaml").write_text(_FLOW_YAML.format(**given), encoding="utf-8")
    secret = folder / "secrets" / "bench"
    secret.touch(mode=0o600)
    secret.write_text(place.password, encoding="utf-8")
    return folder


def start(folder: Path, connection: str) -> subprocess.Popen[bytes]:
    """The capture worker of a project folder, as the command starts it."""
    words = [sys.executable, "-m", "engine.cli", "--project", str(folder), "run", "capture", connection]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env={**os.environ})


def run(work: Backlog, number: int) -> Run:
    """One timed run, and what it wrote."""
    connection = work.connection(OURS, number)
    slot = work.slot(OURS, number)
    topic = names.topic(connection, change.SCHEMA, change.TABLE)
    folder = project(work.place, connection=connection, database=work.database)
    ends = Ends(work.place.bootstrap, topic, PARTITIONS)
    processes: list[subprocess.Popen[bytes]] = []

    def begin() -> int:
        processes.append(start(folder, connection))
        return processes[0].pid

    def check() -> None:
        alive(processes[0], folder)

    used, start_s = work.timed(slot, begin, lambda: ends.total() >= work.changes, check)
    marked_s = _marked(work, slot, processes[0], folder)
    peak = peak_rss_bytes(processes[0].pid)
    stop(processes[0])
    found = read(work.place.bootstrap, work.place.registry, topic, PARTITIONS, "envelope")
    drop_topic(work.place.bootstrap, topic)
    return Run(used, found, {"start_s": start_s, "marked_s": marked_s, "peak_rss": peak})


def alive(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Raises WorkerFailed when the worker has ended."""
    if process.poll() is not None:
        raise WorkerFailed((folder / "log").read_text(encoding="utf-8", errors="replace")[-4000:])


def wait(
    process: subprocess.Popen[bytes], folder: Path, done: Callable[[], bool], *, stuck_s: float = _STUCK_S
) -> None:
    """Return when it is done; raises WorkerFailed when the worker ends, or takes too long."""
    deadline = time.monotonic() + stuck_s
    while not done():
        alive(process, folder)
        if time.monotonic() > deadline:
            raise WorkerFailed(f"not done after {stuck_s:g} s")
        time.sleep(_POLL_S)


def capturing(folder: Path) -> bool:
    """Whether the worker has taken its connection over."""
    return b'"capturing"' in (folder / "log").read_bytes()


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the worker to end, as an operator does."""
    process.send_signal(signal.SIGTERM)
    if process.wait(_STOP_S) != 0:
        raise WorkerFailed(f"it ended with {process.returncode} when it was told to stop")


def _marked(work: Backlog, slot: str, process: subprocess.Popen[bytes], folder: Path) -> float:
    """How long after the last record the server was told that it may forget all of them."""
    begun = time.perf_counter()
    query = "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s"
    with work.place.connect(work.database) as session:

        def confirmed() -> bool:
            row = session.execute(query, (work.at.behind, slot)).fetchone()
            return bool(row and row[0])

        wait(process, folder, confirmed)
    return round(time.perf_counter() - begun, 3)
