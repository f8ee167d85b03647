"""Where a capture is, as its mark remembers it: JSON that people can read in the marks topic.

Rule: everything that the gap check compares stands here, and nothing that the engine has to understand.
``accepted`` is the one field that others write (the verb ``resolve``): the next start goes on over the
findings that it names, and its first mark no longer holds the field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from connectors.postgres import progress
from connectors.postgres.decode import Transaction
from connectors.postgres.progress import Progress
from connectors.postgres.wire import lsn, show_lsn
from engine.errors import ContractBroken
from engine.source import STREAM, Mark

_VERSION: Final = 1

Print = Mapping[str, str]
"""The fingerprint of one table or of the publication: what was looked at → how it was."""


@dataclass(frozen=True, slots=True)
class Resume:
    """What a start compares the server with.

    ``confirmed`` is what the server may forget; ``checked`` is the end of its log when the fingerprint
    was last seen to be right. ``left`` are tables that are not captured now, and what may be missing
    of them begins there: at the ``checked`` of then where the publication lost them, at the ``confirmed`` of
    then where nobody asked for them any more. ``overlap``: whether the last transaction comes again at the
    next start, as proof. ``snapshots``: how far each table's snapshot is. ``accepted``: code and text of
    every stop that a person took on since.
    """

    slot: str
    publication: str
    system_id: str
    timeline: int
    era: int
    confirmed: int
    checked: int
    last: Transaction | None = None
    overlap: Literal["last", "none"] = "none"
    publication_print: Print = field(default_factory=dict)
    table_prints: Mapping[str, Print] = field(default_factory=dict)
    left: Mapping[str, int] = field(default_factory=dict)
    snapshots: Mapping[str, Progress] = field(default_factory=dict)
    accepted: tuple[tuple[str, str], ...] = ()

    @property
    def major(self) -> int:
        """The major of the last complete position: everything up to here has been read."""
        if self.last is None or self.overlap == "none":
            return max(self.confirmed - 1, self.last.commit_lsn if self.last else 0)
        return self.last.commit_lsn

    def mark(self) -> Mark:
        """The mark that says this."""
        return Mark(
            at={STREAM: self.major},
            resume=self.dump(),
            era=self.era,
            committed_us=self.last.commit_us if self.last else 0,
        )

    def dump(self) -> bytes:
        """The bytes of the mark."""
        said: dict[str, Any] = {
            "version": _VERSION,
            "slot": self.slot,
            "publication": self.publication,
            "system_id": self.system_id,
            "timeline": self.timeline,
            "era": self.era,
            "confirmed": show_lsn(self.confirmed),
            "checked": show_lsn(self.checked),
            "overlap": self.overlap,
            "last": self.last._asdict() if self.last else None,
            "publication_print": dict(self.publication_print),
            "table_prints": {name: dict(p) for name, p in self.table_prints.items()},
            "left": {name: show_lsn(at) for name, at in self.left.items()},
            "snapshots": {name: snapshot.said() for name, snapshot in self.snapshots.items()},
        }
        if self.accepted:
            said["accepted"] = self.accepted
        return json.dumps(said, ensure_ascii=False).encode()


def load(mark: Mark) -> Resume:
    """What a mark says."""
    try:
        said = json.loads(mark.resume)
        if said["version"] != _VERSION:
            raise ContractBroken(f"a mark of version {said['version']}, this connector reads {_VERSION}")
        return Resume(
            slot=said["slot"],
            publication=said["publication"],
            system_id=said["system_id"],
            timeline=said["timeline"],
            era=said["era"],
            confirmed=lsn(said["confirmed"]),
            checked=lsn(said["checked"]),
            last=Transaction(**said["last"]) if said["last"] else None,
            overlap=said["overlap"],
            publication_print=said["publication_print"],
            table_prints=said["table_prints"],
            left={name: lsn(at) for name, at in said["left"].items()},
            # a mark of an older version knows of no snapshot
            snapshots={n: progress.from_said(each) for n, each in said.get("snapshots", {}).items()},
            accepted=tuple((code, what) for code, what in said.get("accepted", ())),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ContractBroken(f"a mark that cannot be read: {error!r}") from None


def confirmed_of(mark: Mark) -> int:
    """What the server may forget once this mark is durable."""
    return lsn(json.loads(mark.resume)["confirmed"])
