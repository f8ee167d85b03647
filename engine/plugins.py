"""Which connectors there are: those that an installed distribution registers.

Rule: ours are found exactly as a stranger's, by the entry points ``ecluse.connectors``; the engine imports
none by name. This room opens nothing.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Final

from engine.errors import Act, EcluseError
from engine.source import AnyConnector, Connector

GROUP: Final = "ecluse.connectors"


class PluginBroken(EcluseError, code="plugin.broken", act=Act.OPERATOR):
    """An installed connector cannot be imported, or is not one."""


def load() -> dict[str, AnyConnector]:
    """Every installed connector by its name, in the order of the names."""
    found: dict[str, AnyConnector] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
        try:
            connector = entry.load()
        except (ImportError, AttributeError) as error:
            raise PluginBroken(
                f"connector {entry.name} cannot be imported",
                where=entry.value,
                hint="pip install --upgrade ecluse",
            ) from error
        if not isinstance(connector, Connector) or connector.name != entry.name or entry.name in found:
            raise PluginBroken(
                f"connector {entry.name} is not one connector of that name",
                where=entry.value,
                hint=f"pip uninstall {entry.dist.name if entry.dist else entry.value.partition('.')[0]}",
            )
        found[entry.name] = connector
    return found
