"""What mode scd1 reads of its table; without Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from pyspark.sql import functions

from engine.lake import book, merge
from engine.lake.decode import Decoder
from engine.lake.evolve import Target
from engine.lake.fold import Fold
from engine.schema import Int64
from tests.unit.test_lake_plans import a_batch


def test_late_and_unset_changes_are_looked_for_between_the_keys_of_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Any = MagicMock()
    table = read.read.format().option().load().alias()
    tombstones = read.read.format().load().alias()
    monkeypatch.setattr(functions, "expr", lambda text: text)
    monkeypatch.setattr(book, "exists", lambda _: True)
    columns: Any = {"id": Int64()}
    fold = Fold(target=Target(columns, ("id",)), keys=("id",), writers=[], three_state=True, soft=False)
    decoder = Decoder(columns=columns, writers=[], nonce=b"n" * 16)
    work = merge.Scd1(
        session=read, root=tmp_path, batch=a_batch(), fold=fold, decoder=decoder, raw=read, before=3
    )
    work.judged(MagicMock(), {"lo0": "3", "hi0": "9"})
    for asked in (table, tombstones):
        asked.where.assert_called_once_with(
            "true AND t.`id` BETWEEN cast('3' AS bigint) AND cast('9' AS bigint)"
        )
