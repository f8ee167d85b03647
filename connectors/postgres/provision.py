"""The statements that a DBA would run for a capture, in their order: role, grants, publication, slot.

Rule: exactly what ``open`` would run itself, locks included; names are quoted, and no password stands here.
The server is asked only where a table leaves columns out, because a publication lists those that stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing

from connectors.postgres import columns, session
from connectors.postgres.columns import identifier
from connectors.postgres.config import PostgresConfig
from connectors.postgres.publication import slot_statement, told
from engine.source import TableSpec


def provision(config: PostgresConfig, tables: Sequence[TableSpec]) -> Sequence[str]:
    """The SQL, one statement per item; run as the owner of the tables (the first ones as superuser)."""
    role = identifier(config.user)
    names = sorted({(spec.schema, spec.table) for spec in tables})
    kept = _kept(config, tables)
    schemas = sorted({schema for schema, _ in names})
    return [
        "-- unless it is logical already; then restart the server\nALTER SYSTEM SET wal_level = logical",
        f"-- unless the role is there; then give it a password\nCREATE ROLE {role} LOGIN REPLICATION",
        f"GRANT CONNECT ON DATABASE {identifier(config.database)} TO {role}",
        *(f"GRANT USAGE ON SCHEMA {identifier(schema)} TO {role}" for schema in schemas),
        *(f"GRANT SELECT{columns.granted(kept, *name)} ON {identifier(*name)} TO {role}" for name in names),
        *told(config, tables, kept, create=True),
        slot_statement(config),
    ]


def _kept(config: PostgresConfig, tables: Sequence[TableSpec]) -> Mapping[str, Sequence[str]]:
    """The columns that stay of tables that leave some out: only the server knows what they have."""
    if not any(spec.exclude for spec in tables):
        return {}
    with closing(session.side(config)) as side, session.translated(config):
        return columns.lists(side, config, tables)
