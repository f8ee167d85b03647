"""Opening: the ledger as the topic has it, the place, and the source between them.

Rule: an opening that knows less than its mark says was known is a gap, and stops: without the ledger the same
bytes could come twice under two numbers. Two openings never write under one key.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from connectors.files import reading
from connectors.files.config import FilesConfig
from connectors.files.deciding import Deciding
from connectors.files.feeds import Feed
from connectors.files.ledger import STRAND, Ledger
from connectors.files.moving import Moving
from connectors.files.places import LocalPlace, Place
from connectors.files.ready import Watch
from connectors.files.source import Clock, FilesSource
from connectors.files.staging import Staging
from engine.errors import ContractBroken, GapSuspected, answers
from engine.source import STREAM, Kept, Mark, TableSpec

CLOCK: Final = Clock(time.monotonic, time.time, time.sleep)


def place_of(config: FilesConfig) -> Place:
    """The place of a connection, open."""
    if config.protocol == "sftp":
        from connectors.files.sftp import SftpPlace  # the client is of use to those who have a server

        return SftpPlace(config)
    return LocalPlace(config.root, config.where)


def feeds_of(tables: Sequence[TableSpec]) -> Mapping[str, Feed]:
    """What the flows say of their files, by table."""
    # as JSON: a strict model takes a list for a tuple there, and nowhere else
    return {t.qualified: Feed.model_validate_json(json.dumps(dict(t.said))) for t in tables}


def nothing(_: str) -> None:
    """A named step that nobody watches."""


@contextmanager
def open_source(
    config: FilesConfig,
    tables: Sequence[TableSpec],
    mark: Mark | None,
    kept: Kept,
    *,
    clock: Clock = CLOCK,
    at: Callable[[str], None] = nothing,
) -> Iterator[FilesSource]:
    """The connector's ``open``."""
    feeds = feeds_of(tables)
    shapes = {
        spec.qualified: reading.relation(number, spec.schema, spec.table, feed)
        for number, (spec, feed) in enumerate(zip(tables, feeds.values(), strict=True), 2)
    }
    ledger = _ledger(config, mark, kept)
    place = place_of(config)
    try:
        staging = Staging(config)
        staging.make()
        staging.keep_only({one.sha256 for one in ledger if one.state == "accepted"})
        for folder in (config.archive, config.errors):
            place.make(folder)
        yield FilesSource(
            config=config,
            deciding=Deciding(feeds, place, staging, ledger, clock.wall),
            watch=Watch(feeds, clock.now),
            moving=Moving(config, place, feeds),
            shapes=shapes,
            clock=clock,
            era=mark.era if mark else 0,
            published=mark.at.get(STREAM, 0) if mark else 0,
            looked=dict(looked(mark.resume)) if mark else {},
            at=at,
        )
    finally:
        place.let_go()


def _ledger(config: FilesConfig, mark: Mark | None, kept: Kept) -> Ledger:
    known = Ledger(kept, secrets.token_hex(4), 0, 0)
    if mark is None:
        return known
    change, arrival = mark.at.get(STRAND, 0), mark.at.get(STREAM, 0)
    if known.change < change or known.last < arrival:
        what = f"the ledger of files ends at change {known.change}, the mark is at {change}"
        if (GapSuspected.code, what) not in _accepted(mark):
            raise GapSuspected(what, where=config.where, hint=answers(config.connection))
    known.change, known.last = max(known.change, change), max(known.last, arrival)
    return known


def looked(resume: bytes) -> Mapping[str, int]:
    """When the files of each feed were looked for first, as a mark says it."""
    try:
        return {feed: int(at_us) for feed, at_us in json.loads(resume).get("looked", {}).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ContractBroken(f"a mark that cannot be read: {error!r}") from None


def _accepted(mark: Mark) -> Sequence[tuple[str, str]]:
    try:
        return [(code, what) for code, what in json.loads(mark.resume).get("accepted", ())]
    except (ValueError, TypeError, AttributeError) as error:
        raise ContractBroken(f"a mark that cannot be read: {error!r}") from None
