"""The statements that a DBA would run for a capture, in their order: role, grants, publication, slot.

Rule: exactly what ``open`` would run itself, locks included; names are quoted, no password stands here, and
no server is asked. Of a table that leaves columns out only the server knows which ones stay: ``compare``
writes its statements; here it is said that they are missing, as others would open what is to be kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from connectors.postgres.columns import identifier
from connectors.postgres.config import PostgresConfig
from connectors.postgres.publication import slot_statement, told
from engine.source import TableSpec


def provision(config: PostgresConfig, tables: Sequence[TableSpec]) -> Sequence[str]:
    """The SQL, one statement per item; run as the owner of the tables (the first ones as superuser)."""
    role = identifier(config.user)
    whole = [spec for spec in tables if not spec.exclude]
    names = sorted({(spec.schema, spec.table) for spec in whole})
    schemas = sorted({spec.schema for spec in tables})
    apart = {f"{spec.qualified} leaves out {', '.join(spec.exclude)}" for spec in tables if spec.exclude}
    return [
        "-- unless it is logical already; then restart the server\nALTER SYSTEM SET wal_level = logical",
        f"-- unless the role is there; then give it a password\nCREATE ROLE {role} LOGIN REPLICATION",
        f"GRANT CONNECT ON DATABASE {identifier(config.database)} TO {role}",
        *(f"GRANT USAGE ON SCHEMA {identifier(schema)} TO {role}" for schema in schemas),
        *(f"GRANT SELECT ON {identifier(*name)} TO {role}" for name in names),
        *(told(config, whole, {}, create=True) if whole else ()),
        *(
            f"-- {each}: ecluse plan writes its grant and publication once the server answers"
            for each in sorted(apart)
        ),
        slot_statement(config),
    ]
