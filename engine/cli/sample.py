"""The sample database of a project: made once in the embedded PostgreSQL, with its own traffic.

Rule: a connection whose host is ``embedded`` gets a database, the project's ``database.sql`` in it, and
passwords for its roles: the connection's own, and one for the role ``app`` that never leaves this machine.
Nothing here touches a server that the project names.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.cli import places
from engine.cli.compose import Call
from engine.embedded import record
from engine.errors import StackFailed
from engine.plan import ProjectPlan

if TYPE_CHECKING:
    import psycopg

SCRIPT: Final = "database.sql"
APP: Final = "app"
_MARK: Final = "sample database of ecluse"  # the database's comment, once all of it is there


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample database: how its application and its superuser reach it (with passwords)."""

    connection: str
    app: str
    superuser: str


def prepare(call: Call, plan: ProjectPlan) -> list[Sample]:
    """Make the sample database of every embedded connection, where it is not there yet."""
    found = []
    for capture in plan.captures:
        if capture.config.get("host") == places.EMBEDDED:
            config = places.configure(call, capture)
            found.append(_prepare(call, capture.name, config))
    return found


def embedded(plan: ProjectPlan) -> bool:
    """Whether a connection of the project means the sample database."""
    return any(capture.config.get("host") == places.EMBEDDED for capture in plan.captures)


def _prepare(call: Call, connection: str, config: Any) -> Sample:
    import psycopg  # every worker imports this room
    from psycopg import conninfo, sql

    state = places.state_folder(call)
    running = record.find(state)
    if running is None or running.postgres is None:
        raise StackFailed("the embedded PostgreSQL does not run", where=str(state), hint="ecluse up")
    server = running.postgres
    at: dict[str, Any] = {"host": server.host, "port": server.port}
    admin = {**at, "user": server.user, "password": server.password}
    app_password = _kept_password(state / "app.password")
    try:
        with psycopg.connect(**admin, dbname=server.database, autocommit=True) as db:
            if not db.execute("SELECT 1 FROM pg_database WHERE datname = %s", [config.database]).fetchone():
                db.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(config.database)))
        with psycopg.connect(**admin, dbname=config.database) as db:
            _fill(db, call.folder / SCRIPT, config, app_password)
    except psycopg.Error as error:
        raise StackFailed(
            f"the sample database could not be made: {error}",
            where=connection,
            hint=f"mend {call.folder / SCRIPT}, then: ecluse -p {call.folder} up",
        ) from error
    app = conninfo.make_conninfo("", **at, dbname=config.database, user=APP, password=app_password)
    return Sample(connection, app, conninfo.make_conninfo("", **admin, dbname=config.database))


def _fill(db: psycopg.Connection[Any], script: Path, config: Any, app_password: str) -> None:
    """Run the script once, in one transaction; set the passwords every time: they may have changed."""
    from psycopg import sql

    told = db.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    if told != (_MARK,):
        if script.is_file():
            db.execute(script.read_bytes())
        db.execute(
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                sql.Identifier(config.database), sql.Literal(_MARK)
            )
        )
    passwords = {APP: app_password}
    if config.password is not None:
        passwords[config.user] = config.password.get_secret_value()
    for role, password in passwords.items():
        if db.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
            db.execute(statement.format(sql.Identifier(role), sql.Literal(password)))


def _kept_password(path: Path) -> str:
    if not path.is_file():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(18), encoding="utf-8")
    return path.read_text(encoding="utf-8")
