"""BENCH=files: a partner's files into Kafka: how fast against ``kcat -P -l``, in how much memory, how many.

Rule: the whole way of a file connection is timed: copied and hashed, validated to its last line, its
entry durable, then published and acknowledged. The peer reads the same lines once and sends each as it
stands; it is told the broker and the topic and nothing else, and its clock is its whole life. Ours starts
when the worker has taken its connection over, with the file lying there. What both wrote is read back and
compared.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench import files_many, files_memory, ours, partner, rounds, tally
from bench.backlog import PROJECT
from bench.measure import Meter, peak_rss_bytes
from bench.partner import Form
from bench.place import Place
from bench.readback import PARTITIONS, Ends, drop_topic, make_topic, read
from bench.recvlogical import PeerFailed, ended
from bench.rounds import OURS, Ratio, Run, say
from engine import names

LINES: Final = 2_000_000
PEER: Final = "kcat"
PARTS: Final = ("speed", "memory", "many")
_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Work:
    """A file of one form, as both sides read it: ours with its line of names, if the form has one."""

    place: Place
    form: Form
    lines: int
    with_head: Path
    bare: Path


def run(
    place: Place, *, scale: float, pairs: int, peers: Iterable[str], parts: Collection[str] = PARTS
) -> dict[str, Any]:
    """Speed, then memory, then many files; gives what goes into the result file. Raises ResultsDiffer."""
    count = round(LINES * scale)
    forms = partner.KINDS if "speed" in parts else ()
    return {
        "lines": count,
        "pairs": pairs,
        "forms": {form: _speed(place, form, count, pairs, peers) for form in forms},
        "memory": files_memory.run(place, scale=scale) if "memory" in parts else [],
        "many": files_many.run(place, scale=scale) if "many" in parts else [],
    }


def lines(results: Mapping[str, Any]) -> list[str]:
    """The bench's last words."""
    ratios: list[tuple[str, Ratio]] = [
        (form, ratio) for form, of_form in results["forms"].items() for ratio in of_form["ratios"]
    ]
    return [
        *(ratio.line(f"files/{form}") for form, ratio in ratios),
        *files_memory.lines(results["memory"]),
        *files_many.lines(results["many"]),
    ]


def _speed(place: Place, form: Form, count: int, pairs: int, peers: Iterable[str]) -> dict[str, Any]:
    expected = tally.of(partner.rows(form, count))
    say(f"{form}: every run has to write {expected}")
    heads = {name: place.folder / f"{form}.{name}" for name in ("head", "bare")}
    for name, path in heads.items():
        partner.write(path, partner.content(form, count, head=name == "head"))
    work = Work(place, form, count, heads["head"], heads["bare"])
    cold = _ours(work, pairs).used  # the broker's first pass
    say(f"{OURS}: with a cold broker {count / cold.wall_s:,.0f} lines/s")
    known = {OURS: partial(_ours, work), PEER: partial(_kcat, work)}
    runs = rounds.play({name: known[name] for name in (OURS, *peers)}, rounds=pairs, rows=count)
    rounds.same_rows(runs, expected)
    say(f"every run: {expected}")
    for path in heads.values():
        path.unlink()
    return {"ratios": rounds.ratios(runs, count), "runs": runs}


def _ours(work: Work, number: int) -> Run:
    connection = f"{work.form}_{number}"
    folder = partner.project(work.place, connection, work.form, name=PROJECT, pattern="*.txt")
    (folder / "drop" / "in" / "orders.txt").hardlink_to(work.with_head)
    topic = names.topic(connection, partner.PARTNER, partner.FEED)
    ends = Ends(work.place.bootstrap, topic, PARTITIONS)
    process = ours.start(folder, connection)
    with Meter({"sut": process.pid, **work.place.pids}) as meter:
        ours.wait(process, folder, lambda: ours.capturing(folder))
        meter.restart()
        ours.wait(process, folder, lambda: ends.total() >= work.lines)
        used = meter.read()
    begun = time.perf_counter()
    ours.wait(process, folder, lambda: any((folder / "drop" / "archive").iterdir()))
    notes = {"archived_s": round(time.perf_counter() - begun, 3), "peak_rss": peak_rss_bytes(process.pid)}
    ours.stop(process)
    found = read(work.place.bootstrap, work.place.registry, topic, PARTITIONS, "file")
    drop_topic(work.place.bootstrap, topic)
    return Run(used, found, notes)


def _kcat(work: Work, number: int) -> Run:
    place, topic = work.place, f"{PEER}.{work.form}.{number}"
    make_topic(place.bootstrap, topic, PARTITIONS)
    words = [PEER, "-P", "-b", place.bootstrap, "-t", topic, "-l", str(work.bare)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with Meter({"sut": process.pid, **place.pids}) as meter:
        while not ended(process.pid):
            time.sleep(_POLL_S)
        used = meter.read()
    if process.wait() != 0:
        raise PeerFailed(f"{PEER} ended with {process.returncode}")
    found = read(place.bootstrap, place.registry, topic, PARTITIONS, work.form)
    drop_topic(place.bootstrap, topic)
    return Run(used, found, {})
