"""Files as people are shown them: from the ledger's rows, and from a look at the folders.

Rule: a look takes nothing and decides nothing; it needs no worker. A file that only stillness makes whole is
arriving to whoever looks once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from connectors.files import announcing
from connectors.files.config import FilesConfig
from connectors.files.ledger import entry
from connectors.files.opening import feeds_of, place_of
from connectors.files.ready import Candidate, Standing, Watch
from engine.arrivals import Control, Done, File
from engine.arrivals import Standing as Seen
from engine.source import Expected, TableSpec


def read(row: Mapping[str, Any]) -> File:
    """From a row of the ledger to a file."""
    one = entry(row)
    asked = Done(**one.asked) if one.asked else None
    back = one.state == "refused" and asked is not None and asked.verb == "requeue" and asked.done
    controls = one.totals.get("controls", ())
    return File(
        feed=one.feed,
        partner=one.partner,
        folder=one.folder,
        name=one.name,
        state="requeued" if back else one.state,
        size=one.size,
        modified_ns=one.modified_ns,
        lies=one.moved_to or f"{one.folder}/{one.name}",
        arrival=one.arrival,
        sha256=one.sha256,
        records=one.records,
        problems=one.problems,
        counts=one.totals.get("counts", {}),
        controls=tuple(Control(what, f"{where}: {both}", both) for what, where, both in controls),
        sequence=one.sequence,
        supersedes=one.supersedes,
        code=one.code,
        reason=one.reason,
        sent=bool(one.sent),
        decided_us=one.decided_us,
        published_us=one.published_us,
        ends={int(partition): end for partition, end in one.ends.items()},
        asked=asked,
    )


def waiting(config: FilesConfig, tables: Sequence[TableSpec]) -> Sequence[File]:
    """The files that lie in their folders, in the order in which they came there."""
    feeds = feeds_of(tables)
    watch = Watch(feeds, time.monotonic)
    place = place_of(config)
    try:
        found = [one for folder in watch.folders for one in watch.look(folder, place.list(folder))]
    finally:
        place.let_go()
    partners = {table: feed.partner for table, feed in feeds.items()}
    return [_waits(standing, one, partners) for standing, one in found]


def _waits(standing: Standing, one: Candidate, partners: Mapping[str, str]) -> File:
    state: Seen = "announced" if one.marker else standing
    feed = one.feeds[0]
    return File(
        feed=feed,
        partner=partners[feed],
        folder=one.folder,
        name=one.shown,
        state=state,
        size=one.stat.size,
        modified_ns=one.stat.modified_ns,
        lies=f"{one.folder}/{one.shown}",
    )


def expected(table: TableSpec) -> Expected | None:
    """What a flow expects of its partner."""
    (feed,) = feeds_of([table]).values()
    return feed.expect.expected()


def announce(config: FilesConfig, table: TableSpec, path: Path, records: int | None) -> str:
    """Write a sidecar beside a file that lies whole in its feed's folder; gives its name."""
    (feed,) = feeds_of([table]).values()
    return announcing.announce(config, feed, path, records=records)
