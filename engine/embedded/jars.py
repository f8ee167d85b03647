"""The files that the stack is made of: resolved once by the Ivy inside pyspark, then kept by content.

Rule: a finished configuration is a folder with a manifest (path, size, sha256), named after the lines of
``ivy.xml`` that ask for it; it is never changed. What an interrupted download has finished is kept, and a
second process waits for the first. This room says how far it is and does not print.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import tarfile
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from engine.embedded import child
from engine.embedded.java import Java
from engine.errors import DownloadFailed, StackFailed

Configuration = Literal["spark", "broker", "registry", "postgres", "connect"]

DOWNLOAD_BYTES: Final[Mapping[Configuration, int]] = {  # measured; shown before a download
    "spark": 24_000_000,
    "broker": 46_000_000,
    "registry": 159_000_000,
    "postgres": 15_200_000,
    "connect": 45_000_000,
}
IVY_XML: Final = Path(__file__).with_name("ivy.xml")
_PATTERN: Final = "[artifact]-[revision](-[classifier]).[ext]"
_POLL_S: Final = 0.5
_TAIL_LINES: Final = 5
_MANIFEST: Final = "manifest.json"


class Progress(Protocol):
    """Told now and then how far a piece of work is, in bytes of an approximate total."""

    def __call__(self, what: str, done_bytes: int, total_bytes: int) -> None:
        """``what`` is being fetched: so much of about so much."""


def silent(what: str, done_bytes: int, total_bytes: int) -> None:
    """The progress of whoever does not want to know."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A finished configuration."""

    path: Path
    files: tuple[Path, ...]

    @property
    def jars(self) -> tuple[Path, ...]:
        """Its jars, in a fixed order."""
        return tuple(file for file in self.files if file.suffix == ".jar")


def finished(configuration: Configuration, cache: Path) -> Folder | None:
    """The configuration if it is in the cache whole: every file there, of the size that it should have."""
    folder = cache / "jars" / f"{configuration}-{identity(configuration)}"
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        sizes = {folder / name: entry["size"] for name, entry in manifest.items()}
        if any(path.stat().st_size != size for path, size in sizes.items()):
            return None
    except (OSError, ValueError, KeyError):
        return None
    return Folder(folder, tuple(sorted(sizes)))


def missing_bytes(configurations: Sequence[Configuration], cache: Path) -> dict[Configuration, int]:
    """What has to be downloaded, with its approximate size."""
    return {c: DOWNLOAD_BYTES[c] for c in configurations if finished(c, cache) is None}


def fetch(
    configurations: Sequence[Configuration],
    *,
    cache: Path,
    java: Java,
    java_options: Sequence[str] = (),
    progress: Progress = silent,
) -> dict[Configuration, Folder]:
    """Every configuration asked for, from the cache or the network; several are fetched at once.

    Raises DownloadFailed; called again, it goes on from where it was.
    """
    missing = missing_bytes(configurations, cache)
    if missing:
        with ThreadPoolExecutor(len(missing)) as pool:
            running = {pool.submit(_fetch_one, c, cache, java, java_options): c for c in missing}
            while wait(running, timeout=_POLL_S, return_when=FIRST_EXCEPTION).not_done:
                done = sum(
                    size if future.done() else min(size, _bytes_of(cache / "ivy" / c))
                    for future, c in running.items()
                    for size in (missing[c],)
                )
                progress("the stack's files", done, sum(missing.values()))
                if any(future.done() and future.exception() for future in running):
                    break
        for future in running:
            future.result()
        progress("the stack's files", sum(missing.values()), sum(missing.values()))
    found = {c: finished(c, cache) for c in configurations}
    return {c: folder for c, folder in found.items() if folder is not None}


