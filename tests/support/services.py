"""The real services that tests run on: one stack per test run, one database and one lake per test.

Rule: a test sees ``Services`` and never how they were started, so that the same services can come from
somewhere else. Everything of a test bears a name that no other test has. Roles are as a careful DBA makes
them: no superuser, the application's apart from the one that captures.
"""

from __future__ import annotations

import itertools
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from engine.embedded.stack import ServiceName, Stack, cache_folder
from engine.lake.archive import Archive
from tests.support.killer import descendants

_SETTINGS: Final = {"fsync": "off"}  # a killed process loses nothing by it, only a lost machine would
_BROKER: Final = {  # everybody may do everything, until a test takes a right away
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}


@dataclass(frozen=True, slots=True)
class Role:
    """A login of a test's database."""

    name: str
    password: str


@dataclass(frozen=True, slots=True)
class Database:
    """A fresh database: ``app`` owns its tables, ``capture`` may replicate and read what ``app`` makes."""

    name: str
    host: str
    port: int
    app: Role
    capture: Role

    def dsn(self, role: Role) -> str:
        """A libpq connection string."""
        where = f"host={self.host} port={self.port} dbname={self.name}"
        return f"{where} user={role.name} password={role.password}"

    def connect(self, role: Role | None = None) -> psycopg.Connection[Any]:
        """A session (of the application unless told), one statement per transaction."""
        return psycopg.connect(self.dsn(role or self.app), autocommit=True)

    def run(self, *statements: str) -> None:
        """Statements of the application, each in its own transaction."""
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())


@dataclass
class Services:
    """Where the services are, and how to hurt them."""

    stack: Stack
    kafka: str
    registry: str
    superuser: str  # a dsn without dbname
    java_home: Path
    spark_jars: tuple[Path, ...]
    archives: Path  # where Java keeps Spark's classes parsed, as `up` has it
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def unique(self, name: str) -> str:
        """A name that nothing else of this run has: fit for a topic, a database, a connection."""
        return f"{name}_{next(self._numbers)}{secrets.token_hex(2)}"

    def admin(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """A superuser's session."""
        return psycopg.connect(f"{self.superuser} dbname={database}", autocommit=True)

    def database(self, name: str) -> Database:
        """A fresh database with its two roles."""
        unique = self.unique(name)
        app = Role(f"{unique}_app", secrets.token_hex(8))
        capture = Role(f"{unique}_capture", secrets.token_hex(8))
        with self.admin() as connection:
            for role, rights in ((app, "LOGIN"), (capture, "LOGIN REPLICATION")):
                connection.execute(
                    sql.SQL("CREATE ROLE {} {} PASSWORD {}").format(
                        sql.Identifier(role.name), sql.SQL(rights), sql.Literal(role.password)
                    )
                )
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(unique), sql.Identifier(app.name)
                )
            )
        at = psycopg.conninfo.conninfo_to_dict(self.superuser)
        database = Database(unique, str(at["host"]), int(str(at["port"])), app, capture)
        database.run(
            f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {capture.name}",
            f"GRANT CREATE ON DATABASE {unique} TO {capture.name}",
        )
        return database

    def drop(self, database: str) -> None:
        """Remove a database, its replication slots first."""
        with self.admin() as connection:
            slots = "SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s"
            for slot, pid in connection.execute(slots, (database,)).fetchall():
                if pid is not None:
                    connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
                connection.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
            )

    def kill(self, name: ServiceName) -> None:
        """SIGKILL."""
        self.stack.kill(name)

    def restart(self, name: ServiceName) -> None:
        """Back in the same place, on the same data."""
        self.stack.restart(name)

    def fill_the_disk(self, name: ServiceName, size: int) -> None:
        """From now on no file of a service grows beyond ``size`` bytes, as on a full disk.

        It holds for the processes that run, and for their children; a restart has room again. Only a
        process of the same user may do that without a privilege.
        """
        top = self.stack.pid(name)
        owner = Path(f"/proc/{top}").stat()
        for pid in (top, *descendants(top)):
            words = ["prlimit", f"--pid={pid}", f"--fsize={size}:"]
            subprocess.run(words, user=owner.st_uid, group=owner.st_gid, extra_groups=[], check=pid == top)


@contextmanager
def running(state: Path, environment: Mapping[str, str] | None = None) -> Iterator[Services]:
    """The services, started in ``state``; stopped at the end."""
    known = dict(os.environ) if environment is None else environment
    cache = cache_folder(known)
    with Stack(state, cache, environment=known, postgres_settings=_SETTINGS, kafka_settings=_BROKER) as stack:
        at = stack.start()
        assert at.postgres is not None
        server = at.postgres
        superuser = f"host={server.host} port={server.port} user={server.user} password={server.password}"
        archive = Archive(cache / "java", at.java_home, at.spark_jars)
        archive.make()
        yield Services(stack, at.kafka, at.registry, superuser, at.java_home, at.spark_jars, archive.folder)
