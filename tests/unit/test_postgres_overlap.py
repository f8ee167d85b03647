"""The overlap proof over messages made here, and what is asked beside the stream meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from connectors.postgres import overlap
from connectors.postgres.decode import Decoder, Learn, Transaction
from connectors.postgres.session import Connection
from connectors.postgres.visible import wait_visible
from connectors.postgres.wire import WireRelation
from engine.errors import GapSuspected
from tests.support.replication import streaming
from tests.unit.test_postgres_decode import begin, commit, described, insert
from tests.unit.test_postgres_gap import CONFIG, WAS

XID = 0x9000_0001  # in the upper half of its circle
COMMIT_US = 946_684_800_000_000 + 1000
STORED = Transaction(1000, 1048, XID, COMMIT_US, 1)
START = replace(WAS, last=STORED)


def asking() -> tuple[Decoder, list[int]]:
    asked: list[int] = []

    def relation(_: WireRelation, xid: int) -> None:
        asked.append(xid)

    learn = Learn(relation, lambda _relation, values, _xid: values, lambda _: "apply", lambda *_: True)
    return Decoder(learn, "binary", START.era), asked


def test_a_table_of_the_overlap_is_asked_about_as_its_own_transaction_left_it() -> None:
    decoder, asked = asking()
    with streaming(begin(1000, XID), described(), insert(b"\0\0\0\1"), commit(1000)) as pg:
        assert overlap.prove(CONFIG, pg, decoder, START) == START
    assert asked == [XID], "without a number the server's answer is that of no transaction"
    assert decoder.last == STORED
    assert not decoder.in_transaction
    assert decoder.take() == [], "its rows are in the topic already"


def test_an_overlap_with_other_content_is_a_gap() -> None:
    decoder, _ = asking()
    others = streaming(begin(1000, XID), described(), commit(1000))
    with others as pg, pytest.raises(GapSuspected, match="changes 1 → 0"):
        overlap.prove(CONFIG, pg, decoder, START)


def test_no_transaction_is_visible_at_once() -> None:
    class Never:
        def execute(self, *_: object) -> Any:
            raise AssertionError("nothing is to be asked about no transaction")

    wait_visible(cast(Connection, Never()), 0)
