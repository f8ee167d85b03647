"""How far the snapshot of each table is, as a mark remembers it.

Rule: pure. What stands here is enough to go on after a kill: from the last key of the last part that is
durable, in a part that is read again from its beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from connectors.postgres.wire import lsn, show_lsn
from engine.source import TableSpec, declared, snapshot_strand

_NEVER: Final = 1 << 64
AFTER_ALL: Final = 0
"""A ``since`` below every change: the table's stream was there before its snapshot."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One table: ``run`` is the one that it is in or has done (None: nothing is to be read).

    Changes that commit below ``since`` are not told, because the snapshot brings what they left (None: not
    known yet, so none is told). ``after`` is the key, as texts, of the last row that is durable; ``part``
    counts the parts, each read under one snapshot of the source; ``rows`` are those of durable parts.
    ``wanted`` is the number of the table's spec that this run answers, ``era`` the one in which it began. A
    run that ``sweeps`` ends with a ``floor``, (era, major) below its first part: what stands below it in the
    lake is gone from the source.
    """

    run: int | None
    since: int | None = None
    after: tuple[str, ...] = ()
    part: int = 0
    rows: int = 0
    done: bool = False
    wanted: int = 0
    era: int = 0
    sweeps: bool = False
    floor: tuple[int, int] | None = None

    @property
    def pending(self) -> bool:
        """Whether rows are still to be read."""
        return self.run is not None and not self.done

    @property
    def told_from(self) -> int:
        """The first commit that may be told."""
        return _NEVER if self.since is None else self.since

    def strand(self, part: str) -> str:
        """The strand of a part. Where marks were lost the runs begin anew, so a later era is in its name.

        >>> Progress(1).strand("7"), Progress(0, era=2).strand("7")
        ('snapshot:1:7', 'snapshot:0:2.7')
        """
        return snapshot_strand(self.run or 0, f"{self.era}.{part}" if self.era else part)

    def said(self) -> dict[str, Any]:
        """The same as JSON."""
        since = None if self.since is None else show_lsn(self.since)
        floor = None if self.floor is None else [self.floor[0], show_lsn(self.floor[1])]
        return {
            "run": self.run, "since": since, "after": list(self.after), "part": self.part,
            "rows": self.rows, "done": self.done, "wanted": self.wanted, "era": self.era,
            "sweeps": self.sweeps, "floor": floor,
        }  # fmt: skip


def from_said(said: Mapping[str, Any]) -> Progress:
    """Progress out of JSON.

    >>> p = Progress(0, 258, ("7", "x"), 2, 30, wanted=1, era=1, sweeps=True, floor=(1, 257))
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
        wanted=said["wanted"],
        era=said["era"],
        sweeps=said["sweeps"],
        floor=None if said["floor"] is None else (said["floor"][0], lsn(said["floor"][1])),
    )


def planned(
    was: Mapping[str, Progress], tables: Iterable[TableSpec], streamed: Iterable[str], era: int, *, anew: bool
) -> dict[str, Progress]:
    """What is to be read at a start; ``streamed`` are the tables whose changes were told before it.

    ``anew``: what was told before is not known any more.

    >>> spec = TableSpec("f", "public", "t", snapshot=0)
    >>> planned({}, [spec], [], 0, anew=False)["public.t"].pending
    True
    """
    found, before = dict(was), set(streamed)
    for spec in tables:
        name = spec.qualified
        known = was.get(name)
        if spec.snapshot is None:
            # what was begun is given up: from now on the stream alone is asked for
            found[name] = known if known is not None and known.done else Progress(None, AFTER_ALL)
        elif known is None or known.run is None:
            told = name in before
            found[name] = Progress(
                declared(spec.snapshot), AFTER_ALL if told else None, wanted=spec.snapshot, era=era,
                sweeps=told or anew,
            )  # fmt: skip
        elif spec.snapshot > known.wanted:
            run = max(known.run + 1, declared(spec.snapshot))
            found[name] = Progress(run, known.since, wanted=spec.snapshot, era=era, sweeps=True)
        else:
            found[name] = replace(known, wanted=spec.snapshot)  # lowered: raising it again counts
    return found
