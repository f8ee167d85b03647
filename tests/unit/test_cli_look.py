"""The verbs that read: a line of JSON per look, and all that is known of a flow that waits."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.cli import look, screen
from engine.cli.main import main
from engine.state import State
from engine.watch import quarantine
from engine.watch.lake import Written
from engine.watch.observe import Look

Out = pytest.CaptureFixture[str]


def test_lag_that_goes_on_prints_a_json_document_a_line_and_who_was_silent(
    tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 2:
            raise KeyboardInterrupt

    folder = str(tmp_path / "mine")
    main(["init", folder], environment={})
    capsys.readouterr()
    monkeypatch.setattr(time, "sleep", rest)
    monkeypatch.setattr(look, "looker", lambda *_: lambda _: Look(7, (), {"kafka": "no answer"}))
    assert main(["-p", folder, "lag", "--watch", "--json"], environment={}) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"at_us": 7, "flows": [], "silent": {"kafka": "no answer"}}] * 2


def test_a_flow_in_trouble_is_shown_with_its_first_offsets_and_its_attempts() -> None:
    written = Written(
        State.PARKED, "lake.unreachable", "no answer", "bronze.parcels", "df -h\necluse status", "t1",
        first_unapplied={10: 4, 2: 7}, attempts=3,
    )  # fmt: skip
    assert list(screen.trouble("shop.parcels", written)) == [
        "shop.parcels: lake.unreachable: no answer",
        "  at   bronze.parcels",
        "  from offset by partition 2: 7, 10: 4",
        "  tried 3 ×, since t1",
        "  next df -h",
        "  next ecluse status",
    ]


def test_a_record_of_a_partner_is_shown_with_its_place_and_its_texts(
    tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = quarantine.Rejected(
        flow="shop.parcels", topic="shop.acme.payment", partition=0, offset=7, stage="type",
        reason="unfit:amount", op="c", key_json=None,
        unfit={"_file": "a\x1b[2J.csv", "_record": "12", "amount": "1,5x"},
        schema_id=1, key=None, value=b"v", quarantined_at=datetime(2026, 1, 31, tzinfo=UTC),
    )  # fmt: skip
    folder = str(tmp_path / "mine")
    main(["init", folder], environment={})
    capsys.readouterr()
    monkeypatch.setattr(quarantine, "rejected", lambda *_, **__: [held])
    assert main(["-p", folder, "quarantine", "show", "shop.parcels"], environment={}) == 0
    assert capsys.readouterr().out.splitlines()[:3] == [
        "shop.acme.payment/0 offset 7: type: unfit:amount",
        "  from  a\\x1b[2J.csv, record 12",
        "  unfit amount = 1,5x",
    ]


def test_a_row_that_failed_checks_is_shown_with_the_values_that_they_found_wrong(
    tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = quarantine.Rejected(
        flow="shop.parcels", topic="shop.public.parcels", partition=1, offset=7, stage="check",
        reason="check:named,positive", op="c", key_json='{"id":2}', unfit={"name": None, "weight": "-3.000"},
        schema_id=1, key=b"k", value=b"\x00v", quarantined_at=datetime(2026, 1, 31, tzinfo=UTC),
    )  # fmt: skip
    folder = str(tmp_path / "mine")
    main(["init", folder], environment={})
    capsys.readouterr()
    monkeypatch.setattr(quarantine, "rejected", lambda *_, **__: [held])
    assert main(["-p", folder, "quarantine", "show", "shop.parcels"], environment={}) == 0
    assert capsys.readouterr().out.splitlines()[:4] == [
        "shop.public.parcels/1 offset 7: check: check:named,positive",
        '  key   {"id":2}  (c)',
        "  wrong name is NULL",
        "  wrong weight = -3.000",
    ]
