"""Where files go when nothing is to be read of them any more: the archive, or the folder of errors.

Rule: only the file that was decided about is moved. One of the same name that came since stays, and a file
that somebody else took away is no fault. Its marker goes first: one that is left behind would call the next
file of that name whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from connectors.files.config import FilesConfig
from connectors.files.feeds import Feed
from connectors.files.ledger import Entry
from connectors.files.places import Listed, Place, Stat, kept_as, shown
from connectors.files.ready import markers
from engine.errors import SourceUnreachable

GONE: Final = "gone"
"""Where a file lies that was taken away by somebody else."""


@dataclass(slots=True)
class Moving:
    """The folders of one connection."""

    config: FilesConfig
    place: Place
    feeds: Mapping[str, Feed]
    _odd: dict[tuple[str, str], str] = field(default_factory=dict)  # names that are no text, by what is shown

    def saw(self, folder: str, listed: Sequence[Listed]) -> None:
        """Remember the names of a folder that are no text."""
        self._odd.update(
            {(folder, text): one.name for one in listed if (text := shown(one.name)) != one.name}
        )

    def real(self, folder: str, name: str) -> str:
        """A file's own name."""
        return self._odd.get((folder, name), name)

    def places(self, one: Entry) -> Sequence[tuple[str, str]]:
        """Where an accepted file may lie: a worker that ended may have archived it already."""
        name = self.real(one.folder, one.name)
        return (one.folder, name), (self.config.archive, kept_as(one.arrival, name))

    def put_away(self, one: Entry) -> Entry:
        """Move a file, if it still is the one that was decided about; its entry says where it is."""
        name, to = self.real(one.folder, one.name), self.config.archive if one.taken else self.config.errors
        was, new = Stat(one.size, one.modified_ns), kept_as(one.arrival, name)
        state = "archived" if one.taken else one.state
        if self.place.stat(to, new) == was:  # moved before a kill
            return replace(one, state=state, moved_to=f"{to}/{shown(new)}")
        if self.place.stat(one.folder, name) != was:
            return replace(one, state=state, moved_to=GONE)
        feed = self.feeds.get(one.feed)
        for marker in markers(feed, name) if feed is not None else ():
            self.place.move(one.folder, marker, to, kept_as(one.arrival, marker))
        moved = self.place.move(one.folder, name, to, new)
        if moved and self.place.stat(to, new) != was:
            self.place.move(to, new, one.folder, name)
            raise SourceUnreachable(f"{one.name} was replaced while it was moved", where=self.config.where)
        return replace(one, state=state, moved_to=f"{to}/{shown(new)}" if moved else GONE)

    def back(self, one: Entry) -> tuple[str, str]:
        """Move a refused file back to its folder: where it lies now, and what stood in the way.

        Its markers come last: beside a file that is not there they would call another one whole.
        """
        folder, errors, was = one.folder, self.config.errors, Stat(one.size, one.modified_ns)
        name, kept = self._kept(one)
        lies = f"{folder}/{one.name}"
        if self.place.stat(folder, name) != was:  # otherwise it never left, or was moved before a kill
            if self.place.stat(errors, kept) != was:
                return one.moved_to or GONE, f"it is not in {errors} any more"
            if self.place.stat(folder, name) is not None:
                return one.moved_to, f"another file of its name lies in {folder}"
            self.place.move(errors, kept, folder, name)
        feed = self.feeds.get(one.feed)
        for marker in markers(feed, name) if feed is not None else ():
            self.place.move(errors, kept_as(one.arrival, marker), folder, marker)
        return lies, ""

    def _kept(self, one: Entry) -> tuple[str, str]:
        """A refused file's own name, and the one that it has among the errors."""
        name = self.real(one.folder, one.name)
        kept = kept_as(one.arrival, name)
        if not one.moved_to or self.place.stat(self.config.errors, kept) is not None:
            return name, kept
        # a name that is no text is known by what is shown of it
        shown_as = one.moved_to.removeprefix(f"{self.config.errors}/")
        odd = [it.name for it in self.place.list(self.config.errors) if shown(it.name) == shown_as]
        return (odd[0].removeprefix(f"{one.arrival}-"), odd[0]) if odd else (name, kept)
