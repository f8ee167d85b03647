"""The sample's traffic as a child process, and what it says it has committed.

Rule: it writes through a connection of its own, as an application would; its place and password reach it by
environment. It ends with us. This room does not know what the traffic does.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Final, Self

from engine.embedded.child import Rights, launcher

_MODULE: Final = "examples.demo.traffic"
_STOP_S: Final = 15.0


class Traffic:
    """The parcel company at work, for as long as the ``with`` block lasts or until ``stop``."""

    def __init__(
        self, environment: Mapping[str, str], dsn: str, *, rate: float, seconds: float = 0.0, seed: int = 1
    ) -> None:
        words = ("-m", _MODULE, "--rate", str(rate), "--seconds", str(seconds), "--seed", str(seed))
        self._words = (*launcher(Rights(), signal.SIGTERM), sys.executable, *words)
        self._environment = {**environment, "ECLUSE_DEMO_DSN": dsn}
        self._changes: Mapping[str, int] = {}
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._last = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def changes(self) -> Mapping[str, int]:
        """Committed changes per table, as of about a second ago; exact once it has ended."""
        return self._changes

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._process is not None and self._process.poll() is not None

    @property
    def failed(self) -> str:
        """What it said when it ended by itself and was not well; empty otherwise."""
        code = self._process.poll() if self._process else 0
        return self._last if code else ""

    def stop(self) -> None:
        """End it; its last words are its exact counts."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._reader is not None:
            self._reader.join(_STOP_S)

    def _read(self, lines: IO[str] | None) -> None:
        for line in lines or ():
            try:
                self._changes = json.loads(line)["changes"]
            except (ValueError, KeyError, TypeError):
                self._last = line.strip() or self._last
