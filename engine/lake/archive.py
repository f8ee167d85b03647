"""The archive of Spark's classes: where it lies, whether there is one, who makes it.

A good part of what a landing costs until its first batch is the reading and checking of thousands of
classes. Java can keep them parsed in a file, which a JVM maps when it starts; it takes one only for the very
same Java and class path.

Rule: a help, never a need: where none is there, or it does not fit, Spark starts as well, and slower. It is
made once, in a process of its own. This room does not import pyspark.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.errors import LakeUnreachable

QUIET: Final = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off")
"""Java says on stdout, which is for data, that an archive does not fit and what it leaves out."""
_KEPT: Final = 3  # of the environments that were used last: one takes about 190 MB
_LIMIT_S: Final = 600.0


def spark_home() -> Path:
    """Where pyspark lies; found without importing it."""
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        hint = "pip install 'ecluse[lake]'"
        raise LakeUnreachable("pyspark is not installed", where=sys.prefix, hint=hint)
    return Path(spec.origin).parent


def class_path(jars: Sequence[Path]) -> tuple[Path, ...]:
    """Spark's jars and those that it does not ship: each once, in an order that is always the same."""
    return (*sorted((spark_home() / "jars").glob("*.jar")), *sorted(jars))


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive of one Java and one class path; ``folder`` may hold those of others."""

    folder: Path
    java_home: Path
    jars: Sequence[Path]

    @property
    def path(self) -> Path:
        """Where it lies, or would lie: another Java, or another jar, is another file."""
        known = hashlib.sha256()
        java = (self.java_home / "bin" / "java").resolve()
        for file in (java, self.java_home / "release", *class_path(self.jars)):
            found = file.stat()
            known.update(f"{file} {found.st_size} {found.st_mtime_ns}\n".encode())
        return self.folder / f"classes-{known.hexdigest()[:16]}.jsa"

    def options(self) -> tuple[str, ...]:
        """What tells a JVM to take it, if it is there."""
        path = self.path
        return (f"-XX:SharedArchiveFile={path}", *QUIET) if path.is_file() else ()

    @property
    def wanted(self) -> bool:
        """Whether it is to be made: it is not there, and this Java has not failed to make it."""
        return not self.path.exists() and not self._failed.exists()

    @property
    def _failed(self) -> Path:
        return self.path.with_suffix(".failed")

    def make(self) -> bool:
        """Make it if it is wanted; whether it is there now. It takes about as long as two starts of Spark."""
        path = self.path
        self.folder.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be making it
            if self.wanted:
                self._train(path)
        for old in sorted(self.folder.glob("classes-*.jsa"), key=lambda p: p.stat().st_mtime)[:-_KEPT]:
            old.unlink(missing_ok=True)  # a JVM that has mapped it keeps it
        return path.exists()

    def _train(self, path: Path) -> None:
        """Let a process do a little of all that a landing does, whose JVM writes down what it has loaded."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".training-") as folder:
            draft = Path(folder) / path.name
            given = {
                "java_home": str(self.java_home),
                "jars": [str(jar) for jar in self.jars],
                "draft": str(draft),
            }
            words = [sys.executable, "-m", "engine.lake.training", json.dumps(given)]
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(words, capture_output=True, check=False, timeout=_LIMIT_S)
            if draft.exists():
                draft.rename(path)
            else:
                self._failed.touch()
