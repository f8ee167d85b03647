"""The whole stack: started together, adopted, stopped, killed and restarted one by one.

Rule: one state folder is one stack, and a restart takes the same places on the same data. Whoever starts a
service owns it: it ends with its owner, however that one ends, unless it was started detached. What
another living process has started is used and left alone. This room does not print.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from os import getpid
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, cast

from engine.embedded import child, jars, java, kafka, ports, postgres, record, registry, trust
from engine.embedded.child import Service
from engine.embedded.jars import Configuration, Folder, Progress
from engine.embedded.record import Endpoints, Entry
from engine.errors import StackFailed

ServiceName = Literal["kafka", "registry", "postgres"]
Part = ServiceName | Literal["spark"]
EVERYTHING: Final[frozenset[Part]] = frozenset(("kafka", "registry", "postgres", "spark"))
_NEEDS: Final[Mapping[Part, Configuration]] = {
    "kafka": "broker",
    "registry": "registry",
    "postgres": "postgres",
    "spark": "spark",
}
_READY_S: Final = 180.0
_STOP_S: Final = 15.0


def cache_folder(environment: Mapping[str, str]) -> Path:
    """The one cache folder of this user."""
    if environment.get("ECLUSE_CACHE"):
        return Path(environment["ECLUSE_CACHE"]).expanduser().resolve()
    return Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser().resolve() / "ecluse"


def to_download(parts: Collection[Part], cache: Path) -> dict[Configuration, int]:
    """What a start would download, in approximate bytes; empty when all is in the cache."""
    return jars.missing_bytes([_NEEDS[part] for part in sorted(parts)], cache)


def _fetched(
    parts: Collection[Part], cache: Path, environment: Mapping[str, str], progress: Progress
) -> tuple[java.Java, dict[Configuration, Folder]]:
    home = java.find(cache, environment)
    options = trust.java_options(cache / "java", urllib.request.getproxies())
    wanted = [_NEEDS[part] for part in sorted(parts)]
    return home, jars.fetch(wanted, cache=cache, java=home, java_options=options, progress=progress)


class Stack:
    """The services of one state folder."""

    def __init__(
        self,
        state: Path,
        cache: Path,
        *,
        environment: Mapping[str, str],
        progress: Progress = jars.silent,
        detached: bool = False,
        postgres_settings: Mapping[str, str] | None = None,
        kafka_settings: Mapping[str, str] | None = None,
    ) -> None:
        self._state = state.resolve()
        self._cache = cache.resolve()
        self._environment = environment
        self._progress = progress
        self._detached = detached
        self._postgres_settings = dict(postgres_settings or {})
        self._kafka_settings = dict(kafka_settings or {})
        self._starter: ThreadPoolExecutor | None = None
        self._services: dict[str, Service] = {}
        self._owned: dict[str, Entry] = {}
        self._endpoints: Endpoints | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._detached:
            self.stop()

    def start(self, parts: Collection[Part] = EVERYTHING) -> Endpoints:
        """Fetch what is missing, start what does not run, return when everything answers.

        Raises DownloadFailed or StackFailed; what was started by then is stopped.
        """
        home, folders = _fetched(parts, self._cache, self._environment, self._progress)
        self._state.mkdir(parents=True, exist_ok=True)
        with record.locked(self._state):
            self._services = self._described(parts, folders, home)
            spark_jars = folders["spark"].jars if "spark" in parts else ()
            self._endpoints = record.endpoints(self._state, parts, java_home=home.home, spark_jars=spark_jars)
            self._clear_leftovers()
            try:
                self._start_missing()
            except BaseException:
                self._stop_owned()
                raise
            self._write()
        return self._endpoints

    @property
    def endpoints(self) -> Endpoints:
        """Where everything is, once started."""
        if self._endpoints is None:
            raise StackFailed("the stack is not started", where=str(self._state), hint="ecluse up")
        return self._endpoints

    def stop(self) -> None:
        """End the services that this object has started; their data stay."""
        if self._owned:
            with record.locked(self._state):
                self._stop_owned()
                self._write()

    def kill(self, name: ServiceName) -> None:
        """SIGKILL to a service and all its processes, as a crash would; its data and its place stay."""
        child.kill(self._entry(name).process)

    def restart(self, name: ServiceName) -> None:
        """Start a service that was killed or has ended, in the same place on the same data."""
        if self._entry(name).process.alive:
            raise StackFailed(f"{name} runs already", where=str(self._state), hint="kill it first")
        with record.locked(self._state):
            self._start_one(name)
            self._write()

    def ended(self) -> list[ServiceName]:
        """The services that this object has started and that have ended since."""
        owned = tuple(self._owned.items())  # another thread may start one meanwhile
        return [cast("ServiceName", name) for name, entry in owned if not entry.process.alive]

    def pid(self, name: ServiceName) -> int:
        """The process of a service."""
        return self._entry(name).process.pid

    def _entry(self, name: str) -> Entry:
        entries = {**record.read(self._state), **self._owned}
        if name not in entries:
            raise StackFailed(f"{name} does not run in this stack", where=str(self._state), hint="ecluse up")
        return entries[name]

    def _described(
        self, parts: Collection[Part], folders: Mapping[Configuration, Folder], home: java.Java
    ) -> dict[str, Service]:
        port = record.kept_ports(self._state)
        found: dict[str, Service] = {}
        if "kafka" in parts:
            both = port["kafka"], port["controller"]
            found["kafka"] = kafka.service(
                self._state / "kafka", folders["broker"], home, both, self._kafka_settings
            )
        if "registry" in parts:
            found["registry"] = registry.service(
                self._state / "registry", folders["registry"], home, port["registry"]
            )
        if "postgres" in parts:
            found["postgres"] = postgres.service(
                self._state / "postgres", folders["postgres"], port["postgres"], self._postgres_settings
            )
        return found

    def _clear_leftovers(self) -> None:
        """End what a dead owner has left behind and is about to end by itself."""
        for name, entry in record.read(self._state).items():
            if entry.process.alive and not entry.stays:
                child.stop(entry.process, record.STOP_SIGNALS[name], _STOP_S)

    def _start_missing(self) -> None:
        known = record.read(self._state)
        missing = [name for name in self._services if name not in known or not known[name].stays]
        if missing:
            self._owner_thread()
            with ThreadPoolExecutor(len(missing)) as pool:
                for future in [pool.submit(self._start_one, name) for name in missing]:
                    future.result()

    def _start_one(self, name: str) -> None:
        service = self._services[name]
        ports.refuse_taken(name, service.port, self._state / "ports.json")
        service.prepare()
        process = child.spawn(service, self._owner_thread())
        me = child.identity(getpid())
        self._owned[name] = Entry(process, None if self._detached else me)
        child.wait_ready(service, process, _READY_S)
        service.settle()

    def _owner_thread(self) -> ThreadPoolExecutor | None:
        """The thread that services are bound to, which lives as long as they may; None when detached."""
        if self._starter is None and not self._detached:
            self._starter = ThreadPoolExecutor(1, thread_name_prefix="stack-owner")
        return self._starter

    def _stop_owned(self) -> None:
        owned, self._owned = self._owned, {}
        if owned:
            with ThreadPoolExecutor(len(owned)) as pool:
                for name, entry in owned.items():
                    pool.submit(child.stop, entry.process, record.STOP_SIGNALS[name], _STOP_S)
        if self._starter is not None:
            self._starter.shutdown()
            self._starter = None

    def _write(self) -> None:
        entries = {name: entry for name, entry in record.read(self._state).items() if entry.stays}
        record.write(self._state, {**entries, **self._owned}, self.endpoints)
