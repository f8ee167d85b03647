"""The ledger's equation and its rows."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import ledger
from engine.errors import LedgerDisagrees
from engine.lake import book
from engine.ledger import Entry

ENTRY = Entry(
    flow="shop.parcel", table="bronze.parcel", app_id="ecluse:shop.parcel:1", seq=3, plan="p", writer="w",
    topic="shop.public.parcel", topic_id="id", offsets={0: (3, 9), 2: (1, 5)},
    read=10, landed=4, merged_away=1,
    duplicates=2, late=1, dropped=1, quarantined=1, table_version=7, landed_at_us=5, reasons=("why",),
)  # fmt: skip
TERMS = ["read", "landed", "merged_away", "duplicates", "late", "dropped", "quarantined"]


def test_a_batch_whose_terms_add_up_is_balanced() -> None:
    ledger.balance(ENTRY)


@pytest.mark.parametrize("term", TERMS)
@given(off=st.integers(-5, 5).filter(bool))
def test_every_counter_that_is_wrong_stops_the_flow_i4(term: str, off: int) -> None:
    with pytest.raises(LedgerDisagrees, match="read"):
        ledger.balance(replace(ENTRY, **{term: getattr(ENTRY, term) + off}))


def test_a_batch_that_nobody_can_count_any_more_is_not_judged() -> None:
    ledger.balance(replace(ENTRY, read=None))
    ledger.balance(replace(ENTRY, late=None))


def test_an_entry_survives_the_table() -> None:
    rows = pa.Table.from_pylist([ledger.to_row(ENTRY)], schema=book.LEDGER).to_pylist()
    assert ledger.from_row(rows[0]) == ENTRY
