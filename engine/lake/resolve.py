"""Schema ids that a topic brings, and what the driver makes of each.

An id is resolved once per start: it is a schema that the table can take (as it is, or after a step), one
that the flow's policy blocks, or nobody's. Nobody's records are quarantined; a registry that does not answer
parks the flow, because an id must not be taken for nobody's by mistake. A blocked schema stops the flow until
a person sets it aside: then its records are quarantined, whichever batch brings them.

Rule: the table is brought to a schema before the first record of it lands.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import fastavro

from engine.errors import CheckFailed, EcluseError, RowTooLarge, SchemaBlocked
from engine.lake import book, commits, evolve, halt, read, table, texts
from engine.lake.answer import Answer
from engine.lake.batch import Water
from engine.lake.decode import Decoder, Writer, parse
from engine.lake.desk import Desk, Standing
from engine.lake.evolve import Step, Target, Verdict
from engine.lake.halt import Halt, Kind
from engine.lake.ranges import Range
from engine.lake.texts import Texts
from engine.plan import FlowPlan
from engine.schema import delta

HEADER_BYTES = 5
_NOWHERE = (-1, -1, -1)
_CONTRACT = "or put the contract back, and give the new one a flow and a table of its own on this topic"


def learn(desk: Desk, standing: Standing, schema_id: int) -> None:
    """Resolve an id; afterwards it is known, blocked or foreign."""
    text = desk.schemas.schema(schema_id)
    where = f"{standing.flow.topic.name}, schema {schema_id}"
    try:
        writer = None if text is None else parse(schema_id, text, standing.flow.topic.name)
        if writer is None:
            standing.foreign.add(schema_id)
            return
        if standing.flow.partner:
            writer = texts.writer(writer, standing.flow)
        verdict = evolve.judge(standing.target, writer, standing.flow.schema, where=where)
        _check_keys(standing, verdict.target, where)
        _check_defaults(desk, standing, verdict.steps, where)
    except SchemaBlocked as error:
        standing.blocked[schema_id] = error
        return
    _reach(desk, standing, verdict)
    standing.target = verdict.target
    standing.writers[schema_id] = writer
    standing.aside.pop(schema_id, None)  # the policy takes now what it blocked when this was accepted


def learn_all(desk: Desk, standing: Standing, span: Range, schema_id: int) -> None:
    """Resolve an id, and with it the others of the range: each would halt the batch's job again."""
    known = {*standing.writers, *standing.foreign, *standing.blocked}
    topic = standing.flow.topic.name
    found = read.schema_ids(desk.session, topic, span, desk.kafka, known=known)
    strange = sorted({schema_id, *found})
    desk.schemas.ask(strange)
    for each in strange:
        learn(desk, standing, each)


def _check_keys(standing: Standing, target: Target, where: str) -> None:
    flow = standing.flow
    if flow.sink.mode != "scd1":
        return
    keys = table.keys(flow, target)
    missing = [k for k in keys if k not in target.columns]
    if missing or not keys:
        said = f"the key column {missing[0]} is not in the table" if missing else "the table has no key"
        raise SchemaBlocked(
            said,
            where=where,
            hint="give the table a key in the source, or land it in another table with mode: append",
        )


def _check_defaults(desk: Desk, standing: Standing, steps: Sequence[Step], where: str) -> None:
    """A default fills rows that exist; one that the column's type has no value for would fail for ever."""
    if standing.flow.sink.mode != "scd1":
        return
    for step in steps:
        value = None if step.default is None else evolve.constant(step.default, step.after)
        if value is None or not value.startswith("cast("):
            continue
        (row,) = halt.sure(lambda value=value: desk.session.sql(f"SELECT try_{value}").collect(), where=where)  # type: ignore[misc]
        if row[0] is None:
            raise SchemaBlocked(
                f"the default {step.default!r} of column {step.column} is no value of {delta(step.after)}",
                where=where,
                hint="give the column another default in the source",
            )


def _reach(desk: Desk, standing: Standing, verdict: Verdict) -> None:
    path = book.table_path(desk.root, standing.flow.sink.table)
    if not book.exists(path):
        table.create(desk.session, path, standing.flow, verdict.target)
    elif not standing.target.columns:
        # the table was made while every record was nobody's: it has only the columns of ours
        steps = tuple(Step(c, None, t) for c, t in verdict.target.columns.items())
        table.change(desk.session, path, standing.flow, {}, Verdict(verdict.target, steps))
    elif verdict.steps:
        table.change(desk.session, path, standing.flow, standing.target.columns, verdict)
        _widen_tombstones(desk, standing, verdict)
    else:
        return
    standing.version = commits.head(path)


def _widen_tombstones(desk: Desk, standing: Standing, verdict: Verdict) -> None:
    path = book.tombstones_path(desk.root, standing.flow.sink.table)
    keys = table.keys(standing.flow, standing.target)
    steps = [s for s in verdict.steps if s.before is not None and s.column in keys]
    if steps and book.exists(path):
        for step in steps:
            table.widen(desk.session, path, step)


