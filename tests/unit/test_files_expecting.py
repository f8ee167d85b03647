"""When a file is due: by what was declared, by the clocks of a zone, and by nobody's worker."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.files import seeing
from connectors.files.expecting import Expect
from connectors.files.opening import looked
from engine.arrivals import Expected
from engine.cli import filed
from engine.marks import Marks
from engine.watch.expected import Awaited, awaited
from engine.watch.files import Shelf, Wanted, look, tally
from tests.support.files_bench import bench_of, runs
from tests.support.files_world import HEAD, FilesWorld, spec
from tests.support.memory import Bench
from tests.support.partners import LINES, built, flow, mistakes, project

HOUR = 3_600_000_000
PARIS = {"by": "06:30", "timezone": "Europe/Paris"}
WEEK = ("mon", "tue", "wed", "thu", "fri")


def expected(**said: Any) -> Expected:
    found = Expect(**said).expected()
    assert found is not None
    return found


def micros(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1_000_000)


def due(last: str, **said: Any) -> str:
    at_us = expected(**said).due(micros(last))
    zone = ZoneInfo(said["timezone"])
    return f"{datetime.fromtimestamp(at_us / 1e6, zone):%a %Y-%m-%d %H:%M%z}"


def test_so_long_after_the_last_one() -> None:
    assert expected(every_s=86_400).due(5) == 86_400_000_005
    assert expected(every_s=5_400).text == "every 90m"


@pytest.mark.parametrize(
    ("last", "said", "wanted"),
    [
        # in time, and late: the file of Tuesday; Wednesday's is another
        ("2026-11-24T05:00+01:00", {}, "Wed 2026-11-25 06:30+0100"),
        ("2026-11-24T09:00+01:00", {}, "Wed 2026-11-25 06:30+0100"),
        ("2026-11-24T00:00+01:00", {}, "Wed 2026-11-25 06:30+0100"),
        ("2026-11-23T23:59+01:00", {}, "Tue 2026-11-24 06:30+0100"),
        # of the days that are named; what was missed first stays due
        ("2026-11-27T06:00+01:00", {"days": WEEK}, "Mon 2026-11-30 06:30+0100"),
        ("2026-11-28T12:00+01:00", {"days": WEEK}, "Mon 2026-11-30 06:30+0100"),
        ("2026-11-20T06:00+01:00", {"days": ("sun",)}, "Sun 2026-11-22 06:30+0100"),
        ("2026-11-22T06:00+01:00", {"days": ("sun",)}, "Sun 2026-11-29 06:30+0100"),
        # the evening before counts where that is said
        ("2026-11-23T22:00+01:00", {"since": "20:00"}, "Wed 2026-11-25 06:30+0100"),
        ("2026-11-23T19:59+01:00", {"since": "20:00"}, "Tue 2026-11-24 06:30+0100"),
        ("2026-11-24T09:00+01:00", {"since": "06:30"}, "Thu 2026-11-26 06:30+0100"),
        ("2026-11-23T12:00+01:00", {"by": "00:00"}, "Wed 2026-11-25 00:00+0100"),
        # a day of 23 hours and one of 25; a time that a clock leaves out, and one that it shows twice
        ("2026-03-28T05:00+01:00", {}, "Sun 2026-03-29 06:30+0200"),
        ("2026-10-24T05:00+02:00", {}, "Sun 2026-10-25 06:30+0100"),
        ("2026-03-28T05:00+01:00", {"by": "02:30"}, "Sun 2026-03-29 03:30+0200"),
        ("2026-10-24T05:00+02:00", {"by": "02:30"}, "Sun 2026-10-25 02:30+0100"),
        ("2026-10-24T22:10+00:00", {}, "Mon 2026-10-26 06:30+0100"),
        # the day is that of the zone, not of UTC
        ("2026-11-24T03:00+00:00", {"by": "23:00", "timezone": "America/New_York"},
         "Tue 2026-11-24 23:00-0500"),
        ("2026-11-25T03:00+00:00", {"by": "23:00", "since": "22:30", "timezone": "America/New_York"},
         "Tue 2026-11-24 23:00-0500"),
        ("2026-11-24T23:00+00:00", {"by": "06:30", "timezone": "Asia/Tokyo"}, "Thu 2026-11-26 06:30+0900"),
    ],
)  # fmt: skip
def test_by_a_time_of_the_days_that_a_zone_has(last: str, said: dict[str, Any], wanted: str) -> None:
    assert due(last, **{**PARIS, **said}) == wanted


@given(
    last=st.integers(0, 4_000_000_000),
    more=st.integers(0, 1_000_000),
    by=st.times(),
    since=st.times(),
    zone=st.sampled_from(["Europe/Paris", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]),
    days=st.lists(st.sampled_from([*WEEK, "sat", "sun"]), min_size=1, unique=True),
)
def test_a_file_is_due_after_the_last_one_and_never_earlier_because_one_came(
    *, last: int, more: int, by: Any, since: Any, zone: str, days: Sequence[Any]
) -> None:
    its = expected(by=f"{by:%H:%M}", since=f"{since:%H:%M}", timezone=zone, days=tuple(days))
    first, second = (its.due(at * 1_000_000) for at in (last, last + more))
    assert last * 1_000_000 < first <= second
    assert first - last * 1_000_000 <= timedelta(days=9) / timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"every_s": 60, **PARIS}, "one of them"),
        ({"by": "06:30"}, "by needs the timezone of its clock"),
        ({"by": "06:30", "timezone": "Europe/Pariss"}, "there is no such timezone"),
        ({"by": "6:30", "timezone": "UTC"}, "by"),
        ({"by": "24:00", "timezone": "UTC"}, "by"),
        ({"timezone": "UTC"}, "say more of by"),
        ({"every_s": 60, "days": WEEK}, "say more of by"),
        ({**PARIS, "days": ()}, "days"),
        ({**PARIS, "days": ("mon", "mon")}, "a day is named once"),
        ({**PARIS, "days": ("monday",)}, "days"),
    ],
)
def test_what_cannot_be_expected_is_an_authors_mistake(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Expect(**said)


def test_a_flow_says_what_it_expects_and_a_mistake_is_told_where_it_stands(tmp_path: Path) -> None:
    text = LINES.replace("      keys: [id]\n", "      keys: [id]\n      expect: {by: 06:30, timezone: UTC}\n")
    said = flow(built(tmp_path, {"flows/acme.yaml": text}), "acme.orders").table.said["expect"]
    (told,) = mistakes(project(tmp_path, {"flows/acme.yaml": text.replace("UTC", "Mars")}))

    assert (said["by"], said["timezone"]) == ("06:30", "UTC")
    assert told.startswith("flows/acme.yaml:13:15: template.bad-value: ")
    assert "there is no such timezone" in told


# --- as it is seen -----------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> FilesWorld:
    return FilesWorld(tmp_path, [spec(expect={"every_s": 3_600}), spec("letters", pattern="*.txt")])


def seen(bench: Bench, world: FilesWorld, after_us: int = 0) -> list[Awaited]:
    """What is awaited, so long after the capture's clock has come to a stand."""
    mark = Marks(bench.topic, "demo", lambda: "12:00").find(bench.capture.name).mark
    its = {t.qualified: e for t in world.tables if (e := seeing.expected(t)) is not None}
    shelf = Shelf(
        bench.capture, [], bench.topic, bench.registry, seeing.read, expected=its,
        looked={} if mark is None else looked(mark.resume),
    )  # fmt: skip
    newest = look(shelf, [], Wanted(named="none of them")).newest_us
    counted = {feed: one.newest_us for feed, one in tally(shelf, []).items()}
    assert newest == {feed: at_us for feed, at_us in counted.items() if at_us is not None}
    return list(awaited(shelf, newest, now_us(bench) + after_us))


