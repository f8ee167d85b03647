"""Announcing a file, for a mover that has put it into its folder: no topic and no worker is needed for it.

Rule: the file is read once, where it lies, and must not change meanwhile; the sidecar is written last, whole.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from connectors.files.announced import Announced
from connectors.files.config import FilesConfig
from connectors.files.feeds import Feed
from connectors.files.opening import place_of
from connectors.files.places import Place, fit
from connectors.files.ready import markers
from engine.errors import Unusable


def announce(config: FilesConfig, feed: Feed, path: Path, *, records: int | None = None) -> str:
    """Announce a file that lies whole in its feed's folder; gives the sidecar's name.

    ``records`` is how many it has, where its sender says so. Raises Unusable for what is no file there, or
    changes.
    """
    place = place_of(config)
    try:
        sha256, size = _hashed(place, config, feed.folder, path.name)
        sidecar = markers(feed, path.name)[0]
        place.write(feed.folder, sidecar, Announced(feed.partner, size, sha256, records).dump())
    finally:
        place.let_go()
    return sidecar


def _hashed(place: Place, config: FilesConfig, folder: str, name: str) -> tuple[str, int]:
    opened = place.open(folder, name) if fit(name) else None
    if opened is None:
        raise Unusable(
            f"there is no file {name} in {folder}",
            where=config.where,
            hint="move the file there first, then announce it",
        )
    digest, size = hashlib.sha256(), 0
    try:
        before = opened.stat()
        while piece := opened.file.read(1 << 20):
            size += len(piece)
            digest.update(piece)
        if opened.stat() != before or size != before.size:
            raise Unusable(
                f"{name} changed while it was read", where=config.where, hint="announce it when it is whole"
            )
    finally:
        place.close(opened)
    return digest.hexdigest(), size
