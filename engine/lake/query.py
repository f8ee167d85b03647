"""Many columns, asked for at once.

PySpark hands a list to the JVM element by element, and waits for each answer: for a small batch that takes
longer than its rows do. Here one text goes over, and is taken apart on the other side.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812

_BETWEEN: Final = "\x1e"  # ASCII's own word for it; a column's name may hold even that


def select(frame: DataFrame, texts: Sequence[str]) -> DataFrame:
    """``frame.selectExpr``: the columns of a frame, as SQL."""
    whole = _BETWEEN.join(texts)
    if whole.count(_BETWEEN) != len(texts) - 1:
        return frame.selectExpr(*texts)
    sequence = _sequence(frame.sparkSession.sparkContext._jvm)(whole)  # noqa: SLF001  (the long way is the only door)
    return DataFrame(frame._jdf.selectExpr(sequence), frame.sparkSession)  # noqa: SLF001


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
