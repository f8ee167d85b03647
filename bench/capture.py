"""BENCH=capture: a backlog of changes from PostgreSQL into Kafka, ours against two peers.

Rule: one slot per run, all made before the load. The clock runs from the moment the slot is active to the
last acknowledged record; what a side needs to start is published beside it, and so is the cold JVM. Every
run's rows are read back and compared with the series of changes as it is defined.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench import change, debezium, ours, recvlogical, rounds, tally
from bench.backlog import Backlog, backlog
from bench.debezium import Connect, Converter
from bench.place import Place
from bench.rounds import OURS, Run, say
from bench.tally import Tally

CHANGES: Final = 2_000_000
PER_TRANSACTION: Final = (100, 1, 10_000)  # the first is the one that the last lines speak of
_WARM_ROWS: Final = 500_000


def run(
    place: Place,
    *,
    scale: float,
    pairs: int,
    connect_jars: Path | None,
    peers: Iterable[str],
    sizes: Sequence[int] = PER_TRANSACTION,
) -> dict[str, Any]:
    """Every size of transactions in turn; gives what goes into the result file. Raises ResultsDiffer."""
    changes = round(CHANGES * scale)
    expected = tally.of(change.expected(changes))
    say(f"every side has to write {expected}")
    names = [OURS, *peers]
    results: dict[str, Any] = {"changes": changes, "pairs": pairs, "rows": expected.rows, "sizes": {}}
    with ExitStack() as stack:
        worker = stack.enter_context(debezium.connect(place, connect_jars)) if connect_jars else None
        converter: Converter = "json"
        for per_transaction in sizes:
            slots = [(name, number) for name in names for number in range(pairs)]
            slots += [("reference", 0), (OURS, pairs)]
            slots += [("warm", number) for number in range(len(debezium.WARM_UPS))]
            with backlog(place, changes, per_transaction, slots) as work:
                if not results["sizes"]:
                    converter, results["warm_up"] = _warm_up(work, worker, pairs)
                sides = _sides(work, names, worker, converter)
                runs = _play(work, sides, pairs, expected)
            results["sizes"][per_transaction] = _summary(per_transaction, runs, changes)
    return results


def _warm_up(work: Backlog, worker: Connect | None, number: int) -> tuple[Converter, dict[str, Any]]:
    """Bring every JVM up to its pace, the broker's too; gives Debezium's better converter."""
    cold = ours.run(work, number).used
    say(f"{OURS}: with a cold broker {work.changes / cold.wall_s:,.0f} rows/s")
    notes: dict[str, Any] = {OURS: {"cold": {"wall_s": cold.wall_s}}}
    if worker is None:
        return "json", notes
    converter, notes[debezium.NAME] = debezium.warm_up(work, worker, min(work.changes, _WARM_ROWS))
    return converter, notes


def lines(results: Mapping[str, Any]) -> list[str]:
    """The bench's last words: one line per peer, for the first size of transactions."""
    return [ratio.line("capture") for ratio in next(iter(results["sizes"].values()))["ratios"]]


def _sides(
    work: Backlog, names: Iterable[str], worker: Connect | None, converter: Converter
) -> dict[str, rounds.Side]:
    known: dict[str, rounds.Side] = {
        OURS: partial(ours.run, work),
        recvlogical.NAME: partial(recvlogical.run, work),
    }
    if worker is not None:
        known[debezium.NAME] = partial(debezium.run, work, worker, converter)
    return {name: known[name] for name in names}


def _play(
    work: Backlog, sides: Mapping[str, rounds.Side], pairs: int, expected: Tally
) -> dict[str, list[Run]]:
    runs = rounds.play(sides, rounds=pairs, rows=work.changes)
    if recvlogical.NAME in runs:
        read = recvlogical.read(work)
        runs[recvlogical.NAME] = [replace(run, tally=read) for run in runs[recvlogical.NAME]]
    rounds.same_rows(runs, expected)
    say(f"every run: {expected}")
    return runs


def _summary(per_transaction: int, runs: Mapping[str, list[Run]], changes: int) -> dict[str, Any]:
    ratios = rounds.ratios(runs, changes)
    for ratio in ratios:
        say(ratio.line(f"capture, transactions of {per_transaction}:"))
    return {"ratios": ratios, "runs": dict(runs)}
