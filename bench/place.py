"""Where a bench runs: one database server, one broker, one registry, by address and by process id.

Rule: the embedded stack, in a folder of its own; every side uses the same services, and what they spend is
measured beside what the side itself spends. The database keeps its defaults but for slots, log size and
a buffer that holds the table.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from engine.embedded import jars, java, trust
from engine.embedded.jars import Configuration
from engine.embedded.stack import Part, Stack, cache_folder

_SETTINGS: Final = {
    "max_replication_slots": "40",
    "max_wal_senders": "40",
    "max_wal_size": "16GB",  # no checkpoint in the middle of a run
    "shared_buffers": "512MB",
}


@dataclass(frozen=True, slots=True)
class Place:
    """The services of one bench. ``folder`` is scratch space that goes when the bench ends."""

    folder: Path
    cache: Path
    java_home: Path
    pids: Mapping[str, int]
    bootstrap: str
    registry: str  # the Confluent-compatible API
    spark_jars: tuple[Path, ...]
    host: str
    port: int
    user: str
    password: str

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """A session of the superuser, one statement per transaction."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database,
            autocommit=True,
        )

    @property
    def registry_root(self) -> str:
        """The registry's address without an API's path."""
        return self.registry.partition("/apis/")[0]

    def jars_of(self, configuration: Configuration) -> Path:
        """The folder of a peer's jars, fetched when it is not there. Raises DownloadFailed."""
        found = jars.fetch(
            [configuration],
            cache=self.cache,
            java=java.Java(self.java_home),
            java_options=trust.java_options(self.cache / "java", urllib.request.getproxies()),
        )
        return found[configuration].path


@contextmanager
def embedded(folder: Path, parts: frozenset[Part], environment: Mapping[str, str]) -> Iterator[Place]:
    """The stack, started for one bench, and stopped."""
    cache = cache_folder(environment)
    with Stack(folder / "stack", cache, environment=environment, postgres_settings=_SETTINGS) as stack:
        ends = stack.start(parts)
        database = ends.postgres
        yield Place(
            folder=folder,
            cache=cache,
            java_home=ends.java_home,
            pids={name: stack.pid(name) for name in ("postgres", "kafka", "registry") if name in parts},
            bootstrap=ends.kafka,
            registry=ends.registry,
            spark_jars=ends.spark_jars,
            host=database.host if database else "",
            port=database.port if database else 0,
            user=database.user if database else "",
            password=database.password if database else "",
        )
