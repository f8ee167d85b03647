"""A project that init writes is whole, and the screens say unknown where nothing is known."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import yaml

import examples.demo
from engine.cli import demo, screen
from engine.cli.main import main
from engine.state import State
from engine.watch.lag import Health, Lag
from engine.watch.observe import FlowLook, Look

DARK = FlowLook(
    flow="shop.parcels", table="bronze.parcels", topic="shop.public.parcels", capture="shop",
    state=State.NEW, health=Health.UNKNOWN, lag=Lag(None, None, None, None, None), in_kafka=None,
    in_delta=None, quarantined=None, landed_at_us=None, end_to_end_p50_s=None, end_to_end_p95_s=None,
    source_state="unknown", retention_used=None,
)  # fmt: skip


def test_init_asks_nothing_and_writes_a_project_without_mistakes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    assert main(["init", str(folder)], environment={}) == 0
    assert main(["-p", str(folder), "lint"], environment={}) == 0
    secret = folder / "secrets" / "shop_password"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_text().strip() not in capsys.readouterr().out


@pytest.mark.parametrize("text", ["abc", "-1", "nan", "inf"])
def test_a_length_of_the_demo_that_is_no_number_is_told_before_anything_is_touched(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def touched(_: Path) -> None:
        raise AssertionError("the demo began")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "_fresh", touched)
    assert main(["demo"], environment={"DEMO_SECONDS": text}) == 2
    told = capsys.readouterr().err
    assert told.startswith(f'cli.unusable: "{text}" is no number of seconds')
    assert "at   DEMO_SECONDS" in told


def test_init_leaves_a_folder_alone_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert main(["init", str(tmp_path)], environment={}) == 2


def test_the_line_to_change_is_marked() -> None:
    text = (Path(examples.demo.__file__).parent / "ecluse.yaml").read_text()
    marked = [line for line in text.splitlines() if "your own server" in line]
    assert len(marked) == 1
    assert yaml.safe_load(text)["spec"]["connections"]["shop"]["host"] == "embedded"


def test_status_of_a_project_that_does_not_run_is_unknown_and_never_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["init", str(tmp_path / "mine")], environment={})
    capsys.readouterr()
    assert main(["-p", str(tmp_path / "mine"), "status", "--json"], environment={}) == 0
    said = json.loads(capsys.readouterr().out)
    assert {flow["health"] for flow in said["flows"]} == {"UNKNOWN"}
    assert {flow["lag"]["kafka_records"] for flow in said["flows"]} == {None}
    assert {flow["in_delta"] for flow in said["flows"]} == {None}
    assert "kafka" in said["silent"]


def test_a_flow_that_is_not_in_the_project_is_named_with_its_neighbour(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["init", str(tmp_path / "mine")], environment={})
    assert main(["-p", str(tmp_path / "mine"), "lag", "shop.parcel"], environment={}) == 2
    assert "shop.parcels" in capsys.readouterr().err


def test_what_is_unknown_is_written_so_on_every_screen() -> None:
    look = Look(0, (DARK,))
    (line,) = screen.lines(look, changes={})
    assert "in_kafka=unknown" in line
    assert "kafka_lag_s=unknown" in line
    assert screen.status_rows(look.flows)[0][4:] == ("?", "?", "?", "?")
    assert set(screen.lag_rows(look.flows)[0][2:]) == {"?"}


def test_down_of_what_does_not_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", str(tmp_path / "mine")], environment={})
    assert main(["-p", str(tmp_path / "mine"), "down"], environment={}) == 0
    assert "nothing was running" in capsys.readouterr().err
