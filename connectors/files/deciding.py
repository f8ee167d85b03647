"""What becomes of one file: accepted under the next arrival number, refused with its reason, or not yet.

Rule: a file is decided about once, from its staged copy, in the order in which files came; a reason holds
both sides of what does not agree. A file that changes while it is looked at is still arriving, and no entry.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from connectors.files import announced, reading
from connectors.files.controlled import SEQUENCE
from connectors.files.feeds import Feed
from connectors.files.ledger import Entry, Ledger, done
from connectors.files.places import Place
from connectors.files.reading import Judged
from connectors.files.ready import Candidate
from connectors.files.records import Refused
from connectors.files.staging import Changed, Staging, TooLarge
from engine.arrivals import Wish

_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Deciding:
    """Where files come from, where copies lie, and what is known of earlier ones; ``wall`` is the time."""

    feeds: Mapping[str, Feed]
    place: Place
    staging: Staging
    ledger: Ledger
    wall: Callable[[], float]

    def decide(self, one: Candidate) -> Generator[None, None, Entry | None]:
        """Stage a file and look at it; its entry is in the ledger, or it is None: not now."""
        table, sha256 = one.feeds[0], ""
        feed = self.feeds[table]
        judged: Judged | None = None
        code = reason = ""
        wish = self.rejection(one)
        if wish is not None:
            return self._put_aside(one, wish)
        try:
            staged = yield from self.staging.fill(self.place, one.folder, one.name, one.stat)
            if staged is None:
                return None
            sha256 = staged
            self._known(one, feed, table, sha256)
            told = announced.beside(self.place, one)
            if told is not None:
                told.holds(feed.partner, one.stat.size, sha256)
            judged = yield from self._judge(one, feed, table, sha256)
            if told is not None:
                told.counts(judged.records)
        except Changed:
            return None
        except TooLarge as error:
            code, reason = "file.size", str(error)
        except Refused as error:
            code, reason = error.code, _said(error)
        entry = self._entry(one, sha256, judged, (code, reason))
        if code and sha256:
            self.staging.drop(sha256)
        self.ledger.write(entry)
        return entry

    def rejection(self, one: Candidate) -> Wish | None:
        """The wish of a person that this file is put aside."""
        stat = one.stat
        return self.ledger.wishes.rejection(one.folder, one.shown, stat.size, stat.modified_ns)

    def _put_aside(self, one: Candidate, wish: Wish) -> Entry:
        """The entry of a file that a person rejects: nobody reads it."""
        why = ("file.rejected", f"rejected by {wish.by}" + (f": {wish.why}" if wish.why else ""))
        entry = replace(self._entry(one, "", None, why), asked=done(wish, "put aside, unread"))
        self.ledger.write(entry)
        self.ledger.wishes.rejected(wish)
        return entry

    def _known(self, one: Candidate, feed: Feed, table: str, sha256: str) -> None:
        """Refuse what came before, and what belongs to nobody."""
        if len(one.feeds) > 1:
            raise Refused("file.feeds", f"its name fits the patterns of {' and '.join(one.feeds)}")
        same = self.ledger.same_bytes(table, sha256)
        if same is not None:
            raise Refused("file.duplicate", f"the same bytes came as arrival {same}")
        before = self.ledger.same_name(table, one.shown)
        if before is not None and feed.same_name == "reject":
            raise Refused("file.name", f"arrival {before[0]} had the same name, with other bytes")

    def _judge(self, one: Candidate, feed: Feed, table: str, sha256: str) -> Generator[None, None, Judged]:
        today = datetime.fromtimestamp(self.wall(), UTC).date()
        last = self.ledger.sequence(table)
        with self.staging.open(sha256) as file:
            return (yield from reading.judge(file, feed, name=one.shown, today=today, last=last))

    def _entry(self, one: Candidate, sha256: str, judged: Judged | None, why: tuple[str, str]) -> Entry:
        """The entry of a file; with a code and a reason, it is refused."""
        table, (code, reason) = one.feeds[0], why
        feed = self.feeds[table]
        more: dict[str, Any] = {}
        if judged is not None:
            more = {
                "records": judged.records,
                "problems": judged.problems,
                "totals": judged.said(),
                "sequence": judged.totals.sequence,
            }
            if judged.totals.alarm and not code:
                more |= {"code": SEQUENCE, "reason": judged.totals.alarm}
        before = self.ledger.same_name(table, one.shown)
        if not code and before is not None and feed.same_name == "supersede":
            more["supersedes"], more["superseded_era"] = before
        return Entry(
            arrival=self.ledger.number(),
            opening="",
            change=0,
            state="refused" if code else "accepted",
            partner=feed.partner,
            feed=table,
            folder=one.folder,
            name=one.shown,
            size=one.stat.size,
            modified_ns=one.stat.modified_ns,
            sha256=sha256,
            decided_us=int(self.wall() * _MILLION),
            **({"code": code, "reason": reason} | more),
        )


def _said(error: Refused) -> str:
    at = f" (record {error.record})" if error.record is not None else ""
    return f"{error.what}{at}" + (f" (byte {error.at})" if error.at is not None else "")
