"""THE DOOR of files, for connectors whose source is files: how each stands, and what people want of it.

Rule: plain data that people are shown; what a file holds is not here. A wish names the file as it was shown
(its place, size and time of change): it is for that one and for no other. The newest wish for a name is the
one that counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeVar

Standing = Literal[
    "arriving", "announced", "ready", "accepted", "refused", "requeued", "published", "archived"
]
"""How a file stands: the first three lie in their folder and nobody has decided about them.

``arriving`` may still grow; beside one that is ``announced`` stands a marker; one that is ``ready`` has its
final name. ``requeued``: it was refused, and lay in its folder again because a person asked for that.
"""

UNDECIDED: Final[frozenset[Standing]] = frozenset({"arriving", "announced", "ready"})

Verb = Literal["requeue", "reject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person wants of one file: taken again (``requeue``), or put aside unread (``reject``).

    ``number`` tells wishes of a connection apart. ``arrival`` is the number of a file that was decided about.
    """

    number: int
    verb: Verb
    folder: str
    name: str
    size: int
    modified_ns: int
    arrival: int | None = None
    by: str = ""
    at: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a wish: whether it was done, and what was found."""

    wish: int
    verb: str
    by: str
    at: str
    why: str
    done: bool
    text: str


@dataclass(frozen=True, slots=True)
class Control:
    """A control of a file: what it is about, what the file says of itself, and what was found in it."""

    name: str
    said: str
    found: str


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file as people see it. Times are microseconds since 1970; None: not known, or not yet.

    ``feed`` is the table (``schema.table``) of the flows that take it. ``ends`` are the offsets of its topic
    behind its last record. ``lies`` is where it is, below the root; ``sent``: it was refused after some of
    its records may have been sent.
    """

    feed: str
    partner: str
    folder: str
    name: str
    state: Standing
    size: int
    modified_ns: int
    lies: str
    arrival: int | None = None
    sha256: str = ""
    records: int | None = None
    problems: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict, hash=False)
    controls: tuple[Control, ...] = ()
    sequence: int | None = None
    supersedes: int | None = None
    code: str = ""
    reason: str = ""
    sent: bool = False
    decided_us: int | None = None
    published_us: int | None = None
    ends: Mapping[int, int] = field(default_factory=dict, hash=False)
    asked: Done | None = None

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What a file is told apart by while it lies in its folder."""
        return self.folder, self.name, self.size, self.modified_ns


@dataclass(frozen=True, slots=True)
class Expected:
    """That a file is expected: ``text`` says when; ``due`` when the next one is, in microseconds since 1970.

    ``due`` takes the moment at which the last file was accepted, or, where none ever was, its folder was
    looked at first.
    """

    text: str
    due: Callable[[int], int]


C = TypeVar("C")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Files(Generic[C, T]):
    """What a connector of files says of them, without an open source.

    ``read`` makes a file of a row that the connector keeps; ``waiting`` gives those that lie in their
    folders; ``announce`` writes a sidecar beside a file that is whole, and gives its name. ``waiting`` and
    ``announce`` reach the place and raise as ``open`` does. ``expected`` says what a flow expects (None:
    nothing), ``looked`` when the files of each feed were looked for first, as a mark's ``resume`` has it.
    """

    read: Callable[[Mapping[str, Any]], File]
    waiting: Callable[[C, Sequence[T]], Sequence[File]]
    announce: Callable[[C, T, Path, int | None], str]
    expected: Callable[[T], Expected | None]
    looked: Callable[[bytes], Mapping[str, int]]


AnyFiles = Files[Any, Any]
