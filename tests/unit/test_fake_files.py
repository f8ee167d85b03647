"""Made-up files: the same again from the same seed, and taken by their connector as it was foretold."""

from __future__ import annotations

import builtins
import random
import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.checks import Check, Expression, NotNull, OneOf, OnFail, Pattern, Range
from engine.contract import ContractColumn, Moment
from engine.contract.making import Room
from engine.errors import Unusable
from engine.fake import Amount, Order, Values, amount, beyond, fields_of, make
from engine.fake.patterns import matching
from tests.support.made import feed_of, foretold, made, taken
from tests.support.made_feeds import CONTRACT, FEEDS, NAMES, field


def order_of(**more: Any) -> Order:
    return Order(files=3, rows=40, **more)


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("seed", [1, 2])
def test_good_files_are_taken_whole(tmp_path: Path, feed: str, seed: int) -> None:
    world, files = made(tmp_path, FEEDS[feed], order_of(seed=seed), CONTRACT)
    found = taken(world, CONTRACT)

    assert [one.name for one in files] == list(found)
    assert {one.name: foretold(one) for one in files} == found
    assert all(
        (one.state, one.code, one.rows, one.waiting) == ("archived", "", 40, {}) for one in found.values()
    )


OF_ROWS = ("bad_type", "null", "duplicate", "ragged")


@pytest.mark.parametrize("feed", FEEDS)
def test_rows_that_are_broken_wait_as_it_was_foretold(tmp_path: Path, feed: str) -> None:
    defects = {kind: Amount(count=3) for kind in OF_ROWS if kind != "ragged" or feed != "bytes"}
    world, files = made(tmp_path, FEEDS[feed], order_of(defects=defects), CONTRACT)

    assert {one.name: foretold(one) for one in files} == taken(world, CONTRACT)
    assert all(one.counts == dict.fromkeys(defects, 3) for one in files)
    assert all(sum(one.quarantined.values()) == 3 * (len(defects) - 1) for one in files)


FILE_DEFECTS = ("encoding", "truncated", "wrong_count", "wrong_sum", "wrong_day", "gap", "again")
PLACES = {
    "named": "encoding again",
    "gz": "encoding truncated again",
    "ends": "encoding truncated wrong_count wrong_sum wrong_day gap again",
    "by_name": "encoding truncated gap again",
    "day_in_name": "encoding wrong_day gap again",
    "fixed": "encoding truncated wrong_count wrong_sum gap again",
    "bytes": "encoding truncated wrong_count wrong_sum gap again",
    "lines": "encoding truncated again",
    "document": "encoding truncated wrong_count wrong_sum again",
    "xml": "encoding truncated wrong_count wrong_sum again",
    "iso": "encoding again",
}


@pytest.mark.parametrize(("feed", "kind"), [(feed, kind) for feed in FEEDS for kind in PLACES[feed].split()])
def test_a_file_that_is_broken_is_decided_about_as_it_was_foretold(
    tmp_path: Path, feed: str, kind: str
) -> None:
    order = Order(files=5, rows=20, seed=4, defects={kind: Amount(count=2), "bad_type": Amount(0.1)})
    world, files = made(tmp_path, FEEDS[feed], order, CONTRACT)

    assert {one.name: foretold(one) for one in files} == taken(world, CONTRACT)
    assert len(files) == 5
    assert sum(one.defect == kind for one in files) >= (1 if kind in ("again", "gap") else 2)


@pytest.mark.parametrize("feed", FEEDS)
def test_what_a_flow_has_no_place_for_is_refused(tmp_path: Path, feed: str) -> None:
    for n, kind in enumerate(FILE_DEFECTS):
        if kind not in PLACES[feed].split():
            with pytest.raises(ValueError, match=f"{kind}: this flow has no place"):
                made(tmp_path / str(n), FEEDS[feed], order_of(defects={kind: Amount(1.0)}), CONTRACT)


def test_many_kinds_at_once_are_still_foretold(tmp_path: Path) -> None:
    shares = {kind: Amount(0.03) for kind in OF_ROWS} | {kind: Amount(0.12) for kind in FILE_DEFECTS}
    order = Order(files=25, rows=30, seed=9, defects=shares)
    world, files = made(tmp_path, FEEDS["ends"], order, CONTRACT)

    assert {one.name: foretold(one) for one in files} == taken(world, CONTRACT)
    assert len({one.fate.code for one in files}) > 5


