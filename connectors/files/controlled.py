"""The controls of one file at work: fed with its lots, and asked at its end.

Rule: of a lot, only the columns that a control reads are asked for. What is wrong is raised as soon as it is
certain; the rest is decided at the end.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, NoReturn

from connectors.files.amounts import EXACT, Amounts, day
from connectors.files.controls import PART, Controls, Count, Sum, early_or_late, next_in_sequence
from connectors.files.lots import shown
from connectors.files.records import DETAIL, DOCUMENT, HEADER, TRAILER, Lot, Refused, Text

_DIGITS: Final = re.compile(rb" *([0-9]{1,30}) *")
SEQUENCE: Final = "control.sequence"
_SHOWN: Final = 5  # records that a text names


@dataclass(frozen=True, slots=True)
class Totals:
    """What a file came to: for the ledger of files.

    ``alarm`` is what a person has to know of a file that is taken nevertheless. One that comes after its time
    has no ``sequence``: the next one follows the newest.
    """

    counts: Mapping[str, int]
    problems: int
    sums: Mapping[str, Decimal]
    sequence: int | None
    day: date | None
    alarm: str = ""


def held(totals: Totals, controls: Controls) -> list[tuple[str, str, str]]:
    """Of a file whose controls hold: what each is about, where the file says it, and what it says."""
    found = []
    if controls.count is not None:
        number = str(_counted(controls.count, Counter(totals.counts)))
        found.append((controls.count.of.replace("_", " "), controls.count.field, number))
    for name, declared in controls.sums.items():
        found.append((f"sum {name} of {declared.column}", declared.field, f"{totals.sums[name]:f}"))
    for name, place, value in (
        ("sequence", controls.sequence, totals.sequence),
        ("day", controls.day, totals.day),
    ):
        if place is not None:
            found.append((name, place.field or "the file's name", str(value)))
    return found


def _counted(declared: Count, counts: Counter[str]) -> int:
    match declared.of:
        case "details":
            return counts[DETAIL]
        case "records":
            return counts.total()
        case "details_and_header":
            return counts[DETAIL] + counts[HEADER]
        case "details_and_trailer":
            return counts[DETAIL] + counts[TRAILER]


class _Adding:
    """One sum on its way."""

    def __init__(self, declared: Sum, columns: Mapping[str, Sequence[str]]) -> None:
        self.declared = declared
        self.kind, _, column = declared.place.partition(".")
        self.index = columns[self.kind].index(column)
        self._read = Amounts(declared.format).read
        self.sum, self.left_out, self.without = Decimal(0), 0, list[int]()

    def add(self, values: Sequence[Text], first: int) -> None:
        """The column of one more lot."""
        total, add, read = self.sum, EXACT.add, self._read
        for place, text in enumerate(values):
            value = None if text is None else read(text)
            if value is None:
                self._leave_out(first + place)
            else:
                total = add(total, value)
        self.sum = total

    def _leave_out(self, record: int) -> None:
        self.left_out += 1
        if len(self.without) < _SHOWN:
            self.without.append(record)

    @property
    def kept(self) -> Decimal:
        """The sum, of so many digits as were declared."""
        digits = self.declared.digits
        return self.sum if digits is None else EXACT.remainder(self.sum, Decimal(10**digits))

    @property
    def note(self) -> str:
        """Which records the sum is without."""
        if not self.left_out:
            return ""
        named = ", ".join(map(str, self.without)) + ("…" if self.left_out > _SHOWN else "")
        return f"; {self.left_out} records have no number there ({named})"


class Control:
    """The controls of one file.

    ``columns`` are the declared columns of each record type, ``name`` is the file's, ``last`` the number of
    the file before it (None: there is none). Feed it with every lot, in order, then ask ``totals``.
    """

    def __init__(
        self,
        controls: Controls,
        columns: Mapping[str, Sequence[str]],
        *,
        name: str,
        today: date,
        last: int | None,
    ) -> None:
        self._controls, self._name, self._today, self._last = controls, name, today, last
        self._counts: Counter[str] = Counter()
        self._problems, self._ended = 0, 0
        self._adding = {sum_: _Adding(declared, columns) for sum_, declared in controls.sums.items()}
        self._wanted = {
            place: (kind, columns[kind].index(column))
            for place in controls.fields
            for kind, _, column in (place.partition("."),)
        }
        self._kinds = {kind for kind, _ in self._wanted.values()} | {a.kind for a in self._adding.values()}
        self._fields: dict[str, Text] = {}

    def add(self, lot: Lot) -> None:
        """One more lot. Raises Refused for a record type that is not in its place."""
        self._counts[lot.kind] += lot.count
        self._problems += len(lot.problems)
        if lot.kind in self._controls.single:
            self._in_place(lot)
        elif self._ended and lot.kind != DOCUMENT:
            self._refuse(
                "control.trailer-place",
                f"record {self._ended} is the trailer, and record {lot.first} comes after it",
                lot.first,
            )
        if lot.kind not in self._kinds:
            return
        columns = lot.columns()
        for place, (kind, index) in self._wanted.items():
            if kind == lot.kind:
                self._fields[place] = columns[index][0]
        for adding in self._adding.values():
            if adding.kind == lot.kind:
                adding.add(columns[adding.index], lot.first)

    def _in_place(self, lot: Lot) -> None:
        kind = lot.kind
        if self._counts[kind] > 1:
            last, count = lot.first + lot.count - 1, self._counts[kind]
            said = f"1 {kind} is meant, and up to record {last} there are {count}"
            self._refuse(f"control.{kind}-twice", said, lot.first)
        if kind == HEADER and lot.first != 1:
            self._refuse(
                "control.header-place", f"the header is record {lot.first}, and not record 1", lot.first
            )
        if problem := lot.problems.get(0):
            self._refuse(f"control.{kind}-unfit", f"the {kind} cannot be read: {problem.what}", lot.first)
        if kind == TRAILER:
            self._ended = lot.first

    def totals(self) -> Totals:
        """What the file came to. Raises Refused for the first control that does not hold."""
        for kind in sorted(self._controls.single):
            if not self._counts[kind]:
                self._refuse(f"control.{kind}-missing", f"1 {kind} is meant, and the file has 0")
        self._count()
        for name, adding in self._adding.items():
            self._sum(name, adding)
        sequence, alarm = self._sequence()
        sums = {name: adding.kept for name, adding in self._adding.items()}
        return Totals(dict(self._counts), self._problems, sums, sequence, self._day(), alarm)

    def _count(self) -> None:
        declared = self._controls.count
        if declared is None:
            return
        told, found = self._whole_number("count", declared.field), _counted(declared, self._counts)
        if told != found:
            what = declared.of.replace("_", " ")
            self._refuse("control.count", f"{declared.field} says {told} {what}, and the file has {found}")

    def _sum(self, name: str, adding: _Adding) -> None:
        declared = adding.declared
        text = self._fields[declared.field]
        told = None if text is None else Amounts(declared.total or declared.format).read(text)
        if told is None:
            self._unfit("sum", declared.field, text, "a number of the declared format")
        if told != adding.kept:
            both = f"{declared.field} says {told:f}, and the sum of {declared.column} is {adding.kept:f}"
            self._refuse("control.sum", f"{name}: {both}{adding.note}")

    def _sequence(self) -> tuple[int | None, str]:
        """The file's number, and what is to be told of it."""
        declared = self._controls.sequence
        if declared is None:
            return None, ""
        where = declared.field or "the file's name"
        this = self._whole_number("sequence", where, self._found(declared.field, declared.name))
        highest = declared.last
        if this < declared.first or (highest is not None and this > highest):
            span = f"{declared.first} to {highest}" if highest is not None else f"{declared.first} on"
            self._refuse(SEQUENCE, f"{where} says {this}, and numbers go from {span}")
        step, expected = next_in_sequence(self._last, this, declared)
        if step == "next":
            return this, ""
        said = {"same": "the same as the last file", "before": "before the last file", "gap": "a gap"}[step]
        both = f"{where} says {this}, and {expected} was to come after {self._last}: {said}"
        if step == "same" or declared.gap == "refuse":
            self._refuse(SEQUENCE, both)
        return this if step == "gap" else None, both

    def _day(self) -> date | None:
        declared = self._controls.day
        if declared is None:
            return None
        text = self._found(declared.field, declared.name)
        found = None if text is None else day(text, declared.format)
        if found is None:
            self._unfit("date", declared.field or "the file's name", text, f"a day as {declared.format}")
        wrong = early_or_late(found, self._today, declared)
        if wrong:
            self._refuse("control.date", wrong)
        return found

    def _found(self, field: str | None, pattern: str | None) -> Text:
        if field is not None:
            return self._fields[field]
        found = re.search(pattern or "", self._name)
        part = None if found is None else found[PART]
        return None if part is None else part.encode(errors="replace")

    def _whole_number(self, control: str, where: str, text: Text = None) -> int:
        text = self._fields.get(where) if text is None else text
        found = None if text is None else _DIGITS.fullmatch(text)
        if found is None:
            self._unfit(control, where, text, "a whole number")
        return int(found[1])

    def _unfit(self, control: str, where: str, text: Text, wanted: str) -> NoReturn:
        said = "nothing" if text is None else shown(text.decode(errors="replace"))
        self._refuse(f"control.{control}", f"{where} says {said}, which is not {wanted}")

    def _refuse(self, code: str, what: str, record: int | None = None) -> NoReturn:
        raise Refused(code, what, record=record)
