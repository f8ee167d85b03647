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


def files(at: str, **parts: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"forms": {}, "memory": [], "many": []}
    return {"bench": "files", "at": at, "scale": 1.0, "lines": 2_000_000, **empty, **parts}


def test_parts_of_the_files_may_come_from_different_results() -> None:
    ratio = {"peer": "kcat", "per_round": [0.5], "peer_rows_per_s": 1000.0}
    peak = {"container": "gz", "content_bytes": 10**9, "lines": 10, "peak_mb": 90.4}
    many = [
        {"files": n, "lines_per_file": 10, "files_per_s": 300.0, "cpu_ms_per_file": ms}
        for n, ms in ((1_000, 2.0), (10_000, 2.5))
    ]
    found = table.lines(
        [
            files("2026-11-20", memory=[{**peak, "peak_mb": 120.0}]),
            files("2026-11-21", forms={"delimited": {"ratios": [ratio]}}),
            files("2026-11-22", memory=[peak], many=many),
        ]
    )
    assert [line.figure for line in found] == [
        "90.4 MB at the most",
        "0.50 (0.50–0.50) of 1,000 rows/s",
        "300 files/s; CPU-ms a file: 2.00 at 1,000, 2.50 at 10,000",
    ]
