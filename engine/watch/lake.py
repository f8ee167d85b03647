"""What the lake says of each flow: its table's own commits, the ledger, the state that was written down.

Rule: read only, columns only, the last batches only; a lake that is not there yet gives nothing, which is
not the same as zero. Reads local folders through deltalake; this room knows no Spark.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.errors import LakeUnreachable
from engine.ledger import TERMS
from engine.names import OWN_FOLDER, pause_file, table_folder
from engine.plan import FlowPlan
from engine.state import Pause, State
from engine.watch.lag import LandingReading

if TYPE_CHECKING:
    from deltalake import (
        DeltaTable,
    )  # 60 MB, which the command's workers would carry: imported where it is used

RECENT: Final = 50  # batches per flow that end-to-end numbers are made of
_WALK: Final = 50  # commits looked through for our own: maintenance commits too
_FAILURES: Final = (
    "SELECT flow, checks, count(*) AS batches FROM l WHERE checks <> '{}' GROUP BY flow, checks"
)


@dataclass(frozen=True, slots=True)
class Written:
    """A flow's state as the landing has written it down, with what a person needs in order to act."""

    state: State
    code: str = ""
    what: str = ""
    where: str = ""
    hint: str = ""
    since: str = ""
    first_unapplied: Mapping[int, int] = field(default_factory=dict)  # the next offset, by partition
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class LedgerReading:
    """A flow's part of the ledger."""

    changes: int | None
    quarantined: int | None
    offsets: Mapping[int, int]
    landed_at_us: int | None
    commits_us: Sequence[tuple[int, int]]
    failed: Mapping[str, int]


def states(root: str, flows: Iterable[FlowPlan]) -> dict[str, Written]:
    """What is written down of each flow; a flow that nothing is known of is absent."""
    found = {}
    for flow in flows:
        path = Path(root, OWN_FOLDER, "flows", f"{flow.name}.json")
        if path.is_file():
            text = json.loads(path.read_text(encoding="utf-8"))
            known = {name: str(text.get(name) or "") for name in ("code", "what", "where", "hint", "since")}
            first = {int(p): int(offset) for p, offset in (text.get("first_unapplied") or {}).items()}
            found[flow.name] = Written(
                State(text["state"]),
                first_unapplied=first,
                attempts=int(text.get("attempts") or 0),
                **known,
            )
    return found


def pauses(root: str) -> dict[str, Pause]:
    """Whom a person let rest, by flow; a wish whose words cannot be read is one all the same."""
    folder = Path(root, pause_file("any").parent)
    try:
        wishes = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        texts = {path.stem: path.read_text(encoding="utf-8", errors="replace") for path in wishes}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise LakeUnreachable(str(error), where=str(folder)) from error
    return {flow: Pause(flow, **_words(text)) for flow, text in texts.items()}


def _words(text: str) -> dict[str, str]:
    said = _said(text)
    return {name: str(said.get(name) or "") for name in ("by", "at", "why")}


def ledger(root: str) -> dict[str, LedgerReading]:
    """Per flow: what has landed so far, and the last batches; empty where no ledger is."""
    table = opened(Path(root, OWN_FOLDER, "ledger"))
    if table is None:
        return {}
    sums = ", ".join(f"sum({term}) AS {term}, count({term}) AS {term}_known" for term in TERMS)
    newest = "row_number() OVER (PARTITION BY flow ORDER BY landed_at_us DESC, seq DESC)"
    with translated(root):
        totals = rows(table, "l", f"SELECT flow, count(*) AS batches, {sums} FROM l GROUP BY flow")  # noqa: S608
        last = rows(
            table,
            "l",
            "SELECT * FROM (SELECT flow, offsets, committed_us_min, landed_at_us, "  # noqa: S608
            f"{newest} AS age FROM l) WHERE age <= {RECENT} ORDER BY age DESC",
        )
        failures = rows(table, "l", _FAILURES)
    failed = _failed(failures)
    return {
        row["flow"]: _ledger_reading(
            row, [r for r in last if r["flow"] == row["flow"]], failed.get(row["flow"], {})
        )
        for row in totals
    }


