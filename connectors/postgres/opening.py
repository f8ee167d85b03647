"""Opening a capture: what must exist is made, what must hold is checked, then the stream starts.

Rule: nothing streams before the gap check has passed, and the slot is held before ``open`` returns. A
fresh start makes publication and slot, in this order. An accepted gap takes the source as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from psycopg import errors, pq, sql

from connectors.postgres import columns, facts, gap, overlap, progress, publication, resume, session
from connectors.postgres.catalog import Known, know
from connectors.postgres.cells import Form
from connectors.postgres.config import PostgresConfig
from connectors.postgres.decode import Decoder, Learn, OnTruncate
from connectors.postgres.facts import Prints, Server, Slot
from connectors.postgres.readings import Readings
from connectors.postgres.reread import reread
from connectors.postgres.resume import Resume
from connectors.postgres.session import Lines, translated
from connectors.postgres.stream import PostgresSource
from connectors.postgres.visible import wait_visible
from connectors.postgres.wire import Values, WireRelation, show_lsn
from engine.errors import SlotBusy, SourceUnreachable, SourceUnready
from engine.schema import Relation
from engine.source import Kept, Mark, TableGap, TableSpec


@dataclass(frozen=True, slots=True)
class _Start:
    """What a start has in its hands."""

    config: PostgresConfig
    tables: Sequence[TableSpec]
    lines: Lines
    server: Server
    slot: Slot | None

    def prints(self) -> Prints:
        return facts.prints(self.lines.side, self.config, self.tables)


@contextmanager
def open_source(
    config: PostgresConfig, tables: Sequence[TableSpec], mark: Mark | None, _: Kept = ()
) -> Iterator[PostgresSource]:
    """The connector's ``open``."""
    side = session.side(config)
    try:
        walsender = session.walsender(config)
        try:
            with translated(config):
                source = _open(config, tables, Lines(walsender, side), mark)
            yield source
        finally:
            with suppress(Exception):
                walsender.close()
    finally:
        with suppress(Exception):
            side.close()


def _open(
    config: PostgresConfig, tables: Sequence[TableSpec], lines: Lines, mark: Mark | None
) -> PostgresSource:
    start = _Start(config, tables, lines, facts.server(lines.walsender), facts.slot(lines.side, config.slot))
    if start.slot and start.slot.active_pid:
        raise SlotBusy(
            f"slot {config.slot} is in use by the server's process {start.slot.active_pid}",
            where=config.where,
            hint="stop the other capture, or wait a moment if it has just been stopped",
        )
    if mark is None or not mark.at:
        at, gaps, late = _fresh(start, mark.era if mark else 0), list[TableGap](), list[TableSpec]()
        streamed = list[str]()
    else:
        was = resume.load(mark)
        at, gaps, late = _again(start, was)
        streamed = [*was.table_prints, *was.left]
    form, _ = columns.wire_form(lines.side, config, tables)
    anew = mark is not None and not mark.at
    at = replace(at, snapshots=progress.planned(at.snapshots, tables, streamed, at.era, anew=anew))
    readings = Readings(config, lines.side, form, tables, dict(at.snapshots))
    decoder = Decoder(_learn(start, form, readings), form, at.era, at.snapshots)
    _stream(start, at, form)
    at = overlap.prove(config, lines.walsender.pgconn, decoder, at)
    at = replace(at, accepted=())  # used up
    source = PostgresSource(config, lines, decoder, at, readings)
    source.announce(gaps, late)
    return source


def _fresh(start: _Start, era: int) -> Resume:
    """The first start: nothing has been read yet, so everything from the slot on will be.

    Or one that has lost what was known, which begins in an era of its own.
    """
    config, now = start.config, start.prints()
    if start.slot is not None and now.publication is None:
        raise SourceUnready(
            f"slot {config.slot} is older than its publication {config.publication}, and cannot read it",
            where=config.where,
            hint=f"SELECT pg_drop_replication_slot('{config.slot}'); then start again",
        )
    late = publication.ensure_published(start.lines.side, config, start.tables, now)
    if late:
        raise SourceUnreachable(
            f"{', '.join(spec.qualified for spec in late)} cannot join the publication now:"
            " held by an open transaction, or gone",
            where=config.where,
            hint=session.WHO_WRITES,
        )
    now = start.prints()
    return Resume(
        slot=config.slot,
        publication=config.publication,
        system_id=start.server.system_id,
        timeline=start.server.timeline,
        era=era,
        confirmed=_slot_start(start),
        checked=now.at,
        publication_print=now.publication or {},
        table_prints=now.tables,
    )


