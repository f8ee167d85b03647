"""The files connection's peak memory over one large file, plain and gzip.

Rule: the worker is a new process each time, and the figure is the kernel's own high-water mark of it once
the file lies in the archive. A file repeats a block of lines; gzip members of one block stand one behind the
other, as some senders make them.
"""

from __future__ import annotations

import gzip
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Final

from bench import ours, partner
from bench.backlog import PROJECT
from bench.measure import peak_rss_bytes
from bench.place import Place
from bench.readback import PARTITIONS, Ends, drop_topic
from bench.rounds import say
from engine import names

SIZES: Final = ((1_000_000_000, 0), (10_000_000_000, 900))
"""Bytes of content, and how many bytes each of its lines is longer than those of the other files."""
LIMIT_MB: Final = 100
AIM_MB: Final = 64
_MB: Final = 1_000_000
_BLOCK_LINES: Final = 20_000
_STUCK_S: Final = 7200.0


def run(place: Place, *, scale: float) -> list[dict[str, Any]]:
    """Every size, plain and gzip."""
    found = []
    for size, wider in SIZES:
        for container in ("none", "gz"):
            found.append(_peak(place, round(size * scale), wider, container))
            say(_line(found[-1]))
    return found


def lines(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The last words about memory."""
    return [_line(one) for one in results]


def _line(one: Mapping[str, Any]) -> str:
    verdict = "over" if one["peak_mb"] > LIMIT_MB else "within"
    return (
        f"files/memory {one['container']} content_gb={one['content_bytes'] / 1e9:.3f} "
        f"file_gb={one['file_bytes'] / 1e9:.3f} peak_mb={one['peak_mb']:.0f} {verdict} "
        f"limit_mb={LIMIT_MB} aim_mb={AIM_MB} seconds={one['seconds']:.0f}"
    )


def _peak(place: Place, size: int, wider: int, container: str) -> dict[str, Any]:
    connection = f"memory_{container}_{wider}"
    folder = partner.project(
        place, connection, "delimited", name=PROJECT, pattern="*.txt", container=container
    )
    path = folder / "drop" / "in" / "orders.txt"
    block = b"".join(partner.wide(n, wider) for n in range(_BLOCK_LINES))
    times = max(1, round(size / len(block)))
    partner.write(path, _pieces(block, times, container))
    file_bytes = path.stat().st_size
    topic = names.topic(connection, partner.PARTNER, partner.FEED)
    ends = Ends(place.bootstrap, topic, PARTITIONS)
    process = ours.start(folder, connection)
    archive = folder / "drop" / "archive"
    begun = time.monotonic()
    ours.wait(process, folder, lambda: archive.is_dir() and any(archive.iterdir()), stuck_s=_STUCK_S)
    seconds, peak = time.monotonic() - begun, peak_rss_bytes(process.pid)
    ours.stop(process)
    assert ends.total() == times * _BLOCK_LINES
    drop_topic(place.bootstrap, topic)
    shutil.rmtree(folder)
    return {
        "container": container,
        "content_bytes": times * len(block),
        "file_bytes": file_bytes,
        "lines": times * _BLOCK_LINES,
        "peak_mb": round(peak / _MB, 1),
        "seconds": round(seconds, 1),
    }


def _pieces(block: bytes, times: int, container: str) -> Iterator[bytes]:
    """The line of names, and the block so many times."""
    head = partner.KINDS["delimited"].head
    if container == "gz":
        head, block = gzip.compress(head), gzip.compress(block)
    yield head
    yield from repeat(block, times)
