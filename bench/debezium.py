"""The peer of the field: Debezium on Kafka Connect, standalone, in one JVM that stays warm between runs.

Rule: tuned as its own documentation advises (large batches and queue, short poll, lz4, large producer
batches), acks=all, one record per change and no tombstones, streaming only. Its converter, Apicurio's Avro
or JSON without schemas, is whichever was faster in its own warm-up. The clock is the same as for ours:
from the moment the slot is active to the last acknowledged record.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from bench import change
from bench.backlog import Backlog
from bench.place import Place
from bench.readback import PARTITIONS, Ends, drop_topic, make_topic, read
from bench.rounds import Run, say
from bench.web import ask
from engine.embedded.ports import free

NAME: Final = "debezium"
Converter = Literal["avro", "json"]
WARM_UPS: Final[tuple[Converter, ...]] = ("json", "avro", "json")  # the first also warms the JVM
_POLL_S: Final = 0.02
_STUCK_S: Final = 300.0
_HEAP: Final = "1g"
_START_S: Final = 90.0
_WORKER: Final = """
bootstrap.servers={bootstrap}
listeners=http://127.0.0.1:{port}
plugin.discovery=service_load
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
offset.storage.file.filename={folder}/offsets
connector.client.config.override.policy=All
"""
_CONNECTOR: Final[dict[str, Any]] = {
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "tasks.max": "1",
    "plugin.name": "pgoutput",
    "publication.autocreate.mode": "disabled",
    "snapshot.mode": "no_data",
    "slot.drop.on.stop": "false",
    "tombstones.on.delete": "false",
    "message.prefix.exclude.list": ".*",  # heartbeats of others
    "decimal.handling.mode": "precise",
    "time.precision.mode": "adaptive_time_microseconds",
    "max.batch.size": "8192",
    "max.queue.size": "32768",
    "poll.interval.ms": "10",
    "producer.override.acks": "all",
    "producer.override.compression.type": "lz4",
    "producer.override.linger.ms": "20",
    "producer.override.batch.size": "1048576",
    "producer.override.buffer.memory": "67108864",
    "producer.override.max.request.size": "8388608",
}


class PeerFailed(RuntimeError):
    """A peer did not do its work; the text is its own."""


@dataclass(frozen=True, slots=True)
class Connect:
    """A running Kafka Connect worker."""

    url: str
    pid: int

    def start(self, name: str, config: dict[str, str]) -> None:
        """Add a connector; it starts at once."""
        ask(f"{self.url}/connectors/{name}/config", method="PUT", body=config)

    def check(self, name: str) -> None:
        """Raises PeerFailed when a connector's task has failed."""
        with contextlib.suppress(urllib.error.HTTPError):
            status = ask(f"{self.url}/connectors/{name}/status")
            for part in (status["connector"], *status["tasks"]):
                if part["state"] == "FAILED":
                    raise PeerFailed(str(part["trace"])[:2000])

    def stop(self, name: str) -> None:
        """Remove a connector."""
        ask(f"{self.url}/connectors/{name}", method="DELETE")

    def ready(self) -> bool:
        """Whether the worker answers."""
        try:
            ask(self.url)
        except OSError:
            return False
        return True


