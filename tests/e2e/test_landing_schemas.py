"""The landing and schemas that change: what the table follows, what stops its flow, and the way out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.errors import LakeUnreachable, SchemaBlocked
from engine.lake import book
from engine.state import State
from tests.e2e.test_landing_world import FIELDS, code, fill, ids
from tests.support.avro_records import Field
from tests.support.landing import POLICY, Landing, Table

pytestmark = [pytest.mark.spark, pytest.mark.stack]


def fill_at(table: Table, major: int, id_: int) -> None:
    table.change("c", {"id": id_, "name": f"n{id_}"}, position=(1, major, 0))


def die_once(landing: Landing, point: str) -> None:
    left = [point]

    def hook(reached: str) -> None:
        if left and reached.startswith(left[0]):
            left.clear()
            raise LakeUnreachable("the process died")

    landing.at = hook


def test_a_schema_that_the_policy_parks_blocks_at_its_first_record(landing: Landing) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 3)
    table.evolve([Field("id", "int"), Field("name", "long")])
    table.maker.begin()
    table.change("c", {"id": 3, "name": 7})
    assert code(landing, table) == SchemaBlocked.code
    assert ids(table) == [0, 1, 2]
    assert table.state().first_unapplied == {"0": 3}


@pytest.mark.parametrize("mode", ["append", "scd1"])
def test_i4_rows_of_an_accepted_schema_wait_in_quarantine_and_the_flow_goes_on(
    landing: Landing, mode: str
) -> None:
    table = landing.table(fields=FIELDS, mode=mode)
    fill(table, 0, 2)
    blocked = table.evolve([FIELDS[0], Field("name", "long")])
    again = table.maker
    value = again.value("c", {"id": 2, "name": 7}, position=(1, 80, 0))
    table.send(value)
    table.evolve(FIELDS)
    fill_at(table, 88, 3)
    assert code(landing, table) == SchemaBlocked.code
    assert f"ecluse resolve {table.flow.name} --accept-gap" in table.state().hint
    assert ids(table) == [0, 1]
    book.accept(landing.lake, table.state(), by="anna", at="now")
    die_once(landing, "landing.after-table")
    landing.land()
    assert ids(table) == [0, 1, 3]
    (held,) = table.quarantined()
    assert (held["stage"], held["schema_id"], held["offset"], held["value"]) == ("schema", blocked, 2, value)
    assert "schema-blocked:" in held["reason"]
    assert "column name: string → bigint" in held["reason"]
    entry = table.entries()[-1]
    assert (entry.state, entry.read, entry.landed, entry.quarantined) == ("completed", 2, 1, 1)
    assert "anna accepted landing.schema-blocked" in entry.reasons[0]

    table.send(again.value("c", {"id": 4, "name": 7}, position=(1, 96, 0)))
    fill_at(table, 104, 5)
    state = landing.land()[table.flow.name]  # a restart: the answer stands where the flow stands
    assert (state.state, ids(table), len(table.quarantined())) == (State.STREAMING, [0, 1, 3, 5], 2)
    assert (state.accepted, table.entries()[-1].reasons) == ((), ())

    table.evolve([FIELDS[0], Field("name", "double")])
    table.change("c", {"id": 6, "name": 1.5}, position=(1, 112, 0))
    assert code(landing, table) == SchemaBlocked.code  # the answer was for another schema


def test_i5_a_batch_of_records_with_hundreds_of_strange_schemas_is_quarantined_in_a_few_jobs(
    landing: Landing,
) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 1)
    table.send(*(b"\x00" + number.to_bytes(4, "big") + b"junk" for number in range(900_000, 900_300)))
    fill(table, 1, 1)
    landing.land()
    assert ids(table) == [0, 1]
    assert {h["reason"] for h in table.quarantined()} == {"schema-unknown"}
    assert len(table.quarantined()) == 300


def test_a_policy_that_takes_an_accepted_schema_later_lands_its_next_rows(landing: Landing) -> None:
    table = landing.table(fields=FIELDS, policy=replace(POLICY, add_column="park"))
    fill(table, 0, 1)
    table.evolve([*FIELDS, Field("city", "string")])
    fill(table, 1, 1, city="Lyon")
    assert code(landing, table) == SchemaBlocked.code
    assert "schema.add_column: evolve" in table.state().hint
    book.accept(landing.lake, table.state(), by="anna", at="now")
    landing.land()
    table.flow = replace(table.flow, schema=POLICY)
    fill(table, 2, 1, city="Arles")
    landing.land()
    assert {r["id"]: r["city"] for r in table.rows()} == {0: None, 2: "Arles"}
    assert len(table.quarantined()) == 1


def test_a_new_column_and_a_wider_type_evolve_the_table_while_rows_flow(landing: Landing, spark: Any) -> None:
    table = landing.table(fields=FIELDS)
    fill(table, 0, 2)
    landing.land()
    fill(table, 2, 1)
    table.evolve([*FIELDS, Field("city", "string")])
    fill(table, 3, 1, city="Lyon")
    table.evolve([Field("id", "long"), FIELDS[1], Field("city", "string")])
    fill(table, 1 << 40, 1, city=None)
    landing.land()
    rows = spark.read.format("delta").load(str(table.path)).orderBy("id").collect()
    assert [(r.id, r.city) for r in rows] == [(0, None), (1, None), (2, None), (3, "Lyon"), (1 << 40, None)]
    assert rows[0].asDict().keys() > {"id", "name", "city"}


def test_a_dropped_column_stays_in_the_table(landing: Landing) -> None:
    table = landing.table(fields=FIELDS, mode="scd1")
    fill(table, 0, 2)
    landing.land()
    table.evolve([FIELDS[0]])
    table.maker.begin()
    table.change("u", {"id": 0})
    table.change("c", {"id": 5})
    landing.land()
    assert {k: r["name"] for k, r in table.by_id().items()} == {0: "n0", 1: "n1", 5: None}
