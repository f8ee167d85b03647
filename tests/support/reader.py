"""Somebody who follows a page word by word: types its blocks into two terminals.

Rule: what differs from the page is told before, as texts and what stands for them here, and counted.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from engine.embedded.stack import cache_folder

LIMIT_S: Final = 600
HERE_ALREADY: Final = {"make setup && . .venv/bin/activate\n": "", ". .venv/bin/activate\n": ""}
"""The two lines that make and enter the virtual environment, which a test runs in."""
_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    """The blocks of a page that say in which language they are: that, and their text."""
    return _BLOCK.findall(page)


@dataclass
class Reader:
    """Has a home, and a clone of the project; ``instead`` is what differs from the page."""

    home: Path
    clone: Path
    instead: Mapping[str, str] = field(default_factory=lambda: dict(HERE_ALREADY))
    changed: int = 0
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = self.clone
        for folder in (self.home, self.clone):
            folder.mkdir()

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        cache = str(cache_folder(os.environ))
        return {**os.environ, "HOME": str(self.home), "PATH": path, "ECLUSE_CACHE": cache}

    def _here(self, text: str) -> str:
        for said, here in self.instead.items():
            self.changed += text.count(said)
            text = text.replace(said, here)
        return text

    def write(self, text: str) -> None:
        """A file, under the name in its first line."""
        name = text.partition("\n")[0].removeprefix("# ")
        (self.folder / name).write_text(self._here(text), encoding="utf-8")

    def type(self, text: str) -> str:
        """Commands, in the folder that the earlier ones have left; what they print."""
        left = self.home / "pwd"
        done = subprocess.run(
            ["/bin/sh", "-ec", f"{self._here(text)}\npwd > '{left}'"],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        self.folder = Path(left.read_text(encoding="utf-8").strip())
        return done.stdout

    @contextmanager
    def terminal(self, text: str) -> Iterator[None]:
        """A command that goes on in the first terminal, until Ctrl-C."""
        log = self.home / "terminal"
        with log.open("w") as out:
            words = ["/bin/sh", "-ec", f"exec {text}"]
            running = subprocess.Popen(words, cwd=self.folder, env=self.environment, stdout=out, stderr=out)
        try:
            yield
            assert running.poll() is None, log.read_text()
        finally:
            # which `up` takes as Ctrl-C; a background job may ignore that
            running.send_signal(signal.SIGTERM)
            code = running.wait(LIMIT_S)
        assert code == 0, log.read_text()
