"""How a connector writes what it reads: files as a partner would send them, to try a flow with.

Rule: values come from outside, texts and no types; what stands around them (headers, trailers with their
counts and sums, containers, names) is the connector's, and so is what can be wrong with a record or a file.
What becomes of each defect is known before it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, BinaryIO, Literal, Protocol

Value = str | None
Row = tuple[Value, ...]
Texts = Callable[[], Iterator[tuple[Row, str]]]
"""The rows of a file, from the first one again at each call; with each the defect of its record, if any."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a column's text has to be: at most ``width`` characters (None: any number), or bytes.

    ``fill``: no padding is taken off again, so that a text has to be as wide as its field. ``never`` are
    characters that the format has no way to write. ``empty``: the format can say that there is no value.
    ``amount``: a control adds these texts up, as numbers of such a format, whatever they land as.
    """

    width: int | None = None
    in_bytes: bool = False
    fill: bool = False
    never: str = ""
    empty: bool = False
    amount: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a record or a file with a defect, and the code that says why."""

    becomes: Literal["refused", "quarantined", "accepted"]
    code: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file: its number in a sequence, its day, how many rows it has, and the one defect of the whole."""

    number: int
    day: date
    count: int
    texts: Texts
    defect: str = ""


class Making(Protocol):
    """Writes the files of one flow."""

    @property
    def encoding(self) -> str:
        """The characters that there are, as Python names the codec."""

    @property
    def rooms(self) -> Mapping[str, Room]:
        """The columns of a record that is made, and what each can hold."""

    @property
    def of_records(self) -> Mapping[str, Fate]:
        """The defects that one record can have."""

    @property
    def of_files(self) -> Mapping[str, Fate]:
        """The defects that a whole file can have."""

    @property
    def numbered(self) -> Literal["", "name", "field"]:
        """Where a file's number in its sequence stands, if it has one."""

    @property
    def marker(self) -> str:
        """What stands behind the name of an empty file that says that one is whole; empty: none is needed."""

    def name(self, file: Wanted) -> str:
        """The name of a file. Raises ValueError where no name says both and fits the flow's pattern."""

    def write(self, out: BinaryIO, file: Wanted) -> int:
        """Write a file; gives the number of its first row's record, among all records of the file.

        Raises ValueError for what the format cannot hold.
        """
