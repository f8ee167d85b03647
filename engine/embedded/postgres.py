"""The embedded PostgreSQL: a source to try things on, with logical decoding switched on.

Rule: passwords are checked (SCRAM), it listens on loopback only, and it never runs as root: started by root
it is another user. This room makes a server and its superuser, no databases and no roles.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.embedded.child import ENVIRONMENT, Rights, Service, launcher
from engine.embedded.jars import Folder
from engine.embedded.ports import LOOPBACK
from engine.errors import StackFailed

SUPERUSER: Final = "postgres"
_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "2GB",
    "log_min_messages": "warning",
    "timezone": "UTC",
}
_ANSWER_S: Final = 3
_NOBODY: Final = 65534


@dataclass(frozen=True, slots=True)
class PostgresEndpoint:
    """Where the server is, and the file (mode 0600) that holds its superuser's password."""

    host: str
    port: int
    user: str
    password_file: Path
    database: str = "postgres"

    @property
    def password(self) -> str:
        """The superuser's password."""
        return self.password_file.read_text(encoding="utf-8").strip()


def endpoint(folder: Path, port: int) -> PostgresEndpoint:
    """The endpoint of the server whose data lie in ``folder``."""
    return PostgresEndpoint(LOOPBACK, port, SUPERUSER, folder / "superuser.password")


def service(folder: Path, binaries: Folder, port: int, settings: Mapping[str, str]) -> Service:
    """The server with its data in ``folder``; ``settings`` override those of ``postgresql.conf``."""
    data = folder / "data"
    rights = _rights(folder, binaries.path)
    at = endpoint(folder, port)

    def prepare() -> None:
        marker = folder / "initialized"
        folder.mkdir(parents=True, exist_ok=True)
        _give(folder, rights.uid)
        if not marker.is_file():
            shutil.rmtree(data, ignore_errors=True)
            _write_password(at.password_file, rights.uid)
            _initdb(binaries.path / "bin" / "initdb", data, at.password_file, rights)
            marker.touch()
        conf = {**_SETTINGS, "port": str(port), **settings}
        text = "".join(f"{key} = '{value}'\n" for key, value in conf.items())
        (data / "ecluse.conf").write_text(text, encoding="utf-8")
        _give(data / "ecluse.conf", rights.uid)

    return Service(
        name="postgres",
        port=port,
        words=(str(binaries.path / "bin" / "postgres"), "-D", str(data)),
        log=folder / "postgres.log",
        prepare=prepare,
        answers=lambda: _answers(at),
        settle=lambda: None,
        death_signal=signal.SIGQUIT,  # immediate: its children end with it; recovery is the next start's work
        rights=rights,
    )


def _rights(*folders: Path) -> Rights:
    if os.getuid() != 0:
        return Rights()
    try:
        uid = pwd.getpwnam("nobody").pw_uid
    except KeyError:
        uid = _NOBODY
    closed = any(not _open_to_all(parent) for folder in folders for parent in folder.resolve().parents)
    return Rights(uid=uid, search=closed)


def _open_to_all(folder: Path) -> bool:
    return not folder.exists() or bool(folder.stat().st_mode & stat.S_IXOTH)


def _give(path: Path, uid: int) -> None:
    if uid:
        os.chown(path, uid, uid)


def _write_password(path: Path, uid: int) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(secrets.token_urlsafe(24) + "\n", encoding="utf-8")
    _give(path, uid)


def _initdb(initdb: Path, data: Path, password_file: Path, rights: Rights) -> None:
    words = (
        *launcher(rights, signal.SIGKILL),
        *(str(initdb), "-D", str(data), "-U", SUPERUSER, f"--pwfile={password_file}"),
        *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
        *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-sync"),
    )
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if done.returncode != 0:
        told = (done.stderr or done.stdout).strip()[-600:]
        raise StackFailed(
            f"PostgreSQL's data folder could not be made: {told}",
            where=str(data),
            hint="as root in a container without the right CAP_DAC_OVERRIDE: run as another user",
        )
    with (data / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write("include 'ecluse.conf'\n")


def _answers(at: PostgresEndpoint) -> bool:
    import psycopg  # every worker imports this room, and few of them talk to PostgreSQL

    try:
        with psycopg.connect(
            host=at.host,
            port=at.port,
            user=at.user,
            password=at.password,
            dbname=at.database,
            connect_timeout=_ANSWER_S,
        ) as connection:
            connection.execute("SELECT 1")
    except (psycopg.Error, OSError):
        return False
    return True
