"""A flow's checks on its table as it is now: bound to its columns, compiled, and taken by Spark and Java.

Rule: a check that does not fit stops its own flow, by its name, before a row is read; after a change of the
schema every check is bound anew.
"""

from __future__ import annotations

from pyspark.sql import SparkSession

from engine.checks import Misfit
from engine.checks.bind import bind
from engine.checks.tree import Call, Text, walk
from engine.errors import CheckUnbound
from engine.lake import halt
from engine.lake.compile import Checker, anchored, compiled
from engine.lake.decode import quote
from engine.lake.desk import Desk, Standing
from engine.names import avro_name
from engine.plan import FlowPlan
from engine.schema import delta
from engine.template.mistakes import nearest


def checker(desk: Desk, standing: Standing, refused: frozenset[tuple[int, int]]) -> Checker | None:
    """The flow's checks; None where there are none, or no columns yet.

    Raises CheckUnbound for one that does not fit them.
    """
    flow, columns = standing.flow, standing.target.columns
    if not flow.checks or not columns:
        return None
    bounds = []
    for check in flow.checks:
        try:
            bounds.append(bind(check, columns))
            compiled(bounds[-1:], columns)
        except Misfit as misfit:
            raise _unbound(flow, check.name, misfit) from None
    writers = [standing.writers[i] for i in sorted(standing.writers)]
    made = compiled(bounds, columns, writers, refused)
    if standing.bound != columns:
        found = refusal(desk.session, made)
        if found is not None:
            raise _unbound(flow, found[0], Misfit(found[1]))
        standing.bound = dict(columns)
    return made


def refusal(session: SparkSession, made: Checker) -> tuple[str, str] | None:
    """The first check that Spark or Java would refuse, and why: else it would stop every batch, unnamed."""
    types = ", ".join(f"{quote(avro_name(c))}, cast(NULL AS {delta(t)})" for c, t in made.columns.items())
    row = session.range(0).selectExpr(f"named_struct({types}) AS i")
    for bound in made.bounds:
        texts = [f"coalesce({text}, true) AS p{n}" for n, text in enumerate(made.sql[bound.name])]
        patterns = [
            anchored(node.arguments[1].value)
            for part in bound.parts
            for node in walk(part.tree)
            if isinstance(node, Call) and node.name == "matches" and isinstance(node.arguments[1], Text)
        ]
        why = halt.refused(session, lambda texts=texts: row.selectExpr(*texts).schema, patterns)  # type: ignore[misc]
        if why:
            return bound.name, why
    return None


def _unbound(flow: FlowPlan, check: str, misfit: Misfit) -> CheckUnbound:
    at = "" if misfit.at is None else f", character {misfit.at + 1} of its expression"
    near = nearest(misfit.name, misfit.known) if misfit.name else misfit.hint
    mend = f"mend or remove the check ({flow.template} or the flow itself), then run the landing again"
    return CheckUnbound(
        f"check {check}: {misfit.text}", where=f"{flow.name}, check {check}{at}",
        hint=f"{near}\n{mend}" if near else mend,
    )  # fmt: skip