def _failed(batches: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """By flow, the rows that failed each check; batches that say the same come as one, with their number."""
    found: dict[str, dict[str, int]] = {}
    for same in batches:
        mine = found.setdefault(same["flow"], {})
        for check, count in json.loads(same["checks"]).items():
            mine[check] = mine.get(check, 0) + count * same["batches"]
    return found


def _ledger_reading(
    total: Mapping[str, Any], last: Sequence[Mapping[str, Any]], failed: Mapping[str, int]
) -> LedgerReading:
    # a batch that was booked again from the table's commits has counts that nobody knows any more
    counts = {term: total[term] for term in TERMS if total[f"{term}_known"] == total["batches"]}
    return LedgerReading(
        changes=sum(counts.values()) if len(counts) == len(TERMS) else None,
        quarantined=counts.get("quarantined"),
        offsets=_ends(json.loads(row["offsets"]) for row in last),
        landed_at_us=last[-1]["landed_at_us"] if last else None,
        commits_us=[
            (r["committed_us_min"], r["landed_at_us"]) for r in last if r["committed_us_min"] is not None
        ],
        failed=failed,
    )


def landings(root: str, flows: Iterable[FlowPlan]) -> dict[str, LandingReading]:
    """Per flow: what its table says, the ledger beside it. A flow without table and entries is absent.

    The offsets come from the table's newest own commit: the ledger is written after it, and a batch between
    the two has landed.
    """
    if not Path(root).is_dir():
        raise LakeUnreachable("there is no lake yet", where=root, hint="ecluse up")
    booked = ledger(root)
    found = {}
    for flow in flows:
        entry = booked.get(flow.name)
        own = _own_commit(Path(root, table_folder(flow.sink.table)))
        if own is None and entry is None:
            continue
        offsets, at_us = own or (entry.offsets if entry else {}, None)
        booked_at = entry.landed_at_us if entry else None
        known = [at for at in (at_us, booked_at) if at is not None]
        found[flow.name] = LandingReading(
            offsets=offsets,
            landed_at_us=max(known) if known else None,
            changes=entry.changes if entry else None,
            quarantined=entry.quarantined if entry else None,
            commits_us=entry.commits_us if entry else (),
            failed=entry.failed if entry else {},
        )
    return found


def _own_commit(folder: Path) -> tuple[dict[int, int], int] | None:
    """The end offsets and the time of the newest commit that carries ours; None where there is none."""
    table = opened(folder)
    if table is None:
        return None
    with translated(str(folder)):
        for commit in table.history(_WALK):
            text = _said(commit.get("userMetadata"))
            if "ecluse" in text and "next" in text:
                at = {int(partition): offset for partition, offset in text["next"].items()}
                return at, int(commit["timestamp"]) * 1000
    return None


def _said(metadata: str | None) -> dict[str, Any]:
    """What a commit says of itself; others than we commit too, and say what they like."""
    try:
        said = json.loads(metadata or "")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _ends(batches: Iterable[Mapping[str, Sequence[int]]]) -> dict[int, int]:
    """Where the last batches left each partition: a batch names only those that moved."""
    found: dict[int, int] = {}
    for offsets in batches:
        for partition, (_, end) in offsets.items():
            found[int(partition)] = max(end, found.get(int(partition), 0))
    return found


def opened(folder: Path) -> DeltaTable | None:
    """A table, or None where none is."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    if not (folder / "_delta_log").is_dir():
        return None
    try:
        return DeltaTable(str(folder))
    except TableNotFoundError:
        return None  # the folder is there, its first commit is not
    except DeltaError as error:
        raise LakeUnreachable(str(error), where=str(folder)) from error


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Errors of the library as ours."""
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (DeltaError, OSError) as error:
        raise LakeUnreachable(str(error), where=where) from error


def rows(table: DeltaTable, name: str, query: str) -> list[dict[str, Any]]:
    """What a query over one table gives; deletion vectors are applied."""
    return joined({name: table}, query)


def joined(tables: Mapping[str, DeltaTable], query: str) -> list[dict[str, Any]]:
    """The same over several tables, each under its name in the query."""
    from deltalake import QueryBuilder
    from pyarrow import RecordBatchReader

    engine = QueryBuilder()
    for name, table in tables.items():
        engine = engine.register(name, table)
    stream = engine.execute(query)
    return RecordBatchReader.from_stream(stream).read_all().to_pylist()  # type: ignore[no-any-return]
