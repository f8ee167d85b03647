"""The table of all benches, out of the stored results: ``python -m bench table`` puts it into the README.

Rule: of each measured case the newest stored result counts, unless it was but a look (a small scale); nothing
is in the table that no result says, and each line says how much work it is about.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.rounds import RESULTS

README: Final = Path(__file__).parents[1] / "README.md"
BEGIN: Final = "<!-- made by: python -m bench table -->"
END: Final = "<!-- end of the table -->"
_HEAD: Final = "| `make bench BENCH=…` | against | figure |\n|---|---|---|"
_PEERS: Final[Mapping[str, str]] = {
    "pg_recvlogical": "`pg_recvlogical -f /dev/null`",
    "debezium": "Debezium on Kafka Connect, its faster converter (JSON)",
    "psql": "`COPY … TO STDOUT` into /dev/null",
    "kcat": "`kcat -P -l`, which sends each line as it stands",
    "spark_append": "plain Spark append, `from_avro`, no checks",
}
_CHECKED: Final[Mapping[str, str]] = {
    "ecluse": "types checked",
    "ecluse_20_checks": "with twenty checks that every row meets",
    "ecluse_20_checks_1_percent_bad": "with twenty checks, one row in a hundred fails",
}
_LEAST_SCALE: Final = 0.1
_ORDER: Final = ("capture", "snapshot", "files", "landing", "latency", "memory")
_FORMS: Final[Mapping[str, str]] = {"delimited": "delimited", "fixed_width": "of fixed width"}


class Line(NamedTuple):
    """One line of the table; of two about the same case against the same peer the newer counts."""

    bench: str
    case: str
    against: str
    figure: str


def lines(documents: Sequence[Mapping[str, Any]]) -> list[Line]:
    """The lines of all results, given from the oldest to the newest."""
    found: dict[tuple[str, str, str], Line] = {}
    for document in (each for each in documents if each["scale"] >= _LEAST_SCALE):
        for key, line in _of(document):
            found[document["bench"], key, line.against] = line
    return sorted(found.values(), key=lambda line: _ORDER.index(line.bench))


def text(found: Sequence[Line]) -> str:
    """The lines as Markdown."""
    rows = [f"| `{line.bench}`: {line.case} | {line.against} | {line.figure} |" for line in found]
    return "\n".join([_HEAD, *rows])


def stored(folder: Path = RESULTS) -> list[Mapping[str, Any]]:
    """The stored results, the oldest first."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    return sorted(documents, key=lambda document: document["at"])


def put(readme: str, table: str) -> str:
    """The README with this table between its marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def write() -> None:
    """Put the table of what is stored into the README."""
    readme = README.read_text(encoding="utf-8")
    README.write_text(put(readme, text(lines(stored()))), encoding="utf-8")


# --- what each bench has to say --------------------------------------------------------------------------


def _of(document: Mapping[str, Any]) -> Iterator[tuple[str, Line]]:
    """The lines of one result, each with what it measures, whatever the scale."""
    match document["bench"]:
        case "capture":
            for size, of_size in document["sizes"].items():
                case = f"{document['changes']:,} changes in transactions of {int(size):,}"
                yield from _ratios("capture", size, case, of_size["ratios"])
        case "snapshot":
            case = f"{document['rows']:,} rows of ten typed columns"
            yield from _ratios("snapshot", "", case, document["ratios"])
        case "files":
            yield from _files(document)
        case "landing":
            ratios = document["ratios"]
            for side, of_side in (ratios if isinstance(ratios, dict) else {"ecluse": ratios}).items():
                case = f"{document['records']:,} records, append, {_CHECKED[side]}"
                yield from _ratios("landing", side, case, of_side)
        case "memory":
            for peak in document["table"]:
                case = (
                    f"{peak['rows']:,} rows of {peak['value_bytes']:,} bytes, "
                    f"in transactions of {peak['per_transaction']:,}"
                )
                yield peak["name"], Line("memory", case, "", f"{peak['peak_mb']:.0f} MB at the most")
        case "latency":
            for mode, found in document["modes"].items():
                yield mode, _latency(document, mode, found)
        case other:
            raise ValueError(f"a result of a bench without a line: {other}")


def _ratios(
    bench: str, key: str, case: str, ratios: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, Line]]:
    for ratio in ratios:
        each = ratio["per_round"]
        figure = (
            f"{statistics.median(each):.2f} ({min(each):.2f}–{max(each):.2f}) of "
            f"{ratio['peer_rows_per_s']:,.0f} rows/s"
        )
        yield key, Line(bench, case, _PEERS[ratio["peer"]], figure)


def _files(document: Mapping[str, Any]) -> Iterator[tuple[str, Line]]:
    for form, of_form in document["forms"].items():
        case = f"{document['lines']:,} lines {_FORMS[form]}, validated, then published"
        yield from _ratios("files", form, case, of_form["ratios"])
    for one in document["memory"]:
        wrapped = "" if one["container"] == "none" else f" as {one['container']}"
        size = f"{round(one['content_bytes'] / 1e9, 1):g} GB"
        case = f"one file of {one['lines']:,} lines, {size}{wrapped}"
        key = f"{size} {one['container']}"
        yield key, Line("files", case, "limit 100 MB", f"{one['peak_mb']:.1f} MB at the most")
    if document["many"]:
        most = document["many"][-1]
        each = ", ".join(f"{one['cpu_ms_per_file']:.2f} at {one['files']:,}" for one in document["many"])
        case = f"{most['files']:,} files of {most['lines_per_file']} lines in one folder"
        figure = f"{most['files_per_s']:.0f} files/s; CPU-ms a file: {each}"
        yield "many", Line("files", case, "limit 200 files/s", figure)


def _latency(document: Mapping[str, Any], mode: str, found: Mapping[str, Any]) -> Line:
    case = (
        f"commit → row seen by a foreign reader, {document['flows']} flows × {document['per_s']} rows/s, "
        f"mode {mode}, {document['measured_s']:.0f} s after {document['warm_s']:.0f} s"
    )
    limit = "limit p50 1.5 s, p99 5 s" if mode == "append" else ""
    figure = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found["seconds"].items())
    return Line("latency", case, limit, figure)
