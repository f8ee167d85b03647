"""Making a flow's table, changing it, and appending to it.

The table's own properties say whose it is, what its key is and which columns came later. A column that is
added with a constant default is announced there first, then made, then filled for the rows that exist, then
announced as filled: a crash in between is found and finished.

Rule: one writer per table at a time (the flow's own worker). This room does not read Kafka.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pyspark.core.rdd import RDD
from pyspark.serializers import NoOpSerializer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from engine.errors import TableReplaced
from engine.lake import book, halt, parquet
from engine.lake.decode import name, quote
from engine.lake.evolve import Added, Step, Target, Verdict, add_column, can_cluster, constant
from engine.plan import FlowPlan
from engine.schema import Shape, avro, delta, from_avro

POSITION: Final = "struct<era:bigint,major:bigint,minor:bigint>"
_SCD1: Final = (
    ("_op", "string"),
    ("_position", POSITION),
    ("_tx", "string"),
    ("_committed_at", "timestamp"),
    ("_landed_at", "timestamp"),
)
_APPEND: Final = (
    *_SCD1,
    ("_unchanged", "array<string>"),
    ("_strand", "string"),
    ("_attempt", "struct<run:bigint,range:string,attempt:bigint>"),
)
_CLUSTER_MAX: Final = 4
_CHECKPOINT_AFTER: Final = "20"  # commits: native appends and readers read the log from the last one on
_LOG_COMMITS: Final = 2_000
_LOG_HOURS: Final = range(1, 73)


def engine_columns(flow: FlowPlan) -> tuple[tuple[str, str], ...]:
    """The columns that the landing adds, with their types."""
    if flow.sink.mode == "append":
        return _APPEND
    return (*_SCD1, ("_deleted", "boolean")) if flow.sink.deletes == "soft" else _SCD1


def sql_name(path: Path) -> str:
    """A table by its path, as SQL reads it."""
    return f"delta.`{path}`"


def keys(flow: FlowPlan, target: Target) -> tuple[str, ...]:
    """The columns that know a row of an scd1 table; none while no schema has said what columns there are."""
    return (flow.sink.keys or target.key) if target.columns else ()


def sink_text(flow: FlowPlan) -> str:
    """How a flow writes its table, which no later plan may change: its mode, deletes and keys."""
    return " ".join((flow.sink.mode, flow.sink.deletes, ",".join(flow.sink.keys) or "auto"))


def create(session: SparkSession, path: Path, flow: FlowPlan, target: Target) -> None:
    """Make the table where it is not."""
    columns = [(c, delta(t)) for c, t in target.columns.items()]
    body = ", ".join(f"{name(c)} {t}" for c, t in (*columns, *engine_columns(flow)))
    cluster = ""
    settings = {
        "ecluse.flow": flow.name,
        "ecluse.sink": sink_text(flow),
        "ecluse.target": _text(target),
        # what was rewritten may not stay for longer than the log does
        "delta.logRetentionDuration": f"interval {log_hours(flow.freshness_s)} hours",
        "delta.deletedFileRetentionDuration": f"interval {log_hours(flow.freshness_s)} hours",
    }
    if flow.sink.mode == "append":
        settings["delta.checkpointInterval"] = _CHECKPOINT_AFTER
    else:
        settings["delta.enableDeletionVectors"] = "true"
        fit = [k for k in keys(flow, target) if can_cluster(target.columns[k])][:_CLUSTER_MAX]
        cluster = f" CLUSTER BY ({', '.join(name(k) for k in fit)})" if fit else ""
    said = ", ".join(f"{quote(k)} = {quote(v)}" for k, v in settings.items())
    statement = (
        f"CREATE TABLE IF NOT EXISTS {sql_name(path)} ({body}) USING delta{cluster} TBLPROPERTIES ({said})"
    )
    halt.sure(lambda: session.sql(statement), where=str(path))


def log_hours(freshness_s: float) -> int:
    """How long a table's log keeps a commit: as long as some thousand take, three days at most.

    Whoever opens a table or commits to it lists its log, on a disk the whole of it: what a flow that lands
    every second leaves there in three days would make each of its batches take many times as long.

    >>> log_hours(0), log_hours(10), log_hours(60)
    (1, 5, 33)
    """
    hours = int(freshness_s * _LOG_COMMITS / 3600)
    return min(max(hours, _LOG_HOURS[0]), _LOG_HOURS[-1])


def load(path: Path, flow: FlowPlan) -> tuple[Target, tuple[Step, ...]]:
    """The table's target, and the steps that a crash left unfinished.

    Raises TableReplaced when the table is not this flow's, or was made to be written in another way.
    """
    said = book.properties(path)
    if said.get("ecluse.flow") != flow.name:
        raise TableReplaced(
            f"the table belongs to {said.get('ecluse.flow', 'somebody else')}",
            where=str(path),
            hint="name another table in the flow's sink, or move this one away",
        )
    if said.get("ecluse.sink") != sink_text(flow):
        # a MERGE into a history would overwrite it, an append to current rows would double them
        raise TableReplaced(
            f"the table was made for {said.get('ecluse.sink')}, and the flow now says {sink_text(flow)}",
            where=str(path),
            hint="put mode, keys and deletes back, or name another table in the flow's sink",
        )
    return _parse(said["ecluse.target"])


def change(session: SparkSession, path: Path, flow: FlowPlan, old: Shape, verdict: Verdict) -> None:
    """Bring the table to a verdict's target; safe to do again."""
    table = sql_name(path)
    _announce(session, table, verdict.target, verdict.steps)
    columns = dict(old)
    for step in verdict.steps:
        if columns.get(step.column) != step.after:
            if step.before is not None:
                _set(session, table, {"delta.enableTypeWidening": "true"})
            _sql(session, table, add_column(table, columns, step))
            columns[step.column] = step.after
        if step.default is not None and flow.sink.mode == "scd1":
            value = constant(step.default, step.after)
            _sql(session, table, f"UPDATE {table} SET {name(step.column)} = {value}")  # noqa: S608  (quoted)
    _announce(session, table, verdict.target, ())


