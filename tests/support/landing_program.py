"""A landing as a process, with a hand that kills it: ``landing_program SPEC POINT NTH RECORD [live]``.

Rule: it runs what ``dispatch.run`` runs; SPEC is a JSON file that ``spec`` wrote. Flows come back by the
hash of their plans, which lie in the lake.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.lake import book
from engine.lake.dispatch import World, run
from engine.lake.session import Engine
from engine.plan import LanePlan
from engine.topic import KafkaTopic
from tests.support.avro_records import Schemas
from tests.support.killer import Killer

if TYPE_CHECKING:
    from tests.support.landing import Landing
    from tests.support.services import Services


def spec(landing: Landing, services: Services, folder: Path) -> Path:
    """Write down a test's landing for the program."""
    for table in landing.tables:
        book.store_plan(landing.lake, table.flow)
    path = folder / "spec.json"
    text = {
        "kafka": landing.kafka,
        "lake": str(landing.lake),
        "java_home": str(services.java_home),
        "jars": [str(jar) for jar in services.spark_jars],
        "scratch": str(folder / "scratch"),
        "schemas": landing.schemas.texts,
        "flows": [table.flow.hash for table in landing.tables],
        "workers": landing.workers,
    }
    path.write_text(json.dumps(text), encoding="utf-8")
    return path


def start(path: Path, point: str, record: Path, *, nth: int = 1, live: bool = False) -> subprocess.Popen[str]:
    """Start the program; what it says goes into a file beside the record."""
    words = [sys.executable, "-m", "tests.support.landing_program", str(path), point, str(nth), str(record)]
    said = record.with_suffix(".log").open("w", encoding="utf-8")
    return subprocess.Popen(
        [*words, *(["live"] if live else [])], stdout=said, stderr=subprocess.STDOUT, text=True
    )


def main(words: Sequence[str]) -> int:
    """Run a landing that dies at its point."""
    path, point, nth, record, *rest = words
    said = json.loads(Path(path).read_text(encoding="utf-8"))
    lake, kafka = Path(said["lake"]), {"bootstrap.servers": said["kafka"]}
    flows = tuple(book.load_plan(lake, hash_) for hash_ in said["flows"])
    world = World(
        lake_root=lake,
        kafka=kafka,
        schemas=Schemas({int(i): text for i, text in said["schemas"].items()}),
        topics=KafkaTopic(kafka),
        at=Killer(point, int(nth), Path(record)),
    )
    jars = [Path(jar) for jar in said["jars"]]
    engine = Engine(Path(said["java_home"]), jars, Path(said["scratch"]), memory="1g")
    lane = LanePlan("default", "live", flows, said["workers"], 0.2)
    run(lane, world, engine=engine, stop=threading.Event(), available_now=not rest)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
