"""How long a session lets the server work, and what is said when it takes longer."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import errors

from connectors.postgres.publication import advance_slot
from connectors.postgres.session import translated
from engine.errors import EcluseError, SourceRefused, SourceUnreachable
from tests.unit.test_postgres_gap import CONFIG


class Side:
    """A session that remembers how long each statement may take."""

    def __init__(self, error: Exception | None = None) -> None:
        self.limit, self.error = "30s", error
        self.limits: dict[str, str] = {}

    def execute(self, text: str, *_: Any) -> Side:
        if text.startswith("SET statement_timeout"):
            self.limit = text.rpartition(" ")[2].strip("'")
            return self
        self.limits["advance" if "slot_advance" in text else "look"] = self.limit
        if self.error:
            raise self.error
        return self

    def fetchone(self) -> tuple[str]:
        return ("0/10",)


def test_a_slot_that_decodes_all_its_log_on_the_way_may_take_its_time() -> None:
    side: Any = Side()
    assert advance_slot(side, CONFIG) == 16
    assert side.limits == {"advance": "0", "look": "30s"}


def test_a_slot_that_cannot_move_leaves_the_session_bounded() -> None:
    side: Any = Side(errors.ObjectInUse("in use"))
    with pytest.raises(errors.ObjectInUse):
        advance_slot(side, CONFIG)
    assert side.limit == "30s"


def ours(error: Exception) -> EcluseError:
    with pytest.raises(SourceUnreachable) as caught, translated(CONFIG):
        raise error
    return caught.value


def test_a_statement_that_took_too_long_is_told_apart_from_a_lock() -> None:
    slow = ours(errors.QueryCanceled("canceling statement due to statement timeout"))
    held = ours(errors.LockNotAvailable("canceling statement due to lock timeout"))
    assert "did not give a lock" in held.what
    assert "lock" not in slow.what
    assert "statement timeout" in slow.what
    assert slow.hint != held.hint
    assert "pg_stat_activity" in slow.hint


def test_s2_a_line_that_is_lost_in_the_middle_of_a_command_may_come_back() -> None:
    assert "closed the connection" in ours(psycopg.DatabaseError("server closed the connection")).what
    with pytest.raises(SourceRefused), translated(CONFIG):
        raise errors.SyntaxError("a fault of ours")
