"""The fixtures that every test may ask for: services (once per run), and what is a test's own of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support.services import Database, Services, running

if TYPE_CHECKING:
    from connectors.postgres.config import PostgresConfig
    from tests.support.flows import World

# Most JVMs of a test live for a minute or two: compiling for the long run costs more than it gives back. The
# one Spark of a run outlives the 48 MB of code that a JVM keeps by default when it compiles so little.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m")
# A property is about values; how long a busy machine takes for one is none of its business.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

_LONG = ("test_walk", "test_landing_killed", "test_demo", "test_readme")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of many minutes begin: else one worker ends alone with the last of them."""
    items.sort(key=lambda item: item.path.stem not in _LONG)


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with running(tmp_path_factory.mktemp("stack")) as found:
        yield found


@pytest.fixture
def database(services: Services, request: pytest.FixtureRequest) -> Iterator[Database]:
    found = services.database(request.module.__name__.rpartition(".")[2].removeprefix("test_"))
    yield found
    services.drop(found.name)


@pytest.fixture
def config(services: Services, database: Database) -> PostgresConfig:
    """A database that may be captured."""
    from tests.support.postgres_source import config_of, owner

    owner(services, database)
    return config_of(database)


@pytest.fixture
def prefix(services: Services) -> str:
    """Before the names of a test's topics and subjects."""
    return services.unique("t")


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture(scope="session")
def worlds(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], World]]:
    """Make a small project with its own database, topics and lake; closed with the run at the latest."""
    from tests.support.flows import Places, World

    made: list[World] = []
    places = Places(services.kafka, services.registry, services.superuser, {})

    def make(name: str) -> World:
        unique = services.unique(name)
        world = World(unique, tmp_path_factory.mktemp(unique), places, services.drop)
        made.append(world)
        world.create()
        return world

    yield make
    for world in made:
        world.close()
