"""One topic's trouble: its table is set aside with a gap, and the others go on (I9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.envelope import Record
from engine.errors import RegistryRefused, SourceUnready, TopicRefused
from engine.plan import TopicPlan
from engine.pump import run
from engine.registry import Part, Registered
from engine.schema import Int64, String
from engine.source import STREAM
from engine.supervise import Done, Parked
from engine.topic import MemoryTopic, Waiting, silent
from tests.support.cells import column, field, relation
from tests.support.memory import Bench, MemoryRegistry
from tests.support.pumped import marks, stopped_after, tx
from tests.support.scripted import Scripted, Tx

LETTER = replace(
    relation(column("id", Int64(), nullable=False), column("town", String())), id=2, table="letter"
)


def letter(major: int, *ids: int) -> Tx:
    return Tx(LETTER, [("c", None, [field(Int64(), i), field(String(), "x")]) for i in ids], major)


def bench_of(world: Scripted) -> Bench:
    return stopped_after(Bench(world.open, {"public.parcel": 1, "public.letter": 1}), world)


def with_other_partitions(bench: Bench, *tables: str) -> None:
    for table in tables:
        bench.topic.prepare([TopicPlan(f"shop.{table}", 3, 1, 86_400_000, "backward", 1 << 20)])


def test_i9_a_topic_that_does_not_fit_sets_its_table_aside_with_a_gap_and_the_others_go_on() -> None:
    world = Scripted([tx(100, 1), letter(150, 1)])
    bench = bench_of(world)
    assert run(bench.capture, bench.doors) == Done(None)
    bench.topic.delete("shop.public.letter")
    with_other_partitions(bench, "public.letter")
    world.script += [letter(200, 2), tx(300, 3)]
    for _ in range(2):  # started twice: the gap is one
        bench.clock.stop.clear()
        stopped_after(bench, world)
        assert run(bench.capture, bench.doors) == Done(None)
        world.script += [letter(400, 4), tx(500, 5)]
    assert bench.positions() == [(100, 0), (300, 0), (500, 0)]
    assert bench.positions("public.letter") == []
    (gap,) = marks(bench).gaps()
    assert (gap.table, gap.code, gap.era, gap.major) == ("public.letter", "topic.mismatch", 0, 151)
    told = bench.log.facts("set aside")
    assert {(t["table"], t["code"]) for t in told} == {("public.letter", "topic.mismatch")}
    assert world.confirmed[-1].at == {STREAM: 500}


def test_a_gap_that_was_accepted_before_the_topic_was_mended_is_told_again_from_where_the_capture_is() -> (
    None
):
    world = Scripted([tx(100, 1)])
    bench = bench_of(world)
    run(bench.capture, bench.doors)
    bench.topic.delete("shop.public.letter")
    with_other_partitions(bench, "public.letter")
    for major in (200, 300):
        world.script.append(tx(major, major))
        bench.clock.stop.clear()
        stopped_after(bench, world)
        run(bench.capture, bench.doors)
        marks(bench).accept(marks(bench).gaps()[-1], "ana")
    assert [gap.major for gap in marks(bench).gaps()] == [101, 201]


def test_a_capture_whose_topics_are_all_in_trouble_stops() -> None:
    world = Scripted([tx(100, 1)])
    bench = bench_of(world)
    with_other_partitions(bench, "public.parcel", "public.letter")
    end = run(bench.capture, bench.doors)
    assert isinstance(end, Parked)
    assert end.error.code == "topic.mismatch"
    assert world.opened == []


def test_i9_a_table_that_became_unfit_while_the_capture_was_down_has_a_gap_from_the_mark_on() -> None:
    world = Scripted([letter(100, 1), tx(150, 1)])
    bench = bench_of(world)
    assert run(bench.capture, bench.doors) == Done(None)
    bench.unfit["public.letter"] = SourceUnready("column town is box", where="shop")
    world.script += [letter(200, 2), tx(300, 3)]
    bench.clock.stop.clear()
    stopped_after(bench, world)
    assert run(bench.capture, bench.doors) == Done(None)
    assert bench.positions() == [(150, 0), (300, 0)]
    assert bench.positions("public.letter") == [(100, 0)]
    (gap,) = marks(bench).gaps()
    assert (gap.table, gap.code, gap.era, gap.major) == ("public.letter", "source.unready", 0, 151)
    assert gap.text == "column town is box"
    assert [(t["table"], t["code"]) for t in bench.log.facts("set aside")] == [
        ("public.letter", "source.unready")
    ]


def test_a_capture_of_an_unfit_table_and_one_without_a_topic_stops() -> None:
    world = Scripted([tx(100, 1)])
    bench = bench_of(world)
    with_other_partitions(bench, "public.parcel")
    bench.unfit["public.letter"] = SourceUnready("column town is box", where="shop")
    end = run(bench.capture, bench.doors)
    assert isinstance(end, Parked)
    assert world.opened == []


class Refusing(MemoryTopic):
    """A topic that says no to every record of one name."""

    refused = "shop.public.letter"

    def flush(self, waiting: Waiting = silent) -> None:
        if any(name == self.refused for name, *_ in self._sent):
            self._sent = []
            raise TopicRefused("not authorized", where=f"{self.refused}/0")
        super().flush(waiting)


def test_i9_a_topic_that_refuses_records_while_the_capture_runs_is_set_aside_and_the_others_go_on() -> None:
    world = Scripted([tx(100, 1), letter(200, 2), tx(300, 3)])
    bench = bench_of(world)
    bench.through = lambda topic: Refusing(_logs=topic._logs)  # noqa: SLF001 - the same log behind another door
    assert run(bench.capture, bench.doors) == Done(None)
    assert bench.positions() == [(100, 0), (300, 0)]
    (gap,) = marks(bench).gaps()
    assert (gap.table, gap.code, gap.major) == ("public.letter", "topic.refused", 101)
    (waited,) = bench.log.facts("waiting")
    assert "set aside" in waited["what"]


@dataclass
class Choosy(MemoryRegistry):
    """A registry that takes no schema of one topic, or lets nobody in at all."""

    closed: bool = False

    def register(self, topic: str, part: Part, schema: dict[str, Any]) -> Registered:
        if topic == "shop.public.letter" or self.closed:
            raise RegistryRefused(
                "the schema registry answers 422", where="registry:8081", hint="ecluse status"
            )
        return super().register(topic, part, schema)

    def schema(self, schema_id: int) -> str:
        if self.closed:
            raise RegistryRefused("the schema registry answers 401", where="registry:8081")
        return super().schema(schema_id) if schema_id <= len(self.texts) else ""


def test_i9_a_schema_that_the_registry_refuses_sets_its_table_aside_and_the_others_go_on() -> None:
    world = Scripted([tx(100, 1), letter(200, 2), tx(300, 3)])
    bench = bench_of(world)
    bench.registry = Choosy()
    assert run(bench.capture, bench.doors) == Done(None)
    assert bench.positions() == [(100, 0), (300, 0)]
    (gap,) = marks(bench).gaps()
    assert (gap.table, gap.code, gap.major) == ("public.letter", "registry.refused", 101)
    (waited,) = bench.log.facts("waiting")
    assert (waited["code"], waited["where"]) == ("registry.unreachable", "shop.public.letter/value")
    assert "set aside" in waited["what"]


def test_a_registry_that_lets_nobody_in_stops_the_capture_and_sets_no_table_aside() -> None:
    world = Scripted([tx(100, 1), letter(200, 2)])
    bench = bench_of(world)
    bench.registry = Choosy(closed=True)
    end = run(bench.capture, bench.doors)
    assert isinstance(end, Parked)
    assert end.error.code == "registry.refused"
    assert marks(bench).gaps() == ()
    assert bench.log.facts("set aside") == []


def test_i9_a_topic_that_is_deleted_while_the_capture_runs_is_made_again_and_the_others_go_on() -> None:
    world = Scripted([letter(100, 1), tx(200, 2), letter(300, 3), tx(400, 4)])
    bench = bench_of(world)
    bench.topic = Deleted("shop.public.letter")
    stopped_after(bench, world)
    assert run(bench.capture, bench.doors) == Done(None)
    assert bench.positions() == [(200, 0), (400, 0)]
    assert bench.positions("public.letter") == [(300, 0)]
    assert marks(bench).gaps() == ()  # the landing tells that the topic is another one
    assert [w["code"] for w in bench.log.facts("waiting")] == ["topic.unreachable"]


class Deleted(MemoryTopic):
    """A log from which somebody deletes a topic, once its first record is acknowledged."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.done = name, False

    def send(self, records: Sequence[Record], waiting: Waiting = silent) -> None:
        if not self.done and self.offsets([self.name]).get(self.name, {0: (0, 0)})[0][1]:
            self.done = True
            self.delete(self.name)
        super().send(records, waiting)
