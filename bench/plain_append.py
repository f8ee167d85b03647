"""The peer of the landing bench, as a program: a plain streaming append with ``from_avro``, written well.

Rule: what a good user of Spark would write by hand (kafka → from_avro → append, available-now), with the
session settings of our own landing, a batch size that gives as many files, and the same columns out but
for those that only our engine has a use for. No check, no quarantine, no ledger. It reads a table's
folder per line from its input and answers when the table is complete.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql.avro.functions import from_avro
from pyspark.sql.functions import expr

from bench.spark_program import announce, engine, requests
from engine.lake.session import end, start

_COLUMNS = (
    "r.after.*",
    "r.op AS _op",
    "r.position AS _position",
    "r.transaction.id AS _tx",
    "timestamp_micros(r.source.ts_us) AS _committed_at",
)


def append(spark: SparkSession, given: dict[str, Any], path: Path) -> None:
    """One pass over the topic, from its beginning to its end, into a new table."""
    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", given["bootstrap"])
        .option("subscribe", given["topic"])
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", given["rows_per_commit"])
        .load()
    )
    decoded = records.select(from_avro(expr("substring(value, 6)"), given["schema"]).alias("r"))
    query = (
        decoded.selectExpr(*_COLUMNS)
        .writeStream.format("delta")
        .option("checkpointLocation", str(path.with_name(f"{path.name}_checkpoint")))
        .trigger(availableNow=True)
        .start(str(path))
    )
    query.awaitTermination()


def main(given: dict[str, Any]) -> None:
    """Answer requests until the input ends."""
    spark = start(engine(given))
    announce()
    for path in requests():
        append(spark, given, path)
        announce()
    end(spark)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
