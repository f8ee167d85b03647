"""The gap check: whether the source can prove that nothing is missing since the mark.

Rule: pure functions over facts. What concerns the slot, the server or the whole publication stops the
capture; what concerns one table stops that flow alone. Whatever is not understood counts as a gap. The
text of a finding is the same however often it is looked at: by it an acceptance is bound to what was shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from connectors.postgres.config import PostgresConfig
from connectors.postgres.decode import Transaction
from connectors.postgres.facts import Prints, Server, Slot
from connectors.postgres.resume import Print, Resume
from connectors.postgres.wire import show_lsn
from engine.errors import EcluseError, GapSuspected, SlotLost, SlotMissing, answers
from engine.source import TableGap

_BETWEEN: Final = "; "  # findings of one stop; no finding's text holds it
_STRICT = ("oid", "published", "filter", "columns", "identity", "key", "leaves")
_MEANING = {
    "oid": "the table was dropped and made again",
    "published": "the table left the publication and joined again",
    "filter": "its row filter in the publication changed",
    "columns": "its column list in the publication changed",
    "identity": "its replica identity changed",
    "key": "its primary key changed",
    "leaves": "a partition was attached, detached, truncated or rewritten",
}


class Trouble(NamedTuple):
    """A finding that stops the capture."""

    kind: type[EcluseError]
    what: str
    fix: str = ""


def of_capture(config: PostgresConfig, mark: Resume, server: Server, slot: Slot | None) -> Iterator[Trouble]:
    """Everything about the server and the slot that does not fit the mark."""
    if server.system_id != mark.system_id:
        yield Trouble(
            GapSuspected,
            f"this is another server: system id {server.system_id}, the mark has {mark.system_id}",
        )
        return
    yield from _of_timeline(mark, server)
    reached = mark.last.end_lsn if mark.last else mark.confirmed
    if server.end < reached:
        yield Trouble(
            GapSuspected,
            f"the server's log was read up to {show_lsn(reached)}, and does not reach so far any more",
        )
    if slot is None:
        yield Trouble(SlotMissing, f"replication slot {config.slot} is gone")
        return
    yield from of_slot(config, slot)
    if slot.confirmed > mark.confirmed:
        yield Trouble(
            GapSuspected,
            f"slot {config.slot} was confirmed up to {show_lsn(slot.confirmed)} by someone else,"
            f" our mark is at {show_lsn(mark.confirmed)}",
        )


def of_slot(config: PostgresConfig, slot: Slot) -> Iterator[Trouble]:
    """Whether a slot is one that we can read, and holds what we have not read."""
    if (slot.plugin, slot.kind, slot.database) != ("pgoutput", "logical", config.database) or slot.temporary:
        yield Trouble(
            GapSuspected,
            f"slot {config.slot} is not ours: {slot.kind} {slot.plugin} of database {slot.database}",
        )
    if slot.two_phase:
        yield Trouble(GapSuspected, f"slot {config.slot} is made for two-phase commit, which it must not be")
    if slot.wal_status == "lost" or slot.invalid:
        why = slot.invalid or "it held more than max_slot_wal_keep_size"
        yield Trouble(
            SlotLost,
            f"slot {config.slot} is invalid ({why}): the server has thrown away log that was not read",
            f"SELECT pg_drop_replication_slot('{config.slot}');",
        )


def _of_timeline(mark: Resume, server: Server) -> Iterator[Trouble]:
    if server.timeline == mark.timeline:
        return
    switches = dict(server.history)
    if server.timeline < mark.timeline or mark.timeline not in switches:
        yield Trouble(
            GapSuspected,
            f"the server is on timeline {server.timeline}, which does not come from {mark.timeline}",
        )
        return
    reached = mark.last.end_lsn if mark.last else mark.confirmed
    parted = min(at for timeline, at in server.history if timeline >= mark.timeline)
    if reached > parted:
        yield Trouble(
            GapSuspected,
            f"timeline {mark.timeline} ended at {show_lsn(parted)}, and {show_lsn(reached)} was read from it:"
            " transactions have landed that the server no longer knows",
        )


def of_publication(config: PostgresConfig, stored: Print, now: Print | None) -> Iterator[Trouble]:
    """What became of the publication itself."""
    if now is None:
        yield Trouble(GapSuspected, f"publication {config.publication} is gone")
    elif now != stored:
        changed = ", ".join(sorted(k for k in now if now[k] != stored.get(k)))
        yield Trouble(GapSuspected, f"publication {config.publication} was altered ({changed})")


def of_tables(mark: Resume, now: Prints, wanted: Iterable[tuple[str, str]]) -> Iterator[TableGap]:
    """The tables that may lack changes since the fingerprint was last right."""
    for schema, table in sorted(set(wanted)):
        name = f"{schema}.{table}"
        before, after, since = mark.table_prints.get(name), now.tables.get(name), mark.checked
        if before is None:
            if name not in mark.left or after is None:
                continue  # a new table joins here; one that is away is told of when it is back
            since, why = mark.left[name], "the table was not captured for a while"
        elif after is None:
            why = "the table is not in the publication any more"
        else:
            why = of_table(before, after)
        if why:
            yield TableGap(schema, table, GapSuspected.code, mark.era, since, why)


def left(mark: Resume, now: Prints, wanted: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The tables that are not captured now, and since when: told when they are back.

    A gap that was told when they went may be accepted before that, and more is missing then.
    """
    names = {f"{schema}.{table}" for schema, table in wanted}
    away = {name: at for name, at in mark.left.items() if name not in now.tables}
    gone = (name for name in mark.table_prints if name not in now.tables)
    return away | {name: now.at if name in names else mark.confirmed for name in gone}


def of_table(before: Print, after: Print) -> str:
    """Why changes of one table may be missing between two fingerprints; empty when none can."""
    for what in _STRICT:
        if before.get(what) != after.get(what):
            return f"{_MEANING[what]} ({before.get(what)} → {after.get(what)})"
    missing = after.get("missing")
    if missing and missing != before.get("missing", missing):
        return f"its column list in the publication is without {missing}, which the flow does not exclude"
    moved = before.get("relfilenode") != after.get("relfilenode")
    # TRUNCATE, VACUUM FULL and CLUSTER move the file alone; ALTER alone is told by the stream
    if moved and before.get("attributes") != after.get("attributes"):
        return "the table was rewritten, and its rows may have other values now"
    return ""


def of_overlap(stored: Transaction, found: Transaction) -> str:
    """How a redelivered transaction differs from the one that the mark remembers; empty when it does not."""
    different = [
        f"{name} {a} → {b}" for name, a, b in zip(stored._fields, stored, found, strict=True) if a != b
    ]
    return ", ".join(different)


def unaccepted(mark: Resume, troubles: Iterable[Trouble]) -> list[Trouble]:
    """The findings that no person has been shown and taken on; a text tells a finding apart.

    A slot that lost its log is to be dropped by hand once that is accepted: its absence loses nothing more.
    """
    shown = {text for _, what in mark.accepted for text in what.split(_BETWEEN)}
    dropped = any(code == SlotLost.code for code, _ in mark.accepted)
    return [t for t in troubles if t.what not in shown and not (dropped and t.kind is SlotMissing)]


def stop(config: PostgresConfig, troubles: list[Trouble]) -> EcluseError:
    """The error that stops the capture: all findings, and the way out."""
    first = troubles[0]
    fixes = [t.fix for t in troubles if t.fix]
    name = config.connection or config.slot
    return first.kind(
        _BETWEEN.join(t.what for t in troubles),
        where=config.where,
        hint="\n".join([*fixes, answers(name)]),
    )
