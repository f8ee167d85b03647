"""The demo's partner: shops that hand parcels over send five files, good and bad ones.

Rule: the same seed gives the same five files, and each comes under another name until it is whole. What was
sent, and what ought to become of it, is noted for ``fates`` to judge by: record by record, as the partner
means them. Prints the note.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal as Exact
from pathlib import Path
from typing import Final

from engine.contract import ContractColumn, Letters, Moment, Numeric
from engine.contract.making import Room
from engine.fake import Field, Values

ROWS: Final = 40
SEED: Final = 11
DROP: Final = Path("drop", "in")
TODAY: Final = datetime(2026, 11, 2, tzinfo=UTC)
_NEVER: Final = Room(never='";')  # a line is taken apart at each of these
_FIELDS: Final = tuple(
    Field(column, column, _NEVER, low=low, high=high, needed=True, key=column.name == "number")
    for column, low, high in (
        (ContractColumn("number", "bigint", format=Numeric()), Exact(10_000), Exact(99_999)),
        (ContractColumn("company", format=Letters(40)), None, None),
        (ContractColumn("city", format=Letters(40)), None, None),
        (ContractColumn("fee", "decimal(9,2)", format=Numeric(decimal=",")), Exact(1), Exact(60)),
        (ContractColumn("day", "date", format=Moment("dd/MM/yyyy")), None, None),
    )
)
_FEE, _DAY = 4, 5  # the places of two columns
_POINT, _CALENDAR, _SHORT = 8, 17, 26  # the records that are spoilt


@dataclass(frozen=True, slots=True)
class Bad:
    """A record that ought to wait in quarantine: why, the text that it is about, and its line."""

    reason: str
    text: str
    line: str


@dataclass(frozen=True, slots=True)
class Sent:
    """One file: what it is, what ought to become of it, and its records by number.

    ``code`` and ``says`` are the reason of a refusal and what has to stand in it: both sides of what does
    not agree. ``rows`` are the texts of each record that ought to land, ``bad`` those that ought to wait.
    """

    name: str
    about: str
    sha256: str
    code: str = ""
    says: tuple[str, ...] = ()
    rows: dict[int, list[str]] = field(default_factory=dict)
    bad: dict[int, Bad] = field(default_factory=dict)


def lines(seed: int, told: int = ROWS) -> list[str]:
    """The lines of a file whose trailer says ``told`` records."""
    values = Values(_FIELDS, seed=str(seed), today=TODAY)
    rows = (";".join(("D", *(text or "" for text in values.row()))) for _ in range(ROWS))
    return [*rows, f"T;{told}"]


def fields(line: str) -> list[str]:
    """The fields of a line."""
    return next(csv.reader(io.StringIO(line), delimiter=";"))


def spoilt(found: list[str]) -> dict[int, Bad]:
    """Make three records of a file bad."""
    bad = {}
    for record, place, text, reason in (
        (_POINT, _FEE, "12.50", "unfit:fee"),
        (_CALENDAR, _DAY, "31/02/2026", "unfit:day"),
        (_SHORT, None, "5 fields, 6 are declared", "record.width"),
    ):
        parts = found[record - 1].split(";")
        parts[place or -1 :] = [] if place is None else [text, *parts[place + 1 :]]
        found[record - 1] = ";".join(parts)
        bad[record] = Bad(reason, text, found[record - 1])
    return bad


def packed(found: list[str]) -> bytes:
    """The bytes of a file."""
    return gzip.compress("".join(f"{line}\n" for line in found).encode(), mtime=0)


def files(seed: int) -> list[tuple[Sent, bytes]]:
    """The five files, in the order in which they are sent."""
    good, cut, mixed, wrong = (lines(seed + n) for n in range(4))
    bad = spoilt(mixed)
    wrong[-1] = f"T;{ROWS + 1}"
    whole = packed(good)
    return [
        _sent(1, "a good file", whole, rows=_records(good)),
        _sent(2, "the same bytes again", whole, code="file.duplicate", says=("arrival 1",)),
        _sent(3, "cut off on its way", packed(cut)[:-200], code="container.truncated", says=("ends within",)),
        _sent(4, "three bad rows", packed(mixed), rows=_records(mixed, bad), bad=bad),
        _sent(
            5,
            "a wrong trailer",
            packed(wrong),
            code="control.count",
            says=(f"says {ROWS + 1} details", f"has {ROWS}"),
        ),
    ]


def _sent(
    number: int,
    about: str,
    content: bytes,
    *,
    code: str = "",
    says: tuple[str, ...] = (),
    rows: dict[int, list[str]] | None = None,
    bad: dict[int, Bad] | None = None,
) -> tuple[Sent, bytes]:
    name = f"HANDOVERS_{number}.csv.gz"
    sha256 = hashlib.sha256(content).hexdigest()
    return Sent(name, about, sha256, code, says, rows or {}, bad or {}), content


def _records(found: list[str], bad: dict[int, Bad] | None = None) -> dict[int, list[str]]:
    """What ought to land, by number: all but the kind of record."""
    details = enumerate(found[:-1], 1)
    return {number: fields(line)[1:] for number, line in details if number not in (bad or {})}


def send(folder: Path, made: list[tuple[Sent, bytes]]) -> None:
    """Drop the files one after the other, each whole before it has its name."""
    for sent, content in made:
        part = folder / f"{sent.name}.part"
        part.write_bytes(content)
        os.utime(part)
        part.rename(folder / sent.name)


def main() -> int:
    """Send the five files into a project's drop folder."""
    parser = argparse.ArgumentParser(description="a partner sends five files")
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    made = files(given.seed)
    send(given.project / DROP, made)
    print(json.dumps([asdict(sent) for sent, _ in made]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
