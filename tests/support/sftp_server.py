"""An SFTP server on a socket of this machine, over a real folder: another side than the client's.

Rule: it checks user and password as a server does, counts what it is asked, and drops the line when told to.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import paramiko
from paramiko.sftp_server import SFTPServer

USER: Final = "acme"
PASSWORD: Final = "between-us-two"  # noqa: S105 - of a server that lives as long as a test


@dataclass
class Serving:
    """A running server: its port, its key, and what it was asked."""

    root: Path
    port: int
    key: paramiko.PKey
    asked: Counter[str] = field(default_factory=Counter)
    drop_after: int | None = None  # reads of files until the line is cut, once
    lines: list[paramiko.Transport] = field(default_factory=list)

    @property
    def host_key(self) -> str:
        return f"{self.key.get_name()} {self.key.get_base64()}"


class _Door(paramiko.ServerInterface):  # type: ignore[misc]
    def check_auth_password(self, username: str, password: str) -> int:
        fits = (username, password) == (USER, PASSWORD)
        return int(paramiko.AUTH_SUCCESSFUL if fits else paramiko.AUTH_FAILED)

    def get_allowed_auths(self, _: str) -> str:
        return "password"

    def check_channel_request(self, kind: str, _: int) -> int:
        refused = paramiko.OPEN_FAILED_UNKNOWN_CHANNEL_TYPE
        return int(paramiko.OPEN_SUCCEEDED if kind == "session" else refused)


class _File(paramiko.SFTPHandle):  # type: ignore[misc]
    def __init__(self, path: Path, flags: int, serving: Serving) -> None:
        super().__init__(flags)
        mode = "rb" if flags & (os.O_WRONLY | os.O_RDWR) == 0 else "wb"
        self.readfile = self.writefile = path.open(mode)
        self.serving = serving

    def read(self, offset: int, length: int) -> Any:
        serving = self.serving
        if serving.drop_after is not None:
            serving.drop_after -= 1
            if serving.drop_after < 0:
                serving.drop_after = None
                for line in serving.lines:
                    line.close()
        return super().read(offset, length)

    def stat(self) -> Any:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


def _told(action: Any) -> Any:
    try:
        return action()
    except OSError as error:
        return SFTPServer.convert_errno(error.errno or 0)


class _Folders(paramiko.SFTPServerInterface):  # type: ignore[misc]
    def __init__(self, _: Any, serving: Serving) -> None:
        self.serving = serving

    def _path(self, path: str) -> Path:
        return self.serving.root / path.lstrip("/")

    def list_folder(self, path: str) -> Any:
        self.serving.asked["list"] += 1
        return _told(lambda: [self._attributes(one) for one in sorted(self._path(path).iterdir())])

    def _attributes(self, path: Path) -> Any:
        return paramiko.SFTPAttributes.from_stat(path.lstat(), path.name)

    def lstat(self, path: str) -> Any:
        self.serving.asked["lstat"] += 1
        return _told(lambda: paramiko.SFTPAttributes.from_stat(self._path(path).lstat()))

    def stat(self, path: str) -> Any:
        return _told(lambda: paramiko.SFTPAttributes.from_stat(self._path(path).stat()))

    def open(self, path: str, flags: int, _: Any) -> Any:
        return _told(lambda: _File(self._path(path), flags, self.serving))

    def rename(self, oldpath: str, newpath: str) -> Any:
        if self._path(newpath).exists():
            return paramiko.SFTP_FAILURE
        return self.posix_rename(oldpath, newpath)

    def posix_rename(self, oldpath: str, newpath: str) -> Any:
        return _told(lambda: self._path(oldpath).rename(self._path(newpath)) and paramiko.SFTP_OK)

    def mkdir(self, path: str, _: Any) -> Any:
        def made() -> int:
            self._path(path).mkdir()
            return int(paramiko.SFTP_OK)

        return _told(made)


@contextmanager
def serve(root: Path) -> Iterator[Serving]:
    """A server until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = Serving(root, listening.getsockname()[1], paramiko.RSAKey.generate(2048))
        thread = threading.Thread(target=_accept, args=(listening, serving), daemon=True)
        thread.start()
        try:
            yield serving
        finally:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            for line in serving.lines:
                line.close()
            thread.join(10)


def _accept(listening: socket.socket, serving: Serving) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        line = paramiko.Transport(connection)
        line.add_server_key(serving.key)
        line.set_subsystem_handler("sftp", SFTPServer, _Folders, serving)
        serving.lines.append(line)
        with suppress(paramiko.SSHException, EOFError, OSError):  # a client that left, even by a reset
            line.start_server(server=_Door())
