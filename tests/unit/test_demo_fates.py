"""The demo's judge of a partner's files sees each way in which a fate can be wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from examples.demo import fates, partner
from examples.demo.fates import Row, Waits

GOOD, TWICE, CUT, MIXED, WRONG = range(5)


@dataclass
class World:
    """Five files, and what became of each: as it ought to be, until a test changes that."""

    folder: Path
    sent: list[dict[str, Any]] = field(default_factory=list)
    told: list[list[dict[str, Any]]] = field(default_factory=list)
    rows: list[Counter[Row]] = field(default_factory=list)
    waits: list[dict[int, Waits]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for number, (sent, content) in enumerate(partner.files(partner.SEED), 1):
            said = json.loads(json.dumps(asdict(sent)))
            at = f"{'errors' if sent.code else 'archive'}/{number}-{sent.name}"
            (self.folder / at).parent.mkdir(exist_ok=True)
            (self.folder / at).write_bytes(content)
            self.sent.append(said)
            self.told.append(
                [{
                    "name": sent.name, "state": "refused" if sent.code else "archived", "code": sent.code,
                    "reason": ", ".join(sent.says), "lies": at, "sha256": sent.sha256,
                }]
            )  # fmt: skip
            self.rows.append(fates.meant(said["rows"]))
            self.waits.append({n: waiting(bad) for n, bad in sent.bad.items()})

    def wrong(self, number: int) -> list[str]:
        """What is wrong with the fate of a file."""
        of = (self.sent, self.told, self.rows, self.waits)
        sent, told, rows, waits = (values[number] for values in of)
        return fates.judge(sent, told, rows, waits, self.folder).wrong  # type: ignore[arg-type]


def waiting(bad: partner.Bad) -> Waits:
    if bad.reason == "record.width":
        return Waits(bad.reason, {"_problem": bad.text, "_raw": bad.line}, b"")
    return Waits(bad.reason, {"fee": bad.text}, bad.line.replace(";", "\0").encode())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_five_files_that_came_to_what_they_ought_to_hold(world: World) -> None:
    assert [world.wrong(number) for number in range(5)] == [[]] * 5
    assert [rows.total() for rows in world.rows] == [40, 0, 0, 37, 0]
    assert [len(waits) for waits in world.waits] == [0, 0, 0, 3, 0]


def test_the_same_seed_gives_the_same_five_files() -> None:
    first, again = partner.files(3), partner.files(3)
    assert [content for _, content in first] == [content for _, content in again]


def entry(world: World, number: int, **more: Any) -> None:
    world.told[number][0] |= more


def one_more(world: World) -> None:
    world.rows[MIXED][next(iter(world.rows[MIXED]))] += 1


def waits_with(world: World, record: int, **more: Any) -> None:
    was = world.waits[MIXED][record]
    world.waits[MIXED][record] = Waits(
        **({"reason": was.reason, "about": was.about, "value": was.value} | more)
    )


WAYS: list[tuple[str, int, Callable[[World], Any], str]] = [
    (
        "a duplicate that was taken",
        TWICE,
        lambda w: entry(w, TWICE, code="", state="archived"),
        "ought to be",
    ),
    ("a good file that was refused", GOOD, lambda w: entry(w, GOOD, code="file.name"), "is file.name"),
    ("a reason with one number", WRONG, lambda w: entry(w, WRONG, reason="says 41 details"), "has 40"),
    ("two entries", GOOD, lambda w: w.told[GOOD].append(w.told[GOOD][0]), "2 entries"),
    ("no entry", CUT, lambda w: w.told[CUT].clear(), "0 entries"),
    (
        "a file left in its folder",
        GOOD,
        lambda w: entry(w, GOOD, lies="in/HANDOVERS_1.csv.gz"),
        "does not lie in archive",
    ),
    (
        "another file with the errors",
        CUT,
        lambda w: [p.write_bytes(b"") for p in w.folder.glob("*/3-*")],
        "other",
    ),
    ("a record that is missing", GOOD, lambda w: w.rows[GOOD].popitem(), "1 records are not in the table"),
    ("a record that came twice", MIXED, one_more, "1 are that ought not to be"),
    ("a record of a refused file", WRONG, lambda w: w.rows[WRONG].update(w.rows[GOOD]), "40 are that ought"),
    ("a bad record that nobody kept", MIXED, lambda w: w.waits[MIXED].pop(8), "record 8 does not wait"),
    (
        "a record of a refused file that waits",
        CUT,
        lambda w: w.waits[CUT].update(w.waits[MIXED]),
        "8 waits in",
    ),
    ("another reason", MIXED, lambda w: waits_with(w, 17, reason="null:day"), "waits for null:day"),
    ("other bytes", MIXED, lambda w: waits_with(w, 8, value=b""), "record 8 waits with other bytes"),
    (
        "another line",
        MIXED,
        lambda w: waits_with(w, 26, about={"_raw": "D", "_problem": ""}),
        "26 waits with other",
    ),
]


@pytest.mark.parametrize(
    ("number", "breaks", "said"), [way[1:] for way in WAYS], ids=[way[0] for way in WAYS]
)
def test_a_wrong_fate_is_seen(world: World, number: int, breaks: Callable[[World], Any], said: str) -> None:
    breaks(world)
    assert any(said in text for text in world.wrong(number)), world.wrong(number)
