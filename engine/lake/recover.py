"""Where a flow stands, told by its own table; and the batch that a crash left half booked.

1. The table's snapshot knows the newest seq of our application id, even when the log was cleaned.
2. The newest commit with that txn holds the range: its ends are the next start.
3. Cleaned away: the ledger's entry of that seq. Neither: a named stop, never "earliest".
4. The table's commit is the first durable write of a batch: without its ledger entry the batch is
   completed before anything else, from the commit's own range and plan.
5. Older entries that are missing are booked again from the table's own commits.

Rule: reads; the only writes are the steps of a schema change that were interrupted, and old entries.
"""

from __future__ import annotations

from dataclasses import replace

from engine import names
from engine.errors import HistoryLost, TableReplaced
from engine.lake import batch, book, commits, landed, quarantine, table
from engine.lake.commits import Commit
from engine.lake.desk import Desk, Standing
from engine.plan import FlowPlan

EPOCH = 1  # a new epoch comes with a replay into a new or replaced table


def stand(desk: Desk, flow: FlowPlan) -> tuple[Standing, Commit | None]:
    """Where a flow stands, and the commit whose batch has to be completed first, if there is one."""
    app_id = names.app_id(flow.name, EPOCH)
    path = book.table_path(desk.root, flow.sink.table)
    standing = Standing(flow, app_id)
    if not book.exists(path):
        _refuse_unknown(desk, app_id, flow)
        return standing, None
    target, pending = table.load(path, flow)
    if pending:
        table.finish(desk.session, path, flow, target, pending)
    standing.target = target
    standing.version = commits.head(path)
    standing.small_files = sum(size < commits.SMALL_BYTES for size in book.file_sizes(path))
    seq = book.transaction_version(path, app_id)
    if seq is None:
        _refuse_unknown(desk, app_id, flow)
        return standing, None
    return _from_commit(desk, standing, seq)


def _from_commit(desk: Desk, standing: Standing, seq: int) -> tuple[Standing, Commit | None]:
    path = book.table_path(desk.root, standing.flow.sink.table)
    commit = commits.newest(path, standing.app_id)
    if commit is not None and commit.seq != seq:
        raise HistoryLost(
            f"the table's snapshot says seq {seq}, its newest commit of ours says {commit.seq}",
            where=str(path),
            hint=f"put {path / '_delta_log'} back from a backup of the lake, then restart the landing",
        )
    entry = desk.book.entry(standing.app_id, seq)
    if commit is None and entry is None:
        raise HistoryLost(
            f"the commit of seq {seq} was cleaned away and the ledger does not have it",
            where=str(path),
            hint=f"put {book.ledger_path(desk.root)} back from a backup, then restart the landing",
        )
    standing.seq, standing.last = seq, entry
    if commit is not None:
        standing.offsets, standing.topic_id = dict(commit.next), str(commit.said["topic_id"])
        standing.aside = batch.aside_from(commit.said["aside"])
    if entry is not None:
        after = batch.after(entry)
        standing.offsets, standing.topic_id = dict(after.next), entry.topic_id
        standing.waters, standing.doubt = dict(after.waters), after.doubt
        standing.aside = dict(after.aside)
    _book_again(desk, standing, seq)
    return standing, commit if entry is None else None


def give_up(desk: Desk, standing: Standing, commit: Commit) -> None:
    """Book a batch whose records are gone from the topic, as a person has accepted: by its commit alone.

    What it read is not known any more, nor how high its partitions stand: the table is asked for that.
    """
    held = quarantine.held(desk.session, desk.root, standing.app_id, commit.seq, commit.span)
    rejected = (
        "what it rejected is in quarantine" if held is not None else "what it would have rejected is lost"
    )
    why = f"its records are gone from the topic: what it read is not counted, {rejected}"
    met = batch.again(commit, standing.flow, desk.driver)
    standing.waters, standing.doubt = dict(met.waters), landed.top(desk.session, desk.root, standing.flow)
    entry = replace(
        batch.rebooked(commit, standing.flow),
        quarantined=held,
        reasons=(why, *(a.reason for a in (*met.accepted, *standing.taken))),
        marks=batch.After(standing.offsets, standing.waters, standing.doubt, standing.aside).text(),
    )
    desk.book.add(entry)
    standing.taken = []


def _refuse_unknown(desk: Desk, app_id: str, flow: FlowPlan) -> None:
    booked = desk.book.count(app_id)
    if booked:
        raise TableReplaced(
            f"the ledger has {booked} batches of this flow, and the table has none",
            where=flow.sink.table,
            hint="put the table back, or move the ledger's entries of this flow away to begin again",
        )


def _book_again(desk: Desk, standing: Standing, seq: int) -> None:
    """Entries that somebody lost: every batch but the newest was booked before the next one began."""
    missing = desk.book.missing(standing.app_id, seq)
    if not missing:
        return
    path = book.table_path(desk.root, standing.flow.sink.table)
    for commit in commits.history(path, standing.app_id):
        if any(commit.seq in hole for hole in missing):
            entry = batch.rebooked(commit, standing.flow)
            desk.book.add(replace(entry, reasons=("the ledger had lost this batch",)))
        if commit.seq <= missing[0].start:
            return
