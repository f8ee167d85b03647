"""What runs in a state folder, as any process can read it: ``stack.json``, ``ports.json`` and the data.

Rule: a process counts only by pid and start time together, and a service only while its owner lives or when
it was started to outlive it. Whoever changes the record holds the folder's lock. This room starts nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from engine.embedded import child, ports, postgres, registry
from engine.embedded.child import Identity
from engine.embedded.postgres import PostgresEndpoint

SERVICES: Final = ("kafka", "registry", "postgres")
STOP_SIGNALS: Final[Mapping[str, signal.Signals]] = {
    "kafka": signal.SIGTERM,
    "registry": signal.SIGTERM,
    "postgres": signal.SIGINT,  # fast: open transactions are rolled back
}
_STOP_S: Final = 15.0
_RECORD, _PORTS, _LOCK = "stack.json", "ports.json", "lock"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where everything is. An empty text or None: that part is not there."""

    java_home: Path
    kafka: str = ""  # host:port
    registry: str = ""  # base URL
    postgres: PostgresEndpoint | None = None
    spark_jars: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A running service and the process that it is bound to; None when it outlives its owner."""

    process: Identity
    owner: Identity | None

    @property
    def stays(self) -> bool:
        """Whether the service lives and will go on living for now."""
        return self.process.alive and (self.owner is None or self.owner.alive)


def read(state: Path) -> dict[str, Entry]:
    """Every service of the record, alive or not."""
    return {
        name: Entry(Identity(*entry["process"]), Identity(*entry["owner"]) if entry["owner"] else None)
        for name, entry in _load(state).get("services", {}).items()
    }


def find(state: Path) -> Endpoints | None:
    """Where the services of a state folder are, as far as they live; None when none does."""
    alive = [name for name, entry in read(state).items() if entry.stays]
    if not alive:
        return None
    text = _load(state)
    return endpoints(
        state, alive, java_home=Path(text["java_home"]), spark_jars=tuple(map(Path, text["spark_jars"]))
    )


def endpoints(
    state: Path, names: Iterable[str], *, java_home: Path, spark_jars: tuple[Path, ...]
) -> Endpoints:
    """Where the named services of a state folder are, or will be."""
    port = kept_ports(state)
    chosen = set(names)
    return Endpoints(
        java_home=java_home,
        kafka=f"{ports.LOOPBACK}:{port['kafka']}" if "kafka" in chosen else "",
        registry=registry.address(port["registry"]) if "registry" in chosen else "",
        postgres=postgres.endpoint(state / "postgres", port["postgres"]) if "postgres" in chosen else None,
        spark_jars=spark_jars,
    )


def kept_ports(state: Path) -> dict[str, int]:
    """The ports of a state folder, chosen at the first call."""
    return ports.kept(state / _PORTS, (*SERVICES, "controller"))


def write(state: Path, services: Mapping[str, Entry], at: Endpoints) -> None:
    """Replace the record; the lock is held."""
    text = {
        "java_home": str(at.java_home),
        "spark_jars": [str(jar) for jar in at.spark_jars],
        "services": {
            name: {
                "process": list(asdict(entry.process).values()),
                "owner": list(asdict(entry.owner).values()) if entry.owner else None,
            }
            for name, entry in services.items()
        },
    }
    draft = state / "stack.draft"
    draft.write_text(json.dumps(text, indent=1), encoding="utf-8")
    draft.replace(state / _RECORD)


def down(state: Path, *, delete: bool = False) -> list[str]:
    """Stop every service of a state folder, whoever started it; ``delete`` removes their data too.

    Returns the names of the services that ran.
    """
    if not state.is_dir():
        return []
    with locked(state):
        running = {name: entry.process for name, entry in read(state).items() if entry.process.alive}
        for name, process in running.items():
            child.stop(process, STOP_SIGNALS[name], _STOP_S)
        (state / _RECORD).unlink(missing_ok=True)
        if delete:
            for name in SERVICES:
                shutil.rmtree(state / name, ignore_errors=True)
            (state / _PORTS).unlink(missing_ok=True)
            (state / _LOCK).unlink(missing_ok=True)
    if delete:
        with contextlib.suppress(OSError):  # it may hold things that are not ours
            state.rmdir()
    return sorted(running)


@contextlib.contextmanager
def locked(state: Path) -> Iterator[None]:
    """Only one process at a time starts or stops the services of a state folder."""
    with (state / _LOCK).open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the system lets go of it when the process ends, however it ends
        yield


def _load(state: Path) -> dict[str, Any]:
    try:
        text = json.loads((state / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return text if isinstance(text, dict) else {}
