"""The embedded schema registry: Apicurio, through its Confluent-compatible API.

Rule: an id that was given out is on disk before the answer leaves, because records in Kafka carry it for
ever: H2 writes each commit at once. Compatibility is BACKWARD (Apicurio's own default is none at all). This
room registers no schema.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from engine.embedded.child import Service
from engine.embedded.jars import Folder
from engine.embedded.java import Java
from engine.embedded.ports import LOOPBACK
from engine.errors import StackFailed
from engine.registry import way

_JVM: Final = ("-Xms96m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_ANSWER_S: Final = 5.0
_LOG: Final = "registry.log"


def address(port: int) -> str:
    """The base URL of the Confluent-compatible API."""
    return f"http://{LOOPBACK}:{port}/apis/ccompat/v7"


def service(folder: Path, app: Folder, java: Java, port: int) -> Service:
    """The registry with its data in ``folder``."""
    store = f"jdbc:h2:file:{folder / 'data' / 'registry'};WRITE_DELAY=0;DB_CLOSE_ON_EXIT=FALSE"
    options = {
        "quarkus.http.host": LOOPBACK,
        "quarkus.http.port": port,
        "quarkus.management.host": LOOPBACK,
        "quarkus.management.port": 0,  # its own health endpoint, which nobody here asks
        "quarkus.http.access-log.enabled": "false",
        "quarkus.log.level": "WARN",
        "apicurio.storage.kind": "sql",
        "apicurio.storage.sql.kind": "h2",
        "apicurio.datasource.url": store,
    }
    words = (str(java.binary), *_JVM, *(f"-D{key}={value}" for key, value in options.items()))
    return Service(
        name="registry",
        port=port,
        words=(*words, "-jar", str(app.path / "quarkus-run.jar")),
        log=folder / _LOG,
        prepare=lambda: (folder / "data").mkdir(parents=True, exist_ok=True),
        answers=lambda: _asked(f"{address(port)}/subjects") is not None,
        settle=lambda: _set_compatibility(address(port), folder / _LOG),
    )


def _set_compatibility(url: str, log: Path) -> None:
    if _asked(f"{url}/config", {"compatibility": "BACKWARD"}) is None:
        raise StackFailed("the registry does not take its compatibility level", where=url, hint=f"less {log}")


def _asked(url: str, body: dict[str, str] | None = None) -> Any | None:
    """The answer to a GET, or to a PUT of ``body``; None when there is none or it says no."""
    request = urllib.request.Request(  # noqa: S310 our own loopback address
        url,
        method="GET" if body is None else "PUT",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
    )
    try:
        with way(url).open(request, timeout=_ANSWER_S) as answer:
            return json.loads(answer.read()) if answer.status == HTTPStatus.OK else None
    except (OSError, ValueError, urllib.error.HTTPError):
        return None
