"""A source on a real PostgreSQL: opened, read until a state, its rows as texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace

import pytest
from pydantic import SecretStr

from connectors.postgres import CONNECTOR, facts, resume, session
from connectors.postgres.config import PostgresConfig
from engine.errors import EcluseError, SlotBusy
from engine.source import UNCHANGED, Item, Mark, Row, Rows, Source, TableGap, TableSpec
from tests.support.services import Database, Role, Services
from tests.support.waits import NeverCame, wait_until

Shown = tuple[str, tuple[str | None, ...] | None, tuple[str | None, ...] | None]


def owner(services: Services, database: Database) -> None:
    """Let the capturing role do what the tables' owner may: publish them."""
    with services.admin() as connection:
        connection.execute(f"GRANT {database.app.name} TO {database.capture.name}".encode())


def config_of(database: Database, role: Role | None = None, *, heartbeat_s: float = 30) -> PostgresConfig:
    """A connection as the plan would give it."""
    login = role or database.capture
    return PostgresConfig(
        host=database.host, port=database.port, database=database.name, user=login.name,
        password=SecretStr(login.password), heartbeat_s=heartbeat_s, project="test",
        connection=database.name, slot=f"s_{database.name}", publication=f"p_{database.name}",
    )  # fmt: skip


def specs(*tables: str) -> list[TableSpec]:
    """Tables of the schema public."""
    return [TableSpec(f"flow.{table}", "public", table) for table in tables]


@contextmanager
def opened(config: PostgresConfig, tables: Iterable[TableSpec], mark: Mark | None = None) -> Iterator[Source]:
    """The source, as soon as the server has noticed that the one before it has gone."""
    with ExitStack() as stack:

        def attempt() -> Source | None:
            try:
                return stack.enter_context(CONNECTOR.open(config, list(tables), mark, ()))
            except SlotBusy:
                return None

        yield wait_until(attempt, "the slot is free", limit_s=30, every_s=0.05)


def holder(config: PostgresConfig) -> int:
    """The server's process that holds the slot."""
    with closing(session.side(config)) as side:
        slot = facts.slot(side, config.slot)
    assert slot is not None
    assert slot.active_pid is not None
    return slot.active_pid


@dataclass
class Came:
    """What a source has given, in order."""

    items: list[Item] = field(default_factory=list)

    @property
    def runs(self) -> list[Rows]:
        """The runs of rows."""
        return [item for item in self.items if isinstance(item, Rows)]

    @property
    def marks(self) -> list[Mark]:
        """The marks."""
        return [item for item in self.items if isinstance(item, Mark)]

    @property
    def gaps(self) -> list[TableGap]:
        """The gaps."""
        return [item for item in self.items if isinstance(item, TableGap)]

    @property
    def count(self) -> int:
        """How many rows."""
        return sum(len(run.rows) for run in self.runs)

    def rows(self, table: str | None = None) -> list[Shown]:
        """The rows as texts, as the source would show them."""
        return [
            shown(run, row) for run in self.runs if table in (None, run.relation.table) for row in run.rows
        ]

    def positions(self) -> list[tuple[str, int, int, int, str]]:
        """Table, position and op of every row."""
        return [
            (run.relation.table, run.era, run.major, run.first_minor + 2 * n, str(row[0]))
            for run in self.runs
            for n, row in enumerate(run.rows)
        ]


def shown(run: Rows, row: Row) -> Shown:
    """A row, its fields as the source writes them; ``…`` is a field that it did not send."""
    op, *images = row
    before, after = (
        None
        if image is None
        else tuple(
            "…" if value is UNCHANGED else None if value is None else column.cell.text(value)
            for column, value in zip(run.relation.columns, image, strict=True)
        )
        for image in images
    )
    return op, before, after


def read(
    source: Source, until: Callable[[Came], object], *, limit: int = 10_000, limit_s: float = 60
) -> Came:
    """Rounds of reading until the state, which is looked at between rounds, and a mark after all rows."""
    came, start = Came(), time.monotonic()
    while not until(came) or not came.items or isinstance(came.items[-1], Rows):
        if time.monotonic() - start > limit_s:
            raise NeverCame(f"only {came.count} rows, {len(came.marks)} marks, {came.gaps}")
        came.items += source.read(limit=limit, wait_s=0.2)
    return came


def rows(count: int) -> Callable[[Came], bool]:
    """The state in which at least so many rows have come."""
    return lambda came: came.count >= count


def refused(config: PostgresConfig, kind: type[EcluseError], mark: Mark | None, *tables: str) -> EcluseError:
    """What an opening is refused with: exactly this kind, and without the secret."""
    with pytest.raises(kind) as found, CONNECTOR.open(config, specs(*(tables or ("t", "u"))), mark, ()):
        pass
    assert found.type is kind, found.value
    secret = config.password.get_secret_value() if config.password else ""
    assert not secret or secret not in f"{found.value.as_dict()}"
    return found.value


def accepted(mark: Mark, *errors: EcluseError) -> Mark:
    """The mark once a person has accepted these stops."""
    taken = tuple((error.code, error.what) for error in errors)
    return mark._replace(resume=replace(resume.load(mark), accepted=taken).dump())
