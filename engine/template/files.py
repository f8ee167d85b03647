"""The files of a project: which are read, and how carefully.

Rule: ``ecluse.yaml``, ``flows/**/*.yaml`` and ``templates/**/*.yaml`` of one folder, in the order of their
names; only regular files, and none that a symbolic link fetches from outside. A file that looks like one of
ours and would be passed over is a mistake. The templates that ship are found beside this package.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from engine.template.mistakes import Code, Mistakes, Place, escaped
from engine.template.nodes import BYTES_MAX

PROJECT_FILE: Final = "ecluse.yaml"
FLOWS: Final = "flows"
TEMPLATES: Final = "templates"
SHIPPED: Final = "<shipped>"
_DEPTH_MAX: Final = 20  # folders in folders


@dataclass(frozen=True, slots=True)
class File:
    """One file that was read: its path as mistakes show it, and its bytes (None: it could not be read)."""

    path: str
    raw: bytes | None


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a project and the templates that ship."""

    project: File
    flows: tuple[File, ...]
    templates: tuple[File, ...]
    shipped: tuple[File, ...]


def gather(folder: Path, mistakes: Mistakes) -> Files:
    """Read the files of a project; whatever is wrong with one is a mistake."""
    root = folder.resolve()
    main = root / PROJECT_FILE
    if os.path.lexists(main):
        project = File(PROJECT_FILE, _read(main, root, PROJECT_FILE, mistakes))
    else:
        mistakes.add(
            Place(PROJECT_FILE),
            Code.MISSING_FILE,
            f"there is no {PROJECT_FILE} in {folder}",
            "ecluse init DIR makes a project; --project DIR names one",
        )
        project = File(PROJECT_FILE, None)
    flows = tuple(_walk(root / FLOWS, root, mistakes))
    templates = tuple(_walk(root / TEMPLATES, root, mistakes))
    return Files(project, flows, templates, shipped())


def shipped() -> tuple[File, ...]:
    """The templates that come with this distribution."""
    # beside the engine, not by import: a folder "templates" in the working directory must not shadow it
    folder = Path(str(resources.files("engine"))).parent / TEMPLATES
    return tuple(File(f"{SHIPPED}/{path.name}", path.read_bytes()) for path in sorted(folder.glob("*.yaml")))


def _walk(folder: Path, root: Path, mistakes: Mistakes, depth: int = 0) -> Iterator[File]:
    if folder.is_symlink():
        _refuse(folder, root, Code.OUTSIDE, "a linked folder is not followed", mistakes)
        return
    for path in _entries(folder, root, mistakes):
        if path.is_symlink() and not path.is_file():
            _refuse(path, root, Code.OUTSIDE, "a link to a folder, or to nothing, is not followed", mistakes)
        elif path.is_dir() and depth == _DEPTH_MAX:
            _refuse(path, root, Code.TOO_DEEP, "folders are nested too deep", mistakes)
        elif path.is_dir():
            yield from _walk(path, root, mistakes, depth + 1)
        elif path.suffix == ".yaml":
            shown = _shown(path, root)
            yield File(shown, _read(path, root, shown, mistakes))
        elif path.suffix.lower() in {".yml", ".yaml"}:
            _refuse(path, root, Code.FILE_NAME, "this file would not be read: name it .yaml", mistakes)


def _entries(folder: Path, root: Path, mistakes: Mistakes) -> list[Path]:
    # names with a dot in front belong to editors, and to the way Kubernetes mounts files
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        _refuse(folder, root, Code.UNREADABLE, f"cannot be read: {error.strerror}", mistakes)
        return []


def _shown(path: Path, root: Path) -> str:
    relative = os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace")
    return escaped(relative)


def _refuse(path: Path, root: Path, code: Code, text: str, mistakes: Mistakes) -> None:
    mistakes.add(Place(_shown(path, root)), code, text)


def _read(path: Path, root: Path, shown: str, mistakes: Mistakes) -> bytes | None:
    try:
        if not path.resolve().is_relative_to(root):
            _refuse(path, root, Code.OUTSIDE, "a symbolic link leaves the project", mistakes)
            return None
        # without O_NONBLOCK a pipe would hold us for ever
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                mistakes.add(Place(shown), Code.UNREADABLE, "not a regular file")
                return None
            return file.read(BYTES_MAX + 1)
    except OSError as error:
        mistakes.add(Place(shown), Code.UNREADABLE, f"cannot be read: {error.strerror}")
    except RuntimeError:  # how Path.resolve says that links go round in a circle
        mistakes.add(Place(shown), Code.UNREADABLE, "cannot be read: a symbolic link leads to itself")
    return None
