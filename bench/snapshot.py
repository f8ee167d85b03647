"""BENCH=snapshot: the rows that a table holds, from PostgreSQL into Kafka, against the server's own COPY.

Rule: the table stands still. Our clock runs from the moment the capture holds its slot to the last
acknowledged record, so what a group needs to begin is in it; the peer is the whole of ``COPY … TO STDOUT``
into /dev/null, which neither types, encodes nor stores anything. Our rows are read back and compared with
their definition.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

from bench import change, ours, rounds, tally
from bench.backlog import PROJECT, Backlog, drop
from bench.measure import Meter, peak_rss_bytes
from bench.place import Place
from bench.readback import PARTITIONS, Ends, drop_topic, read
from bench.recvlogical import PeerFailed, ended
from bench.rounds import OURS, Run, say
from engine import names

ROWS: Final = 5_000_000
PEER: Final = "psql"
_DATABASE: Final = "bench_snapshot"
_POLL_S: Final = 0.02
_MB: Final = 1_000_000


def run(place: Place, *, scale: float, pairs: int, peers: Iterable[str]) -> dict[str, Any]:
    """Ours and the peer in turn; gives what goes into the result file. Raises ResultsDiffer."""
    rows = round(ROWS * scale)
    expected = tally.of(change.standing(rows))
    say(f"every run has to write {expected}")
    with place.connect("postgres") as admin:
        admin.execute(f"CREATE DATABASE {_DATABASE}")
    with place.connect(_DATABASE) as session:
        change.fill(session, rows)
    work = Backlog(place, _DATABASE, rows, 0)
    cold = _ours(work, pairs).used  # the broker's first pass
    say(f"{OURS}: with a cold broker {rows / cold.wall_s:,.0f} rows/s")
    known = {OURS: partial(_ours, work), PEER: partial(_copy, work)}
    runs = rounds.play({n: known[n] for n in (OURS, *peers)}, rounds=pairs, rows=rows)
    rounds.same_rows(runs, expected)
    say(f"every run: {expected}")
    return {"rows": rows, "pairs": pairs, "ratios": rounds.ratios(runs, rows), "runs": runs}


def lines(results: Mapping[str, Any]) -> list[str]:
    """The bench's last words."""
    peak = max(run.notes["peak_rss"] for run in results["runs"][OURS])
    return [
        *(ratio.line("snapshot") for ratio in results["ratios"]),
        f"snapshot peak_mb={peak / _MB:.0f} limit_mb=150 aim_mb=96",
    ]


def _ours(work: Backlog, number: int) -> Run:
    connection = work.connection(OURS, number)
    slot = names.slot(PROJECT, connection)
    topic = names.topic(connection, change.SCHEMA, change.TABLE)
    folder = ours.project(work.place, connection=connection, database=work.database, snapshot="initial")
    ends = Ends(work.place.bootstrap, topic, PARTITIONS)
    processes: list[subprocess.Popen[bytes]] = []

    def begin() -> int:
        processes.append(ours.start(folder, connection))
        return processes[0].pid

    def check() -> None:
        ours.alive(processes[0], folder)

    used, start_s = work.timed(slot, begin, lambda: ends.total() >= work.changes, check)
    peak = peak_rss_bytes(processes[0].pid)
    ours.stop(processes[0])
    found = read(work.place.bootstrap, work.place.registry, topic, PARTITIONS, "envelope")
    drop_topic(work.place.bootstrap, topic)
    with work.place.connect(work.database) as session:
        drop(session, slot)
    return Run(used, found, {"start_s": start_s, "peak_rss": peak})


def _copy(work: Backlog, _number: int) -> Run:
    place = work.place
    words = [PEER, f"--host={place.host}", f"--port={place.port}", f"--username={place.user}"]
    query = f"COPY {change.SCHEMA}.{change.TABLE} TO STDOUT"
    words += ["--no-psqlrc", f"--dbname={work.database}", f"--command={query}"]
    process = subprocess.Popen(
        words, env={**os.environ, "PGPASSWORD": place.password}, stdout=subprocess.DEVNULL
    )
    with Meter({"sut": process.pid, **place.pids}) as meter:
        while not ended(process.pid):
            time.sleep(_POLL_S)
        used = meter.read()
    if process.wait() != 0:
        raise PeerFailed(f"{PEER} ended with {process.returncode}")
    return Run(used, None, {})