def identity(configuration: Configuration, ivy_xml: Path = IVY_XML) -> str:
    """Twelve hexadecimal digits that change when ``ivy.xml`` asks for something else."""
    root = ET.fromstring(ivy_xml.read_text(encoding="utf-8"))  # noqa: S314 our own file
    lines = [
        ET.canonicalize(ET.tostring(element, encoding="unicode"), strip_text=True)
        for element in root.iterfind("dependencies/*")
        if element.get("conf", "").split("->")[0] == configuration
    ]
    text = "\n".join((*lines, _platform() if configuration == "postgres" else ""))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _fetch_one(configuration: Configuration, cache: Path, java: Java, java_options: Sequence[str]) -> None:
    target = cache / "jars" / f"{configuration}-{identity(configuration)}"
    with _locked(cache / "locks" / f"{configuration}.lock"):
        if finished(configuration, cache) is not None:
            return  # another process was first
        draft = target.with_suffix(".draft")
        for stale in (draft, target):
            shutil.rmtree(stale, ignore_errors=True)
        draft.mkdir(parents=True)
        _run_ivy(configuration, cache / "ivy" / configuration, draft, java, java_options)
        _unpack(draft)
        _write_manifest(draft)
        draft.rename(target)
        shutil.rmtree(cache / "ivy" / configuration, ignore_errors=True)  # only an unfinished one needs it


def _run_ivy(
    configuration: Configuration, kept: Path, draft: Path, java: Java, java_options: Sequence[str]
) -> None:
    command = [
        *child.launcher(child.Rights(), signal.SIGKILL),  # what we leave behind must not go on writing
        str(java.binary),
        "-Xmx256m",
        *java_options,
        f"-Decluse.platform={_platform()}",
        f"-Divy.default.ivy.user.dir={kept}",  # nothing is read from or written to a shared ~/.ivy2
        *("-jar", str(_ivy_jar())),
        *("-ivy", str(IVY_XML), "-cache", str(kept), "-confs", configuration),
        *("-retrieve", str(draft / _PATTERN), "-types", "jar", "bundle", "tar.gz"),
    ]
    log = kept.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False).returncode
    if code != 0 or not any(draft.iterdir()):
        raise DownloadFailed(
            f"the files of {configuration} could not be fetched: {_reason(log)}",
            where=str(log),
            hint="when the network is there again, the same command: what is finished is kept",
        )


def _reason(log: Path) -> str:
    """What Ivy says went wrong, without its frame."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    causes = [
        line.rpartition(" (")[2].rstrip(")") for line in lines if line.startswith("Server access error")
    ]
    missing = [line.strip(": ") for line in lines if line.endswith(": not found")]
    return "; ".join(dict.fromkeys(causes or missing or [line for line in lines if line][-_TAIL_LINES:]))


def _unpack(folder: Path) -> None:
    """Archives become what is in them: the registry's tar.gz, the PostgreSQL jar with its txz."""
    for archive in sorted(folder.glob("*.tar.gz")):
        _extract(archive, folder)
    for archive in sorted(folder.glob("embedded-postgres-binaries-*.jar")):
        with zipfile.ZipFile(archive) as jar:
            inner = next(name for name in jar.namelist() if name.endswith(".txz"))
            packed = Path(jar.extract(inner, folder))
        archive.unlink()
        _extract(packed, folder)


def _extract(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
        else:  # Python before 3.11.4
            tar.extractall(folder)  # noqa: S202 the archives are pinned and come over TLS
    archive.unlink()


def _write_manifest(folder: Path) -> None:
    entries = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        entries[str(path.relative_to(folder))] = {"size": path.stat().st_size, "sha256": digest}
    (folder / _MANIFEST).write_text(json.dumps(entries, indent=1), encoding="utf-8")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the system lets go of it when the process ends, however it ends
        yield


def _bytes_of(folder: Path) -> int:
    """The bytes in a folder now: Ivy renames what it has finished, and the folder itself may go meanwhile."""
    total = 0
    for at, _, names in os.walk(folder):  # unlike rglob, it passes over what is gone
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(at) / name).stat().st_size
    return total


def _ivy_jar() -> Path:
    spec = importlib.util.find_spec("pyspark")
    found = sorted((Path(spec.origin).parent / "jars").glob("ivy-*.jar")) if spec and spec.origin else []
    if not found:
        raise StackFailed("pyspark is not installed", hint="pip install 'ecluse[lake,embedded]'")
    return found[-1]


def _platform() -> str:
    """The machine in the words of the PostgreSQL binaries."""
    system = os.uname()
    machine = {"x86_64": "amd64", "aarch64": "arm64v8"}.get(system.machine)
    if system.sysname != "Linux" or machine is None:
        raise StackFailed(
            f"the one-machine stack has no PostgreSQL for {system.sysname} on {system.machine}",
            hint="name a Kafka, a registry and a lake of your own in ecluse.yaml",
        )
    return f"linux-{machine}"
