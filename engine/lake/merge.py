"""Mode scd1: one row per key, guarded by position; what is gone is remembered beside the table.

The folded batch is kept while it is used: its first pass gives the literal bounds of the keys. A join with
the target's positions says which changes came too late, but only where some can: where a position is not
above the height that its partition had, where a floor came, where a column is unset, or where one key has two
texts.

Rule: deletes and floors are written to the tombstones before the table's own commit. They are facts of the
topic, true whatever becomes of the batch, and writing them again changes nothing that is read from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from engine.lake import append, book, floors, query, session, table
from engine.lake.append import decoded
from engine.lake.batch import Batch, Seen
from engine.lake.compile import Checker
from engine.lake.decode import CONTROL, Decoder, name
from engine.lake.fold import Fold, bounds, swept
from engine.names import avro_name
from engine.schema import delta

_BROADCAST_ROWS = 20_000
_RAW = ("partition", "offset", "value", "key", "timestamp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scd1:
    """A batch in hand. ``before`` is the table's version that the batch meets."""

    session: SparkSession
    root: Path
    batch: Batch
    fold: Fold
    decoder: Decoder
    raw: DataFrame
    before: int
    checker: Checker | None = None

    @property
    def path(self) -> Path:
        """The flow's table."""
        return book.table_path(self.root, self.batch.flow.sink.table)

    @property
    def tombstones(self) -> Path:
        """Where its deletes and floors are."""
        return book.tombstones_path(self.root, self.batch.flow.sink.table)

    # the batch's rows

    def changes(self) -> DataFrame:
        """Every record of the range: its reason, whether a floor is above it, whether it may be late."""
        frame = decoded(self.raw, self.decoder, _RAW)
        again = append.below_water(self.batch.waters, self.batch.span)
        if self.batch.lookup:
            frame, again = self._met(frame), "coalesce(_position <= _met, false)"
        frame = frame.withColumns(
            {
                "_late": F.expr(self.fold.late(self.batch)),
                "_again": F.expr(f"_reason IS NULL AND {again}"),
                "head": F.expr("substring(value, 1, 5)"),
            }
        )
        return floors.marked(append.checked(frame, self.checker, "_late"), self.batch.withdrawn)

    def _sound(self, changes: DataFrame) -> DataFrame:
        """The changes that are applied, unless the table has a newer row or none to apply them to."""
        found = changes.where(f"_reason IS NULL AND NOT _late AND op NOT IN ({CONTROL})")
        return found if self.checker is None else found.where(self.checker.lands)

    def _met(self, frame: DataFrame) -> DataFrame:
        """Records with ``_met``, the newest position that the table or the tombstones have of their key."""
        known = self._target().drop("dead")
        tombstones = self._remembered()
        if tombstones is not None:
            known = known.unionByName(tombstones)
        keys = [f"k{n}" for n in range(len(self.fold.keys))]
        known = known.groupBy(*keys).agg(F.expr("max(at) AS _met"))
        image = (f"r.i.{name(avro_name(k))} = t.k{n}" for n, k in enumerate(self.fold.keys))
        return frame.alias("r").join(known.alias("t"), F.expr(" AND ".join(image)), "left").drop(*keys)

    def folded(self, changes: DataFrame) -> DataFrame:
        """One row per key."""
        sound = self._sound(changes)
        image = ("op", "tx", "ts_us", "head", "_position", "unchanged", "_again", "i")
        keyed = sound.selectExpr(*self.fold.key_columns(), *image)
        groups = keyed.groupBy(*(f"k{n}" for n in range(len(self.fold.keys))))
        return groups.agg(*(F.expr(text) for text in self.fold.aggregates())).selectExpr(*self.fold.source())

    def judged(self, source: DataFrame, got: Mapping[str, Any]) -> DataFrame:
        """The folded rows with their verdict: apply, late, unset."""
        limits = bounds(self.fold.keys, self.fold.target.columns, got)
        on = " AND ".join(f"t.k{n} = s.k{n}" for n in range(len(self.fold.keys)))
        joined = source.alias("s").join(self._target(limits).alias("t"), F.expr(on), "left")
        gone = "cast(NULL AS " + table.POSITION + ")"
        tombstones = self._remembered(limits)
        if tombstones is not None:
            on = " AND ".join(f"d.k{n} = s.k{n}" for n in range(len(self.fold.keys)))
            joined = joined.join(tombstones.alias("d"), F.expr(on), "left")
            gone = "d.at"
        verdict = (
            "CASE WHEN t.at IS NOT NULL AND t.at >= s._position THEN 'late' "
            f"WHEN t.at IS NULL AND {gone} >= s._position THEN 'late' "
            "WHEN s.lost <> '' THEN 'unset' "
            "WHEN s.needs <> '' AND (t.at IS NULL OR t.dead) THEN 'unset' ELSE 'apply' END"
        )
        return joined.selectExpr("s.*", f"{verdict} AS verdict")

    def _target(self, limits: str = "") -> DataFrame:
        keys = [f"{name(k)} AS k{n}" for n, k in enumerate(self.fold.keys)]
        # a row below the floor is gone, whether or not the floor has been applied to the table yet
        dead = "_deleted" if self.fold.soft else "false"
        dead = f"({dead} OR {swept('_position', self.batch)})"
        reader = self.session.read.format("delta").option("versionAsOf", str(self.before))
        rows = reader.load(str(self.path)).alias("t").where(f"true{limits}")
        return rows.selectExpr(*keys, "_position AS at", f"{dead} AS dead")

    def _remembered(self, limits: str = "") -> DataFrame | None:
        if not book.exists(self.tombstones):
            return None
        frame = self.session.read.format("delta").load(str(self.tombstones)).alias("t").where(f"true{limits}")
        frame = frame.where(f"_landed_at <> timestamp_micros({self.batch.landed_at_us}L)")
        keys = [F.expr(f"{name(k)} AS k{n}") for n, k in enumerate(self.fold.keys)]
        groups = frame.where(f"{name(self.fold.keys[0])} IS NOT NULL").groupBy(*keys)
        return groups.agg(F.expr("max(_position) AS at"))

    # what is counted

    def counters(self) -> dict[str, str]:
        """The counters of the records, alias to aggregate."""
        return append.counts(self.batch, self.checker) | {
            "below": "count_if(_late)",
            "again": f"count_if(_again AND NOT _late AND op NOT IN ({CONTROL}))",
            "floors": f"count_if(_reason IS NULL AND op IN ({CONTROL}))",
        }

    def survey(self, source: DataFrame) -> Mapping[str, Any]:
        """One pass over the folded rows: how many, of how many changes, between which keys."""
        found = [
            "count(1) AS groups",
            "coalesce(sum(cnt), 0) AS changes",
            f"count_if(op IN ({floors.GONE})) AS deletes",
            "count_if(lost <> '' OR needs <> '') AS unset",
        ]
        for n in range(len(self.fold.keys)):
            found += [f"cast(min(k{n}) AS string) AS lo{n}", f"cast(max(k{n}) AS string) AS hi{n}"]
        row: Mapping[str, Any] = source.agg(*(F.expr(text) for text in found)).collect()[0].asDict()
        return row

    def verdicts(self, judged: DataFrame) -> dict[str, tuple[int, int]]:
        """Per verdict: the keys, and the changes behind them."""
        rows = (
            judged.groupBy("verdict").agg(F.expr("count(1) AS keys"), F.expr("sum(cnt) AS changes")).collect()
        )
        return {row.verdict: (row["keys"], row["changes"]) for row in rows}

    def leaving(self, chosen: DataFrame, got: Mapping[str, Any]) -> int:
        """How many rows the MERGE has to delete: the second witness of its own count (I4)."""
        if self.fold.soft:
            return 0
        on = " AND ".join(f"t.k{n} = s.k{n}" for n in range(len(self.fold.keys)))
        found = 0
        if got["deletes"]:
            deletes = chosen.where(f"op IN ({floors.GONE})")
            if got["deletes"] <= _BROADCAST_ROWS:
                deletes = F.broadcast(deletes)
            limits = bounds(self.fold.keys, self.fold.target.columns, got)
            met = F.expr(f"{on} AND s._position > t.at")
            found += self._target(limits).alias("t").join(deletes.alias("s"), met, "left_semi").count()
        if self.batch.floors_in_batch:
            found += self._unmatched(chosen).where(swept("at", self.batch)).count()
        return found

    def _unmatched(self, chosen: DataFrame) -> DataFrame:
        """The target's rows that no chosen row meets."""
        on = " AND ".join(f"t.k{n} = s.k{n}" for n in range(len(self.fold.keys)))
        return self._target().alias("t").join(chosen.alias("s"), F.expr(on), "left_anti")

    # what is written

    def remember(self, source: DataFrame, *, deletes: bool) -> int:
        """Write deletes, floors and withdrawals to the tombstones; how many rows that commit says it has."""
        rows: DataFrame | None = None
        types, keys = self.fold.target.columns, [name(k) for k in self.fold.keys]
        named = [f"k{n} AS {k}" for n, k in enumerate(keys)]
        typed = {k: delta(types[own]) for k, own in zip(keys, self.fold.keys, strict=True)}
        if deletes:
            rows = floors.deleted(source, self.batch, named)
        if self.batch.floors_in_batch:
            empty = [f"cast(NULL AS {type_}) AS {k}" for k, type_ in typed.items()]
            controls = floors.rows(self.changes(), self.batch, empty)
            rows = controls if rows is None else rows.unionByName(controls)
        if rows is None:
            return 0
        columns = [f"{k} {type_}" for k, type_ in typed.items()]
        floors.create(self.session, self.tombstones, self.batch.flow.name, columns)
        if self.batch.floors_in_batch and self.batch.withdrawn and not self.fold.soft:
            floors.add(floors.gone(self._unmatched(source), self.batch, named), self.tombstones)
        return floors.add(rows, self.tombstones)

    def merge(self, source: DataFrame, got: Mapping[str, Any]) -> None:
        """The table's own commit."""
        source.createOrReplaceTempView("ecluse_source")
        limits = "" if self.batch.floors_in_batch else bounds(self.fold.keys, self.fold.target.columns, got)
        text = self.fold.merge(table.sql_name(self.path), limits, self.batch)
        session.set_transaction(self.session, self.batch.app_id, self.batch.seq, self.batch.metadata())
        try:
            self.session.sql(text)
        finally:
            session.clear_transaction(self.session)

    def unset(self, judged: DataFrame) -> DataFrame:
        """The records of the keys that nobody can apply, as the quarantine takes them."""
        keys = [f"k{n}" for n in range(len(self.fold.keys))]
        missing = (
            "concat('unchanged-without-row:', concat_ws(',', nullif(lost, ''), nullif(needs, ''))) AS why"
        )
        bad = judged.where("verdict = 'unset'").selectExpr(*(f"{k} AS b{k}" for k in keys), missing)
        sound = self._sound(query.settled(self.changes()))
        on = [sound[f"i.{avro_name(k)}"] == bad[f"bk{n}"] for n, k in enumerate(self.fold.keys)]
        return sound.join(bad, on).withColumn("_reason", F.col("why"))


