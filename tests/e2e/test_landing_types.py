"""Every type of PostgreSQL in the lake: what a stranger reads there is what the server says, key or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from connectors.postgres.config import PostgresConfig
from engine.envelope import Address, Encoder, Record, key_schema, value_schema
from engine.lake import native
from engine.source import Reading, TableSpec
from tests.support import postgres_types as corpus
from tests.support.landing import Landing, Table
from tests.support.oracles import same_state
from tests.support.postgres_source import Came, opened, read, rows, specs
from tests.support.postgres_types import CASES, Case
from tests.support.services import Database, Services

pytestmark = [pytest.mark.spark, pytest.mark.stack, pytest.mark.timeout(1200)]

_TEXT_KEYS = ("nn", "t", "c", "u", "jb", "iv", "ip", "e", "r", "ai", "ci", "lt", "hs", "co")


def send(table: Table, came: Came, source: str) -> None:
    """What came of a table, as the records that a capture writes."""
    for run in came.runs:
        if run.relation.table != source:
            continue
        key = key_schema(run.relation, table.topic)
        ids = {
            "key_id": None if key is None else table.schemas.add(key),
            "value_id": table.schemas.add(value_schema(run.relation, table.topic)),
        }
        address = Address(
            topic=table.topic, partitions=1, row_bytes_max=1 << 20, connector="postgres", name="t.shop",
            database="shop", writer=1,
        )  # fmt: skip
        out: list[Record] = []
        Encoder(run.relation, address, **ids).encode(run, 0, out)  # type: ignore[arg-type]
        for _, value, of, _ in out:
            table.send(value, key=of)


def snapshots(*tables: str, text: tuple[str, ...] = ()) -> list[TableSpec]:
    return [replace(spec, snapshot=0, text=text) for spec in specs(*tables)]


def done(*tables: str) -> Callable[[Came], bool]:
    return lambda came: {r.table for r in came.items if isinstance(r, Reading) and r.done} >= set(tables)


def wrong(
    found: Sequence[dict[str, Any]], texts: dict[int, tuple[str | None, ...]], cases: Sequence[Case]
) -> list[str]:
    """The values in the lake that are not what the server writes."""
    lake = {row["id"]: row for row in found}
    assert sorted(lake) == sorted(texts)
    return [
        f"{case.name} {text!r}: {lake[n][case.name]!r}"
        for n, row in texts.items()
        for case, text in zip(cases, row, strict=True)
        if not corpus.same(lake[n][case.name], corpus.value(case.type, text))
    ]


def test_i5_every_type_lands_as_the_source_has_it(
    landing: Landing, services: Services, database: Database, config: PostgresConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    corpus.prepare(services, database)
    database.run(
        f"create table every (id int primary key, {corpus.columns(CASES)})",
        "alter table every replica identity full",
        corpus.insert("every", CASES),
    )
    count = len(corpus.rows(CASES))
    with opened(config, snapshots("every")) as source:
        came = read(source, done("every"))
        database.run(
            corpus.insert("every", CASES, 1000),
            "update every set id = id + 1000 where id >= 1001",
            "delete from every where id = 1000",
        )
        came.items += read(source, rows(2 * count)).items
    log, now = landing.table("log"), landing.table("now", mode="scd1")
    for table in (log, now):
        send(table, came, "every")
    landing.land()
    with database.connect() as connection:
        texts = corpus.server_texts(connection, "every", CASES)
    assert wrong(now.rows(), texts, CASES) == []
    told = log.rows()
    assert (
        wrong([r for r in told if r["_op"] == "r"], {n: r for n, r in texts.items() if n < 1000}, CASES) == []
    )
    made = {r["id"]: r for r in told if r["_op"] == "c" and r["id"] >= 2000}
    assert wrong(list(made.values()), {n: r for n, r in texts.items() if n >= 2000}, CASES) == []
    assert log.quarantined() == now.quarantined() == []
    assert log.natively() == [True]
    for bound, ours in (("ROWS_MAX", True), ("RECORD_BYTES_MAX", False)):  # by workers, and by Spark
        with monkeypatch.context() as patch:
            patch.setattr(native, bound, 0)
            table = landing.table(bound.lower())
            send(table, came, "every")
            landing.land()
        assert table.natively() == [ours]
        assert same_state(table.rows(), told, ["_landed_at"]) == []


def test_every_type_that_can_be_a_key_finds_its_row_again(
    landing: Landing, services: Services, database: Database, config: PostgresConfig
) -> None:
    """One of each type of ours, and of the texts those that compare in ways of their own."""
    corpus.prepare(services, database)
    cases = [case for case in CASES if case.key and (case.type != corpus.TEXT or case.name in _TEXT_KEYS)]
    key = ", ".join(f'"{case.name}"' for case in cases)
    given = [
        f"({n}, {', '.join(corpus.literal(case.values[n % len(case.values)]) for case in cases)})"
        for n in range(4)
    ]
    database.run(
        f"create table t (id int, {corpus.columns(cases)}, primary key (id, {key}))",
        f"insert into t values {', '.join(given)}",
    )
    with opened(config, snapshots("t")) as source:
        came = read(source, done("t"))
        database.run(
            "alter table t add column seen text",
            "update t set seen = 'yes' where id < 3",
            "delete from t where id = 0",
            "update t set id = 7 where id = 1",
        )
        came.items += read(source, rows(5)).items
    table = landing.table("keyed", mode="scd1")
    send(table, came, "t")
    landing.land()
    with database.connect() as connection:
        assert wrong(table.rows(), corpus.server_texts(connection, "t", cases), cases) == []
    assert {row["id"]: row["seen"] for row in table.rows()} == {2: "yes", 3: None, 7: "yes"}


def test_a_value_without_a_place_is_quarantined_with_its_reason_and_lands_where_the_flow_says_text(
    landing: Landing, database: Database, config: PostgresConfig
) -> None:
    names = tuple(f"c{n}" for n in range(len(corpus.UNFIT)))
    declared = ", ".join(f"{name} {type_}" for name, (type_, _) in zip(names, corpus.UNFIT, strict=True))
    given = ", ".join(corpus.literal(value) for _, value in corpus.UNFIT)
    database.run(f"create table t (id int primary key, {declared})", f"insert into t values (1, {given})")
    typed, text = landing.table("typed", mode="scd1"), landing.table("text", mode="scd1")
    for table, as_text in ((typed, ()), (text, names)):
        slot = config.model_copy(
            update={
                "slot": f"{config.slot}{len(as_text)}",
                "publication": f"{config.publication}{len(as_text)}",
            }
        )
        with opened(slot, snapshots("t", text=as_text)) as source:
            send(table, read(source, done("t")), "t")
    landing.land()
    assert typed.rows() == []
    (reason,) = [row["reason"] for row in typed.quarantined()]
    assert sorted(reason.removeprefix("unfit:").split(",")) == list(names)
    (row,) = text.rows()
    assert [row[name] for name in names][:3] == ["NaN", "infinity", "0044-03-15 BC"]
    assert text.quarantined() == []
