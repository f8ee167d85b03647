"""The source contract, kept by PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import pytest

from connectors.postgres.config import PostgresConfig
from engine.source import Mark, Source
from tests.conformance.source_contract import CHECKS, Check, numbers
from tests.support.postgres_source import config_of, opened, owner, specs
from tests.support.services import Database, Services

pytestmark = pytest.mark.stack


@dataclass
class PostgresWorld:
    """One table in a database of its own."""

    database: Database
    config: PostgresConfig
    _keys: Iterator[int] = field(default_factory=numbers)

    def open(self, mark: Mark | None) -> AbstractContextManager[Source]:
        return opened(self.config, specs("parcel"), mark)

    def change(self, rows: int) -> None:
        first = next(self._keys) * 1_000_000
        self.database.run(
            f"insert into parcel select n, 'town ' || n from generate_series({first}, {first + rows - 1}) n"
        )

    def now(self) -> float:
        return time.monotonic()


@pytest.fixture
def world(services: Services, database: Database) -> PostgresWorld:
    database.run("create table parcel (id bigint primary key, town text)")
    owner(services, database)
    return PostgresWorld(database, config_of(database))


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_postgres_keeps(check: Check, world: PostgresWorld) -> None:
    check(world)
