"""What framing gives: the records of one file in lots, and why a file or one record of it is not fit.

Rule: a record that is not fit is data, a ``Problem`` in its place; a file that is not fit is ``Refused``,
and then nothing of it is published. Fields travel as the partner wrote them, as text in UTF-8: nothing is
typed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

Text = bytes | None
"""One field: its text in UTF-8; None where the record has no such field or says null."""

# Kinds of records, which controls tell apart: a layout names its record types by them.
HEADER: Final = "header"
DETAIL: Final = "detail"
TRAILER: Final = "trailer"
DOCUMENT: Final = "document"  # what stands beside the records of a JSON document


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may cost before it is refused, whatever it says of itself.

    ``content`` bounds a file's content without its container, ``ratio`` how many times the container's
    bytes that may be (looked at beyond the first MiB), ``members`` how many an archive may hold, ``depth``
    how deep JSON and XML may nest, ``record`` and ``field`` their bytes, ``lines`` how many lines one
    record may have.
    """

    content: int = 1 << 40
    ratio: int = 200
    members: int = 1_000
    depth: int = 64
    record: int = 1 << 20
    field: int = 1 << 20
    lines: int = 1_000


DEFAULTS: Final = Limits()


class Refused(Exception):
    """The file as a whole is not fit: a stable code, what was seen, and where.

    ``record`` is the record's number in the file, from 1, and ``at`` the byte of the content at which it
    was seen; None where that has no meaning. It never leaves this package: it becomes an entry in the
    ledger of files.
    """

    def __init__(self, code: str, what: str, *, record: int | None = None, at: int | None = None) -> None:
        super().__init__(what)
        self.code, self.what, self.record, self.at = code, what, record, at


@dataclass(frozen=True, slots=True)
class Problem:
    """Why one record of a good file becomes one quarantined row: a code, what was seen, and its bytes."""

    code: str
    what: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Lot:
    """Consecutive records of one kind.

    ``first`` is the number of its first record among all records of the file, header and trailer included,
    from 1: in a file of lines without line breaks in fields, the line's number. ``kind`` names the record
    type (``detail`` where a format has but one). ``columns()`` are the fields of each declared column of
    that kind, in their order, each ``count`` long; a record with a problem has None in each of them.
    ``problems`` maps its place in the lot, from 0. ``pick`` gives the columns at some places alone, where a
    format can do that for less than all of them; ask ``only``.
    """

    first: int
    kind: str
    count: int
    columns: Callable[[], Sequence[Sequence[Text]]]
    problems: Mapping[int, Problem] = field(default_factory=dict)
    pick: Callable[[Sequence[int]], Sequence[Sequence[Text]]] | None = None

    def only(self, places: Sequence[int]) -> Sequence[Sequence[Text]]:
        """The columns at these places, in the order asked for: what controls need of a lot."""
        if self.pick is not None:
            return self.pick(places)
        columns = self.columns()
        return [columns[place] for place in places]
