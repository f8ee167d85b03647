"""The ports of a stack: free ones on loopback, chosen once per state folder and kept.

Rule: below the range from which the system takes ports for outgoing connections, so that no client (and no
connection to itself) sits on a port while its service is down. This room keeps nothing open.
"""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from engine.errors import StackFailed

LOOPBACK: Final = "127.0.0.1"
_FIRST, _LAST = 15_000, 32_000
_TRIES: Final = 500


def kept(path: Path, names: Sequence[str]) -> dict[str, int]:
    """The port of each name: what ``path`` remembers, and free ones (then remembered) for the rest."""
    known: dict[str, int] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    missing = [name for name in names if name not in known]
    if missing:
        for name in missing:
            known[name] = free(set(known.values()))
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(known, indent=1), encoding="utf-8")
        draft.replace(path)
    return {name: known[name] for name in names}


def free(taken: set[int]) -> int:
    """A port on loopback that nobody listens on and that is not ``taken``."""
    chance = random.SystemRandom()
    for _ in range(_TRIES):
        port = chance.randrange(_FIRST, _LAST)
        if port not in taken and is_free(port):
            return port
    raise StackFailed("no free port on loopback", hint=f"something holds every port from {_FIRST} to {_LAST}")


def is_free(port: int) -> bool:
    """Whether one could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def refuse_taken(service: str, port: int, path: Path) -> None:
    """Raise StackFailed when somebody else listens where a service wants to."""
    if not is_free(port):
        raise StackFailed(
            f"port {port} of {service} is taken by another process",
            where=str(path),
            hint=f"stop what listens there (ss -ltnp 'sport = :{port}'), or: ecluse down --delete",
        )
