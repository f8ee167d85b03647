"""The rows of a copy, from bytes made here: every width, every NULL, and nothing that does not fit."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.postgres import cells, copying
from engine.errors import SourceUnreachable

KINDS = (cells.INT2, cells.INT8, cells.BOOL, cells.UUID, cells.TEXT, cells.BYTEA)
WIDTHS = {cells.INT2: 2, cells.INT8: 8, cells.BOOL: 1, cells.UUID: 16}


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
    assert copying.binary_parser(bases)(row(fields)) == tuple(fields)


@given(columns(), st.data())
def test_a_row_that_is_cut_or_too_long_is_no_row(
    made: tuple[list[int], list[bytes | None]], data: st.DataObject
) -> None:
    bases, fields = made
    whole, parse = row(fields), copying.binary_parser(bases)
    for broken in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole + b"\0"):
        with pytest.raises(SourceUnreachable):
            parse(broken)
