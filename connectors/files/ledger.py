"""The ledger of files: what became of each file that was taken, as rows of a compacted topic.

Rule: an arrival number is given once, in the order in which files are decided about, and is durable before a
record of its file is sent. A number names one file; each opening writes entries of its own under it, so that
a worker that was replaced can overwrite none of its successor's. What is landed is not written here.

A file that nobody has decided about yet is in no entry: a look at the folder says that it is announced or
arriving, and one that is staged is staged for as long as this process lives.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Literal, get_args

from engine.arrivals import Done, Wish
from engine.errors import ContractBroken
from engine.schema import Cell, Column, Identity, Int64, Relation, String
from engine.source import Ends, Field, Kept, Row
from engine.varint import SIZES, long

State = Literal["accepted", "refused", "published", "archived"]
"""What became of a file."""

STRAND: Final = "files"
"""The strand of the ledger's own rows: each batch of entries has the next major."""

TABLE: Final = "_files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file. Times are microseconds since 1970; ``modified_ns`` is the place's own and only compared.

    ``feed`` is the flow's table (``partner.feed``). ``records`` are the details, ``problems`` those of them
    that are not fit, ``totals`` counts and control totals. ``supersedes`` is the arrival of the file that it
    takes the place of, and ``superseded_era`` the era in which that one's records were sent; ``era`` is the
    same of its own, once they are. An era that is not known is that of now. ``code`` and ``reason`` say why
    it was refused, or what there is to know of one that was taken. ``ends`` are the offsets behind its last
    record, by partition. ``moved_to`` is where the file lies now, below the root. ``sent`` is 1 where a file
    was refused when some of its records may have been sent. ``asked`` is what became of the newest wish about
    it. ``change`` is the batch in which the entry was written, 0 before.
    """

    arrival: int
    opening: str
    change: int
    state: State
    partner: str
    feed: str
    folder: str
    name: str
    size: int
    modified_ns: int
    sha256: str
    decided_us: int
    records: int = 0
    problems: int = 0
    totals: Mapping[str, Any] = field(default_factory=dict, hash=False)
    sequence: int | None = None
    supersedes: int | None = None
    code: str = ""
    reason: str = ""
    published_us: int | None = None
    ends: Mapping[str, int] = field(default_factory=dict, hash=False)
    moved_to: str = ""
    sent: int = 0
    asked: Mapping[str, Any] = field(default_factory=dict, hash=False)
    era: int | None = None
    superseded_era: int | None = None

    @property
    def taken(self) -> bool:
        """Whether its records are, or will be, on the topic."""
        return self.state != "refused"


_LATER: Final = ("era", "superseded_era")
"""What entries of an older version do not have."""
_NUMBERS: Final = frozenset(
    {
        "arrival", "change", "size", "modified_ns", "decided_us", "records", "problems", "sequence",
        "supersedes", "published_us", "sent", "era", "superseded_era",
    }
)  # fmt: skip
_MAYBE: Final = frozenset({"sequence", "supersedes", "published_us", *_LATER})
_NAMES: Final = tuple(one.name for one in fields(Entry))
_TREES: Final = ("totals", "ends", "asked")


def _number(field: bytes) -> bytes:
    return b"" + field


_TEXT: Final = Cell("text", lambda v: SIZES[len(v)] + v, bytes.decode, "SIZES[len(v)] + v", {"SIZES": SIZES})
_LONG: Final = Cell("number", _number, lambda v: v.hex(), "v + NOTHING", {"NOTHING": b""})

FILES: Final = Relation(
    1,
    "",
    TABLE,
    tuple(
        Column(name, Int64(), name in _MAYBE, "bigint", _LONG)
        if name in _NUMBERS
        else Column(name, String(), nullable=False, declared="text", cell=_TEXT)
        for name in _NAMES
    ),
    ("arrival", "opening"),
    Identity.DEFAULT,
)
"""What the connector keeps; the schema is the connection's name."""


def row(entry: Entry) -> Row:
    """An entry as a row of ``FILES``."""
    return "c", None, [_field(getattr(entry, name)) for name in _NAMES]


def _field(value: object) -> Field:
    match value:
        case None:
            return None
        case int():
            return long(value)
        case str():
            return value.encode("utf-8", "backslashreplace")
        case _:
            return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def entry(kept: Mapping[str, Any]) -> Entry:
    """An entry as the topic gave it back."""
    try:
        said: dict[str, Any] = {name: kept[name] for name in _NAMES if name not in _LATER}
        said |= {name: kept.get(name) for name in _LATER}
        said |= {name: json.loads(said[name]) for name in _TREES}
    except (KeyError, ValueError, TypeError) as error:
        raise ContractBroken(f"an entry of the ledger of files that cannot be read: {error!r}") from None
    if said["state"] not in get_args(State):
        raise ContractBroken(f"an entry of the ledger of files in state {said['state']}")
    return Entry(**said)


