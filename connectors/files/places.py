"""A place where a partner's files lie, behind one small interface, and folders of this machine.

Rule: a name is data and no path: whoever names a file names it in a folder, and a name that could lead out of
it is refused. Links are never followed, in a name or in a folder below the root. What lists, lists once and
asks nobody about each file a second time.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Final, Protocol

from engine.errors import SourceRefused, SourceUnreachable

NAME_BYTES_MAX: Final = 255
_REFUSALS: Final = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.ENOENT,
        errno.ENOSPC,
        errno.EEXIST,
        errno.EXDEV,
    }
)


@dataclass(frozen=True, slots=True)
class Stat:
    """A file as its place tells it; ``modified_ns`` is compared, and means nothing else."""

    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A file in a listing, under the name that its place has for it."""

    name: str
    stat: Stat


class Readable(Protocol):
    """What gives bytes until there are none."""

    def read(self, size: int, /) -> bytes:
        """So many bytes, or fewer; none at the end."""
        ...

    def close(self) -> None:
        """Let it go."""
        ...


class Opened(Protocol):
    """A file open for reading."""

    @property
    def file(self) -> Readable:
        """Its bytes."""
        ...

    def stat(self) -> Stat:
        """How it stands now."""
        ...


class Place(Protocol):
    """Where files lie: folders below one root. Foreign errors leave it as ``SourceUnreachable`` and kin."""

    def list(self, folder: str) -> Sequence[Listed]:
        """The regular files of a folder; none where there is no such folder."""
        ...

    def open(self, folder: str, name: str) -> Opened | None:
        """A file, to be closed by leaving; None where it is not there any more, or is no file."""
        ...

    def close(self, opened: Opened) -> None:
        """Let an open file go."""
        ...

    def stat(self, folder: str, name: str) -> Stat | None:
        """How a file stands; None where it is not there, or is no file."""
        ...

    def move(self, folder: str, name: str, to: str, new_name: str) -> bool:
        """Move a file to another folder; False where it is not there any more. Overwrites nothing."""
        ...

    def write(self, folder: str, name: str, content: bytes) -> None:
        """Write a small file, whole or not at all."""
        ...

    def make(self, folder: str) -> None:
        """Make a folder where it is missing."""
        ...

    def there(self, folder: str) -> bool:
        """Whether a folder is there, and is one."""
        ...

    def trouble(self, folder: str, beside: str) -> str:
        """What keeps us from listing a folder and moving files between the two, as far as rights say it."""
        ...

    def let_go(self) -> None:
        """Close the place. Never raises."""
        ...


def fit(name: str) -> bool:
    """Whether a name can be used in a folder at all.

    >>> [fit(name) for name in ("a.csv", "..", "a/b", "")]
    [True, False, False, False]
    """
    return bool(name) and name not in (".", "..") and "/" not in name and "\0" not in name


