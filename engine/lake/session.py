"""The one Spark of a landing: its settings, its workers' sessions, its end.

Rule: jars and Java come as paths, never by name from a registry; everything is one JVM that ends with this
process (it reads our end of a pipe, and leaves when the pipe closes). A worker thread has one session for
its life: MERGE reads the transaction and its metadata from the session.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from engine.lake import halt, jvm, scratch
from engine.lake.archive import Archive

_SETTINGS: Final = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.scheduler.mode": "FAIR",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "4000",  # what ``table.files`` hands over at once
    "spark.sql.variable.substitute": "false",  # a key or a default with the text ${env:HOME} is that text
    # VACUUM lists files in a job of this many tasks: with Spark's 10,000 it took a minute for ten files
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "8",
    # Spark's own list less kafka, whose older door makes every record a Row and back again
    "spark.sql.sources.useV1SourceList": "avro,csv,json,orc,parquet,text",
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
    shuffle files and spills, each run in a folder of its own. ``archives`` is the folder in which Java keeps
    parsed classes, if there is one (``archive``). ``settings`` and the JVM's ``options`` are added last.
    """

    java_home: Path
    jars: Sequence[Path]
    scratch: Path
    cores: int = 2
    memory: str = "2g"
    archives: Path | None = None
    settings: Mapping[str, str] | None = None
    options: Sequence[str] = ()


def start(engine: Engine) -> SparkSession:
    """Start the JVM and its session; the JVM ends with this process."""
    folder = scratch.own(engine.scratch)
    gateway = jvm.start(jvm.words(engine.java_home, engine.jars, _options(engine, folder)))
    settings = {
        **_SETTINGS,
        "spark.local.dir": str(folder),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        **(engine.settings or {}),
    }
    conf = SparkConf(_jvm=gateway.jvm).setMaster(f"local[{engine.cores}]").setAppName("ecluse-landing")
    context = SparkContext(conf=conf.setAll(list(settings.items())), gateway=gateway)
    context.setLogLevel("OFF")
    context.pythonExec = sys.executable  # for its workers: the one that has what this process has
    context.environment["PYTHONSAFEPATH"] = "1"  # and nothing of the folder that it happens to run in
    return SparkSession(context)


def _options(engine: Engine, folder: Path) -> list[str]:
    """The JVM's own options."""
    shared = engine.archives and Archive(engine.archives, engine.java_home, engine.jars)
    return [
        f"-Xmx{engine.memory}",
        "-XX:+UseParallelGC",
        # the generated method of a table with a dozen columns is "huge", and would stay interpreted
        "-XX:-DontCompileHugeMethods",
        f"-Dderby.system.home={folder}",
        f"-Djava.io.tmpdir={folder}",
        *(shared.options() if shared else ()),
        *engine.options,
    ]


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


def process(session: SparkSession) -> Any:
    """The JVM behind a session, as the child that it is."""
    return session.sparkContext._gateway.proc  # noqa: SLF001


def alive(session: SparkSession) -> bool:
    """Whether the JVM behind a session still runs."""
    return process(session).poll() is None


def end(session: SparkSession) -> None:
    """Stop Spark; the JVM itself ends with this process."""
    if alive(session):
        halt.sure(session.stop, where=str(session.sparkContext.appName))
