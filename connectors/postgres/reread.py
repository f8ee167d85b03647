"""Reading again what a key change did not bring: stored-apart values of the columns that it left alone.

Rule: only those columns, only by the new key, in the same wire form. A row that is gone stays unchanged,
and the landing decides. What is read is of now: it may be newer than the commit.
"""

from __future__ import annotations

import psycopg
from psycopg import errors, pq

from connectors.postgres.cells import Form
from connectors.postgres.columns import identifier
from connectors.postgres.keys import compared
from connectors.postgres.session import Connection
from engine.schema import Relation
from engine.source import UNCHANGED, Field

_FORMATS = {"binary": pq.Format.BINARY, "text": pq.Format.TEXT}


def reread(side: Connection, relation: Relation, values: tuple[Field, ...], form: Form) -> tuple[Field, ...]:
    """The row with its unchanged columns filled from the source, where it still has the row."""
    names = [column.name for column in relation.columns]
    wanted = [n for n, value in enumerate(values) if value is UNCHANGED]
    keyed = [n for n, name in enumerate(names) if name in relation.key]
    keys = [value for n in keyed if isinstance(value := values[n], bytes)]
    if not keyed or len(keys) < len(keyed):
        return values
    by = compared(side, relation.id, [names[n] for n in keyed])
    conditions = " and ".join(f"{column.name} {column.equal} ${at}" for at, column in enumerate(by, 1))
    query = (
        f"select {', '.join(identifier(names[n]) for n in wanted)}"  # noqa: S608 - names are quoted
        f" from {identifier(relation.schema, relation.table)} where {conditions}"
    )
    format_ = _FORMATS[form]
    result = side.pgconn.exec_params(
        query.encode(), keys, param_formats=[format_] * len(keys), result_format=format_
    )
    if result.status == pq.ExecStatus.FATAL_ERROR:
        error = errors.error_from_result(result)
        if isinstance(error, psycopg.OperationalError):
            raise error
        return values  # renamed, dropped or forbidden since: the landing decides
    if result.ntuples != 1:
        return values
    filled = list(values)
    for column, n in enumerate(wanted):
        filled[n] = result.get_value(0, column)
    return tuple(filled)