def shown(name: str) -> str:
    r"""A name as text: the bytes of one that is none are written out.

    >>> shown("réf.csv"), shown(b"r\xe9f.csv".decode("utf-8", "surrogateescape"))
    ('réf.csv', 'r\\xe9f.csv')
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def kept_as(arrival: int, name: str) -> str:
    """The name of a file that has been dealt with: no two have the same, and none is too long for a name.

    >>> kept_as(7, "a.csv"), len(kept_as(7, "é" * 200).encode()) <= NAME_BYTES_MAX
    ('7-a.csv', True)
    """
    before = f"{arrival}-"
    cut = os.fsencode(name)[: NAME_BYTES_MAX - len(before)]
    return before + cut.decode("utf-8", "ignore" if shown(name) == name else "surrogateescape")


@dataclass(slots=True)
class _LocalFile:
    file: BinaryIO

    def stat(self) -> Stat:
        """How it stands now."""
        return _stat(os.fstat(self.file.fileno()))


class LocalPlace:
    """Folders of this machine. Each is opened step by step, so that no link on the way is followed."""

    def __init__(self, root: str, where: str) -> None:
        self._root, self._where = root, where

    def list(self, folder: str) -> Sequence[Listed]:
        """The regular files of a folder."""
        with self._translated(folder), self._folder(folder) as at:
            if at is None:
                return []
            with os.scandir(at) as entries:
                files = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
                return [Listed(entry.name, _stat(found)) for entry in files if (found := _seen(entry))]

    def open(self, folder: str, name: str) -> Opened | None:
        """A file that is no link, no folder and no device."""
        with self._translated(folder), self._folder(folder) as at:
            if at is None or not fit(name):
                return None
            try:
                number = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
                    return None
                raise
            if not stat.S_ISREG(os.fstat(number).st_mode):
                os.close(number)
                return None
            return _LocalFile(os.fdopen(number, "rb", buffering=0))

    def close(self, opened: Opened) -> None:
        """Let an open file go."""
        opened.file.close()

    def stat(self, folder: str, name: str) -> Stat | None:
        """How a file stands."""
        with self._translated(folder), self._folder(folder) as at:
            if at is None or not fit(name):
                return None
            try:
                found = os.stat(name, dir_fd=at, follow_symlinks=False)
            except FileNotFoundError:
                return None
            return _stat(found) if stat.S_ISREG(found.st_mode) else None

    def move(self, folder: str, name: str, to: str, new_name: str) -> bool:
        """Move a file within the root; nobody but us gives files names like the new one."""
        with self._translated(folder), self._folder(folder) as at, self._folder(to) as target:
            if at is None or not (fit(name) and fit(new_name)):
                return False
            if target is None:
                raise OSError(errno.ENOENT, "there is no such folder", to)
            try:
                os.stat(name, dir_fd=at, follow_symlinks=False)
            except FileNotFoundError:
                return False
            with suppress(FileNotFoundError):
                os.stat(new_name, dir_fd=target, follow_symlinks=False)
                raise OSError(errno.EEXIST, "a file of this name is there already", new_name)
            os.rename(name, new_name, src_dir_fd=at, dst_dir_fd=target)
            return True

    def write(self, folder: str, name: str, content: bytes) -> None:
        """Write a small file beside, and give it its name when it is whole."""
        with self._translated(folder), self._folder(folder) as at:
            if at is None:
                raise OSError(errno.ENOENT, "there is no such folder", folder)
            part = f".{os.getpid()}-{name}"[:NAME_BYTES_MAX]
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(part, flags, 0o644, dir_fd=at), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.rename(part, name, src_dir_fd=at, dst_dir_fd=at)

    def make(self, folder: str) -> None:
        """Make a folder, and those above it below the root."""
        parts = PurePosixPath(folder).parts
        with self._translated(folder):
            for count in range(1, len(parts) + 1):
                with self._folder(str(PurePosixPath(*parts[: count - 1]))) as at, suppress(FileExistsError):
                    os.mkdir(parts[count - 1], 0o770, dir_fd=at)

    def there(self, folder: str) -> bool:
        """Whether a folder is there."""
        with self._translated(folder), self._folder(folder) as at:
            return at is not None

    def trouble(self, folder: str, beside: str) -> str:
        """Of a folder that is there: rights that we lack, or a file system that is not the other's."""
        with self._translated(folder), self._folder(folder) as at, self._folder(beside) as other:
            if at is None:
                return ""
            rights = {"read": os.R_OK | os.X_OK, "write": os.W_OK}
            lacking = [name for name, mode in rights.items() if not os.access(".", mode, dir_fd=at)]
            if lacking:
                return f"we may not {' or '.join(lacking)} in it"
            if other is not None and os.fstat(at).st_dev != os.fstat(other).st_dev:
                return f"it is on another file system than {beside}: files are not moved between the two"
            return ""

    def let_go(self) -> None:
        """Nothing is held."""

    @contextmanager
    def _folder(self, folder: str) -> Iterator[int | None]:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        numbers = [os.open(self._root, flags)]
        try:
            for part in PurePosixPath(folder).parts:
                try:
                    numbers.append(os.open(part, flags | os.O_NOFOLLOW, dir_fd=numbers[-1]))
                except FileNotFoundError:
                    yield None
                    return
            yield numbers[-1]
        finally:
            for number in numbers:
                os.close(number)

    @contextmanager
    def _translated(self, folder: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = f"{folder}: {error.strerror or error}"
            if error.errno in _REFUSALS:
                raise SourceRefused(
                    what, where=self._where, hint="the folder is one of ours to read, move and write in"
                ) from error
            raise SourceUnreachable(what, where=self._where) from error


def _stat(found: os.stat_result) -> Stat:
    return Stat(found.st_size, found.st_mtime_ns)


def _seen(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # moved on by somebody else meanwhile
        return None
