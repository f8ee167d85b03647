"""How Spark is asked: for many columns at once, and for what was decoded without decoding it again.

PySpark hands a list to the JVM element by element, and waits for each answer: for a small batch that takes
longer than its rows do. Here one text goes over, and is taken apart on the other side.

Rule: whoever filters what was decoded asks for it ``settled``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F  # noqa: N812

_BETWEEN: Final = "\x1e"  # ASCII's own word for it; a column's name may hold even that


def select(frame: DataFrame, texts: Sequence[str]) -> DataFrame:
    """``frame.selectExpr``: the columns of a frame, as SQL."""
    whole = _BETWEEN.join(texts)
    if whole.count(_BETWEEN) != len(texts) - 1:
        return frame.selectExpr(*texts)
    sequence = _sequence(frame.sparkSession.sparkContext._jvm)(whole)  # noqa: SLF001  (the long way is the only door)
    return DataFrame(frame._jdf.selectExpr(sequence), frame.sparkSession)  # noqa: SLF001


def settled(frame: DataFrame) -> DataFrame:
    """The same rows, on which a filter stays where it is: ``observe`` is a barrier for Spark's optimizer.

    It would push a filter down to the records, and decode them once for each mention of each column that the
    filter names, directly or by others: dozens of times.
    """
    return frame.observe(Observation(), F.count(F.lit(1)).alias("n"))


def told(frame: DataFrame, observation: Observation) -> None:
    """Let an observation know what it was to see, where the frame's rows came otherwise than by a query."""
    known = observation._jo  # noqa: SLF001  (as above: Spark tells it at the end of a query alone)
    known.setMetricsAndNotify(frame._jdf.queryExecution().observedMetrics().apply(known.name()))  # noqa: SLF001


@functools.lru_cache(maxsize=1)
def _sequence(jvm: Any) -> Callable[[str], Any]:
    """From a text to a sequence of the JVM; where its methods are is asked once."""
    tokens, listed, sequence = (
        jvm.java.util.StringTokenizer,
        jvm.java.util.Collections.list,
        jvm.PythonUtils.toSeq,
    )
    return lambda text: sequence(listed(tokens(text, _BETWEEN)))


def struct(texts: Mapping[str, str], alias: str) -> Column:
    """Named texts as one column."""
    return F.expr(f"struct({', '.join(f'{text} AS {name}' for name, text in texts.items())}) AS {alias}")
