"""How far the snapshot of each table is, as a mark remembers it.

Rule: pure. What stands here is enough to go on after a kill: from the last key of the last part that is
durable, in a part that is read again from its beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from connectors.postgres.wire import lsn, show_lsn
from engine.source import TableSpec

_NEVER: Final = 1 << 64
AFTER_ALL: Final = 0
"""A ``since`` below every change: the table's stream was there before its snapshot."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One table: ``run`` is the one that it is in or has done (None: nothing is to be read).

    Changes that commit below ``since`` are not told, because the snapshot brings what they left (None: not
    known yet, so none is told). ``after`` is the key, as texts, of the last row that is durable; ``part``
    counts the parts, each read under one snapshot of the source; ``rows`` are those of durable parts.
    """

    run: int | None
    since: int | None = None
    after: tuple[str, ...] = ()
    part: int = 0
    rows: int = 0
    done: bool = False

    @property
    def pending(self) -> bool:
        """Whether rows are still to be read."""
        return self.run is not None and not self.done

    @property
    def told_from(self) -> int:
        """The first commit that may be told."""
        return _NEVER if self.since is None else self.since

    def said(self) -> dict[str, Any]:
        """The same as JSON."""
        since = None if self.since is None else show_lsn(self.since)
        return {
            "run": self.run, "since": since, "after": list(self.after), "part": self.part,
            "rows": self.rows, "done": self.done,
        }  # fmt: skip


def from_said(said: Mapping[str, Any]) -> Progress:
    """Progress out of JSON.

    >>> p = Progress(0, 258, ("7", "x"), 2, 30)
    >>> from_said(p.said()) == p
    True
    """
    return Progress(
        run=said["run"],
        since=None if said["since"] is None else lsn(said["since"]),
        after=tuple(said["after"]),
        part=said["part"],
        rows=said["rows"],
        done=said["done"],
    )


def planned(
    was: Mapping[str, Progress], tables: Iterable[TableSpec], streamed: Iterable[str]
) -> dict[str, Progress]:
    """What is to be read at a start; ``streamed`` are the tables whose changes were told before it.

    >>> spec = TableSpec("f", "public", "t", snapshot=0)
    >>> planned({}, [spec], [])["public.t"].pending
    True
    """
    found, before = dict(was), set(streamed)
    for spec in tables:
        name = f"{spec.schema}.{spec.table}"
        known = was.get(name)
        told = name in before
        if spec.snapshot is None:
            # what was begun is given up: from now on the stream alone is asked for
            found[name] = known if known is not None and known.done else Progress(None, AFTER_ALL)
        elif known is None or known.run is None:
            found[name] = Progress(spec.snapshot, AFTER_ALL if told else None)
    return found
