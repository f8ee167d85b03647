"""BENCH=memory: the capture worker's peak memory, whatever the size of transactions and of rows.

Rule: the worker is a new process each time and the figure is the kernel's own high-water mark of it, which
no sample can miss; a scenario ends when all its rows are acknowledged and marked. A limit is a fixed part
and a multiple of the largest value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from bench import change, ours
from bench.backlog import PROJECT
from bench.measure import peak_rss_bytes
from bench.place import Place
from bench.readback import PARTITIONS, Ends, drop_topic
from bench.rounds import say
from engine import names

_MB: Final = 1_000_000
_LIMIT_MB, _LIMIT_FACTOR = 150, 5
_AIM_MB, _AIM_FACTOR = 96, 4
_TABLE: Final = "CREATE TABLE public.parcel (id bigint PRIMARY KEY, note text STORAGE EXTERNAL)"
_INSERT: Final = """
INSERT INTO public.parcel
SELECT n, (SELECT left(string_agg(md5(n::text || m::text), ''), size)
           FROM generate_series(1, size / 32 + 1) m)
FROM generate_series(%s::bigint, %s::bigint) n, (VALUES (%s::integer)) v(size)"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """``rows`` rows with a text of ``value_bytes``, ``per_transaction`` of them in each transaction."""

    name: str
    rows: int
    per_transaction: int
    value_bytes: int

    @property
    def beyond_mb(self) -> float:
        """What counts as one large value; rows up to 1 MB are in the fixed part."""
        return self.value_bytes / _MB if self.value_bytes > _MB else 0.0


SCENARIOS: Final = (
    Scenario("small_rows_each_its_own", 200_000, 1, 100),
    Scenario("small_rows_at_once", 1_000_000, 1_000_000, 100),
    Scenario("rows_of_1_mb_each_its_own", 300, 1, _MB),
    Scenario("rows_of_1_mb_at_once", 300, 300, _MB),
    Scenario("one_value_of_50_mb", 1, 1, 50 * _MB),
)


@dataclass(frozen=True, slots=True)
class Peak:
    """What a scenario took."""

    scenario: Scenario
    mb: float

    @property
    def limit_mb(self) -> float:
        """At most this."""
        return _LIMIT_MB + _LIMIT_FACTOR * self.scenario.beyond_mb

    @property
    def aim_mb(self) -> float:
        """Better this."""
        return _AIM_MB + _AIM_FACTOR * self.scenario.beyond_mb

    def line(self) -> str:
        """The bench's last word about this scenario."""
        verdict = "over" if self.mb > self.limit_mb else "within"
        return (
            f"memory/{self.scenario.name} peak_mb={self.mb:.0f} {verdict} "
            f"limit_mb={self.limit_mb:.0f} aim_mb={self.aim_mb:.0f}"
        )


def run(place: Place, *, scale: float) -> dict[str, Any]:
    """Every scenario in turn; gives what goes into the result file."""
    peaks = []
    for number, scenario in enumerate(SCENARIOS):
        rows = max(1, round(scenario.rows * scale))
        peak = Peak(scenario, round(_peak(place, f"m{number}", scenario, rows) / _MB, 1))
        say(peak.line())
        peaks.append(peak)
    return {"peaks": peaks, "table": [asdict(peak.scenario) | {"peak_mb": peak.mb} for peak in peaks]}


def lines(results: Mapping[str, Any]) -> list[str]:
    """The bench's last words."""
    return [peak.line() for peak in results["peaks"]]


def _peak(place: Place, name: str, scenario: Scenario, rows: int) -> int:
    """The worker's high-water mark after all rows of a scenario."""
    slot = names.slot(PROJECT, name)
    topic = names.topic(name, change.SCHEMA, change.TABLE)
    with place.connect("postgres") as admin:
        admin.execute(f"CREATE DATABASE {name}")
    with place.connect(name) as session:
        session.execute(_TABLE)
        session.execute(f'CREATE PUBLICATION "{slot}" FOR TABLE public.parcel')
        session.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
        step = min(scenario.per_transaction, rows)
        for first in range(0, rows, step):
            session.execute(_INSERT, (first, min(first + step, rows) - 1, scenario.value_bytes))
    large = scenario.value_bytes > _MB
    folder = ours.project(place, connection=name, database=name, row_bytes_max="63MiB" if large else "")
    worker = ours.start(folder, name)
    ends = Ends(place.bootstrap, topic, PARTITIONS)
    ours.wait(worker, folder, lambda: ends.total() >= rows)
    peak = peak_rss_bytes(worker.pid)
    ours.stop(worker)
    drop_topic(place.bootstrap, topic)
    return peak
