"""Rounds: ours and the peers in turn on the same work, then a ratio, a line and a JSON file.

Rule: the order of the sides is turned round from one round to the next (A B B A), so that what drifts
during a bench (page cache, heat, log length) falls on all sides alike; a ratio is taken inside a round.
Above 1, ours is the faster.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.measure import Used
from bench.tally import Tally

RESULTS: Final = Path(__file__).parent / "results"
OURS: Final = "ecluse"


class ResultsDiffer(AssertionError):
    """Two sides did the same work and wrote different rows."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one side: what it used, what it wrote, and what else is worth publishing."""

    used: Used
    tally: Tally | None
    notes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours against one peer: how many times as fast, per round, and in CPU-seconds."""

    peer: str
    per_round: tuple[float, ...]
    cpu: float
    peer_rows_per_s: float

    @property
    def median(self) -> float:
        """The figure that counts."""
        return statistics.median(self.per_round)

    def line(self, name: str) -> str:
        """The bench's last word about this peer."""
        return (
            f"{name} ratio={self.median:.3f} min={min(self.per_round):.3f} max={max(self.per_round):.3f} "
            f"peer={self.peer} peer_rows_per_s={self.peer_rows_per_s:.0f} cpu_ratio={self.cpu:.2f}"
        )


Side = Callable[[int], Run]


def say(text: str) -> None:
    """Progress, at once."""
    print(f"  {datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def play(sides: Mapping[str, Side], *, rounds: int, rows: int) -> dict[str, list[Run]]:
    """Every side once per round, the order turned round each time. Raises ResultsDiffer."""
    names = list(sides)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            run = sides[name](number)
            runs[name].append(run)
            say(
                f"round {number + 1}/{rounds} {name}: {run.used.wall_s:.2f} s, "
                f"{rows / run.used.wall_s:,.0f} rows/s, cpu {dict(run.used.cpu_s)}, "
                f"peak {max(run.used.peak_bytes.values(), default=0) / 2**20:.0f} MB"
            )
    return runs


def same_rows(runs: Mapping[str, Sequence[Run]], expected: Tally) -> None:
    """Every run that wrote rows wrote the expected ones. Raises ResultsDiffer."""
    for name, of_side in runs.items():
        for number, run in enumerate(of_side):
            if run.tally is not None and run.tally != expected:
                raise ResultsDiffer(f"{name}, round {number + 1}: {run.tally} instead of {expected}")


def ratios(runs: Mapping[str, Sequence[Run]], rows: int) -> list[Ratio]:
    """Ours against each peer that ran."""
    ours = runs[OURS]
    found = []
    for peer, theirs in runs.items():
        if peer == OURS:
            continue
        walls = tuple(b.used.wall_s / a.used.wall_s for a, b in zip(ours, theirs, strict=True))
        spent = statistics.median(
            sum(b.used.cpu_s.values()) / max(sum(a.used.cpu_s.values()), 0.01)
            for a, b in zip(ours, theirs, strict=True)
        )
        speed = rows / statistics.median(b.used.wall_s for b in theirs)
        found.append(Ratio(peer, walls, spent, speed))
    return found


def keep(name: str, result: Mapping[str, Any]) -> Path:
    """Write a bench's raw figures, with what is needed to read them later."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    at = datetime.now(UTC)
    document = {"bench": name, "at": at.isoformat(timespec="seconds"), "machine": machine(), **result}
    path = RESULTS / f"{name}-{at:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=1, default=_plain) + "\n", encoding="utf-8")
    return path


def machine() -> dict[str, Any]:
    """Where the figures are from."""
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    words = ["git", "describe", "--always", "--dirty"]
    git = subprocess.run(words, capture_output=True, text=True, check=False)
    return {
        "cores": os.cpu_count(),
        "cpu": cpu[0].partition(":")[2].strip() if cpu else platform.processor(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_before": os.getloadavg(),
        "python": sys.version.split()[0],
        "commit": git.stdout.strip(),
    }


def _plain(value: object) -> Any:
    if isinstance(value, (Run, Used, Tally)):
        return asdict(value)
    if isinstance(value, Ratio):
        return {**asdict(value), "median": value.median}
    return str(value)
