"""Mode append: every change is a row, with its metadata; a change that came before is not.

A position can come again only when a writer started again, so the ordinary batch compares each row with
the height its partition had before, and with the writer it came from. A row from another writer stops the
job; the batch then runs once with every position compared to all before it in its partition. The floor of a
snapshot stands below the rows that it follows: it comes again only as a newer attempt. So does a withdrawal,
which is no row: it stops the job too, and takes rows out of the table before the batch lands (``floors``).

Where the table allows it the native library commits the files (``native``), else Spark does.

Rule: one job per batch; ``observe`` counts in it, and stands between decoding and the filter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F  # noqa: N812

from engine.lake import floors, given, halt, native, query, sieve, table
from engine.lake.attempts import Attempts, outdated
from engine.lake.batch import Batch, Position, Seen, Water, Waters
from engine.lake.compile import Checker
from engine.lake.decode import WITHDRAWAL, Decoder
from engine.lake.halt import Kind
from engine.lake.log import Log
from engine.lake.ranges import Range, size
from engine.lake.texts import Texts

_SMALL_BATCH = 20_000
_RAW = ("partition", "offset", "value")


@dataclass(frozen=True, slots=True)
class Counted:
    """A frame whose job counts while it runs."""

    frame: DataFrame
    observation: Observation

    @property
    def counters(self) -> Mapping[str, Any]:
        """What was counted, once it has run."""
        found: Mapping[str, Any] = self.observation.get[_ALL].asDict()
        return found


_ALL: Final = "counters"


def decoded(frame: DataFrame, decoder: Decoder, keep: Sequence[str] = _RAW) -> DataFrame:
    """Records with their parts, their image ``i`` and their reason.

    The columns of the table stay inside ``i`` until the end: they may have any name.
    """
    record = query.select(frame, [*keep, f"{decoder.record()} AS r"])
    parts = query.select(record, [*keep, *decoder.fields()])
    found = query.select(parts, [*keep, *_PARTS, f"{decoder.reason()} AS _reason"])
    return found if decoder.texts is None else typed(found, decoder.texts, [*keep, *_PARTS, "_reason"])


def typed(frame: DataFrame, texts: Texts, kept: Sequence[str]) -> DataFrame:
    """Records of texts with an image of typed columns, and with the reason of what has no value."""
    cells = query.select(frame, [*kept, *texts.cells()])
    if zoned := texts.zoned():
        cells = query.select(cells, [*kept, *zoned, "_problem"])
    made = {"i": texts.image(), "unfit": texts.wrong(), "_reason": texts.reason()}
    return query.select(cells, [f"{made[c]} AS {c}" if c in made else c for c in kept])


_LANDING = (
    "partition", "offset", "op", "_position", "strand", "ts_us", "tx", "attempt", "unchanged", "i", "_reason"
)  # fmt: skip
"""What rows and their counters are made of: ``observe`` copies every column that comes to it, used or not."""
_IN_ORDER: Final = f"op NOT IN ('f', {WITHDRAWAL})"
"""What stands above all that came before it in its strand and partition."""
_PARTS = ("op", "writer", "_position", "strand", "early", "ts_us", "tx", "attempt", "unchanged", "unfit", "i")


@dataclass(frozen=True, slots=True)
class Known:
    """What rows are held against: checks, positions to look up where waters are in doubt, newest attempts."""

    held: DataFrame | None = None
    attempts: Attempts = field(default_factory=dict)
    checker: Checker | None = None


def rows(
    raw: DataFrame, decoder: Decoder, batch: Batch, ours: Sequence[tuple[str, str]], known: Known
) -> Counted:
    """The rows of a batch as the table takes them, counted; ``ours`` are the engine's columns."""
    counters = counts(batch, known.checker) | sieved(batch, known)
    needed = (*_LANDING, "writer") if batch.dedupe else _LANDING
    counted = observe(marked(decoded(raw, decoder), batch, known, needed), counters)
    lands = "" if known.checker is None else f" AND {known.checker.lands}"
    if batch.floors_in_batch:
        lands += f" AND op <> {WITHDRAWAL}"
    good = counted.frame.where(f"_reason IS NULL AND NOT _again{lands}")
    return Counted(query.select(good, columns(decoder, batch, ours)), counted.observation)