@contextlib.contextmanager
def connect(place: Place, jars: Path) -> Iterator[Connect]:
    """A Kafka Connect worker without connectors, warm as a JVM can be before its first run."""
    folder = place.folder / "connect"
    folder.mkdir()
    port = free(set())
    properties = folder / "worker.properties"
    properties.write_text(
        _WORKER.format(bootstrap=place.bootstrap, port=port, folder=folder), encoding="utf-8"
    )
    words = [str(place.java_home / "bin" / "java"), f"-Xms{_HEAP}", f"-Xmx{_HEAP}", "-cp", f"{jars}/*"]
    words += ["org.apache.kafka.connect.cli.ConnectStandalone", str(properties)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)
    try:
        worker = Connect(f"http://127.0.0.1:{port}", process.pid)
        deadline = time.monotonic() + _START_S
        while not worker.ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise PeerFailed(f"Kafka Connect did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.2)
        yield worker
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def run(work: Backlog, worker: Connect, converter: Converter, number: int) -> Run:
    """One timed run, and what it wrote."""
    name = work.slot(NAME, number)
    with _connector(work, worker, converter, name) as topic:
        ends = Ends(work.place.bootstrap, topic, PARTITIONS)
        used, start_s = work.timed(
            name, lambda: worker.pid, lambda: ends.total() >= work.changes, lambda: worker.check(name)
        )
    found = read(work.place.bootstrap, work.place.registry, topic, PARTITIONS, converter)
    drop_topic(work.place.bootstrap, topic)
    return Run(used, found, {"start_s": start_s, "converter": converter})


def warm_up(work: Backlog, worker: Connect, rows: int) -> tuple[Converter, dict[str, Any]]:
    """The faster converter, with the pace of each once warm, and the pace of the cold JVM.

    The first pass reads the whole backlog, as a worker that has just been started does; each of the others
    the first ``rows`` changes, and its pace is that of their second half.
    """
    cold: dict[str, Any] = {}
    paces: dict[Converter, float] = {}
    for number, converter in enumerate(WARM_UPS):
        name = work.slot("warm", number)
        with _connector(work, worker, converter, name) as topic:
            ends = Ends(work.place.bootstrap, topic, PARTITIONS)
            if number == 0:
                cold = _cold(work, worker, name, ends)
            else:
                paces[converter] = _warm(worker, name, ends, rows)
        drop_topic(work.place.bootstrap, topic)
    best = max(paces, key=lambda converter: paces[converter])
    say(f"{NAME}: cold {cold['rows_per_s']:,.0f} rows/s; warm {paces}; {best} is the faster")
    return best, {"converter": best, "warm_rows_per_s": paces, "cold": cold}


def _cold(work: Backlog, worker: Connect, name: str, ends: Ends) -> dict[str, Any]:
    begun = time.perf_counter()
    _reach(worker, name, ends, 1)
    first = time.perf_counter()
    _reach(worker, name, ends, work.changes)
    whole_s = time.perf_counter() - first
    return {"first_record_s": first - begun, "wall_s": whole_s, "rows_per_s": work.changes / whole_s}


def _warm(worker: Connect, name: str, ends: Ends, rows: int) -> float:
    _reach(worker, name, ends, rows // 2)
    half, behind = time.perf_counter(), ends.total()
    _reach(worker, name, ends, rows)
    return (ends.total() - behind) / max(time.perf_counter() - half, 0.001)


def _reach(worker: Connect, name: str, ends: Ends, rows: int) -> None:
    deadline = time.monotonic() + _STUCK_S
    while ends.total() < rows:
        worker.check(name)
        if time.monotonic() > deadline:
            raise PeerFailed(f"{name} does not reach {rows} records")
        time.sleep(_POLL_S)


@contextlib.contextmanager
def _connector(work: Backlog, worker: Connect, converter: Converter, name: str) -> Iterator[str]:
    """A running connector with its own slot and its own topic, which it gives."""
    topic = f"{name}.{change.SCHEMA}.{change.TABLE}"
    make_topic(work.place.bootstrap, topic, PARTITIONS)
    given = {
        "database.hostname": work.place.host,
        "database.port": str(work.place.port),
        "database.user": work.place.user,
        "database.password": work.place.password,
        "database.dbname": work.database,
        "slot.name": name,
        "publication.name": name,
        "topic.prefix": name,
        "table.include.list": f"{change.SCHEMA}.{change.TABLE}",
    }
    worker.start(name, _CONNECTOR | given | _converters(work.place, converter))
    yield topic
    worker.stop(name)


def _converters(place: Place, converter: Converter) -> dict[str, str]:
    found: dict[str, str] = {}
    for side in ("key", "value"):
        if converter == "json":
            found[f"{side}.converter"] = "org.apache.kafka.connect.json.JsonConverter"
            found[f"{side}.converter.schemas.enable"] = "false"
        else:
            found[f"{side}.converter"] = "io.apicurio.registry.utils.converter.AvroConverter"
            found[f"{side}.converter.apicurio.registry.url"] = f"{place.registry_root}/apis/registry/v2"
            found[f"{side}.converter.apicurio.registry.auto-register"] = "true"
            found[f"{side}.converter.apicurio.registry.find-latest"] = "true"
            found[f"{side}.converter.apicurio.registry.as-confluent"] = "true"
            found[f"{side}.converter.apicurio.registry.headers.enabled"] = "false"
    return found
