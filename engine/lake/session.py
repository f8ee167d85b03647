"""The one Spark of a landing: its settings, its workers' sessions, its end.

Rule: jars and Java come as paths, never by name from a registry; everything is one JVM that ends with this
process (it reads our end of a pipe, and leaves when the pipe closes). A worker thread has one session for
its life: MERGE reads the transaction and its metadata from the session.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyspark.sql import SparkSession

from engine.lake import halt, scratch

_SETTINGS: Final = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.scheduler.mode": "FAIR",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.variable.substitute": "false",  # a key or a default with the text ${env:HOME} is that text
    # VACUUM lists files in a job of this many tasks: with Spark's 10,000 it took a minute for ten files
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "8",
    "spark.sql.codegen.cache.maxEntries": "5000",
    "spark.sql.ui.retainedExecutions": "5",
    "spark.ui.retainedJobs": "20",
    "spark.ui.retainedStages": "20",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.streaming.minBatchesToRetain": "20",
    "spark.sql.streaming.noDataMicroBatches.enabled": "false",
    "spark.sql.streaming.numRecentProgressUpdates": "5",
    "spark.kafka.consumer.cache.capacity": "2048",
    "spark.cleaner.periodicGC.interval": "5min",  # folded batches are let go when they are collected
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.databricks.delta.optimizeWrite.enabled": "false",
    "spark.databricks.delta.autoCompact.enabled": "false",
    "spark.databricks.delta.merge.materializeSource": "none",
    "spark.databricks.delta.properties.defaults.checkpointInterval": "50",
    # a long weekend: for readers that fell behind, and for whoever must look at yesterday's version
    "spark.databricks.delta.properties.defaults.logRetentionDuration": "interval 3 days",
    "spark.databricks.delta.properties.defaults.deletedFileRetentionDuration": "interval 3 days",
    "spark.databricks.delta.optimize.minFileSize": str(128 * 1024 * 1024),
    "spark.databricks.delta.optimize.maxFileSize": str(256 * 1024 * 1024),
}
_TXN: Final = (
    "spark.databricks.delta.write.txnAppId",
    "spark.databricks.delta.write.txnVersion",
    "spark.databricks.delta.commitInfo.userMetadata",
)


@dataclass(frozen=True, slots=True)
class Engine:
    """What a Spark is started from.

    ``java_home`` is a Java 17 or 21; ``jars`` the files that pyspark does not ship; ``scratch`` takes
    shuffle files and spills, each run in a folder of its own. ``settings`` are added last.
    """

    java_home: Path
    jars: Sequence[Path]
    scratch: Path
    cores: int = 2
    memory: str = "2g"
    settings: Mapping[str, str] | None = None


def start(engine: Engine) -> SparkSession:
    """Start the JVM and its session; the JVM ends with this process."""
    os.environ["JAVA_HOME"] = str(engine.java_home)  # pyspark's launcher looks nowhere else
    folder = scratch.own(engine.scratch)
    settings = {
        **_SETTINGS,
        "spark.jars": ",".join(str(jar) for jar in engine.jars),
        "spark.driver.memory": engine.memory,
        "spark.driver.extraJavaOptions": (
            # the generated method of a table with a dozen columns is "huge", and would stay interpreted
            "-XX:+UseParallelGC -XX:-DontCompileHugeMethods "
            f'"-Dderby.system.home={folder}" "-Djava.io.tmpdir={folder}"'
        ),
        "spark.local.dir": str(folder),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        **(engine.settings or {}),
    }
    builder = SparkSession.builder.master(f"local[{engine.cores}]").appName("ecluse-landing")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    return session


def worker(root: SparkSession) -> SparkSession:
    """A session of its own for a thread: same JVM, own configuration, own views."""
    return halt.sure(root.newSession, where=str(root.sparkContext.appName))


def set_transaction(session: SparkSession, app_id: str, seq: int, metadata: str) -> None:
    """The transaction of the next MERGE of this session."""
    for name, value in zip(_TXN, (app_id, str(seq), metadata), strict=True):
        session.conf.set(name, value)


def clear_transaction(session: SparkSession) -> None:
    """Forget it: any other command of this session would carry the metadata on."""
    for name in _TXN:
        session.conf.unset(name)


_SMALL: Final = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}
_LAST: Final = "spark.sql.codegen.factoryMode"  # set last, and by nobody else: it says how all of them are


def tune(session: SparkSession, *, small: bool) -> None:
    """Fit a worker's session to the batch.

    To make, load and warm code of its own for some thousand rows takes longer than to interpret them; for
    many it pays by a factor of two.
    """
    if (session.conf.get(_LAST, None) is not None) == small:
        return
    for name, value in _SMALL.items():
        if small:
            session.conf.set(name, value)
        else:
            session.conf.unset(name)


def alive(session: SparkSession) -> bool:
    """Whether the JVM behind a session still runs."""
    process = getattr(session.sparkContext._gateway, "proc", None)  # noqa: SLF001
    return process is None or process.poll() is None


def end(session: SparkSession) -> None:
    """Stop Spark; the JVM itself ends with this process."""
    if alive(session):
        halt.sure(session.stop, where=str(session.sparkContext.appName))