def write(
    batch: Batch,
    path: Path,
    raw: DataFrame,
    make: Callable[[DataFrame], Counted],
    names: Sequence[str],
    *,
    at: Callable[[str], None],
    large: bool,
    log: Log,
) -> Counted:
    """Append what ``make`` makes of the records; the rows as they were counted on their way.

    ``names`` are the columns that the table has as far as we know; ``large``: the flow has records that are
    too large for ``native``.
    """
    offsets, app_id, seq, said = size(batch.span), batch.app_id, batch.seq, batch.metadata()
    if small(offsets) and len(batch.span) > 1:
        raw = raw.coalesce(1)
    plain = None if large else native.fitting(path, names, log)
    if plain is not None:
        rows = make(raw.withColumn("value", F.expr(native.bounded("length(value)"))))
        ready = lambda: at(f"landing.after-files:{batch.flow.name}")  # noqa: E731
        files = _files(rows, path, few=offsets <= native.ROWS_MAX)
        if native.commit(plain, files, app_id=app_id, seq=seq, metadata=said, ready=ready):
            return rows
    rows = make(raw)  # an observation counts once
    table.append(rows.frame, path, app_id=app_id, seq=seq, metadata=said)
    return rows


def _files(rows: Counted, path: Path, *, few: bool) -> list[str]:
    """The rows as files in the table's folder: few are written here, many by workers beside Spark's tasks."""
    if few:
        return [native.save(table.rows(rows.frame), path)]
    names = table.files(rows.frame, path)
    query.told(rows.frame, rows.observation)
    return names


def sieved(batch: Batch, known: Known) -> dict[str, str]:
    """The bitmaps of what goes into quarantine, where looking at all of the range again would be dear."""
    plain = known.held is None and not known.attempts and not batch.dedupe and not small(size(batch.span))
    if known.checker is None or not plain:
        return {}
    return sieve.counters(batch.span, f"_reason IS NOT NULL OR {known.checker.held}")


def observe(frame: DataFrame, counters: Mapping[str, str]) -> Counted:
    """The frame with counters that are filled while it runs; a barrier for Spark's optimizer."""
    observation = Observation()
    return Counted(frame.observe(observation, query.struct(counters, _ALL)), observation)


def marked(frame: DataFrame, batch: Batch, known: Known, keep: Sequence[str] = ("*",)) -> DataFrame:
    """Records with ``_again``: their position was there before, or a newer attempt brings their row.

    So have the rows of a withdrawn transaction, which are counted apart. With checks, ``_failed`` says which
    of them the others fail. Of their parts only those to ``keep`` go on.
    """
    found = _again(batch)
    if known.attempts:
        found = (
            f"({found}) OR (_reason IS NULL AND op IN ('r', 'f') AND {outdated('attempt', known.attempts)})"
        )
    if known.held is not None:
        frame = frame.join(known.held, F.col("_position") == F.col("_held"), "left")
        found = f"({found}) OR (_reason IS NULL AND {_IN_ORDER} AND _held IS NOT NULL)"
    if batch.withdrawn:
        found = f"({found}) OR (_reason IS NULL AND {_IN_ORDER} AND {_gone(batch)})"
    if not batch.floors_in_batch:
        found = (
            f"CASE WHEN _reason IS NULL AND op = {WITHDRAWAL} THEN {halt.sql(Kind.FLOOR)} ELSE {found} END"
        )
    if known.checker is None:
        return query.select(frame, [*keep, f"{found} AS _again"])
    again = query.select(frame, ["*", f"{found} AS _again"])
    return query.select(again, [*keep, "_again", f"{known.checker.failed('_again')} AS _failed"])


def checked(frame: DataFrame, checker: Checker | None, passed_over: str) -> DataFrame:
    """Records with the checks that they fail, where there are checks."""
    return frame if checker is None else frame.withColumn("_failed", F.expr(checker.failed(passed_over)))


