"""The files of a project: which are read, and how carefully.

Rule: ``ecluse.yaml``, ``flows/**/*.yaml``, ``templates/**/*.yaml`` and ``schemas/**/*.avsc`` of one folder,
in the order of their names; only regular files, and none that a symbolic link fetches from outside. A file
that looks like one of ours and would be passed over is a mistake. Beside them, the files that a flow names
(layouts), as carefully. The templates that ship are found beside this package.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from engine.template.mistakes import Code, Mistakes, Place, escaped, shown
from engine.template.nodes import BYTES_MAX, Node, documents
from engine.template.tokens import fill

PROJECT_FILE: Final = "ecluse.yaml"
FLOWS: Final = "flows"
TEMPLATES: Final = "templates"
SCHEMAS: Final = "schemas"
SECRETS: Final = "secrets"
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
    schemas: tuple[File, ...] = ()


class Shelf:
    """The files of a project that its flows name: each is read once, and its mistakes are told once."""

    def __init__(self, root: Path, mistakes: Mistakes) -> None:
        self._root = root
        self._mistakes = mistakes
        self._taken: dict[str, Node | None] = {}

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that were named."""
        return tuple(sorted(self._taken))

    def take(self, named: Node) -> Node | None:
        """What a file holds, each value at its place in it; None when it cannot be read.

        ``named`` is its path from the project's folder.
        """
        path = self._root / named.text
        if not os.path.lexists(path):
            text = f"there is no file {shown(named.text)} in the project"
            self._mistakes.add(
                named.place, Code.MISSING_FILE, text, "its path begins at the project's folder"
            )
            return None
        if named.text not in self._taken:
            self._taken[named.text] = self._read(path)
        return self._taken[named.text]

    def _read(self, path: Path) -> Node | None:
        name = _shown(path, self._root)
        raw = _read(path, self._root, name, self._mistakes)
        if raw is not None and path.resolve().is_relative_to(self._root / SECRETS):
            self._mistakes.add(Place(name), Code.OUTSIDE, "a secret is no part of a flow")
            return None
        before = len(self._mistakes)
        found = None if raw is None else documents(raw, name, self._mistakes)
        if found is None:
            return None
        if len(found) != 1:
            text = "the file is empty" if not found else "the file holds several documents: one stands here"
            place = Place(name, 1, 1) if not found else found[1].place
            self._mistakes.add(place, Code.WRONG_TYPE if found else Code.EMPTY, text)
            return None
        filled = fill(found[0], {}, self._mistakes)
        # what is no YAML of ours is the mistake to mend first
        return filled if len(self._mistakes) == before else None


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
    schemas = tuple(_walk(root / SCHEMAS, root, mistakes, suffix=".avsc"))
    return Files(project, flows, templates, shipped(), schemas)


def shipped() -> tuple[File, ...]:
    """The templates that come with this distribution."""
    # beside the engine, not by import: a folder "templates" in the working directory must not shadow it
    folder = Path(str(resources.files("engine"))).parent / TEMPLATES
    return tuple(File(f"{SHIPPED}/{path.name}", path.read_bytes()) for path in sorted(folder.glob("*.yaml")))


def _walk(
    folder: Path, root: Path, mistakes: Mistakes, depth: int = 0, suffix: str = ".yaml"
) -> Iterator[File]:
    if folder.is_symlink():
        _refuse(folder, root, Code.OUTSIDE, "a linked folder is not followed", mistakes)
        return
    for path in _entries(folder, root, mistakes):
        if path.is_symlink() and not path.is_file():
            _refuse(path, root, Code.OUTSIDE, "a link to a folder, or to nothing, is not followed", mistakes)
        elif path.is_dir() and depth == _DEPTH_MAX:
            _refuse(path, root, Code.TOO_DEEP, "folders are nested too deep", mistakes)
        elif path.is_dir():
            yield from _walk(path, root, mistakes, depth + 1, suffix)
        elif path.suffix == suffix:
            shown = _shown(path, root)
            yield File(shown, _read(path, root, shown, mistakes))
        elif suffix == ".yaml" and path.suffix.lower() in {".yml", ".yaml"}:
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
