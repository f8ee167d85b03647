"""PostgreSQL: changes by logical replication, through one slot and one publication per capture.

The rooms: ``session`` connects, ``facts`` reads the catalogue, ``gap`` and ``overlap`` judge, ``wire`` and
``decode`` frame, ``cells`` type, ``stream`` runs, ``opening`` puts them together.

Rule: the driver is imported by what connects, when it is called: every worker knows every connector, and a
capture of files has no room to give to a driver of databases.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final

from connectors.postgres.config import PostgresConfig
from engine.source import Connector, Finding, Kept, Mark, Measure, Need, Source, TableFound, TableSpec


def _open(
    config: PostgresConfig, tables: Sequence[TableSpec], mark: Mark | None, kept: Kept
) -> AbstractContextManager[Source]:
    from connectors.postgres.opening import open_source

    return open_source(config, tables, mark, kept)


def _preflight(config: PostgresConfig, tables: Sequence[TableSpec]) -> Sequence[Finding]:
    from connectors.postgres.preflight import preflight

    return preflight(config, tables)


def _provision(config: PostgresConfig, tables: Sequence[TableSpec]) -> Sequence[str]:
    from connectors.postgres.provision import provision

    return provision(config, tables)


def _measure(config: PostgresConfig) -> Measure:
    from connectors.postgres.measure import measure

    return measure(config)


def _compare(config: PostgresConfig, tables: Sequence[TableSpec]) -> Sequence[Need]:
    from connectors.postgres.compare import compare

    return compare(config, tables)


def _tables(config: PostgresConfig) -> Sequence[TableFound]:
    from connectors.postgres.compare import tables

    return tables(config)


def _show(major: int) -> str:
    from connectors.postgres.wire import show_position

    return show_position(major)


CONNECTOR: Final = Connector(
    name="postgres",
    config=PostgresConfig,
    open=_open,
    preflight=_preflight,
    provision=_provision,
    measure=_measure,
    show=_show,
    compare=_compare,
    tables=_tables,
)
