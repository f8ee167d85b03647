"""What a connection to partner files needs, and how it stands: looked at, never changed.

Rule: a look changes nothing, and a preflight does not raise: a place that does not answer is a finding.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from connectors.files.config import FilesConfig
from connectors.files.feeds import Feed
from connectors.files.opening import feeds_of, place_of
from connectors.files.places import Place
from engine.errors import EcluseError, SourceUnready
from engine.source import Finding, Measure, Need, TableSpec


@contextmanager
def _open(config: FilesConfig) -> Iterator[Place]:
    place = place_of(config)
    try:
        yield place
    finally:
        place.let_go()


def preflight(config: FilesConfig, tables: Sequence[TableSpec]) -> Sequence[Finding]:
    """What keeps files from being taken; of a flow whose folder is missing, that flow alone."""
    try:
        with _open(config) as place:
            found = [Finding("ok", "place", f"{config.where} answers")]
            for table, feed in feeds_of(tables).items():
                if not place.there(feed.folder):
                    found.append(_missing(config, table, feed))
            return [*found, *_staging(config)]
    except EcluseError as error:
        return [Finding("fail", "place", error.what, fix=error.hint, code=error.code)]


def _missing(config: FilesConfig, table: str, feed: Feed) -> Finding:
    text = f"{table}: there is no folder {feed.folder} in {config.where}"
    return Finding("fail", feed.folder, text, _mkdir(config, feed.folder), SourceUnready.code, table)


def _staging(config: FilesConfig) -> Iterator[Finding]:
    folder = Path(config.staging or ".")
    if config.staging and folder.is_dir():
        free = shutil.disk_usage(folder).free
        if free < config.staging_max_bytes:
            text = f"{free} bytes are free for staging, which may hold {config.staging_max_bytes}"
            yield Finding("warn", "staging", text, fix=f"make room in {folder}, or lower staging_max_bytes")


def provision(config: FilesConfig, tables: Sequence[TableSpec]) -> Sequence[str]:
    """The folders to be made, as a person would make them."""
    return [_mkdir(config, folder) for folder in _folders(config, feeds_of(tables))]


def compare(config: FilesConfig, tables: Sequence[TableSpec]) -> Sequence[Need]:
    """How the folders stand."""
    with _open(config) as place:
        return [
            Need("folder", folder, "there")
            if place.there(folder)
            else Need("folder", folder, "missing", f"in {config.where}", (_mkdir(config, folder),))
            for folder in _folders(config, feeds_of(tables))
        ]


def _folders(config: FilesConfig, feeds: Mapping[str, Feed]) -> Sequence[str]:
    return list(dict.fromkeys([*(feed.folder for feed in feeds.values()), config.archive, config.errors]))


def _mkdir(config: FilesConfig, folder: str) -> str:
    path = shlex.quote(str(PurePosixPath(config.root) / folder))
    return f"mkdir -p {path}" if config.protocol == "local" else f"-mkdir {path}"


def measure(config: FilesConfig) -> Measure:
    """Whether the place answers. What waits there depends on the flows: see ``seeing``."""
    with _open(config) as place:
        return Measure(state="there" if place.there(".") else "missing")


def show_arrival(major: int) -> str:
    """A position as people know it here.

    >>> show_arrival(7)
    'arrival 7'
    """
    return f"arrival {major}"