def now_us(bench: Bench) -> int:
    return round(bench.clock.clock().wall() * 1_000_000)


def test_f19_a_day_without_a_file_is_an_alarm_that_grows_without_a_worker(world: FilesWorld) -> None:
    world.put("a.csv", HEAD + "1,Aix\n")
    bench = bench_of(world)
    runs(bench, 1)
    (first,) = seen(bench, world)
    assert (first.feed, first.last_us is not None, first.overdue_s) == ("acme.orders", True, 0.0)
    (later,) = seen(bench, world, 3 * HOUR)
    assert later.due_us == first.due_us == (first.last_us or 0) + HOUR
    assert 7_190 < (later.overdue_s or 0.0) < 7_210

    # a file that is refused is none; one that is accepted is, whatever time it is
    bench.clock.now += 3 * 3_600
    world.put("b.csv", "wrong\n")
    runs(bench, 2)
    assert (seen(bench, world)[0].overdue_s or 0.0) > 7_190
    world.put("c.csv", HEAD + "2,Brest\n")
    runs(bench, 3)
    assert seen(bench, world)[0].overdue_s == 0.0


def test_f19_where_none_ever_came_it_is_counted_from_the_first_look_and_before_it_nothing_is_known(
    world: FilesWorld,
) -> None:
    bench = bench_of(world)
    (unknown,) = seen(bench, world, 100 * HOUR)
    assert (unknown.last_us, unknown.due_us, unknown.overdue_s) == (None, None, None)

    world.put("a.txt", HEAD + "1,Aix\n")  # of the other feed
    runs(bench, 1)
    looked_us = now_us(bench)
    for later in range(3):  # opened again and again, it is the first look that counts
        (one,) = seen(bench, world, 2 * HOUR)
        assert one.last_us is None
        assert abs((one.due_us or 0) - looked_us - HOUR) < 10_000_000
        bench.clock.now += 600
        world.put(f"b{later}.txt", HEAD + f"{later},Brest\n")
        runs(bench, later + 2)


def test_what_is_awaited_is_told_with_its_time_and_unknown_is_not_zero() -> None:
    one = Awaited("drop", "acme.orders", ("acme.orders",), "every 24h", 1, 1_795_300_000_000_000, 7_440.0)
    assert filed.awaits(one) == "expected every 24h: the next by 2026-11-21 22:26:40 (UTC), overdue 2 h 04"
    unknown = Awaited("drop", "acme.orders", (), "every 24h", None, None, None)
    assert "not known" in filed.awaits(unknown)
    assert unknown.as_dict()["overdue_s"] is None


def test_a_mark_of_an_older_worker_has_looked_at_nothing() -> None:
    assert looked(b'{"version": 1, "published": 3}') == {}
