"""A file's copy on this machine, by its hash: what is read is this copy and nothing else (F4).

Rule: the copy is whole, of one and the same file: its size and time of change are equal in the listing,
before and after. What lies here is bounded and may be lost at any time: it is made again from where the file
lies.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Collection, Generator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from connectors.files.config import FilesConfig
from connectors.files.places import Opened, Place, Stat
from engine.errors import SourceRefused, SourceUnreachable, SourceUnready

_PIECE: Final = 1 << 20


class Changed(Exception):
    """The file is not what was listed, or changed while it was copied: it is still arriving."""


class TooLarge(Exception):
    """The file has more bytes than staging may ever hold."""


def _of_its_own(config: FilesConfig) -> Path:
    """A folder that no other capture clears: projects may bear one name, and be read on one machine."""
    place = hashlib.sha256(config.where.encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"ecluse-{config.project}-{config.connection}-{place}-{os.getuid()}"


class Staging:
    """A folder of copies, used by one capture."""

    def __init__(self, config: FilesConfig) -> None:
        self._folder = Path(config.staging) if config.staging else _of_its_own(config)
        self._most, self._where = config.staging_max_bytes, config.where
        self._sizes: dict[str, int] = {}
        self._held: Counter[str] = Counter()  # two files with the same bytes share a copy

    @property
    def room(self) -> int:
        """How many bytes more it takes."""
        return self._most - sum(self._sizes.values())

    def make(self) -> None:
        """Make the folder; it is nobody else's."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self._folder.lstat()
        except OSError as error:
            raise self._unready(f"cannot be made: {error.strerror}") from error
        if self._folder.is_symlink() or found.st_uid != os.getuid():
            raise self._unready("is a link, or another user's")

    def fill(self, place: Place, folder: str, name: str, listed: Stat) -> Generator[None, None, str | None]:
        """Copy a file that was listed, piece by piece; the end gives its hash, or None where it is gone.

        Raises Changed, TooLarge.
        """
        if listed.size > self._most:
            raise TooLarge(f"{listed.size} bytes; staging holds {self._most}")
        opened = place.open(folder, name)
        if opened is None:
            return None
        part = self._folder / f".{os.getpid()}-part"
        try:
            digest = yield from self._copy(opened, part, listed)
        finally:
            place.close(opened)
        part.rename(self._folder / digest)
        self._holds(digest, listed.size)
        return digest

    def _holds(self, sha256: str, size: int) -> None:
        self._sizes[sha256] = size
        self._held[sha256] += 1

    def _copy(self, opened: Opened, part: Path, listed: Stat) -> Generator[None, None, str]:
        digest, size = hashlib.sha256(), 0
        if opened.stat() != listed:
            raise Changed
        try:
            with part.open("wb", buffering=0) as file:
                while piece := opened.file.read(_PIECE):
                    size += len(piece)
                    if size > listed.size:
                        raise Changed
                    digest.update(piece)
                    file.write(piece)
                    yield
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise SourceUnreachable(f"a file cannot be copied: {error}", where=self._where) from error
            hint = f"make room in {self._folder}, or lower staging_max_bytes"
            raise SourceRefused(f"staging is full at {size} bytes", where=self._where, hint=hint) from error
        if size != listed.size or opened.stat() != listed:
            raise Changed
        return digest.hexdigest()

    def has(self, sha256: str) -> bool:
        """Whether a copy with this hash is there, looked at to its last byte."""
        path = self._folder / sha256
        with suppress(OSError), path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                self._holds(sha256, path.stat().st_size)
                return True
        return False

    def open(self, sha256: str) -> BinaryIO:
        """A copy, for reading."""
        try:
            number = os.open(self._folder / sha256, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:  # the next opening copies it again
            raise SourceUnreachable(f"a staged copy cannot be read: {error}", where=self._where) from error
        return os.fdopen(number, "rb")

    def drop(self, sha256: str) -> None:
        """Let a copy go: it is removed when nobody else reads it."""
        self._held[sha256] -= 1
        if self._held[sha256] > 0:
            return
        (self._folder / sha256).unlink(missing_ok=True)
        self._sizes.pop(sha256, None)

    def keep_only(self, hashes: Collection[str]) -> None:
        """Drop what an earlier opening left."""
        for path in self._folder.iterdir():
            if path.name not in hashes:
                path.unlink(missing_ok=True)

    def _unready(self, what: str) -> SourceUnready:
        hint = f"mkdir -m 700 {self._folder}  # or name another folder as staging"
        return SourceUnready(f"the staging folder {self._folder} {what}", where=self._where, hint=hint)
