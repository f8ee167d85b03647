"""The one table of records that did not land: bytes, coordinates, and why.

Rule: written after the table's commit, for exactly that commit's range, under the same application id and
seq, and only when the batch saw bad records. Writing it again changes nothing. The number of rows that the
commit reports is the ledger's own witness of what was quarantined.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from engine.contract import PLACE, PROBLEM, RECORD
from engine.errors import LandingFenced, LedgerDisagrees
from engine.lake import book, commits, given, halt, native, query, table
from engine.lake.batch import Batch
from engine.lake.compile import Checker
from engine.lake.decode import name, quote
from engine.lake.ranges import Range
from engine.ledger import QUARANTINE
from engine.names import avro_name

_SOUND = ("unfit:", "check:", "unchanged-", "key-null:", "utf8:", "row-too-large")
_FEW: Final = 8_000  # records, of which each may be as large as ``native`` takes them
_PROBLEM = f"WHEN map_contains_key(unfit, '{PROBLEM}') THEN 'record' "
_PLACE = ", ".join(quote(column) for column in PLACE)
_TYPES: Final = {
    "string": pa.string(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "binary": pa.binary(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "map<string,string>": pa.map_(pa.string(), pa.string()),
    "struct<era:bigint,major:bigint,minor:bigint>": pa.struct(
        [("era", pa.int64()), ("major", pa.int64()), ("minor", pa.int64())]
    ),
}
_PROPERTIES: Final = {  # as every table that Spark makes here has them
    "delta.checkpointInterval": "50",
    "delta.logRetentionDuration": "interval 3 days",
    "delta.deletedFileRetentionDuration": "interval 3 days",
}
WRITING: Final = threading.Lock()
"""Held by whoever writes here: Spark's commit can take the place of one that came a moment before it."""
KEEP = ("partition", "offset", "value", "key", "timestamp")
"""What of a record the quarantine needs besides what was decoded."""


def create(root: Path) -> None:
    """Make the quarantine where it is not; without Spark, which takes seconds for it when it has just begun.

    Another group may make it at the same moment: it is there then, which is all that is wanted.
    """
    native.create(book.quarantine_path(root), pa.schema([(c, _TYPES[t]) for c, t in QUARANTINE]), _PROPERTIES)


def bad(frame: DataFrame, checker: Checker | None = None, *, partner: bool = False) -> DataFrame:
    """The records of a range that did not decode, fit or meet its checks, with their reason.

    ``partner``: what ``unfit`` says of a record's place in a file stays beside what its checks find wrong.
    """
    frame = query.settled(frame)
    if checker is None:
        return frame.where("_reason IS NOT NULL")
    frame = frame.where(f"_reason IS NOT NULL OR {checker.held}")
    offending = checker.offending()
    if partner:
        offending = (
            f"map_concat(map_filter(unfit, (k, v) -> k IN ({_PLACE})), "
            f"map_filter({offending}, (k, v) -> k NOT IN ({_PLACE})))"
        )
    found = {
        "unfit": f"if(_reason IS NULL, {offending}, unfit)",
        "_reason": f"coalesce(_reason, {checker.reason()})",
    }
    return frame.withColumns({name: F.expr(text) for name, text in found.items()})


