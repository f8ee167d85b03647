"""Folders of an SFTP server, reached only behind the host key that the connection declares.

Rule: the server proves to hold that key, or nothing is sent to it, no password and no name; keys that this
machine knows count for nothing, and none is ever learnt. Every call is bounded in time. Links are not
followed, in a name or in a folder that is listed; what the server says is a name is checked to be one.
"""

from __future__ import annotations

import binascii
import io
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import paramiko
from paramiko.ssh_exception import AuthenticationException, BadHostKeyException, SSHException

from connectors.files.config import FilesConfig
from connectors.files.places import Listed, Opened, Readable, Stat, fit
from engine.errors import SourceRefused, SourceUnreachable

_CALL_S: Final = 30.0
_WINDOW: Final = 1 << 20
_KEYS: Final = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
_SECOND: Final = 1_000_000_000


@dataclass(slots=True)
class _RemoteFile:
    file: Readable
    told: Callable[[], Stat]

    def stat(self) -> Stat:
        """How it stands now."""
        return self.told()


class SftpPlace:
    """Folders below the root of one server, over one connection."""

    def __init__(self, config: FilesConfig) -> None:
        self._config, self._root = config, PurePosixPath(config.root)
        self._client = paramiko.SSHClient()
        try:
            self._sftp = self._connected()
        except BaseException:
            self._client.close()
            raise

    def list(self, folder: str) -> Sequence[Listed]:
        """The regular files of a folder, in one listing: the server tells of each as it lists it."""
        with self._translated(folder):
            if not self._plain(folder):
                return []
            found = self._sftp.listdir_attr(self._at(folder))
            return [
                Listed(one.filename, _stat(one))
                for one in found
                if fit(one.filename) and stat.S_ISREG(one.st_mode or 0)
            ]

    def open(self, folder: str, name: str) -> Opened | None:
        """A file that is no link."""
        with self._translated(folder):
            if self._seen(folder, name) is None:
                return None
            try:
                remote = self._sftp.open(self._at(folder, name), "rb", bufsize=0)
            except FileNotFoundError:
                return None
            remote.settimeout(_CALL_S)
            size = remote.stat().st_size or 0
            remote.prefetch(size, max_concurrent_requests=64)
            return _RemoteFile(_Translating(remote, self), lambda: self._told(folder, remote))

    def _told(self, folder: str, remote: Any) -> Stat:
        with self._translated(folder):
            return _stat(remote.stat())

    def close(self, opened: Opened) -> None:
        """Let an open file go."""
        with suppress(OSError, EOFError, SSHException):
            opened.file.close()

    def stat(self, folder: str, name: str) -> Stat | None:
        """How a file stands."""
        with self._translated(folder):
            found = self._seen(folder, name)
            return None if found is None else _stat(found)

    def move(self, folder: str, name: str, to: str, new_name: str) -> bool:
        """Move a file; plain SFTP renames refuse to overwrite."""
        with self._translated(folder):
            if not fit(new_name) or self._seen(folder, name) is None:
                return False
            self._sftp.rename(self._at(folder, name), self._at(to, new_name))
            return True

    def write(self, folder: str, name: str, content: bytes) -> None:
        """Write a small file beside, and give it its name when it is whole."""
        part = self._at(folder, f".{name}.part")
        with self._translated(folder):
            with self._sftp.open(part, "wb") as file:
                file.write(content)
            self._sftp.posix_rename(part, self._at(folder, name))

    def make(self, folder: str) -> None:
        """Make a folder, and those above it below the root."""
        parts = PurePosixPath(folder).parts
        for count in range(1, len(parts) + 1):
            path = str(PurePosixPath(*parts[:count]))
            if not self.there(path):
                with self._translated(path):
                    self._sftp.mkdir(self._at(path))

    def there(self, folder: str) -> bool:
        """Whether a folder is there, and is one."""
        with self._translated(folder):
            try:
                return stat.S_ISDIR(self._sftp.lstat(self._at(folder)).st_mode or 0)
            except FileNotFoundError:
                return False

    def trouble(self, folder: str, beside: str) -> str:
        """Whether a folder can be listed; what else we may do there, the server tells who tries it."""
        del beside
        with self._translated(folder):
            try:
                next(iter(self._sftp.listdir_iter(self._at(folder), read_aheads=1)), None)
            except PermissionError:
                return "we may not read in it"
        return ""

    def let_go(self) -> None:
        """Close the connection."""
        with suppress(Exception):
            self._client.close()

    def _plain(self, folder: str) -> bool:
        """Whether every step below the root is a folder; False where there is none. A link is refused."""
        path = self._root
        for part in PurePosixPath(folder).parts:
            path /= part
            try:
                mode = self._sftp.lstat(str(path)).st_mode or 0
            except FileNotFoundError:
                return False
            if not stat.S_ISDIR(mode):
                raise PermissionError(f"{part} is no folder")
        return True

    def _at(self, folder: str, name: str = "") -> str:
        return str(self._root / folder / name) if name else str(self._root / folder)

    def _seen(self, folder: str, name: str) -> Any:
        if not fit(name):
            return None
        try:
            found = self._sftp.lstat(self._at(folder, name))
        except FileNotFoundError:
            return None
        return found if stat.S_ISREG(found.st_mode or 0) else None

    def _connected(self) -> Any:
        config = self._config
        key = _host_key(config)
        name = config.host if config.port == paramiko.config.SSH_PORT else f"[{config.host}]:{config.port}"
        self._client.get_host_keys().add(str(name), key.get_name(), key)
        self._client.set_missing_host_key_policy(paramiko.RejectPolicy())
        with self._translated("", hint="check host, port, user and the key or password of the connection"):
            self._client.connect(
                str(config.host),
                config.port,
                config.user,
                password=config.password.get_secret_value() if config.password else None,
                pkey=_private_key(config),
                allow_agent=False,
                look_for_keys=False,
                timeout=_CALL_S,
                banner_timeout=_CALL_S,
                auth_timeout=_CALL_S,
                channel_timeout=_CALL_S,
            )
            sftp = self._client.open_sftp()
            sftp.get_channel().settimeout(_CALL_S)
            return sftp

    @contextmanager
    def _translated(
        self, folder: str, hint: str = "grant our user to read, move and write there"
    ) -> Iterator[None]:
        where = self._config.where
        before = f"{folder}: " if folder else ""
        try:
            yield
        except BadHostKeyException as error:
            raise SourceRefused(
                f"the server holds another {error.key.get_name()} key than host_key says",
                where=where,
                hint="ask whoever runs the server; only then change host_key",
            ) from error
        except AuthenticationException as error:
            raise SourceRefused(f"{before}{error}", where=where, hint=hint) from error
        except PermissionError as error:
            raise SourceRefused(f"{before}permission denied", where=where, hint=hint) from error
        except SSHException as error:
            if "not found in known_hosts" in str(error):
                raise SourceRefused(
                    "the server shows another kind of key than host_key says",
                    where=where,
                    hint="ask whoever runs the server; only then change host_key",
                ) from error
            raise SourceUnreachable(f"{before}{error}", where=where) from error
        except FileNotFoundError as error:
            raise SourceRefused(f"{before}there is no such file or folder", where=where, hint=hint) from error
        except (OSError, EOFError) as error:
            raise SourceUnreachable(f"{before}{error or type(error).__name__}", where=where) from error