def _slot_start(start: _Start) -> int:
    """Where the slot starts: the one that is there, when it is fit, or a new one."""
    if start.slot is None:
        return publication.create_slot(start.lines, start.config)
    for trouble in gap.of_slot(start.config, start.slot):
        raise trouble.kind(trouble.what, where=start.config.where, hint=trouble.fix)
    return start.slot.confirmed


def _again(start: _Start, was: Resume) -> tuple[Resume, list[TableGap], list[TableSpec]]:
    """A later start: the gap check, then the tables that are new."""
    config, now = start.config, start.prints()
    troubles = list(gap.of_capture(config, was, start.server, start.slot))
    troubles += gap.of_publication(config, was.publication_print, now.publication)
    if gap.unaccepted(was, troubles):
        raise gap.stop(config, troubles)
    wanted = [(spec.schema, spec.table) for spec in start.tables]
    renewed = now.publication is None
    late = publication.ensure_published(start.lines.side, config, start.tables, now)
    # what is remembered is what was compared: of the publication the look before, of tables this one
    looked, now = now, start.prints()
    gaps = list(gap.of_tables(was, now, wanted))
    same = (start.server.system_id, start.server.timeline) == (was.system_id, was.timeline)
    at = replace(
        was,
        slot=config.slot,
        publication=config.publication,
        system_id=start.server.system_id,
        timeline=start.server.timeline,
        era=was.era if same else was.era + 1,
        checked=now.at,
        publication_print=(now if renewed else looked).publication or {},
        table_prints=now.tables,
        left=gap.left(was, now, wanted),
    )
    if troubles:
        at = _accepted(start, at, was, renewed=renewed)
    return at, gaps, late


def _accepted(start: _Start, at: Resume, was: Resume, *, renewed: bool) -> Resume:
    """Start over an accepted gap: from wherever the server can, in a new era where positions would repeat."""
    confirmed = _slot_start(start)
    if renewed and start.slot is not None:
        confirmed = publication.advance_slot(start.lines.side, start.config)
    reached = was.last.end_lsn if was.last else was.confirmed
    here = at.era == was.era and start.server.end >= reached
    if here and start.slot is not None and confirmed <= was.confirmed:
        return at  # the mark still stands: the overlap says what comes again
    era = at.era + 1 if at.era == was.era and (not here or confirmed < was.confirmed) else at.era
    return replace(at, era=era, confirmed=confirmed, last=None, overlap="none")


def _learn(start: _Start, form: Form, readings: Readings) -> Learn:
    side = start.lines.side
    wanted = {(spec.schema, spec.table): spec for spec in start.tables}

    def relation(message: WireRelation, xid: int) -> Known | str | None:
        spec = wanted.get((message.schema, message.table))
        if spec is None:
            return None
        wait_visible(side, xid)
        return know(side, message, spec, form)

    def missing(relation: Relation, values: Values, xid: int) -> Values:
        wait_visible(side, xid)
        return reread(side, relation, values, form)

    def on_truncate(relation: Relation) -> OnTruncate:
        said = {
            s.on_truncate for s in start.tables if (s.schema, s.table) == (relation.schema, relation.table)
        }
        # flows on one table read one topic: the most careful of them rules
        return "stop" if "stop" in said else "apply" if "apply" in said else "ignore"

    return Learn(relation, missing, on_truncate, readings.unread)


def _stream(start: _Start, at: Resume, form: Form) -> None:
    """Hold the slot: from here on the connection speaks COPY."""
    config = start.config
    published = sql.Literal(columns.identifier(config.publication)).as_string()
    options = f"proto_version '1', publication_names {published}, messages 'true'"
    if form == "binary":
        options += ", binary 'true'"
    result = start.lines.walsender.pgconn.exec_(
        f"START_REPLICATION SLOT {columns.identifier(config.slot)} LOGICAL"
        f" {show_lsn(at.confirmed)} ({options})".encode()
    )
    if result.status != pq.ExecStatus.COPY_BOTH:
        raise errors.error_from_result(result)
