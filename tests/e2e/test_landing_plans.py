"""What a batch asks of Spark: no job of it decodes a record more than once."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import DataFrameWriter
from pyspark.sql.classic.dataframe import DataFrame

from tests.support.avro_records import Field
from tests.support.landing import Landing

pytestmark = [pytest.mark.spark, pytest.mark.stack]

FIELDS = [Field("id", "long", nullable=False), Field("name", "string"), Field("note", "string")]


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of each job that a frame is collected or saved by from now on: how often its plan decodes."""
    found: list[int] = []

    def spied(owner: type, method: str, frame: Any) -> None:
        plain = getattr(owner, method)

        def call(self: Any, *given: Any, **more: Any) -> Any:
            plan = frame(self)._jdf.queryExecution().executedPlan().toString()  # noqa: SLF001
            found.append(plan.count("from_avro("))
            return plain(self, *given, **more)

        monkeypatch.setattr(owner, method, call)

    spied(DataFrame, "collect", lambda frame: frame)
    spied(DataFrame, "localCheckpoint", lambda frame: frame)
    spied(DataFrameWriter, "save", lambda writer: writer._df)  # noqa: SLF001 - it has no other door
    return found


@pytest.mark.parametrize("mode", ["append", "scd1"])
def test_no_job_of_a_batch_decodes_a_record_more_than_once(
    landing: Landing, decodings: list[int], mode: str
) -> None:
    """With everything that has it look at its records again: writers, floors, withdrawals, unset columns."""
    table = landing.table(fields=FIELDS, mode=mode)
    for major in (8, 16):
        table.maker.begin(major)
        for n in range(4):
            table.change("c", {"id": n, "name": str(major), "note": None})
    landing.land()
    table.maker.writer = 2
    table.maker.begin(24)
    table.change("t")
    table.change("c", {"id": 9, "name": "24", "note": None})
    table.change("u", {"id": 77, "name": "24", "note": None}, unchanged=["note"])
    table.change("w", position=(table.maker.era, 16, 0), strand="supersedes.24", tx="24:16")
    landing.land()
    assert [(e.read, e.quarantined) for e in table.entries()] == [(8, 0), (4, int(mode == "scd1"))]
    assert max(decodings) == 1, decodings
