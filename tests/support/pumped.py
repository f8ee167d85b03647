"""One table on its way through the pump: its transactions, and when a script is at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from engine.errors import EcluseError
from engine.marks import Marks
from engine.pump import run
from engine.schema import Int64, String
from engine.source import STREAM, Mark
from engine.supervise import Done, Parked
from tests.support.cells import column, field, relation
from tests.support.memory import Bench
from tests.support.scripted import Scripted, Tx

PARCEL = relation(column("id", Int64(), nullable=False), column("town", String()))


def tx(major: int, *ids: int, barrier: bool = False) -> Tx:
    """A transaction that creates rows of these ids."""
    return Tx(
        PARCEL, [("c", None, [field(Int64(), i), field(String(), f"town {i}")]) for i in ids], major, barrier
    )


def stopped_after(bench: Bench, world: Scripted) -> Bench:
    """Stop once the script is at its end: the last mark has been confirmed."""
    last = max(s.major for s in world.script if isinstance(s, Tx))

    def at(point: str) -> None:
        if point == "capture.after-confirm" and world.confirmed[-1].at == {STREAM: last}:
            bench.clock.stop.set()

    bench.at = at
    return bench


def marked(world: Scripted) -> Bench:
    """A capture that has run to the last mark of its script."""
    bench = stopped_after(Bench(world.open), world)
    assert run(bench.capture, bench.doors) == Done(None)
    bench.clock.stop.clear()
    return bench


def stopped_by(bench: Bench, error: EcluseError) -> EcluseError:
    """What a start says whose source answers with this error, each time."""

    @contextmanager
    def refuses(*_: object) -> Iterator[Any]:
        raise error
        yield

    bench.open = refuses
    end = run(bench.capture, replace(bench.doors, show=lambda major: f"0/{major:X}"))
    assert isinstance(end, Parked)
    assert type(end.error) is type(error)
    return end.error


def marks(bench: Bench) -> Marks:
    """The marks of the bench's project."""
    return Marks(bench.topic, "demo", lambda: "now")


def marks_of(world: Scripted, major: int) -> Mark:
    """The mark that was confirmed at this position."""
    return next(m for m in world.confirmed if m.at == {STREAM: major})
