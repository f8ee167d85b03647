"""YAML that means harm, or less than it seems to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.template.mistakes import Code, Mistakes
from engine.template.nodes import BYTES_MAX, EVENTS_MAX, documents

HOSTILE = sorted((Path(__file__).parent / "hostile").glob("*.yaml"))


def told(raw: bytes) -> list[str]:
    mistakes = Mistakes()
    documents(raw, "x.yaml", mistakes)
    return [f"{m.place.line}:{m.place.column} {m.code}" for m in mistakes.sorted()]


def value(text: str) -> Any:
    mistakes = Mistakes()
    found = documents(text.encode(), "x.yaml", mistakes)
    assert found is not None, mistakes.sorted()
    assert not mistakes, mistakes.sorted()
    return found[0].plain


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.stem)
def test_hostile_yaml_is_refused_at_its_place(path: Path) -> None:
    raw = path.read_bytes()
    expected = [line[2:] for line in raw.decode().splitlines() if line.startswith("# ")]

    assert expected
    assert told(raw) == expected


GUESSED = (
    "NO no on off yes y n 12:30:45 190:20:30 010 0o14 0x1f 1_000 .5 +1 2026-11-21 1. .inf .nan 1e400 = <<x "
    "9999999999999999999999999999999999999999"
)


@pytest.mark.parametrize("text", GUESSED.split())
def test_what_yaml_1_1_would_guess_at_stays_text(text: str) -> None:
    assert value(f"a: {text}") == {"a": text}


def test_scalars_are_those_of_json() -> None:
    text = "[true, False, 1, -2, 0, 1.5, -1e3, null, ~, '1', \"true\", '', 1.10]"

    assert value(text) == [True, False, 1, -2, 0, 1.5, -1000.0, None, None, "1", "true", "", 1.1]


def test_an_empty_value_is_null_and_block_text_is_text() -> None:
    assert value("a:\nb: |\n  1\nc: >-\n  x\n  y\n") == {"a": None, "b": "1\n", "c": "x y"}


def test_a_file_may_hold_several_documents() -> None:
    mistakes = Mistakes()
    found = documents(b"a: 1\n---\nb: 2\n", "x.yaml", mistakes)

    assert [node.plain for node in found or []] == [{"a": 1}, {"b": 2}]
    assert [str(node.place) for node in found or []] == ["x.yaml:1:1", "x.yaml:3:1"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"a: 1\nb: \xe9\n", "2:4 template.unreadable"),
        ("a: 1".encode("utf-16"), "1:1 template.unreadable"),
        (b"a: 1\nbc: \x00\n", "2:5 template.unreadable"),
        (b"a: \x1b[2J\n", "1:4 template.unreadable"),
        (b"a: \x7f\n", "1:4 template.unreadable"),
        ("a: \ufffe\n".encode(), "1:4 template.unreadable"),
        (b"\xed\xa0\x80: 1\n", "1:1 template.unreadable"),
        (b"x" * (BYTES_MAX + 1), "1:1 template.too-large"),
        (b"- x\n" * EVENTS_MAX, "99998:3 template.too-large"),
    ],
)
def test_bytes_that_are_no_text_are_refused_at_their_place(raw: bytes, expected: str) -> None:
    assert told(raw) == [expected]


def test_a_byte_order_mark_and_windows_lines_are_read() -> None:
    assert value("\ufeffa: 1\r\nb: 2\r\n") == {"a": 1, "b": 2}


def test_a_bomb_of_aliases_is_never_expanded() -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 200)]
    began = time.process_time()

    assert {line.split()[1] for line in told("\n".join(["l0: &l0 x", *levels]).encode())} == {Code.ALIAS}
    assert time.process_time() - began < 5


PIECES = st.sampled_from(
    [
        *("a", "b", ": ", ":", "- ", "\n", "  ", "{", "}", "[", "]", ",", '"', "'", "|", ">", "&x ", "*x"),
        *("!t ", "!!str ", "<<", "? ", "---\n", "...\n", "%YAML 1.1\n", "#", "\t", "1", "true", "~", "\\"),
        *("${", "$$", "é", "\u2028", "\x85", "\ufeff", "😀", "\\U00110000", "\\x00"),
    ]
)


@given(st.lists(PIECES, max_size=60).map("".join))
@example('"\\U00110000"')
@settings(max_examples=400)
def test_no_text_breaks_the_reader(text: str) -> None:
    mistakes = Mistakes()
    found = documents(text.encode(), "x.yaml", mistakes)

    assert found is not None or mistakes


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    mistakes = Mistakes()
    found = documents(raw, "x.yaml", mistakes)

    assert found is not None or mistakes
