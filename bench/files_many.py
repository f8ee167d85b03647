"""How many small files a second a files connection takes, and what each costs as their number grows.

Rule: all files lie there when the worker takes its connection over; it is done when none does any more, so
every file has passed the ledger. The cost of a file is the worker's CPU time: where it stays the same from a
thousand files to ten thousand, listing is linear.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from bench import ours, partner
from bench.backlog import PROJECT
from bench.measure import Meter
from bench.place import Place
from bench.readback import PARTITIONS, Ends, drop_topic
from bench.rounds import say
from engine import names

COUNTS: Final = (1_000, 5_000, 10_000)
LIMIT_PER_S: Final = 200
AIM_PER_S: Final = 1_000
LINES: Final = 10  # of each file


def run(place: Place, *, scale: float) -> list[dict[str, Any]]:
    """Every number of files."""
    found = []
    for count in COUNTS:
        found.append(_many(place, max(1, round(count * scale))))
        say(_line(found[-1]))
    return found


def lines(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The last words about many files."""
    return [_line(one) for one in results]


def _line(one: Mapping[str, Any]) -> str:
    verdict = "below" if one["files_per_s"] < LIMIT_PER_S else "above"
    return (
        f"files/many files={one['files']} files_per_s={one['files_per_s']:.0f} {verdict} "
        f"limit={LIMIT_PER_S} aim={AIM_PER_S} cpu_ms_per_file={one['cpu_ms_per_file']:.2f}"
    )


def _many(place: Place, count: int) -> dict[str, Any]:
    connection = f"many_{count}"
    folder = partner.project(place, connection, "delimited", name=PROJECT, pattern="*.txt")
    kind = partner.KINDS["delimited"]
    texts = map(kind.line, range(count * LINES))
    for number in range(count):
        path = folder / "drop" / "in" / f"ORDERS_{number:06}.txt"
        path.write_bytes(kind.head + b"".join(islice(texts, LINES)))
    topic = names.topic(connection, partner.PARTNER, partner.FEED)
    ends = Ends(place.bootstrap, topic, PARTITIONS)
    process = ours.start(folder, connection)
    with Meter({"sut": process.pid, **place.pids}) as meter:
        ours.wait(process, folder, lambda: ours.capturing(folder))
        meter.restart()
        ours.wait(process, folder, lambda: _empty(folder / "drop" / "in"))
        used = meter.read()
    ours.stop(process)
    archived = sum(1 for _ in (folder / "drop" / "archive").iterdir())
    assert (archived, ends.total()) == (count, count * LINES)
    drop_topic(place.bootstrap, topic)
    shutil.rmtree(folder)
    return {
        "files": count,
        "lines_per_file": LINES,
        "files_per_s": round(count / used.wall_s, 1),
        "cpu_ms_per_file": round(1000 * used.cpu_s["sut"] / count, 3),
        "used": used,
    }


def _empty(folder: Path) -> bool:
    """Whether nothing lies there: one look, whatever lies there still."""
    with os.scandir(folder) as found:
        return next(found, None) is None