def columns(batch: Batch, keys: Sequence[str], now_us: int) -> list[str]:
    """The quarantine's columns, in its order."""
    flow = batch.flow
    # only a record that was decoded whole has an op and a position that can be believed
    sound = " OR ".join(f"_reason LIKE '{kind}%'" for kind in _SOUND)
    if flow.partner:  # such a record says where it stood, once it is decoded
        sound = f"{sound} OR coalesce(map_contains_key(unfit, '{RECORD}'), false)"
    pairs = ", ".join(f"{quote(k)}, i.{name(avro_name(k))}" for k in keys)
    key_json = f"if({sound}, to_json(named_struct({pairs})), NULL)" if pairs else "cast(NULL AS string)"
    stage = (
        f"CASE {_PROBLEM if flow.partner else ''}WHEN _reason LIKE 'unchanged-%' THEN 'apply' "
        "WHEN _reason LIKE 'check:%' THEN 'check' "
        "WHEN _reason LIKE 'schema-blocked:%' THEN 'schema' WHEN " + sound + " THEN 'type' ELSE 'decode' END"
    )
    id_ = "CASE WHEN length(value) >= 5 THEN try_cast(conv(hex(substring(value, 2, 4)), 16, 10) AS int) END"
    literals = {
        "flow": flow.name,
        "table": flow.sink.table,
        "app_id": batch.app_id,
        "plan": flow.hash,
        "topic": flow.topic.name,
        "topic_id": batch.topic_id,
    }
    seq, at_us = (given.by_partition(dict.fromkeys(batch.span, n)) for n in (batch.seq, now_us))
    found = {c: quote(v) for c, v in literals.items()} | {
        "seq": seq,
        "partition": "partition",
        "offset": "offset",
        "stage": stage,
        "reason": "_reason",
        "schema_id": id_,
        "op": f"if({sound}, op, NULL)",
        "position": f"if({sound}, _position, NULL)",
        "key_json": key_json,
        "unfit": f"if({sound}, unfit, NULL)",
        "key": "key",
        "value": "value",
        "record_at": "timestamp",
        "quarantined_at": f"timestamp_micros({at_us})",
    }
    return [f"{found[c]} AS {name(c)}" for c, _ in QUARANTINE]


def write(frame: DataFrame, root: Path, batch: Batch, *, expected: int) -> int:
    """Write the batch's bad records; how many the quarantine now holds of it."""
    path = book.quarantine_path(root)
    where = f"{batch.flow.name} seq {batch.seq}"
    said = batch.metadata()
    with WRITING:
        if expected > _FEW or not _natively(frame, path, batch, said, where):
            add = functools.partial(table.append, app_id=batch.app_id, seq=batch.seq, metadata=said)
            halt.sure(lambda: add(frame, path), where=where)
    rows = held(frame.sparkSession, root, batch.app_id, batch.seq, batch.span)
    if rows is None:
        raise LandingFenced(
            "the quarantine of this batch was written by somebody else",
            where=where,
            hint="stop the other landing of this group, then start this one again",
        )
    if rows != expected:
        raise LedgerDisagrees(
            f"the batch saw {expected} bad records and its quarantine holds {rows}",
            where=where,
            hint=f"compare {path} where app_id = '{batch.app_id}' and seq = {batch.seq} with offsets "
            f"{dict(batch.span)}; a restart counts again, and stops here while they differ",
        )
    return rows


def _natively(frame: DataFrame, path: Path, batch: Batch, said: str, where: str) -> bool:
    """Commit few records without Spark, whose commit takes longer than they do; False where it has to."""
    found = native.fitting(path, [c for c, _ in QUARANTINE])
    if found is None:
        return False
    bounded = frame.withColumn("value", F.expr(native.bounded("coalesce(length(key), 0) + length(value)")))
    rows = halt.run(lambda: table.rows(bounded), where=where)
    if isinstance(rows, halt.Halt):
        return False  # a record is too large to be held in memory with so many
    file = native.save(rows, path)
    return native.commit(found, [file], app_id=batch.app_id, seq=batch.seq, metadata=said, gaps=True)


def held(session: SparkSession, root: Path, app_id: str, seq: int, span: Range) -> int | None:
    """How many rows the quarantine has of a batch; None where the newest that it has is of another one.

    The commit says it. Once that is cleaned away (a flow may stand still for days between its quarantine and
    its ledger, while others write theirs) the rows are counted.
    """
    path = book.quarantine_path(root)
    commit = commits.newest(path, app_id)
    if commit is not None:
        same = commit.seq == seq and dict(commit.span) == dict(span)
        return commit.metrics.get("numOutputRows", 0) if same else None
    if book.transaction_version(path, app_id) != seq:
        return None
    rows = session.read.format("delta").load(str(path)).where(f"app_id = {quote(app_id)} AND seq = {seq}L")
    return int(halt.sure(rows.count, where=str(path)))
