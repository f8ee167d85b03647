"""A process that does a little of all that a landing does, and whose JVM writes down what it has loaded.

Rule: nothing of it is kept but the archive (``archive``). It needs no service.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.avro.functions import from_avro
from pyspark.sql.functions import lit

from engine.lake import archive, session, table

_END_S: Final = 300.0
_AVRO: Final = '{"type": "record", "name": "r", "fields": [{"name": "a", "type": ["null", "string"]}]}'
_KAFKA: Final = {  # nobody listens there, and that is soon clear
    "kafka.bootstrap.servers": "127.0.0.1:1", "kafka.default.api.timeout.ms": "300",
    "kafka.request.timeout.ms": "200", "kafka.socket.connection.setup.timeout.ms": "100",
}  # fmt: skip
_MERGE: Final = """
MERGE INTO {table} t USING (SELECT * FROM {table} WHERE id < 9) s ON t.id = s.id
WHEN MATCHED AND s.id < 3 THEN DELETE WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"""


def main(java_home: Path, jars: list[Path], draft: Path) -> None:
    """Run, and leave the archive at ``draft``."""
    options = (f"-XX:ArchiveClassesAtExit={draft}", "-XX:TieredStopAtLevel=1", *archive.QUIET)
    engine = session.Engine(java_home, jars, draft.parent / "scratch", memory="1g", options=options)
    spark = session.start(engine)
    process = session.process(spark)
    _tables(spark, draft.parent / "lake")
    _streams(spark, draft.parent / "lake")
    session.end(spark)
    process.stdin.close()
    process.wait(_END_S)


def _tables(spark: SparkSession, lake: Path) -> None:
    worker = session.worker(spark)
    for number, small in enumerate((True, False)):
        session.tune(worker, small=small)
        path = lake / f"t{number}"
        rows = worker.range(100).selectExpr(
            "id", "cast(id AS string) text", "cast(id AS decimal(10,2)) amount", "timestamp_micros(id) at"
        )
        table.append(rows, path, app_id="training", seq=1, metadata="{}")
        worker.sql(_MERGE.format(table=table.sql_name(path)))
        worker.range(9).select(from_avro(lit(b"\x02\x02a"), _AVRO)).collect()


def _streams(spark: SparkSession, lake: Path) -> None:
    def land(frame: DataFrame, _: int) -> None:
        frame.count()

    stream = spark.readStream.format("delta").option("ignoreChanges", "true").load(str(lake / "t0"))
    query = stream.writeStream.foreachBatch(land).option("checkpointLocation", str(lake / "checkpoint"))
    query.trigger(availableNow=True).start().awaitTermination()
    with suppress(PySparkException, Py4JError):
        spark.read.format("kafka").options(**_KAFKA, subscribe="none").load().count()


def _given(said: dict[str, Any]) -> tuple[Path, list[Path], Path]:
    return Path(said["java_home"]), [Path(jar) for jar in said["jars"]], Path(said["draft"])


if __name__ == "__main__":
    main(*_given(json.loads(sys.argv[1])))
