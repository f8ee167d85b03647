"""Which feeds wait for a file that is due: seen from the ledger, and from no worker.

Rule: the feeds of a worker that is dead grow overdue, too. What is not known is None, never 0. The clocks of
two machines meet here, the one that decided and the one that looks: good for an alarm, and for no order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engine.watch.files import Shelf


@dataclass(frozen=True, slots=True)
class Awaited:
    """A feed that expects files, at one moment; times are microseconds since 1970.

    ``text`` says when they are expected. ``last_us`` is when the newest one was accepted, None: none ever
    was. ``due_us`` is when the next one is due; None: nobody has looked for one yet.
    """

    connection: str
    feed: str
    flows: tuple[str, ...]
    text: str
    last_us: int | None
    due_us: int | None
    overdue_s: float | None

    def as_dict(self) -> dict[str, Any]:
        """What ``--json`` prints of it; unknown is null."""
        return asdict(self) | {"flows": list(self.flows)}


def awaited(shelf: Shelf, newest: Mapping[str, int], now_us: int) -> Iterator[Awaited]:
    """The feeds of a connection that expect files; ``newest`` is when each one's last was accepted."""
    for feed, expected in sorted(shelf.expected.items()):
        last_us = newest.get(feed)
        since_us = shelf.looked.get(feed) if last_us is None else last_us
        due_us = None if since_us is None else expected.due(since_us)
        overdue_s = None if due_us is None else max(0.0, (now_us - due_us) / 1e6)
        flows = tuple(flow.name for flow in shelf.flows if flow.table.qualified == feed)
        yield Awaited(shelf.capture.name, feed, flows, expected.text, last_us, due_us, overdue_s)