def finish(session: SparkSession, path: Path, flow: FlowPlan, target: Target, steps: Sequence[Step]) -> None:
    """Finish the steps that a crash interrupted; nothing has landed since they were announced."""
    schema = halt.sure(lambda: session.table(sql_name(path)).schema, where=str(path))
    types = {each.name: each.dataType.simpleString() for each in schema.fields}
    columns = {c: t for c, t in target.columns.items() if types.get(c) == delta(t)}
    columns |= {s.column: s.before for s in steps if s.column not in columns and s.before is not None}
    change(session, path, flow, columns, Verdict(target, tuple(steps)))


def widen(session: SparkSession, path: Path, step: Step) -> None:
    """Give one column more width."""
    table = sql_name(path)
    _set(session, table, {"delta.enableTypeWidening": "true"})
    _sql(session, table, add_column(table, {}, step))


def _announce(session: SparkSession, table: str, target: Target, pending: Sequence[Step]) -> None:
    _set(session, table, {"ecluse.target": _text(target, pending)})


def _set(session: SparkSession, table: str, settings: Mapping[str, str]) -> None:
    said = ", ".join(f"{quote(k)} = {quote(v)}" for k, v in settings.items())
    _sql(session, table, f"ALTER TABLE {table} SET TBLPROPERTIES ({said})")


def _sql(session: SparkSession, table: str, statement: str) -> None:
    halt.sure(lambda: session.sql(statement), where=table)


# --- the target as a table property ----------------------------------------------------------------------


def _text(target: Target, pending: Sequence[Step] = ()) -> str:
    return json.dumps(
        {
            "columns": [[c, avro(t)] for c, t in target.columns.items()],
            "key": list(target.key),
            "added": {c: [a.schema_id, a.default] for c, a in target.added.items()},
            "pending": [
                [s.column, None if s.before is None else avro(s.before), avro(s.after), s.default]
                for s in pending
            ],
        },
        ensure_ascii=False,
    )


def _parse(text: str) -> tuple[Target, tuple[Step, ...]]:
    said = json.loads(text)
    target = Target(
        {c: from_avro(t) for c, t in said["columns"]},
        tuple(said["key"]),
        {c: Added(id_, default) for c, (id_, default) in said["added"].items()},
    )
    steps = tuple(
        Step(c, None if before is None else from_avro(before), from_avro(after), default)
        for c, before, after, default in said["pending"]
    )
    return target, steps


def rows(frame: DataFrame) -> Any:
    """The rows of a small frame in this process, in Arrow's form; the caller has bounded them."""
    return frame.toArrow()


def files(frame: DataFrame, path: Path) -> list[str]:
    """Write a frame's rows as Parquet files into a table's folder, one for each task that has any.

    Gives their names. The rows are asked for as ``toArrow`` asks, and stay with their tasks: that is no query
    of Spark's, and what is observed on the way has to be told (``query.told``).
    """
    runs = RDD(frame._jdf.toArrowBatchRdd().toJavaRDD(), frame.sparkSession.sparkContext, NoOpSerializer())  # noqa: SLF001  (the only door to it)
    work = functools.partial(parquet.spread, schema=to_arrow_schema(frame.schema), folder=str(path))
    names: list[str] = runs.mapPartitions(work).collect()
    return names


def append(frame: DataFrame, path: Path, *, app_id: str, seq: int, metadata: str) -> None:
    """Append in one job, with the transaction and its metadata in the commit."""
    writer = frame.write.format("delta").mode("append")
    writer = writer.option("txnAppId", app_id).option("txnVersion", str(seq)).option("userMetadata", metadata)
    writer.save(str(path))
