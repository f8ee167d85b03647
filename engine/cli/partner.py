"""The demo's partner: five files beside the acts, and what the ledger of files says of each.

Rule: the partner is a program of its own, which knows what it sent and judges what became of it; here it is
called, and given what the ledger says. Nothing is decided here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from engine.cli import places, shelves
from engine.cli.running import Running
from engine.watch import files
from engine.watch.files import Wanted

FLOW: Final = "relay.handovers"
CONNECTION: Final = "drop"

Entry = Mapping[str, Any]


class Program(Protocol):
    """Runs one of the example's programs; its output."""

    def __call__(self, module: str, *words: str, given: str = "") -> str:
        """``given`` is what it reads."""
        ...


def entries(project: Running) -> Sequence[Entry]:
    """What ``ecluse files ls --json`` says of every file, in the order of their numbers."""
    with shelves.shelves(project.call, project.plan, CONNECTION) as named:
        ((shelf, _),) = named
        found = files.look(shelf, (), Wanted()).files
    return [one.as_dict() for one in reversed(found)]


@dataclass(slots=True)
class Partner:
    """Sends its files once; ``run`` starts its programs."""

    project: Running
    run: Program
    _sent: list[Mapping[str, Any]] = field(default_factory=list)

    def send(self) -> int:
        """Drop the five files; how many records ought to come into the topic."""
        self._sent = json.loads(self.run("examples.demo.partner", *self._where))
        return sum(len(one["rows"]) + len(one["bad"]) for one in self._sent)

    def decided(self) -> bool:
        """Whether each file was decided about, its records are safe, and it lies where it belongs."""
        told = entries(self.project)
        still = any(entry["lies"].startswith(f"{entry['folder']}/") for entry in told)
        return len(told) >= len(self._sent) and not still

    def told(self) -> list[str]:
        """What became of each file, for people."""
        return [
            f"{entry['name']} refused: {entry['reason']}"
            if entry["code"]
            else f"{entry['name']} accepted: {entry['records']} records"
            for entry in entries(self.project)
        ]

    def judged(self) -> Mapping[str, Any]:
        """What became of the files, file by file, held against what was sent."""
        given = json.dumps({"sent": self._sent, "entries": entries(self.project)})
        lake = places.lake_root(self.project.call, self.project.plan)
        said: Mapping[str, Any] = json.loads(
            self.run("examples.demo.fates", *self._where, "--lake", lake, given=given)
        )
        return said

    @property
    def _where(self) -> tuple[str, str]:
        return "--project", str(self.project.call.folder)
