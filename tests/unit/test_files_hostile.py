"""A corpus of hostile and broken files, each through the whole path of a capture beside a good one.

Each ends in the code that docs/reference/refusals.md names for it, with the file and the place, in little
memory and with bounded work; nothing of a refused file is on the topic, and the good file behind it is.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from connectors.files.records import DEFAULTS
from tests.support.hostile_child import BAD, CORPUS, GOOD, Fate, fate

REFUSALS = Path(__file__).parents[2] / "docs" / "reference" / "refusals.md"
PIECE = 256 << 10  # content comes in such
FREE = 1 << 20  # of content, whatever the ratio


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_file_ends_as_it_is_documented(name: str, tmp_path: Path) -> None:
    case, found = CORPUS[name], fate(name, tmp_path)
    one = found.entries[BAD]
    assert (one.state, bool(case.code)) in (("refused", True), ("archived", False)), one.reason
    if case.code:
        assert one.code in _codes(case.code), one.reason
        assert re.search(case.says, one.reason), one.reason
        assert _rows(found, BAD) == {}
        assert names(tmp_path / "place" / "errors") == [f"{one.arrival}-{BAD}"]
    else:
        assert {number: code for number, (code, _) in _rows(found, BAD).items()} == dict(case.rows)
        assert all(raw is not None for code, raw in _rows(found, BAD).values() if code)
        assert one.problems == sum(1 for code in case.rows.values() if code)
    assert found.entries[GOOD].state == "archived"
    assert [code for code, _ in _rows(found, GOOD).values()] == [""]
    # two passes, each within the caps of the container: what ends the work is a count of bytes, and no clock
    bound = min(case.content_max, max(FREE, DEFAULTS.ratio * found.size)) + PIECE
    assert found.content <= 2 * (bound + PIECE)


def _codes(said: str) -> list[str]:
    return said.split("|")


def _rows(found: Fate, file: str) -> dict[int, tuple[str, bytes | None]]:
    """The records of a file on the topic: the code of what is wrong with each, and its bytes."""
    rows = [row["after"] for row in found.rows if row["after"]["_file"] == file]
    return {row["_record"]: ((row["_problem"] or "").partition(":")[0], row["_raw"]) for row in rows}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_outcome_of_the_corpus_is_documented() -> None:
    files, records = (set(re.findall(r"^\| `([a-z.-]+)` \|", part, re.MULTILINE)) for part in _parts())
    assert {code for case in CORPUS.values() for code in _codes(case.code) if code} <= files
    assert {code for case in CORPUS.values() for code in case.rows.values() if code} <= records


def _parts() -> tuple[str, str]:
    files, _, records = REFUSALS.read_text(encoding="utf-8").partition("\n## Records\n")
    return files, records
