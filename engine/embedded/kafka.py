"""The embedded broker: Kafka in KRaft mode, broker and controller in one process.

Rule: one node, every internal factor 1, topics only made by those who declare them, memory bounded. Its data
survive kill -9. This room speaks just enough of the protocol to know that the broker has joined itself.
"""

from __future__ import annotations

import base64
import shutil
import signal
import socket
import struct
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from engine.embedded.child import ENVIRONMENT, Rights, Service, launcher
from engine.embedded.jars import Folder
from engine.embedded.java import Java
from engine.embedded.ports import LOOPBACK
from engine.errors import StackFailed

MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
_JVM: Final = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-Djava.awt.headless=true")
_ANSWER_S: Final = 2.0
_METADATA, _METADATA_VERSION = 3, 4


def service(
    folder: Path, jars: Folder, java: Java, ports: tuple[int, int], more: Mapping[str, str]
) -> Service:
    """The broker with its data in ``folder``; ``more`` settings are added to ours.

    ``ports`` are the one of its clients and the one of its controller.
    """
    port, controller_port = ports
    properties = folder / "server.properties"
    classpath = str(jars.path / "*")
    jvm = (str(java.binary), *_JVM, "-Dorg.apache.logging.log4j.level=WARN", "-cp", classpath)

    def prepare() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        properties.write_text(settings(folder / "data", port, controller_port, more), encoding="utf-8")
        marker = folder / "formatted"
        if not marker.is_file():
            shutil.rmtree(folder / "data", ignore_errors=True)
            _format((*jvm, "-XX:TieredStopAtLevel=1"), properties)
            marker.touch()

    return Service(
        name="kafka",
        port=port,
        words=(*jvm, "kafka.Kafka", str(properties)),
        log=folder / "kafka.log",
        prepare=prepare,
        answers=lambda: brokers(LOOPBACK, port) > 0,
        settle=lambda: None,
    )


def settings(data: Path, port: int, controller_port: int, more: Mapping[str, str] | None = None) -> str:
    """The text of ``server.properties``."""
    values = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{controller_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        # a killed broker may come back as soon as its session has ended
        "broker.session.timeout.ms": 6000,
        "broker.heartbeat.interval.ms": 500,
        "auto.create.topics.enable": "false",
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "message.max.bytes": MESSAGE_BYTES_MAX,
        "replica.fetch.max.bytes": MESSAGE_BYTES_MAX,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "log.cleaner.backoff.ms": 5000,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        **(more or {}),
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def brokers(host: str, port: int) -> int:
    """How many brokers the broker there knows and lets work; 0 while it does not answer."""
    name = b"ecluse"
    header = struct.pack(f">hhih{len(name)}s", _METADATA, _METADATA_VERSION, 1, len(name), name)
    body = struct.pack(">ib", 0, 0)  # no topic asked for, none to be made
    try:
        with socket.create_connection((host, port), timeout=_ANSWER_S) as wire, wire.makefile("rb") as answer:
            wire.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
            (size,) = struct.unpack(">i", answer.read(4))
            _, _, count = struct.unpack_from(">iii", answer.read(size))  # correlation, throttle, brokers
            return int(count)
    except (OSError, struct.error):
        return 0


def cluster_id(chance: bytes) -> str:
    """A cluster's id from 16 bytes, as Kafka writes it; never one that begins like an option.

    >>> cluster_id(bytes([0xFB] * 16))
    'e_v7-_v7-_v7-_v7-_v7-w'
    """
    return base64.urlsafe_b64encode(bytes([chance[0] & 0x7F]) + chance[1:]).decode().rstrip("=")


def _format(jvm: tuple[str, ...], properties: Path) -> None:
    cluster = cluster_id(uuid.uuid4().bytes)
    words = (
        *launcher(Rights(), signal.SIGKILL),
        *(*jvm, "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", str(properties)),
    )
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if done.returncode != 0:
        raise StackFailed(
            f"Kafka's storage could not be made: {done.stderr.strip()[-600:]}",
            where=str(properties),
            hint=f"may you write to {properties.parent}, and has its disk room? (df -h {properties.parent})",
        )
