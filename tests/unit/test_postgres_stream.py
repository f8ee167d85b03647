"""What the open source gives, and in which order, over messages made here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from connectors.postgres.readings import Readings
from connectors.postgres.session import Lines
from connectors.postgres.stream import PostgresSource
from engine.source import STREAM, Mark, Rows, TableGap
from tests.support.replication import streaming
from tests.unit.test_postgres_decode import DAY, begin, commit, decoder, described, insert, number, truncate
from tests.unit.test_postgres_gap import CONFIG, WAS


def test_a_truncate_that_is_to_stop_is_told_before_its_row() -> None:
    row = insert(number(1), b"a", b"b", DAY)
    with streaming(begin(2000), described(), row, truncate(1), commit(2000)) as pg:
        nobody: Any = None
        walsender: Any = SimpleNamespace(pgconn=pg)
        readings = Readings(CONFIG, nobody, "binary", (), {})
        source = PostgresSource(CONFIG, Lines(walsender, nobody), decoder("stop"), WAS, readings)
        gap, rows, mark = source.read(limit=1, wait_s=0)
    assert isinstance(gap, TableGap), "who ends between the two leaves a truncate that nobody was told of"
    assert (gap.table, gap.major) == ("t", 2000)
    assert isinstance(rows, Rows)
    assert [op for op, _, _ in rows.rows] == ["c", "t"]
    assert isinstance(mark, Mark)
    assert mark.at == {STREAM: 2000}
