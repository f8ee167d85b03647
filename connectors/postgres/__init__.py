"""PostgreSQL: changes by logical replication, through one slot and one publication per capture.

The rooms: ``session`` connects, ``facts`` reads the catalogue, ``gap`` and ``overlap`` judge, ``wire`` and
``decode`` frame, ``cells`` type, ``stream`` runs, ``opening`` puts them together.
"""

from __future__ import annotations

from typing import Final

from connectors.postgres.compare import compare, tables
from connectors.postgres.config import PostgresConfig
from connectors.postgres.measure import measure
from connectors.postgres.opening import open_source
from connectors.postgres.preflight import preflight
from connectors.postgres.provision import provision
from connectors.postgres.wire import show_position
from engine.source import Connector

CONNECTOR: Final = Connector(
    name="postgres",
    config=PostgresConfig,
    open=open_source,
    preflight=preflight,
    provision=provision,
    measure=measure,
    show=show_position,
    compare=compare,
    tables=tables,
)
