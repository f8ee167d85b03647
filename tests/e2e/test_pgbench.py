"""pgbench's own tables, loaded and at work as pgbench has them: the lake is the source, to the character.

``pgbench_history`` has no key: it is published with every column as its identity, and lands as a journal.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Self

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support import oracles, oracles_lake, oracles_topic
from tests.support.flows import World
from tests.support.flows_worker import Worker
from tests.support.waits import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.spark, pytest.mark.timeout(900)]

ACCOUNTS, TELLERS, LAST = 100_000, 10, 987_654_321
KEYS = {"accounts": "aid", "tellers": "tid", "branches": "bid"}
MADE = (  # as `pgbench -i` does
    "create table pgbench_history(tid int, bid int, aid int, delta int, mtime timestamp, filler char(22))",
    "create table pgbench_tellers(tid int not null, bid int, tbalance int, filler char(84))",
    "create table pgbench_accounts(aid int not null, bid int, abalance int, filler char(84))",
    "create table pgbench_branches(bid int not null, bbalance int, filler char(88))",
    "insert into pgbench_branches(bid, bbalance) values (1, 0)",
    f"insert into pgbench_tellers(tid, bid, tbalance) select g, 1, 0 from generate_series(1, {TELLERS}) g",
    f"insert into pgbench_accounts select g, 1, 0, '' from generate_series(1, {ACCOUNTS}) g",
    "alter table pgbench_branches add primary key (bid)",
    "alter table pgbench_tellers add primary key (tid)",
    "alter table pgbench_accounts add primary key (aid)",
    "alter table pgbench_history replica identity full",
    "vacuum analyze",
)
BOOKED = (  # its built-in transaction, "TPC-B (sort of)"
    "update pgbench_accounts set abalance = abalance + %(delta)s where aid = %(aid)s",
    "update pgbench_tellers set tbalance = tbalance + %(delta)s where tid = %(tid)s",
    "update pgbench_branches set bbalance = bbalance + %(delta)s where bid = 1",
    "insert into pgbench_history(tid, bid, aid, delta, mtime) values (%(tid)s, 1, %(aid)s, %(delta)s, now())",
)


class Clients:
    """Two sessions that book without pause until the block ends."""

    def __init__(self, dsn: str) -> None:
        self._dsn, self._stop = dsn, threading.Event()
        self._threads = [threading.Thread(target=self._book, args=(Random(n),)) for n in range(2)]  # noqa: S311
        self.booked = 0

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _book(self, random: Random) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as db:
            while not self._stop.wait(0.005):  # leaves the cores to the capture
                book(db, random.randint(1, ACCOUNTS), random.randint(1, TELLERS), random.randint(-5000, 5000))
                self.booked += 1


def book(db: psycopg.Connection[Any], aid: int, tid: int, delta: int) -> None:
    with db.transaction():
        for statement in BOOKED:
            db.execute(statement.encode(), {"aid": aid, "tid": tid, "delta": delta})


@pytest.fixture
def world(worlds: Callable[[str], World]) -> Iterator[World]:
    world = worlds("pgbench")
    with psycopg.connect(world.dsn, autocommit=True) as db:
        for statement in MADE:
            db.execute(statement.encode())
    flow = {"mode": "scd1", "snapshot": "initial"}
    flows = {name: {**flow, "table": f"public.pgbench_{name}", "sink": name} for name in KEYS}
    journal = {"table": "public.pgbench_history", "sink": "history", "mode": "append", "snapshot": "initial"}
    world.write_project({**flows, "history": journal})
    yield world
    world.close()


def test_pgbench_lands_exactly_while_its_clients_book(world: World) -> None:
    tables = {f"public.pgbench_{name}" for name in (*KEYS, "history")}
    with Clients(world.dsn) as clients:
        wait_until(lambda: clients.booked > 100, "some bookings before anybody captures")
        capture = world.reading_capture()
        wait_until(lambda: read(capture) == tables, "all four tables are read")
        already = clients.booked
        wait_until(lambda: clients.booked > already + 300, "bookings behind the snapshot")
    with psycopg.connect(world.dsn, autocommit=True) as db:
        book(db, 1, 1, LAST)
    wait_until(lambda: told(world, LAST), "the last booking is told")
    assert capture.stop() == 0, capture.text()[-2000:]
    world.land()
    with psycopg.connect(world.dsn, row_factory=dict_row) as db:
        source = {n: db.execute(f"select * from pgbench_{n}".encode()).fetchall() for n in (*KEYS, "history")}
    for name, key in KEYS.items():
        lake = oracles_lake.user_rows(oracles_lake.table_rows(world.table(name)), key)
        compared = oracles.compare({row[key]: row for row in source[name]}, lake)
        assert compared.exact, (name, compared)
    journal = [row for row in oracles_lake.table_rows(world.table("history")) if row["_op"] in ("r", "c")]
    assert {row["_op"] for row in journal} == {"r", "c"}
    assert bag(journal) == bag(source["history"])


def read(capture: Worker) -> set[str]:
    told = (event for event in capture.events() if event.get("event") == "snapshot")
    return {event["table"] for event in told if event["done"]}


def told(world: World, delta: int) -> bool:
    raws = oracles_topic.read_raw(world.places.kafka, world.topic("pgbench_history"))
    records = (oracles_topic.decode(world.registry, raw.value) for raw in raws if raw.value)
    return any((record["after"] or {}).get("delta") == delta for record in records)


def bag(rows: list[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    columns = ("tid", "bid", "aid", "delta", "mtime", "filler")
    return Counter(tuple(row[column] for column in columns) for row in rows)
