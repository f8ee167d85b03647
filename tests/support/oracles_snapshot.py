"""Judges of a history that begins with a snapshot: rows that were there, then their changes.

Rule: as in ``oracles``: pure, and an empty list is green.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tests.support.oracles import Wrong
from tests.support.workload import Change


def read_once(journal: Sequence[Change]) -> list[Wrong]:
    """No key is read twice by one run."""
    seen: set[object] = set()
    wrong = []
    for change in journal:
        if change.op == "r":
            if change.key in seen:
                wrong.append(Wrong("snapshot", str(change.key), "is read twice"))
            seen.add(change.key)
    return wrong


def goes_on(changes: Iterable[Change], column: str, source: Mapping[int, str]) -> list[Wrong]:
    """Every row is the one before it, changed once; a snapshot's row is what the stream had come to.

    What a row was before its first change is not known, unless the snapshot has read it by then.
    """
    history = sorted(changes, key=lambda c: c.position)
    rows: dict[int, str] = {}
    read: set[int] = set()
    wrong = []
    for change in history:
        key, at = change.key, f"{change.op} {change.key} {change.position}"
        if key is None:
            wrong.append(Wrong("snapshot", at, "has no key"))
            continue
        before, after = rows.get(key), str(change.row.get(column, ""))
        if change.op == "d":
            if before is None and key in read:
                wrong.append(Wrong("snapshot", at, "deletes a row that is not there"))
            rows.pop(key, None)
            continue
        if change.op == "r":
            if before not in (None, after):
                wrong.append(Wrong("snapshot", at, f"reads {after[-20:]}, the stream says {before[-20:]}"))
            read.add(key)
        elif change.op == "u" and before is None and key in read:
            wrong.append(Wrong("snapshot", at, "changes a row that is not there"))
        elif column == "items" and before is not None and after.rpartition(",")[0] != before:
            wrong.append(Wrong("snapshot", at, f"is {after[-20:]} after {before[-20:]}"))
        rows[key] = after
    missing = {k for k in rows.keys() | source.keys() if rows.get(k) != source.get(k)}
    return wrong + [
        Wrong("snapshot", str(k), f"ends as {rows.get(k)}, the source has {source.get(k)}")
        for k in sorted(missing)
    ]
