"""The table of the benches in the README is what the stored results say."""

from __future__ import annotations

from typing import Any

from bench import table


def test_the_readme_shows_what_is_stored_and_nothing_else() -> None:
    readme = table.README.read_text(encoding="utf-8")
    assert readme.count(table.BEGIN) == readme.count(table.END) == 1
    assert table.put(readme, table.text(table.lines(table.stored()))) == readme


def snapshot(at: str, rows: int, *ratios: float, scale: float = 1.0) -> dict[str, Any]:
    one = {"peer": "psql", "per_round": list(ratios), "peer_rows_per_s": 1000.0}
    return {"bench": "snapshot", "at": at, "scale": scale, "rows": rows, "ratios": [one]}


def test_of_one_case_the_newest_result_counts_whatever_its_size() -> None:
    old, new = snapshot("2026-11-21", 10, 0.5), snapshot("2026-11-22", 4000, 0.25, 0.5, 1.0)
    look = snapshot("2026-11-23", 4, 9.0, scale=0.01)
    (line,) = table.lines([old, new, look])
    assert line.case.startswith("4,000 rows")
    assert line.figure == "0.50 (0.25–1.00) of 1,000 rows/s"


def test_a_table_takes_the_place_of_the_one_before() -> None:
    readme = f"a\n{table.BEGIN}\nold\n{table.END}\nz\n"
    assert table.put(readme, "new") == f"a\n{table.BEGIN}\n\nnew\n\n{table.END}\nz\n"
    assert table.put(table.put(readme, "new"), "new") == table.put(readme, "new")