@pytest.mark.parametrize("feed", FEEDS)
def test_a_seed_gives_its_files_again_and_another_one_others(tmp_path: Path, feed: str) -> None:
    def content(folder: str, seed: int) -> list[tuple[str, bytes]]:
        order = Order(files=2, rows=20, seed=seed, defects={"bad_type": Amount(0.2), "encoding": Amount(0.5)})
        world, files = made(tmp_path / folder, FEEDS[feed], order, CONTRACT)
        return [(one.name, (world.inbox / one.name).read_bytes()) for one in files]

    first, again, other = content("a", 7), content("b", 7), content("c", 8)
    assert first == again
    assert [name for name, _ in first] == [name for name, _ in other]
    assert [text for _, text in first] != [text for _, text in other]


def test_keys_go_on_from_file_to_file(tmp_path: Path) -> None:
    world, files = made(tmp_path, {**FEEDS["named"], "keys": ["id"]}, order_of(), CONTRACT)
    lines = [line for one in files for line in (world.inbox / one.name).read_text().splitlines()[1:]]

    assert [int(line.partition(";")[0]) for line in lines] == list(range(1, 121))


def test_a_file_says_its_first_number_and_its_day(tmp_path: Path) -> None:
    order = Order(files=2, rows=1, first=41, day=date(2027, 1, 3))
    world, files = made(tmp_path, FEEDS["ends"], order, CONTRACT)

    assert (world.inbox / files[1].name).read_text("cp1252").startswith("H|42|20270103")
    assert files[1].name == "20270103_0042.txt"


def test_a_number_that_no_name_can_say_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no name of file 1000"):
        made(tmp_path, FEEDS["day_in_name"], Order(rows=1, first=1000), CONTRACT)


def test_a_marker_stands_beside_a_file_that_is_whole(tmp_path: Path) -> None:
    world, files = made(
        tmp_path, {**FEEDS["named"], "ready": {"by": "marker", "suffix": ".ok"}}, Order(rows=3), CONTRACT
    )

    assert sorted(path.name for path in world.inbox.iterdir()) == [files[0].name, files[0].name + ".ok"]
    assert taken(world, CONTRACT)[files[0].name].state == "archived"


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (ContractColumn("ordered", "date", format=Moment("d/M/yyyy")), "nothing takes blanks off"),
        (ContractColumn("ordered", "timestamp_ntz", format=Moment("yyyy-MM-dd HH:mm")), "wider than 10"),
    ],
)
def test_a_value_that_has_no_place_in_its_field_is_refused(
    tmp_path: Path, column: ContractColumn, said: str
) -> None:
    layout = {"unit": "characters", "records": {"detail": {"fields": [field("ordered", 1, 10)]}}}
    with pytest.raises(ValueError, match=said):
        made(tmp_path, {"pattern": "*", "fixed_width": layout}, Order(rows=50), [column])


@pytest.mark.parametrize(
    ("text", "found"),
    [("2%", Amount(0.02)), ("3", Amount(count=3)), ("0.5", Amount(0.5)), ("100%", Amount(1.0))],
)
def test_an_amount_is_a_share_or_a_number(text: str, found: Amount) -> None:
    assert amount(text) == found


@pytest.mark.parametrize("text", ["", "x", "101%", "-1", "1.5", "nan"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"share|float"):
        amount(text)


def test_more_defects_than_there_are_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="41 are ordered, and there are 40"):
        made(tmp_path, FEEDS["named"], order_of(defects={"ragged": Amount(count=41)}), CONTRACT)
    shares = {"ragged": Amount(0.6), "bad_type": Amount(0.6)}
    with pytest.raises(ValueError, match="more than 1"):
        made(tmp_path, FEEDS["named"], order_of(defects=shares), CONTRACT)


def test_without_faker_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def without(name: str, *words: Any) -> Any:
        if name == "faker":
            raise ImportError(name)
        return usual(name, *words)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Unusable) as unusable:
        made(tmp_path, FEEDS["named"], Order(rows=1, locales=["de_DE"]), CONTRACT)
    assert "ecluse[demo]" in unusable.value.hint


