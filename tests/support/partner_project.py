"""A project with one partner on real services: folders, two workers as processes, and the command.

Rule: two flows, one of rows that are kept and one of newest rows; files are whole as soon as they have their
name. Nothing is looked at but through the command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.flows_worker import Worker
from tests.support.services import Services

_ECLUSE: Final = (sys.executable, "-m", "engine.cli")

PROJECT: Final = """\
apiVersion: ecluse/v1
kind: Project
metadata: {{name: {name}}}
spec:
  connections:
    {name}: {{type: files, root: {root}, staging: {staging}, poll: 1s}}
  kafka: {{bootstrap_servers: ["{kafka}"]}}
  registry: {{url: "{registry}"}}
  lake: {{root: {lake}}}
"""

FLOWS: Final = """\
apiVersion: ecluse/v1
kind: FlowSet
metadata: {{name: acme}}
spec:
  template: partner_csv@1
  params: {{connection: {name}, partner: acme, partitions: 2, freshness: 1s}}
  flows:
    orders:
      feed: orders
      files: ORDERS_*.csv
      ready: {{by: rename, suffix: .part}}
      layout: {layout}
      controls: {controls}
      expect: {{every: 1s}}
    letters:
      feed: letters
      files: LETTERS_*.csv
      ready: {{by: marker, suffix: .done}}
      layout: {{columns: [id, town], delimiter: ","}}
      keys: [id]
      mode: scd1
      expect: {{by: "06:30", timezone: Europe/Paris, days: [mon, tue, wed, thu, fri]}}
"""


@dataclass
class Partner:
    """The project in ``folder``; its one connection has its name."""

    name: str
    folder: Path
    services: Services
    workers: list[Worker] = field(default_factory=list)

    @property
    def inbox(self) -> Path:
        """Where files are dropped."""
        return self.folder / "drop"

    def write(self, *, columns: str = "[id, town]", controls: str = "{}") -> None:
        """The project's files."""
        for folder in (self.inbox, self.folder / "lake", self.folder / "flows", self.folder / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        words = {
            "name": self.name, "root": self.inbox, "staging": self.folder / "staging",
            "kafka": self.services.kafka, "registry": self.services.registry, "lake": self.folder / "lake",
            "layout": f"{{columns: {columns}, delimiter: ','}}", "controls": controls,
        }  # fmt: skip
        (self.folder / "ecluse.yaml").write_text(PROJECT.format(**words))
        (self.folder / "flows" / "acme.yaml").write_text(FLOWS.format(**words))

    def drop(self, name: str, text: str) -> Path:
        """A file that is whole."""
        part = self.inbox / f"{name}.part"
        part.write_text(text)
        return part.rename(self.inbox / name)

    def ecluse(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A verb of the command, to its end."""
        command = [*_ECLUSE, "--project", str(self.folder), *words]
        return subprocess.run(
            command, capture_output=True, text=True, env={**os.environ}, check=False, timeout=120
        )

    def told(self, *words: str) -> Any:
        """What a verb says as JSON."""
        done = self.ecluse(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def files(self, *words: str) -> dict[str, dict[str, Any]]:
        """What ``files ls`` says, by name; of several of one name the newest."""
        found: dict[str, dict[str, Any]] = {}
        for one in self.told("files", "ls", *words)["files"]:
            found.setdefault(one["name"], one)
        return found

    def awaited(self) -> dict[str, dict[str, Any]]:
        """What ``files ls`` says of the files that are expected, by feed."""
        return {one["feed"]: one for one in self.told("files", "ls")["expected"]}

    def start(self, *words: str) -> Worker:
        """A worker."""
        log = self.folder / "logs" / f"{words[0]}-{len(self.workers)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*_ECLUSE, "--project", str(self.folder), "run", *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ},
            )
        self.workers.append(Worker(process, log))
        return self.workers[-1]

    def capture(self) -> Worker:
        """The capture of the connection."""
        return self.start("capture", self.name)

    def land(self) -> None:
        """Land all that there is."""
        worker = self.start("landing", "--available-now")
        assert worker.ended() == 0, worker.text()[-3000:]

    def close(self) -> None:
        """End what still runs."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()
