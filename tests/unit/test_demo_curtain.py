"""The end of the demo says what holds and what does not, in a pipe too."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from engine.cli import curtain

FLOW = {
    "flow": "shop.parcels", "holds": True, "source_rows": 9, "equal": 8, "waiting": 1, "missing": 0,
    "different": 0, "extra": 0, "changes": None, "lost": 0, "doubled": 0, "hash": "ab" * 16,
    "keys": {"waiting": ["ZZ1"]}, "note": "",
}  # fmt: skip


def test_a_verdict_that_holds_names_the_keys_that_wait(capsys: pytest.CaptureFixture[str]) -> None:
    curtain.verdict({"holds": True, "flows": [FLOW]})
    shown = capsys.readouterr().out
    assert "verdict=holds flow=shop.parcels source_rows=9 equal=8 waiting=1" in shown
    assert "key ZZ1: waits in quarantine" in shown


def test_a_verdict_that_fails_says_so_and_names_what_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {**FLOW, "holds": False, "missing": 1, "changes": 12, "lost": 1, "keys": {"lost": ["7"]}}
    curtain.verdict({"holds": False, "flows": [wrong]})
    shown = capsys.readouterr().out
    assert "verdict=fails" in shown
    assert "12 committed changes, 1 lost, 0 doubled" in shown
    assert "key 7: lost" in shown
    assert "THE VERDICT DOES NOT HOLD" in shown


@pytest.mark.parametrize("path", ["", str(Path(sys.executable).parent)], ids=["not-activated", "activated"])
def test_every_next_command_can_be_typed_as_it_stands(
    path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", path)
    curtain.farewell(".ecluse/demo", "/lake", keep=True)
    shown = capsys.readouterr().out
    assert "DeltaTable('/lake/bronze/parcels')" in shown
    assert "ecluse -p .ecluse/demo down --delete" in shown
    programs = {line.split()[0] for line in shown.splitlines() if line.startswith("  ")}
    assert programs
    assert [word for word in programs if shutil.which(word) is None] == []


FILE = {
    "name": "HANDOVERS_5.csv.gz", "about": "a wrong trailer", "fate": "refused", "code": "control.count",
    "reason": "trailer.count says 41 details, and the file has 40", "landed": 0, "quarantined": 0,
    "holds": True, "wrong": [],
}  # fmt: skip


def test_the_fate_of_a_file_is_told_with_both_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    curtain.fates({"holds": True, "files": [FILE], "strange": []})
    (fate, said) = capsys.readouterr().out.splitlines()
    assert fate.startswith('fate=refused file=HANDOVERS_5.csv.gz sent="a wrong trailer" landed=0')
    assert 'reason="control.count: trailer.count says 41 details, and the file has 40" holds=yes' in fate
    assert said.startswith("every record of an accepted file is in the lake")


def test_a_fate_that_is_not_what_it_ought_to_be_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {**FILE, "holds": False, "wrong": ["it ought to be accepted, and is control.count"]}
    curtain.fates({"holds": False, "files": [wrong], "strange": ["odd.csv"]})
    shown = capsys.readouterr().out
    assert "holds=no" in shown
    assert "HANDOVERS_5.csv.gz: it ought to be accepted" in shown
    assert "odd.csv: nobody sent it" in shown
    assert "DID NOT COME TO WHAT THEY OUGHT TO" in shown


def test_the_tables_of_the_demo_have_room_in_a_hundred_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # which makes a terminal of it
    monkeypatch.setenv("COLUMNS", "100")
    flow = {**FLOW, "flow": "relay.handovers", "source_rows": 123_456, "equal": 123_456}
    curtain.verdict({"holds": True, "flows": [flow]})
    curtain.fates({"holds": True, "files": [FILE], "strange": []})
    shown = capsys.readouterr().out
    assert "─────" in shown
    assert "…" not in shown
