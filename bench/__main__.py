"""``python -m bench [capture|files|landing|latency|memory|snapshot|table]``: what ``make bench`` starts.

Without a name every bench runs, one after the other, and then the table in the README is made anew out of the
stored results; ``table`` does that alone.

``BENCH_SCALE`` makes the work smaller (0.01: a look), ``BENCH_PAIRS`` is the number of rounds,
``BENCH_PEERS`` the peers (``none``: ours alone), ``BENCH_TRANSACTIONS`` the sizes of transactions of the
capture (``100,1,10000``), ``BENCH_MODES`` the modes of the latency (``append,scd1``), ``BENCH_PARTS`` what of
the files is measured (``speed,memory,many``). A peer that is not installed is named and left out.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench import capture, debezium, files, landing, latency, memory, recvlogical, rounds, snapshot, table
from bench.place import Place, embedded
from bench.rounds import say
from engine.embedded.stack import Part
from engine.errors import DownloadFailed

_PARTS: Final[Mapping[str, frozenset[Part]]] = {
    "capture": frozenset(("postgres", "kafka", "registry")),
    "files": frozenset(("kafka", "registry")),
    "memory": frozenset(("postgres", "kafka", "registry")),
    "snapshot": frozenset(("postgres", "kafka", "registry")),
    "landing": frozenset(("kafka", "registry", "spark")),
    "latency": frozenset(("postgres", "kafka", "registry", "spark")),
}


def main(name: str, environment: Mapping[str, str]) -> int:
    """Run one bench; 0 when it came to its end with equal rows on all sides."""
    scale = float(environment.get("BENCH_SCALE") or 1)
    folder = Path(tempfile.mkdtemp(prefix="ecluse-bench-"))
    folder.chmod(0o711)  # the database runs as another user
    try:
        with embedded(folder, _PARTS[name], environment) as place:
            results, last = _run(name, place, scale, environment)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    path = rounds.keep(name, {"scale": scale, **results})
    say(f"raw figures: {path}")
    print(*last, sep="\n")
    return 0


def _run(
    name: str, place: Place, scale: float, environment: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    pairs = int(environment.get("BENCH_PAIRS") or 3)
    asked = environment.get("BENCH_PEERS") or "all"
    if name == "memory":
        results = memory.run(place, scale=scale)
        return results, memory.lines(results)
    if name == "latency":
        modes = (environment.get("BENCH_MODES") or "append").split(",")
        results = latency.run(place, scale=scale, modes=modes)
        return results, latency.lines(results)
    if name == "snapshot":
        results = snapshot.run(place, scale=scale, pairs=pairs, peers=_here(snapshot.PEER, asked))
        return results, snapshot.lines(results)
    if name == "files":
        parts = (environment.get("BENCH_PARTS") or ",".join(files.PARTS)).split(",")
        peers = _here(files.PEER, asked)
        results = files.run(place, scale=scale, pairs=pairs, peers=peers, parts=parts)
        return results, files.lines(results)
    if name == "landing":
        peers = [peer for peer in (landing.PEER,) if _wanted(peer, asked)]
        results = landing.run(place, scale=scale, pairs=pairs, peers=peers)
        return results, landing.lines(results)
    jars = _connect_jars(place) if _wanted(debezium.NAME, asked) else None
    peers = [recvlogical.NAME] if _wanted(recvlogical.NAME, asked) and recvlogical.installed() else []
    peers += [debezium.NAME] if jars is not None else []
    given = environment.get("BENCH_TRANSACTIONS") or ""
    sizes = [int(size) for size in given.split(",") if size] or capture.PER_TRANSACTION
    results = capture.run(place, scale=scale, pairs=pairs, connect_jars=jars, peers=peers, sizes=sizes)
    absent = [
        f"capture peer={peer} is not installed here"
        for peer in (recvlogical.NAME, debezium.NAME)
        if _wanted(peer, asked) and peer not in peers
    ]
    return results, capture.lines(results) + absent


def _here(peer: str, asked: str) -> list[str]:
    """The peer when it is wanted and installed."""
    wanted = _wanted(peer, asked)
    if wanted and shutil.which(peer) is None:
        say(f"{peer} is not installed here")
    return [peer] if wanted and shutil.which(peer) else []


def _wanted(peer: str, asked: str) -> bool:
    return asked == "all" or peer in asked.split(",")


def _connect_jars(place: Place) -> Path | None:
    say(f"{debezium.NAME}: its jars (45 MB) come from the cache, or are downloaded")
    try:
        return place.jars_of("connect")
    except DownloadFailed as error:
        say(f"{debezium.NAME}: {error.what}")
        return None


if __name__ == "__main__":
    asked = sys.argv[1:] or [*_PARTS, "table"]
    if not {*asked} <= {*_PARTS, "table"}:
        sys.exit(f"make bench BENCH={'|'.join(_PARTS)}")
    for each in asked:
        if each == "table":
            table.write()
        else:
            main(each, os.environ)
