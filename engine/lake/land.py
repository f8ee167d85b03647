"""One flow, one batch: plan, decode, write, read back, balance, book.

The order is what makes it exact. The table's commit comes first and carries range and plan; the quarantine
of the same range follows when bad records were seen; the ledger's entry comes last and says that the batch
is whole. A commit without its entry is completed before anything else.  # I2 I7

Rule: a batch that must not pass a record lands what lies before it, then tells what stops the flow.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame

from engine import ledger
from engine.errors import Bug, EcluseError, GapAhead, LandingFenced, SchemaBlocked, answers
from engine.lake import (
    answer,
    append,
    attempts,
    batch,
    book,
    breaker,
    checking,
    commits,
    floors,
    guard,
    halt,
    landed,
    merge,
    quarantine,
    ranges,
    read,
    recover,
    resolve,
    session,
    sieve,
    table,
    texts,
)
from engine.lake.answer import Answer
from engine.lake.append import Known
from engine.lake.batch import Batch, Seen
from engine.lake.commits import Commit
from engine.lake.compile import Checker
from engine.lake.decode import Decoder
from engine.lake.desk import Desk, Gap, Standing
from engine.lake.fold import Fold
from engine.lake.halt import Halt, Kind
from engine.lake.log import Log
from engine.lake.merge import Merged, Scd1
from engine.lake.ranges import Offsets, Range
from engine.ledger import Entry
from engine.plan import FlowPlan

_TRIES = 200  # each try answers one halt: a new schema, a shorter range, another way to run


def stand(desk: Desk, flow: FlowPlan, answers: Sequence[Answer] = ()) -> Standing:
    """Where a flow stands; a batch that a crash left half booked is completed first."""
    standing, commit = recover.stand(desk, flow)
    if standing.target.columns:
        keys = table.keys(flow, standing.target) if flow.sink.mode == "scd1" else ()
        path = book.tombstones_path(desk.root, flow.sink.table)
        standing.floor, standing.withdrawn = floors.known(desk.session, path, keys)
    if commit is not None and guard.readable(desk, standing, commit, answers):
        complete(desk, standing, commit)
    elif commit is not None:
        recover.give_up(desk, standing, commit)
    return standing


def land(
    desk: Desk, standing: Standing, ends: Offsets, answers: Sequence[Answer] = ()
) -> tuple[Entry | None, EcluseError | None]:
    """Land the next batch of a flow, at most up to ``ends``: its entry, and the stop that it came to.

    Each is None where there is none. ``answers`` are what a person has accepted. Raises what stops or parks
    the flow before anything of the batch has landed.
    """
    guard.check(desk, standing, answers)
    guard.take(standing, answers, breaker.tripped(standing))
    span = ranges.plan(standing.offsets, ends, standing.flow.rows_per_commit)
    if not span:
        return None, None
    resolve.prepare(desk, standing, span)
    gap = desk.gaps().get(standing.flow.name)
    attempt = _Attempt(desk, standing, span, gap, answers)
    desk.at("landing.before-batch")
    return attempt.run(), attempt.stop or breaker.tripped(standing)


def complete(desk: Desk, standing: Standing, commit: Commit) -> Entry:
    """Finish the batch of a commit: count and quarantine exactly its range with its plan, then book."""
    plan = book.load_plan(desk.root, str(commit.said["plan"]))
    again = replace(batch.again(commit, plan, desk.driver), withdrawn=standing.withdrawn)
    # what the old plan takes for known, blocked or nobody's stays with the old batch
    past = replace(
        standing,
        flow=plan,
        waters=dict(again.waters),
        writers={},
        foreign=set(again.foreign),
        blocked={i: SchemaBlocked(why, hint="") for i, why in again.aside.items()},
        aside=dict(again.aside),
    )
    entry = _Attempt(desk, past, again.span, None, done=again, commit=commit).run()
    if entry is None:
        raise Bug(f"the batch {again.seq} of {plan.name} could not be completed")
    standing.seq, standing.offsets, standing.waters = past.seq, past.offsets, past.waters
    standing.doubt = again.doubt
    standing.floor, standing.small_files, standing.last = past.floor, past.small_files, entry
    standing.target, standing.version = past.target, past.version
    return entry


@dataclass(frozen=True, slots=True)
class _Run:
    """A try that went through: what it counted, asked after its commit, and the records that it rejects."""

    planned: Batch
    seen: Callable[[], Merged]
    bad: Callable[[], DataFrame]


@dataclass
class _Attempt:
    """A batch on its way: what the halts have taught so far."""

    desk: Desk
    standing: Standing
    span: Range
    gap: Gap | None
    answers: Sequence[Answer] = ()
    done: Batch | None = None  # the batch of a commit that is being completed
    commit: Commit | None = None
    stubs: dict[tuple[int, int], Answer] = field(default_factory=dict)  # stubs that a person accepted
    refused: dict[tuple[int, int], Answer] = field(default_factory=dict)  # rows that fail a check, the same
    learned: bool = False
    dedupe: bool = False
    floors: bool = False
    stop: EcluseError | None = None

    @property
    def flow(self) -> FlowPlan:
        return self.standing.flow if self.done is None else self.done.flow

    def run(self) -> Entry | None:
        """Try until no record halts; None when nothing is left before the one that stops the flow."""
        self.dedupe = any(p not in self.standing.waters for p in self.span)
        for _ in range(_TRIES):
            if not self.span:
                return None
            planned = self._plan()
            result = halt.run(functools.partial(self._once, planned), where=self._where(planned))
            if not isinstance(result, Halt):
                return self._after(result)
            self._answer(result)
        raise Bug(f"{_TRIES} halts in one batch of {self.flow.name}")

    @property
    def _before(self) -> int:
        """The table's version that the batch meets."""
        return self.standing.version if self.commit is None else self.commit.version - 1

    def _where(self, planned: Batch) -> str:
        return f"{self.flow.name} seq {planned.seq}"

    def _plan(self) -> Batch:
        if self.done is not None:
            return self.done
        standing = self.standing
        stubs, refused = (
            {at: answer for at, answer in each.items() if ranges.holds(self.span, *at)}
            for each in (self.stubs, self.refused)
        )
        return Batch(
            flow=standing.flow,
            app_id=standing.app_id,
            seq=standing.seq + 1,
            span=self.span,
            topic_id=standing.topic_id,
            driver=self.desk.driver,
            landed_at_us=self.desk.now_us(),
            waters=dict(standing.waters),
            next=ranges.advance(standing.offsets, self.span),
            doubt=standing.doubt,
            dedupe=self.dedupe and standing.flow.sink.mode == "append",
            foreign=frozenset(standing.foreign),
            floor=standing.floor,
            floors_in_batch=self.floors,
            withdrawn=standing.withdrawn,
            stubs=frozenset(stubs),
            refused=frozenset(refused),
            aside=dict(standing.aside),
            accepted=(*standing.taken, *stubs.values(), *refused.values()),
            window=batch.EMPTY if standing.last is None else batch.after(standing.last).window,
        )

    # --- one try

    def _once(self, planned: Batch) -> _Run:
        desk, standing = self.desk, self.standing
        session.tune(desk.session, small=append.small(ranges.size(planned.span)))
        gap = None if self.gap is None else (self.gap.era, self.gap.major)
        decoder = resolve.decoder(desk, standing, gap, planned.stubs)
        checker = checking.checker(desk, standing, planned.refused)
        raw = read.frame(desk.session, self.flow.topic.name, planned.span, desk.kafka)
        if self.floors:
            planned = floors.planned(append.decoded(raw, decoder), planned)
        if self.flow.sink.mode == "append" or not standing.target.columns:
            return self._append(planned, decoder, raw, checker)
        work = replace(self._scd1(planned, decoder, raw), checker=checker)
        merged = merge.run(work, write=self.done is None)
        plain = functools.partial(append.decoded, raw, decoder, quarantine.KEEP)
        bad = plain if checker is None else work.changes
        return _Run(
            planned, lambda: merged, lambda: quarantine.bad(bad(), checker, partner=planned.flow.partner)
        )

    def _append(self, planned: Batch, decoder: Decoder, raw: DataFrame, checker: Checker | None) -> _Run:
        path = book.table_path(self.desk.root, self.flow.sink.table)
        known = replace(self._known(planned, decoder, raw, path), checker=checker)

        def bad(look: sieve.Look) -> DataFrame:
            near = read.frame(self.desk.session, self.flow.topic.name, look.span, self.desk.kafka)
            frame = append.decoded(near.where(look.condition), decoder, quarantine.KEEP)
            # a row that came again is a duplicate, whatever it holds: so what came before is asked again too
            frame = frame if checker is None else append.marked(frame, planned, known)
            return quarantine.bad(frame, checker, partner=planned.flow.partner)

        spark, plain = self.desk.session, functools.partial(append.decoded, raw, decoder)
        remembered = floors.withdraw(spark, self.desk.root, planned, plain, write=self.done is None)

        def merged(row: Mapping[str, Any]) -> Merged:
            return Merged(replace(append.seen(planned, row, checker), remembered=remembered), None)

        if self.done is not None:
            found = merged(append.counted(raw, decoder, planned, known))
            return _Run(planned, lambda: found, lambda: bad(sieve.Look(planned.span)))
        attempts.replace(spark, path, self._before, known.attempts)
        ours = table.engine_columns(self.flow)
        make = functools.partial(append.rows, decoder=decoder, batch=planned, ours=ours, known=known)
        names = (*self.standing.target.columns, *(name for name, _ in ours))
        log = self.standing.log = self.standing.log or Log(path)
        large = self.standing.large
        rows = append.write(planned, path, raw, make, names, at=self.desk.at, large=large, log=log)
        # an observation of a write that Delta skipped never completes: it is asked after the read-back
        look = functools.partial(sieve.look, planned.span)
        return _Run(planned, lambda: merged(rows.counters), lambda: bad(look(rows.counters)))

    def _known(self, planned: Batch, decoder: Decoder, raw: DataFrame, path: Path) -> Known:
        spark, held, parts = self.desk.session, None, {}
        if planned.lookup and planned.doubt is not None:
            below = append.at_most("_position", planned.doubt)
            held = landed.positions(spark, path, self._before, below)
        if planned.dedupe:
            parts = attempts.newest(append.decoded(raw, decoder), spark, path, self._before)
        return Known(held, parts)

    def _scd1(self, planned: Batch, decoder: Decoder, raw: DataFrame) -> Scd1:
        standing = self.standing
        lacking = any(c not in w.columns for w in standing.writers.values() for c in standing.target.columns)
        fold = Fold(
            target=standing.target,
            keys=table.keys(self.flow, standing.target),
            writers=decoder.writers,
            three_state=standing.three_state or lacking,
            soft=self.flow.sink.deletes == "soft",
            two_texts=texts.two_texts(self.flow, table.keys(self.flow, standing.target)),
        )
        return Scd1(
            session=self.desk.session,
            root=self.desk.root,
            batch=planned,
            fold=fold,
            decoder=decoder,
            raw=raw,
            before=self._before,
        )

    # --- what a halt teaches

    def _answer(self, found: Halt) -> None:
        standing, flow = self.standing, self.standing.flow
        where = f"{flow.name}, {flow.topic.name}[{found.partition}] offset {found.offset}"
        if self.done is not None and found.kind not in (Kind.SCHEMA, Kind.UNSET):
            raise Bug(f"a record that has landed halts its completion: {found}", where=where)
        match found.kind:
            case Kind.SCHEMA if not self.learned:  # most often it is the only one: no job more
                self.learned = True
                resolve.learn(self.desk, standing, found.detail)
            case Kind.SCHEMA:
                resolve.learn_all(self.desk, standing, self.span, found.detail)
            case Kind.WRITER:
                self.dedupe = True
            case Kind.UNSET:
                standing.three_state = True
            case Kind.LARGE:
                standing.large = True
            case Kind.FLOOR:
                self.floors = True
            case Kind.BLOCKED:
                at = f"partition {found.partition} offset {found.offset}"
                accepted = self._accepted(found, resolve.stopped(standing, found.detail, at))
                if accepted is not None:
                    resolve.set_aside(standing, found.detail, accepted)
            case Kind.STUB | Kind.CHECK:
                accepted = self._accepted(found, resolve.refusal(flow, found, where))
                if accepted is not None:
                    rows = self.stubs if found.kind is Kind.STUB else self.refused
                    rows[found.partition, found.offset] = accepted
            case Kind.GAP:
                text = self.gap.text if self.gap is not None else "the capture found a gap"
                self._shorten(found, GapAhead(text, where=where, hint=answers(flow.name)))

    def _accepted(self, found: Halt, error: EcluseError) -> Answer | None:
        """The person's answer to the stop; without one the batch ends before the record."""
        accepted = answer.find(self.answers, error)
        if accepted is None:
            self._shorten(found, error)
        return accepted

    def _shorten(self, found: Halt, error: EcluseError) -> None:
        self.span = ranges.shorten(self.span, found.partition, found.offset)
        self.stop = error

    # --- after the commit

    def _after(self, run: _Run) -> Entry:
        planned = run.planned
        desk, standing, done = self.desk, self.standing, self.done is not None
        path = book.table_path(desk.root, self.flow.sink.table)
        commit = self.commit or self._read_back(path, planned)
        if not done:
            desk.at(f"landing.after-table:{self.flow.name}")
            guard.same_topic(desk, standing)
        merged = halt.sure(run.seen, where=self._where(planned))
        batch.check_deleted(planned, merged.seen, commit)
        held = self._quarantine(run, merged)
        entry = batch.entry(
            planned,
            merged.seen,
            version=commit.version,
            landed=batch.landed_rows(commit) + merged.seen.remembered,
            quarantined=held,
            now_us=desk.now_us(),
            state="completed" if done else "landed",
        )
        ledger.balance(entry)
        desk.at(f"landing.before-ledger:{self.flow.name}")
        desk.book.add(entry)
        self._move(planned, merged.seen, commit)
        standing.last = entry
        return entry

    def _read_back(self, path: Path, planned: Batch) -> Commit:
        """The commit that carries our txn (I2); anybody else's means that Delta skipped ours."""
        version, commit = commits.since(path, self.standing.version, planned.app_id)
        if commit is None or commit.seq != planned.seq or commit.writer != planned.driver:
            by = "nobody that we see" if commit is None else commit.writer or "somebody without a name"
            raise LandingFenced(
                f"seq {planned.seq} was landed by {by}, not by this driver",
                where=self._where(planned),
                hint="stop the other landing of this group, then start this one again",
            )
        self.standing.version = version
        return commit

    def _quarantine(self, run: _Run, merged: Merged) -> int:
        planned, expected = run.planned, merged.seen.bad + merged.seen.unset
        if not expected:
            return 0
        chosen = halt.sure(lambda: self._rejected(run, merged), where=self._where(planned))
        held = quarantine.write(chosen, self.desk.root, planned, expected=expected)
        self.desk.at(f"landing.after-quarantine:{self.flow.name}")
        return held

    def _rejected(self, run: _Run, merged: Merged) -> DataFrame:
        frame = run.bad()
        if merged.unset is not None:
            names = frame.columns
            frame = frame.unionByName(merged.unset.select(*names))
        keys = table.keys(self.flow, self.standing.target)
        return frame.selectExpr(*quarantine.columns(run.planned, keys, self.desk.now_us()))

    def _move(self, planned: Batch, seen: Seen, commit: Commit) -> None:
        standing = self.standing
        standing.seq = planned.seq
        standing.offsets = dict(planned.next)
        standing.waters = dict(seen.waters)
        standing.floor, standing.withdrawn = planned.floor, planned.withdrawn
        standing.taken = []
        standing.small_files += commit.files
