"""The landing in mode append, on real Kafka, Spark and Delta."""

from __future__ import annotations

import json
import re
import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from engine.checks import Check, NotNull, OnFail
from engine.checks.bind import bind
from engine.errors import RowTooLarge
from engine.lake import append, decode, read, session
from engine.lake.append import Known
from engine.lake.batch import Batch, Water
from engine.lake.compile import compiled
from engine.lake.decode import NONCE_BYTES, Decoder
from engine.lake.table import engine_columns
from engine.state import State
from tests.support.landing import Landing

pytestmark = [pytest.mark.spark, pytest.mark.stack]


def parcel(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number, "name": f"colis n° {number}", "weight": Decimal(number) / 1000,
        "at": datetime(2026, 3, 1, 12, 0, 0, number, UTC), "day": date(1, 1, 1), "ok": number % 2 == 0,
    } | more  # fmt: skip


def test_every_change_is_a_row_with_its_metadata(landing: Landing) -> None:
    table = landing.table(partitions=2)
    for n in range(10):
        table.change("c", parcel(n), partition=n % 2)
    table.maker.begin()
    table.change("u", parcel(3, name=None), partition=1, unchanged=["name"])
    table.change("d", {"id": 4}, partition=0)
    table.change("t", partition=0)
    states = landing.land()
    rows = table.rows()
    assert states[table.flow.name].state is State.STREAMING
    assert sorted(r["_op"] for r in rows) == ["c"] * 10 + ["d", "t", "u"]
    first = next(r for r in rows if r["id"] == 7)
    assert first["name"] == "colis n° 7"
    assert first["weight"] == Decimal("0.007")
    assert first["at"] == datetime(2026, 3, 1, 12, 0, 0, 7, UTC)
    assert first["day"] == date(1, 1, 1)
    assert first["_position"] == {"era": 1, "major": 8, "minor": 14}
    assert first["_tx"] == "tx8"
    updated = next(r for r in rows if r["_op"] == "u")
    assert updated["_unchanged"] == ["name"]
    assert updated["_strand"] == "stream"
    (entry,) = table.entries()
    assert (entry.read, entry.landed, entry.quarantined, entry.seq) == (13, 13, 0, 1)


def test_what_cannot_be_decoded_is_quarantined_with_its_bytes(landing: Landing) -> None:
    table = landing.table()
    good = table.maker.value("c", after=parcel(1))
    other = struct.pack(">bI", 0, 4711) + good[5:]
    bad_text = table.maker.value("c", after=parcel(2, name="zzzz")).replace(b"zzzz", b"z\xff\xfez")
    bad = {
        "trailing-bytes": good + b"\x00",
        "corrupt": good[:-2],
        "value-null": None,
        "too-short": b"\x00\x00",
        "not-framed": b"{hello}",
        "schema-unknown": other,
        "utf8:name": bad_text,
        "unfit:weight": table.maker.value("c", after=parcel(3, weight=None), unfit={"weight": "NaN"}),
    }
    table.send(good, *bad.values(), table.maker.value("c", after=parcel(4)))
    landing.land()
    assert sorted(r["id"] for r in table.rows()) == [1, 4]
    held = {r["reason"]: r for r in table.quarantined()}
    assert {reason: r["value"] for reason, r in held.items()} == bad
    assert [held[reason]["offset"] for reason in bad] == list(range(1, 9))
    assert held["unfit:weight"]["unfit"] == [("weight", "NaN")]
    assert held["unfit:weight"]["key_json"] == '{"id":3}'
    (entry,) = table.entries()
    assert (entry.read, entry.landed, entry.quarantined) == (10, 2, 8)
    landing.land()
    assert len(table.quarantined()) == 8


