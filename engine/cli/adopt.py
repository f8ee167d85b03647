"""``init --from``: a project from a database that is there.

Rule: it reads the database and writes files, and the files hold no password: a secret's reference stands in
its place. A table that cannot be captured is written down as a comment with its reason, never left out.
Nothing is written before everything has been read.
"""

from __future__ import annotations

import getpass
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import ValidationError

from engine import names, plugins
from engine.cli import compose, declare, screen, show
from engine.cli.compose import Call
from engine.cli.declare import Candidate
from engine.errors import Unmet, Unusable
from engine.source import Finding, TableFound, TableSpec
from engine.template.shapes import Text

_ALIASES: Final = {"postgresql": "postgres"}
_NAME_MAX: Final = 50  # a secret is named after it
_OPTIONS: Final = ("sslmode", "sslrootcert")
_EXAMPLE: Final = "ecluse init --from postgres://USER@HOST/DATABASE DIR"
_LEAVE_OUT: Final = "leave it out: it is asked for, or taken from PGPASSWORD, and written nowhere"


@dataclass(frozen=True, slots=True)
class Adopted:
    """What came of it: the files that were written, and every table of the database."""

    project: str
    files: tuple[str, ...]
    tables: tuple[Candidate, ...]
    server: tuple[Finding, ...]  # what is not well there, apart from the tables


def adopt(call: Call, url: str, folder: Path) -> Adopted:
    """Read a database and write its project; raises what keeps it from being read."""
    connector, values = address(url)
    project, connection = _name(folder.resolve().name), _name(values["database"])
    secret = f"{connection}_password"
    slot = names.slot(project, connection)
    derived = {"slot": slot, "publication": slot, "project": project, "connection": connection}
    password = _password(call, secret, values)
    source = plugins.load()[connector]
    config = _config(source.config, {**values, **derived, **({"password": password} if password else {})})
    found = source.tables(config)
    specs = [TableSpec(t.table, t.schema, t.table, snapshot=0) for t in found]
    findings = source.preflight(config, specs)
    tables = declare.candidates(_reasons(found, findings))
    if not any(table.flow for table in tables):
        _show(tables)
        raise Unmet(
            f"none of {len(tables)} tables can be captured",
            where=config.where,
            hint="mend what is told of the tables above, then: " + _EXAMPLE,
        )
    declare.write(folder, project, connection, {"type": connector, **values}, tables, secret=bool(password))
    built = compose.build(Call(folder, call.environment))  # lints it, too
    (capture,) = built.captures
    statements = source.provision(compose.unopened(capture), capture.tables)
    declare.write_sql(folder, statements)
    files = sorted(str(path) for path in folder.rglob("*") if path.is_file())
    server = [f for f in findings if f.level != "ok" and not f.table]
    return Adopted(project, tuple(files), tables, tuple(server))


def tell(folder: Path, done: Adopted, *, as_json: bool) -> None:
    """Show what came of it, and what to type next."""
    if as_json:
        show.data({
            "project": done.project, "files": done.files, "tables": [t.as_dict() for t in done.tables],
            "server": [{"level": f.level, "subject": f.subject, "text": f.text} for f in done.server],
        })  # fmt: skip
    else:
        _show(done.tables)
    for finding in done.server:
        show.note(f"{finding.level}: {finding.subject}: {finding.text}")
    flows = sum(bool(table.flow) for table in done.tables)
    show.note(f"{flows} of {len(done.tables)} tables are flows of {folder}; no mistakes")
    show.note(f"next: let a DBA run {folder / declare.SQL}, then put the password of the role into\n"
              f"      a file of {folder / 'secrets'} (mode 0600), under the name that ecluse.yaml says\n"
              f"      cd {folder} && ecluse doctor && ecluse up")  # fmt: skip


def _show(tables: Sequence[Candidate]) -> None:
    rows = [
        (
            f"{t.found.schema}.{t.found.table}",
            screen.count(t.found.rows),
            screen.size(t.found.size_bytes),
            ", ".join(t.found.key) or "none",
            t.flow or f"no: {t.reason}",
        )
        for t in tables
    ]
    show.table(("table", "about rows", "size", "key", "flow"), rows)


# --- the address -----------------------------------------------------------------------------------------


def address(url: str) -> tuple[str, dict[str, Any]]:
    """The connector and the connection's values of a URL; a password in it is refused and not repeated."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Unusable("the address is no URL", where="--from", hint=_EXAMPLE) from error
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.password is not None or "password" in given:
        raise Unusable("the address holds a password", where="--from", hint=_LEAVE_OUT)
    connector = _ALIASES.get(parts.scheme, parts.scheme)
    if connector not in plugins.load():
        raise Unusable(f"there is no connector {parts.scheme}", where="--from", hint=_EXAMPLE)
    strange = sorted(given.keys() - {*_OPTIONS})
    if strange:
        hint = f"of the options, {' and '.join(_OPTIONS)} are known"
        raise Unusable(f"the address has an option {strange[0]}", where="--from", hint=hint)
    values = {"host": parts.hostname or "", "database": unquote(parts.path.lstrip("/")), "user": _user(parts)}
    missing = [name for name, value in values.items() if not value]
    if missing:
        raise Unusable(f"the address names no {missing[0]}", where="--from", hint=_EXAMPLE)
    refused = [name for name, value in {**values, **given}.items() if not declare.takes(Text(), value)]
    if refused:
        raise Unusable(f"{refused[0]} has no place in ecluse.yaml", where="--from", hint=_EXAMPLE)
    return connector, {**values, **({"port": port} if port else {}), **given}


def _user(parts: SplitResult) -> str:
    return unquote(parts.username or "")


def _config(model: Any, values: Mapping[str, Any]) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        said = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = str(said["loc"][0]) if said["loc"] else "address"
        raise Unusable(f"{name}: {said['msg']}", where="--from", hint=_EXAMPLE) from None


def _password(call: Call, secret: str, values: Mapping[str, Any]) -> str:
    """From the environment, else from a person; empty where the server asks for none."""
    for variable in (f"ECLUSE_SECRET_{secret.upper()}", "PGPASSWORD"):
        if call.environment.get(variable):
            return call.environment[variable]
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        show.note("PGPASSWORD is not set, and nobody can be asked: trying without a password")
        return ""
    return getpass.getpass(f"password of {values['user']} at {values['host']} (Enter: none): ", sys.stderr)


def _name(text: str) -> str:
    """A name as our files take it.

    >>> _name("My-Shop"), _name("2024"), _name("...")
    ('my_shop', 'p_2024', 'project')
    """
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return (plain if plain[:1].isalpha() else f"p_{plain}" if plain else "project")[:_NAME_MAX]


def _reasons(
    found: Sequence[TableFound], findings: Sequence[Finding]
) -> list[tuple[TableFound, list[str], list[str]]]:
    """Each table with what keeps it from being captured, and what else there is to know of it."""
    told: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        # what a DBA mends by the SQL is no word about the table
        mended = finding.subject in ("publication", "rows") or (finding.subject, finding.level) == (
            "table",
            "warn",
        )
        if finding.table and finding.level != "ok" and not mended:
            told.setdefault((finding.table, finding.level), []).append(_words(finding))
    return [
        (t, told.get((f"{t.schema}.{t.table}", "fail"), []), told.get((f"{t.schema}.{t.table}", "warn"), []))
        for t in found
    ]


def _words(finding: Finding) -> str:
    text = finding.text.removeprefix(finding.table).lstrip(": ")
    return text.removeprefix(".") if finding.text.startswith(f"{finding.table}.") else text
