"""What mode scd1 reads of its table; without Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from pyspark.sql import functions

from engine.lake import append, book, merge
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


@pytest.mark.parametrize("soft", [False, True])
def test_a_withdrawal_takes_the_rows_of_one_transaction_and_a_floor_all_below_it(*, soft: bool) -> None:
    columns: Any = {"id": Int64()}
    fold = Fold(target=Target(columns, ("id",)), keys=("id",), writers=[], three_state=False, soft=soft)

    def merge_of(**more: Any) -> str:
        return fold.merge("t", "", a_batch(floors_in_batch=True, **more))

    mine = (
        "WHEN NOT MATCHED BY SOURCE AND coalesce(t._position.era = 0L AND t._position.major IN (3L), false)"
    )
    one = merge_of(withdrawn=frozenset({(0, 3)}))
    assert mine in one
    assert "<" not in one.partition("NOT MATCHED BY SOURCE")[2]
    both = merge_of(withdrawn=frozenset({(0, 3)}), floor=(0, 9, 0))
    below = "t._position.major < 9L"
    assert below in both.partition("NOT MATCHED BY SOURCE")[2]
    assert "major IN (3L)" in both.partition("NOT MATCHED BY SOURCE")[2]
    assert ("WHEN MATCHED AND s._position > t._position AND s.op IN ('d', 'x') THEN DELETE" in one) != soft
    assert "_op = if(s.op = 'x', 'w', s.op)" in one
    assert ("_deleted = s.op IN ('d', 'x')" in one) is soft
    assert "'w'" not in fold.merge("t", "", a_batch())


def test_the_late_rows_of_a_withdrawn_transaction_are_counted_apart_from_what_came_again() -> None:
    plain = append.counts(a_batch())
    assert "late" not in plain
    found = append.counts(a_batch(withdrawn=frozenset({(0, 3)})))
    row = "coalesce(_position.era = 0L AND _position.major IN (3L), false)"
    assert found["late"] == f"count(CASE WHEN _again AND {row} THEN 1 END)"
    assert found["again"] == f"count(CASE WHEN _again AND NOT {row} THEN 1 END)"
