"""The wish that a flow rests: a file of its own in the lake, which people write and the landing only reads.

Rule: no writer of a flow's state touches it, so a wish is never overwritten, and it holds whether or not a
landing runs. The landing asks whether the file is there and nothing else: one that a hand has written
counts too.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from engine.lake.book import reached, write_atomically
from engine.names import pause_file
from engine.state import Pause


def begin(root: Path, wish: Pause) -> None:
    """Let a flow rest from the landing's next look on; a batch in flight ends."""
    write_atomically(root / pause_file(wish.flow), json.dumps(asdict(wish), ensure_ascii=False, indent=1))


def end(root: Path, flow: str) -> None:
    """Let a flow go on."""
    path = root / pause_file(flow)
    with reached(path):
        path.unlink(missing_ok=True)


def resting(root: Path) -> frozenset[str]:
    """The flows that rest."""
    folder = root / pause_file("any").parent
    with reached(folder):
        try:
            return frozenset(path.stem for path in folder.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return frozenset()
