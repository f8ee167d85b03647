"""A test's rows through the very SQL that a landing runs: what fails, and what becomes of each.

Rule: no Kafka, no registry, no table; a row is what a record would be once it is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Row, SparkSession

from engine.checks import OnFail
from engine.errors import CheckUnbound
from engine.lake import append, checking, halt
from engine.lake.compile import Checker, compiled
from engine.lake.decode import quote
from engine.lake.texts import Texts
from engine.names import avro_name
from engine.schema import Binary, Shape, Type, delta
from engine.template import Case, Trial

_PLACE = (0, 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a row, in the words of ``tests:``."""

    fails: tuple[str, ...]
    becomes: str
    unfit: tuple[str, ...] = ()


def rehearse(session: SparkSession, trial: Trial) -> list[Outcome]:
    """What becomes of each row of a test."""
    # every row stands at a place whose stop is answered: a check that stops its flow stops nothing here
    checker = compiled(trial.checks, trial.columns, refused=frozenset({_PLACE}))
    where = f"{trial.about}, test {trial.name}"
    refused = halt.sure(lambda: checking.refusal(session, checker), where=where)
    if refused is not None:
        check, why = refused
        raise CheckUnbound(f"check {check}: {why}", where=where, hint="mend the check, then: ecluse test")
    texts = Texts(contract=trial.contract, columns=trial.columns) if trial.contract else None
    read = trial.columns if texts is None else texts.read
    rows = ", ".join(_row(n, case, read) for n, case in enumerate(trial.rows))
    found = halt.sure(lambda: _judged(session, rows, checker, texts), where=where)
    return [_outcome(row, checker) for row in sorted(found, key=lambda row: row.n)]


def _judged(session: SparkSession, rows: str, checker: Checker, texts: Texts | None) -> list[Row]:
    frame = session.sql(f"SELECT inline(array({rows}))")
    if texts is not None:
        frame = append.typed(frame, texts, frame.columns)
    judged = append.checked(frame, checker, "false")
    stops = f"(_failed & {checker.mask(OnFail.FAIL)}L) <> 0L"
    return list(
        judged.selectExpr(
            "n",
            "_reason",
            "_failed",
            f"{stops} AS stops",
            f"{checker.held} AS held",
            f"{checker.dropped} AS dropped",
        ).collect()
    )


def _row(n: int, case: Case, columns: Shape) -> str:
    fields = [f"{quote(avro_name(c))}, {_literal(case.values.get(c), t)}" for c, t in columns.items()]
    unchanged = ", ".join(quote(c) for c in case.unchanged)
    partition, offset = _PLACE
    return (
        f"named_struct('n', {n}, 'partition', {partition}, 'offset', {offset}L, 'op', {quote(case.op)}, "
        "'_reason', cast(NULL AS string), 'unfit', cast(NULL AS map<string, string>), "
        f"'unchanged', cast(array({unchanged}) AS array<string>), "
        f"'i', named_struct({', '.join(fields)}))"
    )


def _literal(value: str | None, type_: Type) -> str:
    if value is None:
        return f"cast(NULL AS {delta(type_)})"
    return f"X{quote(value)}" if isinstance(type_, Binary) else f"cast({quote(value)} AS {delta(type_)})"


def _outcome(row: Row, checker: Checker) -> Outcome:
    fails: Sequence[str] = [b.name for n, b in enumerate(checker.bounds) if row["_failed"] >> n & 1]
    unfit = row["_reason"].partition(":")[2].split(",") if row["_reason"] is not None else []
    if unfit:
        return Outcome((), "quarantined", tuple(sorted(unfit)))
    became = "stops" if row.stops else "quarantined" if row.held else "dropped" if row.dropped else "lands"
    return Outcome(tuple(sorted(fails)), became)