class Wishes:
    """What people want of files, and nobody has done yet."""

    def __init__(self, wishes: Sequence[Wish]) -> None:
        self._rejected = {(one.folder, one.name): one for one in wishes if one.verb == "reject"}
        self._requeued = {one.arrival: one for one in wishes if one.verb == "requeue"}
        self._entries: dict[int, Entry] = {}

    def known(self, one: Entry) -> None:
        """An entry of the ledger; a later one under the same number takes its place."""
        if one.arrival in self._requeued:
            self._entries[one.arrival] = one
        wish = self._rejected.get((one.folder, one.name))
        if wish is not None and one.asked.get("wish") == wish.number:
            del self._rejected[one.folder, one.name]

    def to_requeue(self) -> Iterator[tuple[Entry, Wish]]:
        """The refused files that somebody wants to be taken again, in the order in which that was asked."""
        for wish in self._requeued.values():
            one = self._entries.get(wish.arrival or 0)
            shown = one is not None and (one.size, one.modified_ns) == (wish.size, wish.modified_ns)
            if one is not None and shown and not one.taken and one.asked.get("wish") != wish.number:
                yield one, wish

    def rejection(self, folder: str, name: str, size: int, modified_ns: int) -> Wish | None:
        """The wish that a file is put aside, if there is one for a file that looks like this."""
        wish = self._rejected.get((folder, name))
        return wish if wish is not None and (wish.size, wish.modified_ns) == (size, modified_ns) else None

    def rejected(self, wish: Wish) -> None:
        """That was done."""
        self._rejected.pop((wish.folder, wish.name), None)


def done(wish: Wish, text: str, *, well: bool = True) -> Mapping[str, Any]:
    """What an entry says of a wish."""
    return asdict(Done(wish.number, wish.verb, wish.by, wish.at, wish.why, well, text))


class Ledger:
    """What is known of the files that were taken.

    Of one that is settled only its hash, name and numbers are remembered; the others are here whole.
    """

    def __init__(self, kept: Kept, opening: str, arrival: int, change: int) -> None:
        self._opening = opening
        self._open: dict[int, Entry] = {}
        self._by_hash: dict[tuple[str, bytes], int] = {}
        self._by_name: dict[tuple[str, str], tuple[int, int | None]] = {}
        self._numbered: dict[str, tuple[int, int]] = {}  # arrival and number of the newest file with one
        self._changed: dict[int, Entry] = {}
        self.change, self.last = change, arrival
        wishes = [one for one in kept if isinstance(one, Wish)]
        self.wishes = Wishes(wishes)
        for row in kept:
            if not isinstance(row, Wish):
                one = entry(row)
                self.wishes.known(one)
                self._put(one)

    def __iter__(self) -> Iterator[Entry]:
        """The files that something is still to be done about, in the order of their numbers."""
        return iter([self._open[arrival] for arrival in sorted(self._open)])

    def number(self) -> int:
        """The next arrival number."""
        self.last += 1
        return self.last

    def same_bytes(self, feed: str, sha256: str) -> int | None:
        """The file of a feed that had these bytes and was taken."""
        return self._by_hash.get((feed, bytes.fromhex(sha256)))

    def same_name(self, feed: str, name: str) -> tuple[int, int | None] | None:
        """The newest file of a feed that had this name and was taken, and the era of its records."""
        return self._by_name.get((feed, name))

    def sequence(self, feed: str) -> int | None:
        """The number that the newest file of a feed gave itself."""
        return self._numbered[feed][1] if feed in self._numbered else None

    def write(self, one: Entry) -> None:
        """Keep an entry; it leaves with the next batch."""
        self._changed[one.arrival] = one = replace(one, opening=self._opening)
        self._put(one)

    def batch(self) -> Sequence[Entry]:
        """The entries that were written since the last batch, under the number of this change."""
        if not self._changed:
            return ()
        self.change += 1
        changed, self._changed = self._changed, {}
        told = [replace(changed[arrival], change=self.change) for arrival in sorted(changed)]
        for one in told:
            self._put(one)
        return told

    def _put(self, one: Entry) -> None:
        self.last, self.change = max(self.last, one.arrival), max(self.change, one.change)
        if one.moved_to:
            self._open.pop(one.arrival, None)
        else:
            self._open[one.arrival] = one
        name, bytes_ = (one.feed, one.name), (one.feed, bytes.fromhex(one.sha256))
        if not one.taken:
            if self._by_hash.get(bytes_) == one.arrival:  # it was accepted, and could not be published
                del self._by_hash[bytes_]
                self._forget(name, one)
            return
        self._by_hash[bytes_] = one.arrival
        if self._by_name.get(name, (0, None))[0] <= one.arrival:
            self._by_name[name] = one.arrival, one.era
        if one.sequence is not None:
            newest = self._numbered.get(one.feed, (0, 0))
            self._numbered[one.feed] = max(newest, (one.arrival, one.sequence))

    def _forget(self, name: tuple[str, str], one: Entry) -> None:
        """A file that was accepted has not taken the place of the one that had its name."""
        if self._by_name.get(name, (0, None))[0] == one.arrival:
            del self._by_name[name]
            if one.supersedes is not None:
                self._by_name[name] = one.supersedes, one.superseded_era


def ends_of(ends: Ends, feed: str) -> Mapping[str, int]:
    """The offsets of one feed's topic, as an entry has them."""
    return {str(partition): end for partition, end in sorted(ends.get(feed, {}).items())}
