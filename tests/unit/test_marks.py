"""Marks, writer epochs and gaps, on a log in memory."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from engine.arrivals import Wish
from engine.errors import CaptureFenced, Missing, SourceUnreachable
from engine.marks import Found, Marks, Stop
from engine.source import STREAM, Mark, Reading, TableGap
from engine.topic import MemoryTopic

GAP = TableGap("public", "parcel", "source.gap-suspected", 0, 150, "left the publication")


def marks(topic: MemoryTopic) -> Marks:
    found = Marks(topic, "demo", lambda: "2026-11-21T12:00:00Z")
    found.prepare(1)
    return found


def mark(major: int, resume: bytes = b"{}") -> Mark:
    return Mark({STREAM: major}, resume, 2, major * 10)


def written(writer: Marks, epoch: int, at: Mark) -> None:
    writer.send("shop", epoch, at)
    writer.topic.flush()


def test_a_capture_that_never_ran_has_no_mark_and_no_writer() -> None:
    assert marks(MemoryTopic()).find("shop") == Found(None, 0)
    assert Marks(MemoryTopic(), "demo", str).find("shop") == Found(None, 0)


def test_a_mark_comes_back_as_it_was_whatever_its_resume_holds() -> None:
    writer = marks(MemoryTopic())
    writer.take("shop", writer.find("shop"))
    for resume in (b"{}", b"", '{"é": "☃"}'.encode(), bytes(range(256))):
        written(writer, 1, mark(100, resume))
        assert writer.find("shop").mark == mark(100, resume)


def test_the_mark_of_the_highest_epoch_rules_even_when_a_zombie_writes_later() -> None:
    topic = MemoryTopic()
    zombie, newer = marks(topic), marks(topic)
    assert zombie.take("shop", zombie.find("shop")) == 1
    written(zombie, 1, mark(100))
    assert newer.take("shop", newer.find("shop")) == 2
    assert newer.find("shop").mark == mark(100)
    written(zombie, 1, mark(999))
    assert newer.find("shop") == Found(mark(100), 2, "2026-11-21T12:00:00Z")
    with pytest.raises(CaptureFenced, match="writer 2 has taken over from writer 1"):
        zombie.keep("shop", 1)
    newer.keep("shop", 2)


def test_a_writer_that_opened_from_an_older_mark_opens_again() -> None:
    topic = MemoryTopic()
    first, second = marks(topic), marks(topic)
    found = second.find("shop")
    first.take("shop", first.find("shop"))
    with pytest.raises(SourceUnreachable):
        second.take("shop", found)
    assert second.take("shop", second.find("shop")) == 2


def test_captures_of_one_project_do_not_touch_each_other() -> None:
    writer = marks(MemoryTopic())
    for capture, major in (("shop", 100), ("depot", 200)):
        writer.take(capture, writer.find(capture))
        writer.send(capture, 1, mark(major))
        writer.topic.flush()
    assert {name: found.mark for name, found in writer.all().items()} == {
        "shop": mark(100),
        "depot": mark(200),
    }


def test_the_records_are_json_that_people_can_read() -> None:
    topic = MemoryTopic()
    writer = marks(topic)
    written(writer, 3, mark(100, b'{"slot": "ecluse"}'))
    (stored,) = topic.read("ecluse.demo.marks", 0, 0, 10)
    assert json.loads(stored.key or b"") == {"capture": "shop", "epoch": 3}
    assert json.loads(stored.value or b"") == {
        "at": {"stream": 100},
        "capture": "shop",
        "committed_us": 1000,
        "epoch": 3,
        "era": 2,
        "resume": '{"slot": "ecluse"}',
        "written_at": "2026-11-21T12:00:00Z",
    }


def test_what_was_read_once_is_not_read_again() -> None:
    topic = MemoryTopic()
    writer, reader = marks(topic), marks(topic)
    asked: list[int] = []
    read = topic.read

    def counted(name: str, partition: int, start: int, stop: int) -> object:
        asked.append(stop - start)
        return read(name, partition, start, stop)

    topic.read = counted  # type: ignore[method-assign,assignment]
    for n in range(1, 6):
        written(writer, n, mark(n))
        assert reader.find("shop").epoch == n
    assert asked == [1] * 5


def test_marks_of_a_topic_that_was_made_again_are_the_new_ones() -> None:
    topic = MemoryTopic()
    reader = marks(topic)
    for n in (1, 2, 3):
        written(reader, n, mark(n))
    assert reader.find("shop").epoch == 3
    topic.delete(reader.name)
    assert reader.find("shop") == Found(None, 0)
    written(marks(topic), 1, mark(7))
    assert reader.find("shop").mark == mark(7)


def test_the_marks_of_writers_long_gone_are_thrown_away() -> None:
    topic = MemoryTopic()
    for n in range(1, 30):
        writer = marks(topic)
        assert writer.take("shop", writer.find("shop")) == n
        writer.send("shop", n, mark(n))
        writer.send("depot", n, mark(n))
        writer.topic.flush()
    reader = marks(topic)
    assert reader.find("shop").mark == mark(29)
    kept = [stored for stored in newest(topic) if b"shop" in stored]
    assert kept == [b'{"capture":"shop","epoch":28}', b'{"capture":"shop","epoch":29}']
    assert len(newest(topic)) == len(kept) + 29  # nobody took the other capture: its marks stay


def newest(topic: MemoryTopic) -> list[bytes]:
    """The keys that compaction would keep."""
    values = {s.key: s.value for s in topic.read("ecluse.demo.marks", 0, 0, 10_000)}
    return sorted(key for key, value in values.items() if key is not None and value is not None)


def test_a_gap_is_told_once_and_accepted_by_a_person() -> None:
    writer = marks(MemoryTopic())
    assert writer.open_gap("shop", GAP) is not None
    assert writer.open_gap("shop", GAP) is None
    assert writer.open_gap("shop", GAP._replace(major=300)) is not None
    first, second = writer.gaps()
    assert [(g.table, g.major, g.accepted) for g in (first, second)] == [
        ("public.parcel", 150, False),
        ("public.parcel", 300, False),
    ]
    writer.accept(first, "ana")
    assert [(g.accepted, g.accepted_by) for g in writer.gaps()] == [(True, "ana"), (False, "")]
    assert writer.open_gap("shop", GAP) is None  # the same finding, told again after a restart
    assert writer.all() == {}


STOP = Stop("shop", "source.slot-missing", "the slot is gone", "shop", "ecluse resolve", "t1", "era 2", 2)


def test_why_a_capture_stands_still_is_known_until_it_streams_again() -> None:
    topic = MemoryTopic()
    writer, reader = marks(topic), marks(topic)
    written(writer, 1, mark(100))
    writer.stop(STOP)
    assert reader.stops() == {"shop": STOP}
    assert reader.find("shop").mark == mark(100)
    assert writer.take("shop", writer.find("shop")) == 2
    topic.flush()
    assert reader.stops() == {}
    writer.stop(STOP)  # a second worker gives up while this one reads
    writer.streams("shop")
    topic.flush()
    assert reader.stops() == {}


def test_what_a_person_took_on_stays_when_the_capture_streams_again() -> None:
    topic = MemoryTopic()
    writer = marks(topic)
    for at in ("t1", "t2"):
        writer.stop(replace(STOP, stopped_at=at))
        writer.accept_stop(writer.stops()["shop"], "ana")
        assert writer.stops()["shop"].accepted_by == "ana"
        writer.take("shop", writer.find("shop"))
    first, second = marks(topic).accepted_stops()
    assert first == replace(STOP, accepted_at="2026-11-21T12:00:00Z", accepted_by="ana")
    assert second.stopped_at == "t2"
    assert marks(topic).gaps() == ()


def test_a_person_may_amend_what_the_connector_reads_from_a_mark() -> None:
    writer = marks(MemoryTopic())
    with pytest.raises(Missing):
        writer.amend("shop", b"{}")
    written(writer, 1, mark(100))
    assert writer.amend("shop", b'{"accept_gap": true}') == 2
    assert writer.find("shop").mark == mark(100, b'{"accept_gap": true}')


def test_a_table_that_is_read_is_told_until_it_is_done() -> None:
    writer = marks(MemoryTopic())
    told = Reading("public", "parcel", 0, 40, 100)
    for each in (told, told._replace(rows=60)):
        writer.reading("shop", each, 2.0)
    other = told._replace(table="scan", waits_for="open writers")
    writer.reading("shop", other, None)
    writer.topic.flush()
    assert [(r.table, r.rows, r.left_s) for r in writer.readings()] == [
        ("public.parcel", 60, 2.0), ("public.scan", 40, None),
    ]  # fmt: skip
    for each in (told, other):
        writer.reading("shop", each._replace(done=True), None)
    writer.topic.flush()
    assert writer.readings() == ()
    assert writer.stops() == {}


def test_a_new_writer_begins_with_no_table_that_is_being_read() -> None:
    writer = marks(MemoryTopic())
    for capture in ("shop", "depot"):
        writer.reading(capture, Reading("public", "parcel", 0, 40, 100), 2.0)
    writer.take("shop", writer.find("shop"))
    writer.topic.flush()
    assert [r.capture for r in writer.readings()] == ["depot"]


def test_how_often_a_person_asked_for_a_table_is_counted_for_each_and_stays() -> None:
    topic = MemoryTopic()
    for times in (1, 2):
        assert marks(topic).ask("shop", "public.parcel", "ana") == times
    marks(topic).ask("shop", "public.scan", "ana")
    marks(topic).take("shop", marks(topic).find("shop"))
    assert marks(topic).asked("shop") == {"public.parcel": 2, "public.scan": 1}
    assert marks(topic).asked("depot") == {}


def test_of_what_people_want_of_a_files_name_the_newest_counts_and_each_has_a_number_of_its_own() -> None:
    topic = MemoryTopic()
    one = Wish(number=0, verb="reject", folder="in", name="a.csv", size=1, modified_ns=2, by="ana")
    asked = [
        marks(topic).wish("drop", one),
        marks(topic).wish("drop", replace(one, name="b.csv")),
        marks(topic).wish("drop", replace(one, verb="requeue", arrival=7, why="mended")),
        marks(topic).wish("other", one),
    ]
    assert [wish.number for wish in asked] == [1, 2, 3, 1]
    marks(topic).take("drop", marks(topic).find("drop"))
    assert marks(topic).wishes("drop") == (asked[1], asked[2])
    assert marks(topic).wishes("other") == (asked[3],)
    assert marks(topic).asked("drop") == {}
