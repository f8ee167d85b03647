"""Partner files: each is accepted or refused as a whole, and each record of an accepted one is a row.

The rooms: ``places`` and ``sftp`` reach files, ``ready`` says which are whole, ``staging`` copies them,
``containers``, ``encodings`` and the formats frame, ``controls`` hold them to what partners say, ``reading``
makes the two passes, ``deciding`` decides, ``ledger`` remembers, ``source`` runs, ``opening`` composes;
``looking`` and ``seeing`` are for people.
"""

from __future__ import annotations

from typing import Final

from connectors.files.config import FilesConfig
from connectors.files.feeds import Feed
from connectors.files.ledger import FILES
from connectors.files.looking import compare, measure, preflight, provision, show_arrival
from connectors.files.opening import looked, open_source
from connectors.files.seeing import announce, expected, read, waiting
from engine.arrivals import Files
from engine.source import Connector

CONNECTOR: Final = Connector(
    name="files",
    config=FilesConfig,
    flow=Feed,
    open=open_source,
    preflight=preflight,
    provision=provision,
    measure=measure,
    compare=compare,
    show=show_arrival,
    keeps=FILES,
    files=Files(read, waiting, announce, expected, looked),
)
