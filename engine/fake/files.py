"""Made-up files in a folder, one after the other: good or broken as ordered, and what becomes of each.

Rule: a row or a file has one defect at most, and what becomes of it is foretold as the flow's connector and
its landing decide it. A file is there under its name when it is whole. Memory does not grow with a file.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Final

from engine.contract.making import Fate, Making, Row, Wanted
from engine.fake.contract import Field
from engine.fake.defects import AGAIN, Amount, Broken, Defect, broken, candidates
from engine.fake.values import LOCALES, Values

_TOLD_MAX: Final = 1_000  # broken rows that are told one by one, of each file
GAP: Final = "gap"
ACCEPTED: Final = Fate("accepted")


def no_news(file: int, rows: int) -> None:
    """Of somebody who does not look."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted: so many files of so many rows, of one day, and how much of each kind of defect."""

    files: int = 1
    rows: int = 100
    seed: int = 1
    first: int = 1
    defects: Mapping[str, Amount] = field(default_factory=dict)
    day: date = date(2026, 11, 2)
    locales: Sequence[str] = LOCALES


@dataclass(frozen=True, slots=True)
class Made:
    """A file, what is wrong with it, and what becomes of it.

    ``broken`` are rows that have a defect, by the number of their record (the first thousand); ``counts`` how
    many rows have each. Of a file that is refused nothing lands.
    """

    name: str
    bytes: int
    rows: int
    fate: Fate
    defect: str
    broken: Mapping[int, Broken]
    counts: Mapping[str, int]
    quarantined: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The file as ``--json`` prints it."""
        taken = self.fate.becomes == "accepted"
        return {
            "name": self.name,
            "bytes": self.bytes,
            "records": self.rows,
            "defect": self.defect or None,
            "becomes": self.fate.becomes,
            "code": self.fate.code or None,
            "lands": self.rows - sum(self.quarantined.values()) if taken else 0,
            "quarantined": dict(self.quarantined) if taken else {},
            "defects": dict(self.counts),
            "broken": [
                {
                    "record": record,
                    "defect": one.defect,
                    "column": one.column or None,
                    "becomes": one.fate.becomes if taken else "not landed",
                    "code": one.fate.code if taken else None,
                }
                for record, one in self.broken.items()
            ],
        }


def make(
    making: Making,
    fields: Sequence[Field],
    order: Order,
    folder: Path,
    told: Callable[[int, int], None] = no_news,
) -> Iterator[Made]:
    """The files of an order, each when it is there; ``told`` hears of progress.

    Raises ValueError for what the flow has no place for, and Unusable where Faker is not installed.
    """
    _possible(making, fields, order)
    chance = random.Random(f"files:{order.seed}")  # noqa: S311 - made-up data, no secret
    names = [*making.of_files, AGAIN]
    chosen, shares = _chosen(order, names, order.files, chance), _shares(order, names)
    standing = _Standing(making, order.first)
    for n in range(order.files):
        defect = chosen.get(n) or _by_share(shares, chance)
        yield standing.next(_Rows(making, fields, order, n), defect, folder, told)


def _possible(making: Making, fields: Sequence[Field], order: Order) -> None:
    known = [*Defect, *making.of_records, *making.of_files, AGAIN]
    for name in order.defects:
        if name in list(Defect):
            if not candidates(Defect(name), fields):
                raise ValueError(f"{name}: no column of this flow can have it")
        elif name not in known:
            more = ", ".join(str(each) for each in known)
            raise ValueError(f"{name}: this flow has no place for such a defect; it has for {more}")
    shares = sum(order.defects[name].share for name in _of_rows(making) if name in order.defects)
    if shares > 1:
        raise ValueError("the shares of defects of rows are more than 1 in all")


def _of_rows(making: Making) -> list[str]:
    return [*(one.value for one in Defect), *making.of_records]


def _chosen(order: Order, names: Sequence[str], of: int, chance: random.Random) -> dict[int, str]:
    """Which of them have a defect of which so many are ordered."""
    found: dict[int, str] = {}
    for name in names:
        if name in order.defects:
            drawn = order.defects[name].drawn(of, chance, set(found))
            found |= dict.fromkeys(sorted(drawn), name)
    return found


def _shares(order: Order, names: Sequence[str]) -> Sequence[tuple[str, float]]:
    """The defects of which a share is ordered."""
    return [(name, order.defects[name].share) for name in names if name in order.defects]


def _by_share(shares: Sequence[tuple[str, float]], chance: random.Random) -> str:
    drawn = chance.random()
    for name, share in shares:
        drawn -= share
        if drawn < 0:
            return name
    return ""


@dataclass(slots=True)
class _Rows:
    """The rows of one file, as often as they are asked for; what was wrong with them at the last time."""

    making: Making
    fields: Sequence[Field]
    order: Order
    file: int
    found: dict[int, Broken] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)

    def texts(self, told: Callable[[int, int], None]) -> Iterator[tuple[Row, str]]:
        """Each row, and the defect of its record."""
        order, names = self.order, _of_rows(self.making)
        self.found, self.counts, self.waiting = {}, Counter(), Counter()
        seed = f"{order.seed}:{self.file}"
        today = datetime.combine(order.day, time(12), UTC)
        values = Values(
            self.fields,
            seed=seed,
            today=today,
            encoding=self.making.encoding,
            locales=order.locales,
            before=(order.first - 1 + self.file) * order.rows,
        )
        chance = random.Random(f"rows:{seed}")  # noqa: S311 - made-up data, no secret
        chosen, shares = _chosen(order, names, order.rows, chance), _shares(order, names)
        good: Row | None = None
        owed = 0  # duplicates that were due before there was anything to repeat
        for n in range(order.rows):
            row = values.row()
            defect = chosen.get(n) or _by_share(shares, chance)
            if defect == Defect.DUPLICATE and good is None:
                defect, owed = "", owed + 1
            elif not defect and owed:
                defect, owed = Defect.DUPLICATE.value, owed - 1
            if not defect:
                good = row
                yield row, ""
            elif defect in self.making.of_records:
                self._note(n, Broken(defect, "", self.making.of_records[defect]))
                yield row, defect
            else:
                row, what = broken(Defect(defect), row, good or row, self.fields, chance)
                self._note(n, what)
                yield row, ""
            told(self.file, n)

    def _note(self, n: int, what: Broken) -> None:
        self.counts[what.defect] += 1
        if what.fate.becomes == "quarantined":
            self.waiting[what.fate.code] += 1
        if len(self.found) < _TOLD_MAX:
            self.found[n] = what


@dataclass(slots=True)
class _Standing:
    """What the connector will know when the next file comes."""

    making: Making
    number: int
    last: int | None = None
    taken: Made | None = None
    made: int = 0

    def next(self, rows: _Rows, defect: str, folder: Path, told: Callable[[int, int], None]) -> Made:
        """The next file, in its folder."""
        order = rows.order
        self.made += 1
        self.number += defect == GAP and self.last is not None
        wanted = Wanted(self.number, order.day, order.rows, lambda: rows.texts(told), defect)
        ordinal = order.first + self.made - 1
        named = wanted if self.making.numbered == "name" else replace(wanted, number=ordinal)
        name = self.making.name(named)
        if defect == AGAIN and self.taken is not None:
            return self._again(name, self.taken, folder)
        part = folder / f".{name}.part"
        with part.open("wb") as out:
            first = self.making.write(out, wanted)
        fate = self._fate(defect)
        size = part.stat().st_size
        self._put(part, name)
        found = {first + n: what for n, what in rows.found.items()}
        done = Made(
            name, size, order.rows, fate, defect if defect != AGAIN else "", found, rows.counts, rows.waiting
        )
        self._goes_on(done)
        return done

    def _again(self, name: str, before: Made, folder: Path) -> Made:
        part = folder / f".{name}.part"
        with (folder / before.name).open("rb") as source, part.open("wb") as out:
            while piece := source.read(1 << 20):
                out.write(piece)
        self._put(part, name)
        if self.making.numbered == "name":
            self.number += 1
        fate = Fate("refused", "file.duplicate")
        return Made(name, before.bytes, before.rows, fate, AGAIN, {}, before.counts, {})

    def _put(self, part: Path, name: str) -> None:
        part.rename(part.with_name(name))
        if self.making.marker:
            part.with_name(name + self.making.marker).touch()

    def _fate(self, defect: str) -> Fate:
        """What becomes of a file: its own defect decides, or its number."""
        own = self.making.of_files.get(defect) if defect != GAP else None
        late = own is not None and own.code == "control.date"  # numbers are looked at before days
        gap = self.making.of_files.get(GAP)
        follows = self.last is None or self.number == self.last + 1
        if (own is None or late) and gap is not None and not follows:
            return own if own is not None and gap.becomes == "accepted" else gap
        return own or ACCEPTED

    def _goes_on(self, done: Made) -> None:
        if done.fate.becomes == "accepted":
            self.last, self.taken = self.number, done
        if done.fate.becomes == "accepted" or self.making.numbered != "field":
            self.number += 1
