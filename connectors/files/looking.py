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
            return [*_place(config), *_ours(config, place, feeds_of(tables)), *_staging(config)]
    except EcluseError as error:
        return [Finding("fail", "place", error.what, fix=error.hint, code=error.code)]


def _place(config: FilesConfig) -> Iterator[Finding]:
    yield Finding("ok", "place", f"{config.where} answers")
    if config.protocol == "sftp":
        kind = (config.host_key or "").split()[0]
        yield Finding("ok", "host key", f"the server shows the {kind} key that is declared")


def _ours(config: FilesConfig, place: Place, feeds: Mapping[str, Feed]) -> Iterator[Finding]:
    """The folders: those of feeds, each a finding about its flow, and those that files are put into."""
    for table, feed in feeds.items():
        if place.there(feed.folder):
            trouble = place.trouble(feed.folder, feed.folder)
            text, fix = f"{table}: {feed.folder} of {config.where}: {trouble}", _chmod(config, feed.folder)
        else:
            trouble = text = f"{table}: there is no folder {feed.folder} in {config.where}"
            fix = _mkdir(config, feed.folder)
        if trouble:
            yield Finding("fail", feed.folder, text, fix, SourceUnready.code, table)
    first = next((feed.folder for feed in feeds.values()), ".")
    for folder in (config.archive, config.errors):
        trouble = place.trouble(folder, first) if place.there(folder) else ""
        if trouble:
            text = f"{folder} of {config.where}: {trouble}"
            yield Finding("fail", folder, text, _chmod(config, folder), SourceUnready.code)
        else:
            yield Finding("ok", folder, "files can be put there")


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


def _chmod(config: FilesConfig, folder: str) -> str:
    path = shlex.quote(str(PurePosixPath(config.root) / folder))
    return f"chmod u+rwx {path}  # it has to be ours, on the file system of the others"


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
