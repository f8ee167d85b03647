"""A worker of a project as a process: what it says, how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.killer import kill_tree
from tests.support.waits import wait_until

KILLED: Final = -signal.SIGKILL
_LIMIT_S: Final = 600.0


@dataclass
class Worker:
    """A worker process: its log, its end."""

    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        """All that it has said."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def events(self) -> Iterator[dict[str, Any]]:
        """Its log lines that are JSON objects."""
        for line in self.text().splitlines():
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(event, dict):
                yield event

    def ended(self, *, limit_s: float = _LIMIT_S) -> int:
        """Its exit code, once it has ended by itself."""
        wait_until(lambda: self.process.poll() is not None, f"{self.log.name} ends", limit_s=limit_s)
        return self.process.wait()

    def stop(self, *, limit_s: float = 60) -> int:
        """SIGTERM, and its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.ended(limit_s=limit_s)

    def kill(self) -> None:
        """SIGKILL to it and everything that it has started."""
        kill_tree(self.process.pid)
        self.process.wait()

    def says(self, words: str, *, limit_s: float = 300) -> str:
        """All that it has said, once these words are in it."""
        return wait_until(
            lambda: self.text() if words in self.text() else "",
            f"{self.log.name} says {words}",
            limit_s=limit_s,
        )
