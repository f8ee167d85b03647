"""A Spark program as a child that lives through many runs: started once, told what to do line by line.

Rule: the parent writes a folder, the child answers with one line when the work in it is done; between the
two nothing else is said, so the parent's clock sees the work and not the start of a JVM.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from engine.lake.session import Engine

_DONE: Final = "done"


class ProgramFailed(RuntimeError):
    """The child ended; its last words."""


def engine(given: Mapping[str, Any]) -> Engine:
    """In the child: the Spark that every side starts, with the same settings."""
    jars = [Path(jar) for jar in given["jars"]]
    return Engine(java_home=Path(given["java_home"]), jars=jars, scratch=Path(given["scratch"]))


def announce() -> None:
    """In the child: it is ready, or a request is done."""
    print(_DONE, flush=True)


def requests() -> Iterator[Path]:
    """In the child: what the parent asks for, until it has no more."""
    for line in sys.stdin:
        yield Path(line.strip())


@dataclass(frozen=True, slots=True)
class Program:
    """The child, as the parent holds it."""

    process: subprocess.Popen[str]
    log: Path

    def wait(self) -> None:
        """Return when it says that it is done. Raises ProgramFailed when it has ended instead."""
        out = self.process.stdout
        assert out is not None
        for line in out:
            if line.strip() == _DONE:
                return
        raise ProgramFailed(f"{self.log}: {self.log.read_text(errors='replace')[-4000:]}")

    def ask(self, folder: Path) -> None:
        """Let it work in ``folder``; returns at once."""
        _input(self.process).write(f"{folder}\n")
        _input(self.process).flush()


@contextmanager
def program(
    module: str, given: Mapping[str, Any], *, log: Path, environment: Mapping[str, str]
) -> Iterator[Program]:
    """A program of the bench, started and ready; it ends when its input does."""
    words = [sys.executable, "-m", module, json.dumps(given)]
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=dict(environment),
        )
    child = Program(process, log)
    try:
        child.wait()
        yield child
    finally:
        _input(process).close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _input(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdin is not None
    return process.stdin
