"""The rows of a copy, from bytes made here: every width, every NULL, and nothing that does not fit."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import pq

from connectors.postgres import copying, kinds, snapshot, unpacking
from connectors.postgres.catalog import Known
from connectors.postgres.progress import Progress, planned
from connectors.postgres.readings import Readings
from engine.errors import SourceUnreachable
from engine.schema import Identity, Relation
from engine.source import TableSpec, wanted
from tests.unit.test_postgres_gap import CONFIG

KINDS = (kinds.INT2, kinds.INT8, kinds.BOOL, kinds.UUID, kinds.TEXT, kinds.BYTEA)
WIDTHS = {kinds.INT2: 2, kinds.INT8: 8, kinds.BOOL: 1, kinds.UUID: 16}


def row(fields: Sequence[bytes | None]) -> bytes:
    said = (struct.pack(">i", -1 if f is None else len(f)) + (f or b"") for f in fields)
    return struct.pack(">h", len(fields)) + b"".join(said)


@st.composite
def columns(draw: st.DrawFn) -> tuple[list[int], list[bytes | None]]:
    bases = draw(st.lists(st.sampled_from(KINDS), max_size=9))
    sizes = [WIDTHS.get(base, draw(st.integers(0, 40))) for base in bases]
    return bases, [draw(st.none() | st.binary(min_size=n, max_size=n)) for n in sizes]


@given(columns())
def test_a_row_comes_back_field_by_field(made: tuple[list[int], list[bytes | None]]) -> None:
    bases, fields = made
    assert unpacking.binary_parser(bases)(row(fields)) == tuple(fields)


@given(columns(), st.data())
def test_a_row_that_is_cut_or_too_long_is_no_row(
    made: tuple[list[int], list[bytes | None]], data: st.DataObject
) -> None:
    bases, fields = made
    whole, parse = row(fields), unpacking.binary_parser(bases)
    for broken in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole + b"\0"):
        with pytest.raises(SourceUnreachable):
            parse(broken)


class Line:
    """A connection that gives these messages of a copy, nothing every third time that it is asked."""

    def __init__(self, messages: Sequence[bytes]) -> None:
        self._messages, self._asked = list(messages), 0
        self.socket, self._other = os.pipe()
        os.write(self._other, b"x")  # there is always more to be read

    def exec_(self, _: bytes) -> SimpleNamespace:
        return SimpleNamespace(status=pq.ExecStatus.COPY_OUT)

    def get_copy_data(self, _: int) -> tuple[int, memoryview]:
        self._asked += 1
        if not self._messages:
            return -1, memoryview(b"")
        if self._asked % 3 == 0:
            return 0, memoryview(b"")
        message = self._messages.pop(0)
        return len(message), memoryview(message)

    def consume_input(self) -> None:
        """More has come."""

    def get_result(self) -> None:
        """The copy has ended."""


HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
END = b"\xff\xff"


@pytest.mark.parametrize("count", [0, 1, 2, 1970, 1971, 1972, 1973, 4000])
def test_every_row_of_a_copy_comes_once_whatever_the_header_and_the_end_come_with(count: int) -> None:
    sent = [row([struct.pack(">i", n)]) for n in range(count)]
    joined = [HEADER + sent[0], *sent[1:], END] if sent else [HEADER, END]
    for form, messages in (("binary", [HEADER, *sent, END]), ("binary", joined), ("text", sent)):
        line: Any = Line(messages)
        came = list(copying.batches(line, "select 1", "text" if form == "text" else "binary", lambda: None))
        assert [d for rows in came for d in rows] == sent
        assert all(0 < len(rows) <= 2000 for rows in came)


def test_large_rows_of_a_copy_come_a_few_at_a_time() -> None:
    sent = [row([bytes(300_000)])] * 5
    line: Any = Line([HEADER, *sent, END])
    assert [len(rows) for rows in copying.batches(line, "select 1", "binary", lambda: None)] == [2, 2, 1]


def test_a_copy_without_its_header_is_no_copy() -> None:
    line: Any = Line([row([b"x"]), END])
    with pytest.raises(SourceUnreachable):
        list(copying.batches(line, "select 1", "binary", lambda: None))


SPECS = [TableSpec(f"f.{name}", "public", name, snapshot=0) for name in ("t", "u")]
NOBODY: Any = None


def test_a_table_that_is_not_published_yet_is_told_from_its_own_first_group_on() -> None:
    progress = {f"public.{spec.table}": Progress(0) for spec in SPECS}
    now = Readings(CONFIG, NOBODY, "binary", SPECS, progress)
    assert now.begin(0, 24, {"public.t"})
    assert [now.progress[name].since for name in ("public.t", "public.u")] == [24, None]
    assert not now.begin(0, 32, {"public.t"})
    assert now.begin(0, 40, {"public.t", "public.u"})
    assert [now.progress[name].since for name in ("public.t", "public.u")] == [24, 40]


def test_a_table_is_read_again_when_its_number_is_raised_and_only_then() -> None:
    spec = TableSpec("f.t", "public", "t", snapshot=1)
    first = planned({}, [spec], [], 0, anew=False)["public.t"]
    assert (first.run, first.since, first.sweeps) == (1, None, False)
    done = {"public.t": replace(first, since=24, done=True, part=3)}
    assert planned(done, [spec], ["public.t"], 0, anew=False) == done
    lowered = planned(done, [replace(spec, snapshot=0)], ["public.t"], 0, anew=False)
    assert lowered["public.t"].done
    for before, number in ((done, 2), (lowered, 1), (done, wanted(1, 1)), (lowered, wanted(0, 1))):
        (again,) = planned(before, [replace(spec, snapshot=number)], ["public.t"], 0, anew=False).values()
        assert (again.run, again.since, again.after, again.part) == (2, 24, (), 0)
        assert again.pending
        assert again.sweeps


def test_a_floor_lies_below_the_first_part_of_its_run_and_where_nothing_was_told_there_is_none() -> None:
    first, told, anew = (
        planned({}, SPECS[:1], streamed, 1, anew=lost)["public.t"]
        for streamed, lost in (([], False), (["public.t"], False), ([], True))
    )
    assert [first.sweeps, told.sweeps, anew.sweeps] == [False, True, True]
    now = Readings(CONFIG, NOBODY, "binary", SPECS[:1], {"public.t": told})
    assert now.begin(1, 24, {"public.t"})
    assert not now.begin(1, 32, {"public.t"})
    assert now.progress["public.t"].floor == (1, 23)
    assert anew.strand("0") != Progress(anew.run).strand("0"), "its parts are not another attempt of old ones"


def test_i5_a_change_of_a_row_that_nobody_can_place_is_never_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Taken for a row that is yet to be read, scd1 would wait for a part that never brings it."""
    now = Readings(CONFIG, NOBODY, "binary", SPECS, {})
    relation = Relation(1, "public", "t", (), (), Identity.DEFAULT)
    assert now.unread(relation, (), Progress(0, 1))
    monkeypatch.setattr(snapshot, "table", lambda *_: "it is gone")
    assert not now.unread(relation, (), Progress(0, 1, after=("7",)))
    known = Known(relation, ())
    monkeypatch.setattr(snapshot, "table", lambda *_: snapshot.Table(known, (("id", 23),), "", "", None))
    assert not now.unread(relation, (), Progress(0, 1, after=("7",))), "its key has another name now"
