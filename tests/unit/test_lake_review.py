"""What a stop, a second writer or a hostile text does to the landing, without Spark."""

# ruff: noqa: SLF001

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from py4j.protocol import Py4JError

from engine.cli import land as verb
from engine.errors import RegistryRefused, TopicRefused, TopicUnreachable
from engine.lake import book, dispatch, fold, guard, land, quarantine, read, session, table
from engine.lake.book import Book, FlowState
from engine.lake.decode import Decoder
from engine.lake.desk import Standing
from engine.lake.evolve import Target
from engine.lake.lane import Lane, Seat
from engine.ledger import Entry
from engine.schema import Decimal, Int64, String, Type
from engine.supervise import Policy
from tests.support.avro_records import Schemas
from tests.unit.test_lake_plans import FLOW, a_batch


def entry(seq: int, offsets: Mapping[int, tuple[int, int]], topic_id: str = "t") -> Entry:
    return Entry(
        flow="f", table="b.t", app_id="f:1", seq=seq, plan="p", writer="w", topic="t", topic_id=topic_id,
        offsets=offsets, read=1, landed=1, table_version=seq, landed_at_us=1,
    )  # fmt: skip


def test_two_landings_of_one_lake_never_double_the_ledger_i4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book, "_COMPACT_AFTER", 3)
    books = [Book(tmp_path), Book(tmp_path)]
    books[0].open()

    def land(one: Book, app: str) -> None:
        for seq in range(1, 13):
            one.add(replace(entry(seq, {0: (seq, seq + 1)}), app_id=app))

    threads = [threading.Thread(target=land, args=(b, f"f:{n}")) for n, b in enumerate(books)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [books[0].entry(f"f:{n}", seq) for n in range(2) for seq in range(1, 13)]
    assert all(found)
    assert [books[0].count(f"f:{n}") for n in range(2)] == [12, 12]
    assert DeltaTable(str(book.ledger_path(tmp_path))).transaction_version("f:1") == 12


@dataclass
class World:
    """A Kafka that answers, and a landing that is asked between two of its answers."""

    topics: Any = None
    asked: list[str] = field(default_factory=list)
    driver: Any = None

    def gaps(self) -> dict[str, Any]:
        self.asked.append("gaps")
        assert self.driver.ends == {}, "rows behind a gap are handed out before the gap is known"
        return {}

    def at(self, _point: str) -> None:
        pass


def a_driver(world: World) -> Any:
    driver: Any = object.__new__(dispatch._Driver)
    seats = SimpleNamespace(
        reconsider=lambda *_: None, stop_at_gaps=lambda *_: None, doubt=lambda *_: None, dispatch=lambda _: 0
    )
    driver.world, driver.seats, driver.ends, driver._gaps = world, seats, {}, {}
    driver._asking = threading.Lock()
    driver.lane = SimpleNamespace(flows=[FLOW], trigger_s=0.2)
    world.driver = driver
    return driver


def test_a_gap_is_known_before_the_ends_behind_it_are_i5() -> None:
    world = World()
    driver = a_driver(world)
    driver._ends = lambda _batch: {"t": {0: 5}}
    driver._woken(None, 0)
    assert world.asked == ["gaps"]
    assert driver.ends == {"t": {0: 5}}


def test_an_older_answer_never_takes_the_place_of_a_gap_told_since_i5() -> None:
    driver = a_driver(World())
    driver._ends = lambda _batch: {"t": {0: 5}}
    spark = threading.Thread(target=driver._woken, args=(None, 0))
    told = iter([{}, {FLOW.name: "a gap"}])

    def gaps() -> Any:
        answer = next(told)
        if not answer:  # the timer has asked, and before it takes the answer Spark sees an offset move
            spark.start()
            spark.join(0.2)
        return answer

    driver.world.gaps = gaps
    driver._ask_gaps()
    spark.join()
    assert driver._gaps == {FLOW.name: "a gap"}


def test_what_a_stop_left_unlanded_does_not_wait_for_the_next_record_i2() -> None:
    topics = SimpleNamespace(
        offsets=lambda _: {"t": {0: (2, 5)}}, topic_ids=lambda names: dict.fromkeys(names, "id")
    )
    driver = a_driver(World(topics))
    driver._ask()
    assert driver.ends == {"t": {0: 5}}


def test_a_topic_that_went_while_nobody_landed_it_is_looked_at_i9(tmp_path: Path) -> None:
    seat = Seat(FLOW, FlowState(FLOW.name))
    lane_: Any = object.__new__(Lane)
    lane_.seats, lane_.root = [seat], tmp_path
    Lane.doubt(lane_, {})
    assert not seat.waiting({})  # a flow that never landed waits for its topic
    path = book.table_path(tmp_path, FLOW.sink.table)
    write_deltalake(str(path), pa.table({"id": [1]}))
    Lane.doubt(lane_, {})
    assert seat.waiting({})
    Lane.doubt(lane_, {FLOW.topic.name: "id"})
    assert seat.waiting({FLOW.topic.name: {0: 1}}) == 1  # it is there: the table is asked as ever


def test_i9_a_topic_that_is_refused_is_looked_at_by_its_own_flow_and_by_no_other() -> None:
    def topic_ids(names: list[str]) -> dict[str, str]:
        if names == ["closed"]:
            raise TopicRefused("topic authorization failed")
        return {name: "id" for name in names if name == "ours"}

    driver = a_driver(World(SimpleNamespace(topic_ids=topic_ids)))
    flows = [replace(FLOW, topic=replace(FLOW.topic, name=name)) for name in ("ours", "closed", "absent")]
    driver.lane = SimpleNamespace(flows=flows)
    driver.stop, driver.seats = threading.Event(), object.__new__(Lane)
    driver.world.monotonic = driver.world.wall = lambda: 0.0
    driver.seats.policy, driver.seats.root = Policy(1, 1, -1, lambda: 0), Path("nowhere")
    driver.seats.seats = [Seat(flow, FlowState(flow.name)) for flow in flows]
    driver._doubt()
    assert [seat.waiting({}) for seat in driver.seats.seats] == [0, 1, 0]


def test_a_key_with_the_text_of_a_variable_is_that_text_i5() -> None:
    assert session._SETTINGS["spark.sql.variable.substitute"] == "false"
    said = fold.bounds(["k"], {"k": String()}, {"lo0": "${env:HOME}", "hi0": "${env:HOME}"})
    assert "${env:HOME}" in said


def test_a_record_of_strange_bytes_is_quarantined_and_stops_nothing_i5() -> None:
    said = " ".join(quarantine.columns(a_batch(), ["id"], 1))
    assert "try_cast(conv(hex(substring(value, 2, 4)), 16, 10) AS int)" in said


def test_a_record_has_a_type_before_any_schema_is_known_i5() -> None:
    columns: dict[str, Type] = {"id": Int64(), "w`t": Decimal(10, 2)}
    said = Decoder(columns=columns, writers=[], nonce=b"n" * 16).record()
    row = "struct<`id`: bigint, `w_60_t`: decimal(10,2)>"
    assert f"before: {row}, after: {row}>) END" in said
    keyed = replace(FLOW, sink=replace(FLOW.sink, keys=("id",)))
    assert table.keys(keyed, Target()) == ()


def test_a_change_without_its_image_is_no_row_of_nulls_i5() -> None:
    said = Decoder(columns={"id": Int64()}, writers=[], nonce=b"n" * 16).reason()
    assert "WHEN op NOT IN ('t', 'f', 'w') AND i IS NULL THEN 'image-null'" in said


@pytest.mark.parametrize(("count", "looks"), [(1, 0), (500, 1)])
def test_i5_records_of_many_strange_schemas_in_one_batch_are_nobodys_and_no_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, count: int, looks: int
) -> None:
    brought, looked = set(range(7, 7 + count)), list[object]()
    standing = Standing(FLOW, "a")
    nobody = SimpleNamespace(session=None, kafka={}, schemas=Schemas())

    def once(_: object) -> str:
        unknown = brought - standing.foreign
        if unknown:
            raise Py4JError(f"ecluse!schema!0!3!{max(unknown)}!")
        return "landed"

    def schema_ids(*asked: object, known: set[int]) -> list[int]:
        looked.append(asked)
        return sorted(brought - known)

    monkeypatch.setattr(read, "schema_ids", schema_ids)
    attempt: Any = land._Attempt(cast("Any", nobody), standing, {0: (3, 900)}, None)
    attempt._plan, attempt._once, attempt._after = a_batch, once, lambda result: result
    assert attempt.run() == "landed"
    assert standing.foreign == brought
    assert len(looked) == looks


def test_a_registry_that_refuses_us_does_not_make_records_nobodys_i5() -> None:
    def refuse(_id: int) -> str | None:
        raise RegistryRefused("401")

    schemas = verb._Schemas(SimpleNamespace(schema=refuse))
    with pytest.raises(RegistryRefused):
        schemas.schema(7)
    assert schemas.schema(2**31) is None  # no id of a registry: bytes of somebody else


def test_a_partition_that_does_not_answer_is_no_shorter_topic_i5() -> None:
    topics = SimpleNamespace(topic_ids=lambda _: {FLOW.topic.name: "t"}, offsets=lambda _: {})
    standing = Standing(FLOW, "a", offsets={0: 5}, topic_id="t")
    with pytest.raises(TopicUnreachable):
        guard.check(cast("Any", SimpleNamespace(topics=topics)), standing, ())
