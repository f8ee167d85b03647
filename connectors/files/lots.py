"""Rows as they are read, gathered into lots.

Rule: a lot holds one kind, at most ``ROWS`` records and about ``BYTES`` of what they were read from, so that
memory does not grow with the file. This room does not read anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from connectors.files.records import Lot, Problem, Text

ROWS: Final = 4_096
BYTES: Final = 1 << 20
_SHOWN: Final = 60  # characters of what is wrong that a text shows

Unknown = Literal["ignore", "problem"]
"""What becomes of a record with a key, an element or an attribute that no column names."""


class Fault(NamedTuple):
    """Why a record is not fit: a code and what was seen. With the record's bytes it is a ``Problem``."""

    code: str
    what: str


def shown(text: str) -> str:
    """A text of the partner's in a message: cut, and without anything that a terminal obeys."""
    return ascii(str(text[:_SHOWN])) + ("…" if len(text) > _SHOWN else "")


class Gathering:
    """The records since the last lot, of one kind and ``width`` columns."""

    def __init__(self, kind: str, width: int, first: int) -> None:
        self.kind, self.first = kind, first
        self._nothing: Sequence[Text] = (None,) * width
        self._rows: list[Sequence[Text]] = []
        self._problems: dict[int, Problem] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def full(self) -> bool:
        """Whether it is time to hand the lot on."""
        return len(self._rows) >= ROWS or self._bytes >= BYTES

    def add(self, row: Sequence[Text], size: int) -> None:
        """One more record, read from so many bytes."""
        self._rows.append(row)
        self._bytes += size

    def fail(self, fault: Fault, raw: bytes) -> None:
        """One more record, which is not fit."""
        self._problems[len(self._rows)] = Problem(fault.code, fault.what, raw)
        self.add(self._nothing, len(raw))

    def lot(self) -> Lot:
        """What was gathered; its columns are turned when they are asked for."""
        rows, width = self._rows, len(self._nothing)

        def columns() -> Sequence[Sequence[Text]]:
            return tuple(zip(*rows, strict=True)) if rows else ((),) * width

        return Lot(self.first, self.kind, len(rows), columns, self._problems)