@dataclass(frozen=True, slots=True)
class Merged:
    """What a batch came to; ``unset`` is there when some rows have to be quarantined after it."""

    seen: Seen
    unset: DataFrame | None


def run(work: Scd1, *, write: bool) -> Merged:
    """Fold, judge, remember, merge; with ``write`` false only count what an earlier run did.

    The folded rows are kept by a local checkpoint: MERGE reads its source twice, and refuses a cached one.
    """
    counted = append.observe(work.changes(), work.counters())
    source = work.folded(counted.frame).localCheckpoint()
    records = counted.counters
    got = work.survey(source)
    judged: DataFrame | None = None
    chosen = source
    verdicts = {"apply": (got["groups"], got["changes"])}
    if records["again"] or got["unset"] or work.batch.floors_in_batch or work.fold.two_texts:
        judged = work.judged(source, got).localCheckpoint()
        verdicts = work.verdicts(judged)
        chosen = judged.where("verdict = 'apply'")
    remembered = _remember(work, chosen, got, write=write)
    leaving = work.leaving(chosen, got)
    unset = work.unset(judged).localCheckpoint() if judged is not None and "unset" in verdicts else None
    if write:
        work.merge(chosen, got)
    seen = _seen(work, records, verdicts, remembered)
    return Merged(replace(seen, leaving=leaving), unset)


def _remember(work: Scd1, chosen: DataFrame, got: Mapping[str, Any], *, write: bool) -> int:
    if write:
        return work.remember(chosen, deletes=bool(got["deletes"]) and not work.fold.soft)
    return floors.written(work.session, work.tombstones, work.batch)


def _seen(
    work: Scd1, records: Mapping[str, Any], verdicts: Mapping[str, tuple[int, int]], remembered: int
) -> Seen:
    late, unset = verdicts.get("late", (0, 0)), verdicts.get("unset", (0, 0))
    apply = verdicts.get("apply", (0, 0))
    found = append.seen(work.batch, {**records, "again": 0}, work.checker)
    return replace(
        found,
        merged_away=(apply[1] - apply[0]) + (late[1] - late[0]),
        late=records["below"] + late[0],
        unset=unset[1],
        remembered=remembered,
    )