def prepare(desk: Desk, standing: Standing, span: Range) -> None:
    """Before a batch: there is a table, and every partition of the range has a height.

    A partition that nothing is known of is looked at once: its first record names the writer and the
    schema. Where that says nothing, the batch compares every position (``Water`` stays away).
    """
    unknown = {p: s for p, s in span.items() if p not in standing.waters}
    if unknown or not standing.writers:
        looked = unknown or span
        values = read.first_values(desk.session, standing.flow.topic.name, looked, desk.kafka)
        for partition, value in values.items():
            _look(desk, standing, partition, value)
    path = book.table_path(desk.root, standing.flow.sink.table)
    if not book.exists(path):
        table.create(desk.session, path, standing.flow, standing.target)
        standing.version = commits.head(path)


def _look(desk: Desk, standing: Standing, partition: int, value: bytes | None) -> None:
    if value is None or len(value) < HEADER_BYTES or value[0] != 0:
        return
    schema_id = int.from_bytes(value[1:HEADER_BYTES], "big")
    if schema_id not in standing.writers and not known(standing, schema_id):
        learn(desk, standing, schema_id)
    writer = standing.writers.get(schema_id)
    if writer is not None and partition not in standing.waters:
        epoch = _epoch(writer, value)
        if epoch is not None:
            standing.waters[partition] = Water(epoch, _NOWHERE)


def known(standing: Standing, schema_id: int) -> bool:
    """Whether an id has been resolved to something that does not land."""
    return schema_id in standing.foreign or schema_id in standing.blocked


def _epoch(writer: Writer, value: bytes) -> int | None:
    schema: Mapping[str, object] = writer.schema
    try:
        record = fastavro.schemaless_reader(io.BytesIO(value[HEADER_BYTES:]), dict(schema), None)
    except (EOFError, ValueError, IndexError, UnicodeDecodeError, OverflowError, TypeError):
        return None
    return int(record["writer"]) if isinstance(record, dict) else None


def stopped(standing: Standing, schema_id: int, at: str) -> SchemaBlocked:
    """The stop at a record of a blocked schema: by the schema, because one answer is for all its records."""
    flow, blocked = standing.flow, standing.blocked[schema_id]
    way_out = f"ecluse resolve {flow.name} --accept-gap puts the rows of this schema into quarantine"
    return SchemaBlocked(
        f"{blocked.what}; first at {at}",
        where=f"{flow.name}, {flow.topic.name} schema {schema_id}",
        hint="; ".join(
            part for part in (way_out, blocked.hint or (_CONTRACT if flow.contract else "")) if part
        ),
    )


def refusal(flow: FlowPlan, found: Halt, where: str) -> EcluseError:
    """The stop at one row that must not be passed: one answer is for this row."""
    if found.kind is Kind.STUB:
        hint = f"ecluse resolve {flow.name} --accept-gap leaves this row out"
        return RowTooLarge("a row above the size limit", where=where, hint=hint)
    check = flow.checks[found.detail].name
    hint = (
        f"mend it in the source, then: ecluse resolve {flow.name} --accept-gap puts this row into quarantine"
    )
    return CheckFailed(f"a row fails check {check}, which stops the flow", where=where, hint=hint)


def set_aside(standing: Standing, schema_id: int, accepted: Answer) -> None:
    """Quarantine the records of a blocked schema from now on."""
    standing.aside[schema_id] = f"schema-blocked:{standing.blocked[schema_id].what}"
    if accepted not in standing.taken:
        standing.taken.append(accepted)


def decoder(
    desk: Desk, standing: Standing, gap: tuple[int, int] | None, stubs: frozenset[tuple[int, int]]
) -> Decoder:
    """What the driver knows now, as a batch needs it."""
    keys = table.keys(standing.flow, standing.target) if standing.flow.sink.mode == "scd1" else ()
    return Decoder(
        columns=standing.target.columns,
        writers=[standing.writers[i] for i in sorted(standing.writers)],
        foreign=frozenset(standing.foreign),
        blocked=frozenset(standing.blocked.keys() - standing.aside.keys()),
        gap=gap,
        keys=keys,
        stubs=stubs,
        # only what was found to be blocked still: the policy may have been changed since
        aside={i: why for i, why in standing.aside.items() if i in standing.blocked},
        texts=_texts(standing, keys),
        nonce=desk.nonce,
    )


def _texts(standing: Standing, keys: tuple[str, ...]) -> Texts | None:
    """How texts become the table's columns; None where records bring them as they are, or none are known."""
    flow, columns = standing.flow, standing.target.columns
    if not flow.partner or not columns:
        return None
    return Texts(contract=texts.contract(flow, columns), columns=columns, keys=keys)
