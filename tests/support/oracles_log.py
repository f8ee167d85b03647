"""Judges of what the landing wrote down: the Delta log (O7) and the ledger (I4).

Rule: pure, as in ``oracles``. A commit is judged by its own JSON, never by what the landing says about it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.oracles import Wrong

TERMS: Final = ("landed", "merged_away", "duplicates", "late", "dropped", "quarantined")


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a Delta log: its txn actions, its user metadata when it is ours, the files it adds."""

    version: int
    operation: str = ""
    txn: Mapping[str, int] = field(default_factory=dict)
    ours: Mapping[str, Any] | None = None
    added: tuple[str, ...] = ()


def parse_commit(version: int, lines: Iterable[str]) -> Commit:
    """A commit from the lines of its JSON file."""
    operation, added = "", list[str]()
    ours: Mapping[str, Any] | None = None
    txn: dict[str, int] = {}
    for action in (json.loads(line) for line in lines if line.strip()):
        match action:
            case {"commitInfo": info}:
                operation = info.get("operation", "")
                ours = _ours(info.get("userMetadata"))
            case {"txn": {"appId": app, "version": seq}}:
                txn[app] = seq
            case {"add": file}:
                # a deletion vector is written by adding the same file again, with the vector
                vector = file.get("deletionVector") or {}
                added.append(f"{file['path']}#{vector.get('pathOrInlineDv')}@{vector.get('offset')}")
            case _:
                pass
    return Commit(version, operation, txn, ours, tuple(added))


def _ours(metadata: str | None) -> Mapping[str, Any] | None:
    try:
        loaded = json.loads(metadata or "null")
    except json.JSONDecodeError:
        return None
    return loaded if isinstance(loaded, dict) and "ecluse" in loaded else None


def read_log(table: Path) -> list[Commit]:
    """Every commit whose JSON is still in a table's log, in order."""
    files = sorted((table / "_delta_log").glob("*.json"))
    return [parse_commit(int(f.stem), f.read_text().splitlines()) for f in files if f.stem.isdigit()]


def log_audit(commits: Sequence[Commit]) -> list[Wrong]:
    """O7: per app id the sequence grows by one, offsets join without gap or overlap, the topic stays.

    A commit is ours when it carries our txn: maintenance may copy the session's metadata and is not judged.
    """
    wrong = _added_twice(commits)
    last: dict[str, Commit] = {}
    ends: dict[str, dict[str, int]] = {}
    for commit in commits:
        for app, seq in commit.txn.items():
            if not app.startswith("ecluse:"):
                continue
            reached = ends.setdefault(app, {})
            wrong += _one(commit, app, seq, last.get(app), reached)
            last[app] = commit
            reached.update({p: end for p, (_, end) in (commit.ours or {}).get("offsets", {}).items()})
    return wrong


def _added_twice(commits: Sequence[Commit]) -> list[Wrong]:
    counts = Counter(path for commit in commits for path in commit.added)
    return [Wrong("O7", path, f"was added {n} times") for path, n in counts.items() if n > 1]


def _one(
    commit: Commit, app: str, seq: int, before: Commit | None, reached: Mapping[str, int]
) -> list[Wrong]:
    at = f"version {commit.version} {app} seq {seq}"
    meta = commit.ours
    if meta is None:
        return [Wrong("O7", at, "carries our txn and no metadata of ours")]
    wrong = []
    if meta.get("app") != app or meta.get("seq") != seq:
        wrong.append(Wrong("O7", at, f"its metadata says {meta.get('app')} seq {meta.get('seq')}"))
    if before is None or before.ours is None:
        return wrong
    if seq != before.txn[app] + 1:
        wrong.append(Wrong("O7", at, f"follows seq {before.txn[app]}"))
    if meta.get("topic_id") != before.ours.get("topic_id"):
        wrong.append(
            Wrong("O7", at, f"is of topic {meta.get('topic_id')}, was {before.ours.get('topic_id')}")
        )
    now = meta.get("offsets", {})
    wrong += [
        Wrong("O7", at, f"partition {p} goes on at {now[p][0]}, and was read up to {reached[p]}")
        for p in sorted(now.keys() & reached.keys())
        if now[p][0] != reached[p]
    ]
    return wrong


def last_seq(commits: Sequence[Commit]) -> int:
    """The newest sequence number of ours in a log; 0: nothing has landed."""
    return max((s for c in commits for app, s in c.txn.items() if app.startswith("ecluse:")), default=0)


def ledger_balances(entries: Sequence[Mapping[str, Any]]) -> list[Wrong]:
    """I4: what was read is what became of it; and, our topics having no transactions, the offsets' length."""
    wrong = []
    for entry in entries:
        at = f"{entry['flow']} seq {entry['seq']}"
        unknown = [term for term in ("read", *TERMS) if entry[term] is None]
        if unknown and entry.get("state") == "rebooked":
            continue  # booked again from an old commit: nobody can count it any more
        if unknown:
            wrong.append(Wrong("I4", at, f"no count of {', '.join(unknown)}"))
            continue
        parts = {term: int(entry[term]) for term in TERMS}
        if min(parts.values()) < 0:
            wrong.append(Wrong("I4", at, f"a negative count: {parts}"))
        if int(entry["read"]) != sum(parts.values()):
            wrong.append(Wrong("I4", at, f"read {entry['read']}, accounted {sum(parts.values())}: {parts}"))
        length = sum(to - start for start, to in dict(entry["offsets"]).values())
        if int(entry["read"]) != length:
            wrong.append(Wrong("I4", at, f"read {entry['read']}, the offsets hold {length}"))
    return wrong


def ledger_tells_all(entries: Sequence[Mapping[str, Any]], commits: Sequence[Commit]) -> list[Wrong]:
    """Every batch of the table's log stands in the ledger once, with the same range, and no other does."""
    booked = Counter((e["app_id"], int(e["seq"])) for e in entries)
    committed = {(app, seq): c for c in commits for app, seq in c.txn.items() if app.startswith("ecluse:")}
    wrong = [Wrong("I4", str(b), f"is booked {n} times") for b, n in booked.items() if n > 1]
    wrong += [Wrong("I4", str(b), "was committed and never booked") for b in committed if b not in booked]
    wrong += [Wrong("I4", str(b), "is booked and was never committed") for b in booked if b not in committed]
    for entry in entries:
        commit = committed.get((entry["app_id"], int(entry["seq"])))
        if commit is None or commit.ours is None:
            continue
        told = {str(p): list(r) for p, r in dict(entry["offsets"]).items()}
        kept = {str(p): list(r) for p, r in commit.ours.get("offsets", {}).items()}
        if told != kept:
            wrong.append(
                Wrong("I4", f"{entry['flow']} seq {entry['seq']}", f"says {told}, the commit {kept}")
            )
    return wrong
