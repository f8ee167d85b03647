"""What every topic must do, whatever is behind it: a list of checks, each a function of a ``Log``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import pytest

from engine.envelope import Record
from engine.errors import TopicMismatch, TopicRefused, TopicUnreachable
from engine.plan import TopicPlan
from engine.topic import Stored, Topic


class Log(Protocol):
    """A place for topics of a test's own."""

    def open(self) -> Topic:
        """A new sender and reader of the same log."""
        ...

    def name(self, text: str) -> str:
        """A topic name that nobody else uses."""
        ...

    def delete(self, name: str) -> None:
        """Delete a topic, as an operator may."""
        ...


def plan(name: str, partitions: int = 2, row_bytes_max: int = 1 << 20) -> TopicPlan:
    return TopicPlan(name, partitions, 1, 86_400_000, "backward", row_bytes_max)


def records(name: str, *texts: str, partition: int = 0) -> list[Record]:
    return [(name, f"value {text}".encode(), text.encode(), partition) for text in texts]


def stored(topic: Topic, name: str, partition: int = 0) -> list[Stored]:
    start, stop = topic.offsets([name])[name][partition]
    return list(topic.read(name, partition, start, stop))


def what_was_flushed_is_read_in_its_order(log: Log) -> None:
    topic, name = log.open(), log.name("order")
    topic.prepare([plan(name)])
    for n in range(0, 3000, 100):
        topic.send(records(name, *(str(i) for i in range(n, n + 100)), partition=1))
    topic.send([(name, b"\x00", None, 0)])
    topic.send([(name, None, b"gone", 0)])
    topic.flush()
    assert [s.value for s in stored(topic, name, 1)] == [f"value {i}".encode() for i in range(3000)]
    assert [(s.key, s.value, s.offset) for s in stored(topic, name, 0)] == [
        (None, b"\x00", 0),
        (b"gone", None, 1),
    ]
    topic.close()


def a_range_is_read_exactly(log: Log) -> None:
    topic, name = log.open(), log.name("range")
    topic.prepare([plan(name, 1)])
    topic.send(records(name, *"abcdefgh"))
    topic.flush()
    assert [s.key for s in topic.read(name, 0, 2, 5)] == [b"c", b"d", b"e"]
    assert [s.offset for s in topic.read(name, 0, 6, 8)] == [6, 7]
    assert list(topic.read(name, 0, 8, 8)) == []
    topic.close()


def another_sender_goes_on_behind_the_first(log: Log) -> None:
    name = log.name("two")
    for n, text in enumerate("abc"):
        topic = log.open()
        topic.prepare([plan(name, 1)])
        topic.send(records(name, text))
        topic.flush()
        assert [s.offset for s in stored(topic, name)] == list(range(n + 1))
        topic.close()


def offsets_of_many_topics_come_in_one_answer(log: Log) -> None:
    topic = log.open()
    names = [log.name(f"many{n}") for n in range(5)]
    topic.prepare([plan(name, 3) for name in names])
    topic.send(records(names[2], "a", "b", partition=1))
    topic.flush()
    found = topic.offsets([*names, log.name("absent")])
    assert set(found) == set(names)
    assert found[names[2]] == {0: (0, 0), 1: (0, 2), 2: (0, 0)}
    topic.close()


def a_topic_has_an_id_that_another_of_its_name_has_not(log: Log) -> None:
    topic, name = log.open(), log.name("identity")
    topic.prepare([plan(name)])
    first = topic.topic_ids([name, log.name("absent")])
    assert list(first) == [name]
    assert topic.topic_ids([name]) == first
    assert topic.topic_ids([name, name]) == first  # two flows may land one topic
    log.delete(name)
    assert topic.topic_ids([name]) == {}
    topic.prepare([plan(name)])
    assert topic.topic_ids([name])[name] != first[name]
    topic.close()


def preparing_again_changes_nothing(log: Log) -> None:
    topic, name = log.open(), log.name("again")
    topic.prepare([plan(name)])
    topic.send(records(name, "a"))
    topic.flush()
    topic.prepare([plan(name), plan(log.name("new"))])
    assert [s.key for s in stored(topic, name)] == [b"a"]
    topic.close()


def one_topic_s_mismatch_is_told_and_the_others_are_made(log: Log) -> None:
    topic, name, other = log.open(), log.name("width"), log.name("other")
    assert topic.prepare([plan(name, 2)]) == {}
    troubled = topic.prepare([plan(name, 3), plan(other)])
    assert list(troubled) == [name]
    assert isinstance(troubled[name], TopicMismatch)
    assert "2 partitions" in troubled[name].what
    assert list(topic.topic_ids([name, other])) == [name, other]
    topic.close()


def a_record_for_a_topic_that_is_not_there_waits_for_the_next_prepare(log: Log) -> None:
    topic, name = log.open(), log.name("nowhere")
    with pytest.raises(TopicUnreachable):
        _through(topic, records(name, "a"))
    topic.close()
    topic = log.open()
    topic.prepare([plan(name)])
    _through(topic, records(name, "a"))
    topic.close()


def a_record_that_is_too_large_is_refused(log: Log) -> None:
    topic, name = log.open(), log.name("large")
    topic.prepare([plan(name, row_bytes_max=1000)])
    with pytest.raises(TopicRefused) as found:
        _through(topic, [(name, os.urandom(3 << 20), b"k", 0)])
    assert found.value.where == f"{name}/0"  # whoever sent it sets this topic aside
    topic.close()


def _through(topic: Topic, sent: Sequence[Record]) -> None:
    topic.send(sent)
    topic.flush()


def flushing_nothing_is_nothing(log: Log) -> None:
    topic = log.open()
    topic.flush()
    topic.close()
    topic.close()


Check = Callable[[Log], None]
CHECKS: Final[dict[str, Check]] = {
    check.__name__: check
    for check in (
        what_was_flushed_is_read_in_its_order,
        a_range_is_read_exactly,
        another_sender_goes_on_behind_the_first,
        offsets_of_many_topics_come_in_one_answer,
        a_topic_has_an_id_that_another_of_its_name_has_not,
        preparing_again_changes_nothing,
        one_topic_s_mismatch_is_told_and_the_others_are_made,
        a_record_for_a_topic_that_is_not_there_waits_for_the_next_prepare,
        a_record_that_is_too_large_is_refused,
        flushing_nothing_is_nothing,
    )
}