def test_a_row_that_a_newer_writer_sends_again_is_not_landed_twice(landing: Landing) -> None:
    table = landing.table(partitions=2)
    sent = [table.maker.value("c", after=parcel(n)) for n in range(6)]
    table.send(*sent[:4])
    landing.land()
    table.send(*sent[4:])
    table.maker.writer = 2
    again = [table.maker.value("c", after=parcel(n), position=(1, 8, 2 * n)) for n in range(2, 8)]
    table.send(*again)
    landing.land()
    assert sorted(r["id"] for r in table.rows()) == list(range(8))
    assert [(e.read, e.landed, e.duplicates) for e in table.entries()] == [(4, 4, 0), (8, 4, 4)]
    table.maker.begin()
    table.change("c", parcel(8))
    landing.land()
    assert len(table.rows()) == 9


def test_a_batch_is_no_longer_than_the_plan_says(landing: Landing) -> None:
    table = landing.table(rows_per_commit=7)
    table.send(*(table.maker.value("c", after=parcel(n)) for n in range(20)))
    landing.land()
    assert [(e.seq, e.offsets[0]) for e in table.entries()] == [(1, (0, 7)), (2, (7, 14)), (3, (14, 20))]
    assert sorted(r["id"] for r in table.rows()) == list(range(20))


def test_a_record_comes_from_kafka_as_a_row_of_spark_and_is_not_made_into_another(landing: Landing) -> None:
    table = landing.table()
    kafka = read.options({"bootstrap.servers": landing.kafka}, group="g", lane="plan")
    frame = read.frame(session.worker(landing.spark), table.topic, {0: (0, 0)}, kafka)
    plan: str = frame._jdf.queryExecution().executedPlan().toString()  # noqa: SLF001 - what Spark runs
    assert "BatchScan" in plan, plan


def test_a_stub_stops_the_flow_at_its_offset_and_the_others_go_on(landing: Landing) -> None:
    table, other = landing.table(), landing.table("other")
    table.change("c", parcel(1))
    table.send(table.maker.value("c", stub={"bytes": 99, "sha256": "x"}))
    table.change("c", parcel(2))
    other.change("c", parcel(1))
    states = landing.land()
    state = states[table.flow.name]
    assert (state.state, state.code) == (State.STOPPED, RowTooLarge.code)
    assert state.first_unapplied == {"0": 1}
    assert [r["id"] for r in table.rows()] == [1]
    assert states[other.flow.name].state is State.STREAMING
    assert len(other.rows()) == 1


def test_a_large_batch_is_decoded_and_checked_by_compiled_code(
    landing: Landing, capsys: pytest.CaptureFixture[str]
) -> None:
    table = landing.table()
    writer = decode.parse(1, json.dumps(table.maker.schema), table.topic)
    assert writer is not None
    decoder = Decoder(columns=writer.columns, writers=[writer], nonce=bytes(NONCE_BYTES))
    span = {0: (0, 1_000_000)}
    batch = Batch(
        flow=table.flow, app_id="a", seq=1, span=span, topic_id="t", driver="d", landed_at_us=1,
        waters={0: Water(1, (1, 8, 0))}, next={0: 1_000_000},
    )  # fmt: skip
    session = landing.spark
    raw = session.range(3).selectExpr(
        "cast(id % 2 AS int) AS partition", "id AS offset", "cast(cast(id AS string) AS binary) AS value"
    )

    def steps(known: Known) -> list[str]:
        append.rows(raw, decoder, batch, engine_columns(table.flow), known).frame.explain()
        plan = capsys.readouterr().out
        return [line for line in plan.splitlines() if "Project [" in line or "Filter " in line]

    plain = steps(Known())
    assert len(plain) > 3
    assert [line[:80] for line in plain if "*(" not in line] == [], "steps that Spark does not compile"
    check = bind(Check("given", OnFail.QUARANTINE, NotNull(tuple(writer.columns))), writer.columns)
    checked = steps(Known(checker=compiled([check], writer.columns, [writer])))
    # the checks are a class of their own: with the decoding they would be a method too large for the JVM
    (alone,) = [line for line in checked if "*(" not in line]
    assert re.search(r"END AS _failed#\d+L\]$", alone)
