"""The statements that a DBA would run for a capture, in their order: role, grants, publication, slot.

Rule: exactly what ``open`` would run itself, locks included; names are quoted, and no password stands here.
"""

from __future__ import annotations

from collections.abc import Sequence

from connectors.postgres.config import PostgresConfig
from connectors.postgres.publication import identifier, joining, slot_statement
from engine.source import TableSpec


def provision(config: PostgresConfig, tables: Sequence[TableSpec]) -> Sequence[str]:
    """The SQL, one statement per item; run as the owner of the tables (the first ones as superuser)."""
    role = identifier(config.user)
    names = sorted({(spec.schema, spec.table) for spec in tables})
    schemas = sorted({schema for schema, _ in names})
    return [
        "-- unless it is logical already; then restart the server\nALTER SYSTEM SET wal_level = logical",
        f"-- unless the role is there; then give it a password\nCREATE ROLE {role} LOGIN REPLICATION",
        f"GRANT CONNECT ON DATABASE {identifier(config.database)} TO {role}",
        *(f"GRANT USAGE ON SCHEMA {identifier(schema)} TO {role}" for schema in schemas),
        *(f"GRANT SELECT ON {identifier(*name)} TO {role}" for name in names),
        *joining(config, tables, create=True),
        slot_statement(config),
    ]
