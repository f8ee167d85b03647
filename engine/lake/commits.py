"""What a Delta table's own log says about our commits.

A commit of ours carries a ``txn`` action (application id, sequence number) and, in its ``userMetadata``,
who wrote it, from which offsets and under which plan. Maintenance commits carry no txn and may carry a
copy of somebody's metadata: so a commit is ours by its txn, never by its metadata.

Rule: read only, by files of the log, newest first; a version that was cleaned away is absent, not an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.lake.ranges import Offsets, Range

SMALL_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit that carries our txn."""

    version: int
    app_id: str
    seq: int
    said: Mapping[str, Any]
    metrics: Mapping[str, int]
    files: int
    at_ms: int

    @property
    def writer(self) -> str:
        """Which driver wrote it."""
        return str(self.said.get("writer", ""))

    @property
    def span(self) -> Range:
        """The offsets that it applied."""
        return {int(p): (a, b) for p, (a, b) in self.said.get("offsets", {}).items()}

    @property
    def next(self) -> Offsets:
        """Where the flow stands after it, in every partition."""
        return {int(p): int(offset) for p, offset in self.said["next"].items()}


def head(table: Path) -> int:
    """The newest version of a table, -1 where there is none."""
    versions = [int(f.stem) for f in (table / "_delta_log").glob("[0-9]*.json") if f.stem.isdigit()]
    return max(versions, default=-1)


def read(table: Path, version: int) -> list[dict[str, Any]] | None:
    """The actions of one commit; None when its file is not there."""
    try:
        text = (table / "_delta_log" / f"{version:020d}.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return [json.loads(line) for line in text.split("\n") if line]  # a value may hold what else ends a line


def ours(actions: list[dict[str, Any]], version: int, app_id: str) -> Commit | None:
    """The commit, if it carries a txn of this application."""
    txn = next((a["txn"] for a in actions if a.get("txn", {}).get("appId") == app_id), None)
    if txn is None:
        return None
    info: dict[str, Any] = next((a["commitInfo"] for a in actions if "commitInfo" in a), {})
    metrics = {k: int(v) for k, v in info.get("operationMetrics", {}).items() if str(v).isdigit()}
    said = _said(info)
    files = sum("add" in a and a["add"].get("size", 0) < SMALL_BYTES for a in actions)
    return Commit(version, app_id, int(txn["version"]), said, metrics, files, int(info.get("timestamp", 0)))


def _said(info: Mapping[str, Any]) -> dict[str, Any]:
    try:
        said = json.loads(info.get("userMetadata", ""))
    except ValueError:
        return {}
    return said if isinstance(said, dict) and said.get("ecluse") == 1 else {}


def newest(table: Path, app_id: str) -> Commit | None:
    """The newest commit of this application that the log still holds."""
    return next(history(table, app_id), None)


def history(table: Path, app_id: str) -> Iterator[Commit]:
    """The application's commits, newest first, as far as the log's files reach."""
    for version in range(head(table), -1, -1):
        actions = read(table, version)
        if actions is None:
            return
        commit = ours(actions, version, app_id)
        if commit is not None:
            yield commit


def since(table: Path, version: int, app_id: str) -> tuple[int, Commit | None]:
    """The head after ``version``, and the newest of our commits in between: the read-back."""
    found: Commit | None = None
    while (actions := read(table, version + 1)) is not None:
        version += 1
        found = ours(actions, version, app_id) or found
    return version, found


def rows_since(table: Path, version: int) -> int:
    """The rows that the commits after ``version`` say they have written."""
    rows = 0
    while (actions := read(table, version + 1)) is not None:
        version += 1
        info: dict[str, Any] = next((a["commitInfo"] for a in actions if "commitInfo" in a), {})
        rows += int(info.get("operationMetrics", {}).get("numOutputRows", 0))
    return rows
