"""What the tests of the landing share: one Spark per run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.services import Services

if TYPE_CHECKING:
    from tests.support.landing import Landing


_OFTEN = {
    "InvocationThreshold": 40_000, "MinInvocationThreshold": 5_000, "CompileThreshold": 120_000,
    "BackEdgeThreshold": 300_000,
}  # fmt: skip
"""Eight times what Java takes for often: with that a third of the CPU went into compiling."""


@pytest.fixture(scope="session")
def spark(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from engine.lake import session

    scratch = tmp_path_factory.mktemp("spark") / "a folder"  # whose name no shell may split
    # this one lives for half of the run, and compiling for the long run pays, for what is called very often
    engine = session.Engine(
        services.java_home, services.spark_jars, scratch, memory="1g", archives=services.archives,
        options=("-XX:TieredStopAtLevel=4", *(f"-XX:Tier4{what}={most}" for what, most in _OFTEN.items())),
    )  # fmt: skip
    made = session.start(engine)
    yield made
    session.end(made)


@pytest.fixture
def landing(spark: Any, services: Services, prefix: str, lake: Path) -> Landing:
    from tests.support.landing import Landing

    return Landing(spark, services.kafka, lake, prefix)
