"""A first start tells what it fetches before it does, and draws nothing where there is no terminal."""

from __future__ import annotations

import pytest

from engine.cli.download import Meter, announce


def test_sizes_are_told_before_anything_is_fetched(capsys: pytest.CaptureFixture[str]) -> None:
    announce({"broker": 46_000_000, "registry": 159_000_000}, "cache")
    told = capsys.readouterr()
    assert told.out == ""
    assert "about 205 MB to fetch (broker 46 MB, registry 159 MB)" in told.err
    assert "kept in cache" in told.err


def test_a_full_cache_is_not_worth_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    announce({}, "cache")
    assert capsys.readouterr().err == ""


def test_a_pipe_gets_a_line_now_and_then_and_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with Meter() as meter:
        for done in range(0, 100_000_000, 1_000_000):
            meter("registry", done, 159_000_000)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == ["fetch=registry mb=0 of_mb=159"]