@pytest.mark.parametrize(
    "pattern", [r"[A-Z]{2}\d{3,5}", r"(ab|c.d)+?x?", r"[^a-z0-9]{3}", r"^\w+\s\S$", r"a{2}[\d.]*", r"(?:é|ü)"]
)
def test_a_text_is_made_for_a_pattern(pattern: str) -> None:
    chance = random.Random(3)  # noqa: S311
    texts = {matching(pattern, chance) for _ in range(50)}
    assert all(re.fullmatch(pattern, text) for text in texts)
    assert len(texts) > 1


@pytest.mark.parametrize("pattern", [r"(?=a)b", r"(a)\1", "(", r"x$y"])
def test_a_pattern_that_is_beyond_this_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"pattern|expression"):
        matching(pattern, random.Random(1))  # noqa: S311


def test_values_keep_what_checks_say_and_a_bad_one_fails_the_check_that_is_told(tmp_path: Path) -> None:
    wait = OnFail.QUARANTINE
    checks = [
        Check("known", wait, OneOf(("city",), ("Lyon", "Brest"))),
        Check("small", wait, Range(("amount",), 10, 50)),
        Check("coded", wait, Pattern(("customer",), "[A-Z]{2}[0-9]{3}")),
        Check("there", wait, NotNull(("ordered",))),
        Check("odd", OnFail.WARN, OneOf(("paid",), ("O",))),
        Check("said", wait, Expression("amount > id")),
    ]
    making = feed_of(FEEDS["named"]).making()
    fields = fields_of(CONTRACT, making.rooms, checks=checks)
    order = order_of(defects={"bad_value": Amount(count=6), "null": Amount(count=6)})
    files = list(make(making, fields, order, tmp_path))

    assert beyond(checks, fields) == ["said"]
    for one in files:
        lines = (tmp_path / one.name).read_text().splitlines()
        for number, line in enumerate(lines[1:], 2):
            row = dict(zip(NAMES, line.split(";"), strict=True))
            wrong = {
                "check:known": row["city"] not in ("Lyon", "Brest", "", "n/d"),
                "check:small": row["amount"] and not 10 <= float(row["amount"].replace(",", ".")) <= 50,
                "check:coded": row["customer"] != "-"
                and not re.fullmatch("[A-Z]{2}[0-9]{3}", row["customer"]),
                "check:there": not row["ordered"],
                "null": row["customer"] == "-",
            }
            found = {code for code, is_wrong in wrong.items() if is_wrong}
            assert found == ({one.broken[number].fate.code} if number in one.broken else set()), row
            assert row["paid"] == "O"
        assert len(one.broken) == 12


def test_a_column_with_two_checks_has_no_bad_value_because_it_might_fail_both(tmp_path: Path) -> None:
    one, other = OneOf(("city",), ("Lyon",)), Pattern(("city",), "[A-Z][a-z]+")
    checks = [Check("known", OnFail.QUARANTINE, one), Check("formed", OnFail.QUARANTINE, other)]
    making = feed_of(FEEDS["named"]).making()
    order = order_of(defects={"bad_value": Amount(count=1)})
    for given, possible in ((checks[:1], True), (checks, False)):
        fields = fields_of(CONTRACT, making.rooms, checks=given)
        if possible:
            assert sum(len(made.broken) for made in make(making, fields, order, tmp_path)) == 3
            continue
        with pytest.raises(ValueError, match="bad_value: no column of this flow can have it"):
            list(make(making, fields, order, tmp_path))


def test_an_instant_of_a_zone_is_of_an_hour_that_its_clock_shows_once() -> None:
    zone = Moment("yyyy-MM-dd HH:mm", "America/New_York")
    fields = fields_of([ContractColumn("at", "timestamp", format=zone)], {"at": Room()})
    values = Values(fields, seed="1", today=datetime(2026, 11, 2, 12, tzinfo=UTC))
    hours = {int((values.row()[0] or "")[11:13]) for _ in range(500)}

    assert hours == set(range(7, 17))
