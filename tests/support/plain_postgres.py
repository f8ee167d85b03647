"""A PostgreSQL as anybody has one: made by `initdb` with its defaults, on a port of its own.

Rule: nothing is set that a person would not find set (so ``wal_level`` is ``replica``) but what a test says;
only the port and the missing socket folder differ. It ends with the block that made it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.request import getproxies

import psycopg

from engine.embedded import child, jars, java, ports, trust
from engine.embedded.child import ENVIRONMENT, Rights, launcher
from engine.embedded.stack import cache_folder
from tests.support.waits import wait_until

_NOBODY: Final = 65534
_SUPERUSER: Final = "postgres"


@dataclass
class Psql:
    """A superuser's session that reads what a person types into ``psql``."""

    port: int
    database: str = "postgres"

    def one(self, query: str) -> Any:
        """The only value of a query."""
        with self._connected() as connection:
            row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None

    def type(self, text: str) -> None:
        r"""Statements, each in a transaction of its own; ``\connect`` changes the database."""
        bare = "\n".join(line.partition("--")[0].rstrip() for line in text.splitlines())
        for part in re.sub(r"^(\\connect \w+)$", r"\1;", bare, flags=re.MULTILINE).split(";"):
            words = part.split()
            if words[:1] == ["\\connect"]:
                self.database = words[1]
            elif words:
                with self._connected() as connection:
                    connection.execute(part.encode())

    def _connected(self) -> psycopg.Connection[Any]:
        where = f"host=localhost port={self.port} user={_SUPERUSER} dbname={self.database}"
        return psycopg.connect(where, autocommit=True, connect_timeout=5)


class PlainPostgres:
    """The server, which can be started again."""

    def __init__(self, folder: Path, binaries: Path, of: PlainPostgres | None = None) -> None:
        """A new server; ``of`` another that stands still, it begins as its standby."""
        self.port = ports.free(set())
        self.psql = Psql(self.port)
        self._folder, self._binaries = folder, binaries
        self._rights = Rights(_NOBODY, search=True) if os.getuid() == 0 else Rights()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        if self._rights.uid:
            os.chown(folder, self._rights.uid, self._rights.uid)
        if of is not None:
            self._follow(of)
            return
        initdb = ("initdb", "-D", str(folder / "data"), "-U", _SUPERUSER, "--no-sync")
        subprocess.run(self._words(*initdb), check=True, capture_output=True, env=ENVIRONMENT)

    def standby(self, folder: Path, *, slots: bool) -> PlainPostgres:
        """A copy that follows this one, with its replication slots or, as a base backup, without them.

        Both are started by the caller.
        """
        self.stop()
        made = PlainPostgres(folder, self._binaries, self)
        if not slots:
            for slot in (folder / "data" / "pg_replslot").iterdir():
                shutil.rmtree(slot)
        return made

    def _follow(self, primary: PlainPostgres) -> None:
        data = self._folder / "data"
        subprocess.run(["cp", "-a", str(primary._folder / "data"), str(data)], check=True)  # noqa: S607
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = 'host=localhost port={primary.port} user={_SUPERUSER}'\n")
        (data / "standby.signal").touch()

    def start(self) -> None:
        """Start it; returns when it answers."""
        self.stop()
        options = ("-p", str(self.port), "-k", "", "-c", "fsync=off")
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._words("postgres", "-D", str(self._folder / "data"), *options),
                stdout=log, stderr=log, env=ENVIRONMENT,
            )  # fmt: skip
        wait_until(self._answers, "PostgreSQL answers")

    def stop(self) -> None:
        """Stop it as a service manager does on a restart."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def _words(self, program: str, *words: str) -> tuple[str, ...]:
        return (*launcher(self._rights, signal.SIGKILL), str(self._binaries / "bin" / program), *words)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, child.tail(self._folder / "log")
        try:
            return bool(self.psql.one("SELECT true"))
        except psycopg.OperationalError:
            return False


@contextmanager
def plain_postgres(folder: Path) -> Iterator[PlainPostgres]:
    """A server that runs; stopped at the end."""
    cache = cache_folder(os.environ)
    home, options = java.find(cache, os.environ), trust.java_options(cache / "java", getproxies())
    binaries = jars.fetch(["postgres"], cache=cache, java=home, java_options=options)["postgres"]
    server = PlainPostgres(folder, binaries.path)
    server.start()
    try:
        yield server
    finally:
        server.stop()