class _Translating:
    """A file of the server whose errors are ours."""

    def __init__(self, remote: Any, place: SftpPlace) -> None:
        self._remote, self._place = remote, place

    def read(self, size: int = -1) -> bytes:
        """So many bytes, or fewer."""
        with self._place._translated(""):  # noqa: SLF001 - one room
            found: bytes = self._remote.read(size)
            return found

    def close(self) -> None:
        """Close it."""
        self._remote.close()


def _host_key(config: FilesConfig) -> Any:
    kind, _, rest = (config.host_key or "").strip().partition(" ")
    words = rest.split()
    try:
        return paramiko.PKey.from_type_string(kind, binascii.a2b_base64(words[0]))
    except (IndexError, ValueError, binascii.Error, SSHException) as error:
        raise SourceRefused(
            "host_key is no key as known_hosts has it",
            where=config.where,
            hint="ssh-keyscan shows it, such as ssh-ed25519 AAAA…; ask whoever runs the server",
        ) from error


def _private_key(config: FilesConfig) -> Any:
    if config.private_key is None:
        return None
    for kind in _KEYS:
        with suppress(SSHException, ValueError):
            return kind.from_private_key(io.StringIO(config.private_key.get_secret_value()))
    raise SourceRefused(
        "private_key cannot be read",
        where=config.where,
        hint="an OpenSSH or PEM key without a passphrase, as ssh-keygen writes it",
    )


def _stat(found: Any) -> Stat:
    return Stat(found.st_size or 0, int(found.st_mtime or 0) * _SECOND)