def _again(batch: Batch) -> str:
    if not batch.dedupe:
        return again(batch.waters, batch.span)
    before = (
        "max(CASE WHEN _reason IS NULL THEN _position END) OVER (PARTITION BY partition ORDER BY offset "
        "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    )
    below = f"coalesce(_position <= {before}, false) OR {below_water(batch.waters, batch.span)}"
    return f"_reason IS NULL AND {_IN_ORDER} AND ({below})"


def _gone(batch: Batch) -> str:
    return floors.taken("_position", batch.withdrawn)


def again(waters: Waters, span: Range) -> str:
    """The ordinary comparison: with the partition's height, and halting on another writer."""
    writer = given.by_partition({p: waters[p].writer for p in span if p in waters})
    stop, after = halt.sql(Kind.WRITER, "writer"), f"{_IN_ORDER} AND {below_water(waters, span)}"
    return (
        "CASE WHEN _reason IS NOT NULL THEN false "
        f"WHEN NOT (writer <=> {writer}) THEN {stop} ELSE {after} END"
    )


def below_water(waters: Waters, span: Range) -> str:
    """Whether a position is at or below its partition's height."""
    heights = {p: waters[p].position for p in span if p in waters}
    era, major, minor = (given.by_partition({p: h[n] for p, h in heights.items()}) for n in range(3))
    return f"coalesce({_at_most('_position', era, major, minor)}, false)"


def at_most(column: str, position: Position) -> str:
    """``column <= position``, spelled out: Spark compares structs field by field with more to do."""
    era, major, minor = (f"{n}L" for n in position)
    return _at_most(column, era, major, minor)


def _at_most(column: str, era: str, major: str, minor: str) -> str:
    return (
        f"({column}.era < {era} OR ({column}.era = {era} AND ({column}.major < {major} OR "
        f"({column}.major = {major} AND {column}.minor <= {minor}))))"
    )


def counts(batch: Batch, checker: Checker | None = None) -> dict[str, str]:
    """The counters of a batch: alias to aggregate."""
    found = {
        "n": "count(1)",
        "bad": "count(_reason)",
        "again": f"count(CASE WHEN _again AND NOT {_gone(batch)} THEN 1 END)",
        "first_us": "min(ts_us)",
        "last_us": "max(ts_us)",
    }
    for p in sorted(batch.span):
        found[f"p{p}"] = f"max(CASE WHEN partition = {p} AND _reason IS NULL THEN _position END)"
    if batch.withdrawn:
        found["late"] = f"count(CASE WHEN _again AND {_gone(batch)} THEN 1 END)"
    if batch.dedupe:
        for p in sorted(batch.span):
            found[f"w{p}"] = f"max(CASE WHEN partition = {p} AND _reason IS NULL THEN writer END)"
    return found if checker is None else found | checker.counters(size(batch.span))


def seen(batch: Batch, got: Mapping[str, Any], checker: Checker | None = None) -> Seen:
    """What the counters say."""
    return Seen(
        read=got["n"],
        bad=got["bad"] + got.get("held", 0),
        duplicates=got["again"],
        late=got.get("late", 0),
        dropped=got.get("dropped", 0),
        checks={} if checker is None else checker.counted(got, size(batch.span)),
        committed_us_min=got["first_us"],
        committed_us_max=got["last_us"],
        waters=raised(batch, got),
    )


def raised(batch: Batch, got: Mapping[str, Any]) -> dict[int, Water]:
    """The waters after a batch: never lower than before."""
    waters = dict(batch.waters)
    for p in batch.span:
        top = got[f"p{p}"]
        if top is None:
            continue
        position = (top["era"], top["major"], top["minor"])
        old = waters.get(p)
        writer = got.get(f"w{p}") or (old.writer if old else 0)
        waters[p] = Water(
            max(writer, old.writer) if old else writer, max(position, old.position) if old else position
        )
    return waters


def columns(decoder: Decoder, batch: Batch, ours: Sequence[tuple[str, str]]) -> list[str]:
    """The table's columns, in its order."""
    landed_at_us = given.by_partition(dict.fromkeys(batch.span, batch.landed_at_us))
    found = {
        "_op": "op",
        "_position": "_position",
        "_tx": "tx",
        "_committed_at": "timestamp_micros(ts_us)",
        "_landed_at": f"timestamp_micros({landed_at_us})",
        "_unchanged": "unchanged",
        "_strand": "strand",
        "_attempt": "attempt",
        "_deleted": "op = 'd'",
    }
    return [*decoder.values(), *(f"{found[c]} AS {c}" for c, _ in ours)]


def counted(raw: DataFrame, decoder: Decoder, batch: Batch, known: Known) -> Mapping[str, Any]:
    """What the batch's own job counted, counted again without writing."""
    frame = marked(decoded(raw, decoder), batch, known)
    row: Mapping[str, Any] = (
        frame.agg(query.struct(counts(batch, known.checker), _ALL)).collect()[0][_ALL].asDict()
    )
    return row


def small(offsets: int) -> bool:
    """Whether the fixed cost of a batch outweighs its rows: it is interpreted, and makes one file.

    >>> small(200), small(500_000)
    (True, False)
    """
    return offsets < _SMALL_BATCH
