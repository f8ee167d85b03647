"""Numbers that a batch brings with it, as SQL whose generated code is the same for every batch.

Spark writes a number of a query into the Java that it generates. A batch with other heights and other offsets
would be another class: compiled anew, run slowly until the JVM has compiled it too, and thrown away with the
batch. An array is handed to the generated code from outside; which of its elements is meant must not be known
before the job runs, or Spark would put the number itself in its place: so the record's partition says it.

Rule: pure. What differs between two batches of a flow comes to the row path from here, or as text or bytes,
which are handed over in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def by_partition(values: Mapping[int, int]) -> str:
    """The number of a record's partition; NULL for a partition that has none.

    >>> by_partition({0: 5, 2: -7})
    'get(array(5L, NULL, -7L), partition)'
    """
    return _element({p: f"{value}L" for p, value in values.items()}, "cast(NULL AS bigint)")


def lists_by_partition(values: Mapping[int, Sequence[int]]) -> str:
    """The numbers of a record's partition; NULL for a partition that has none.

    They are a text that Spark takes apart once: a thousand of them would be a thousand nodes of its plan.

    >>> lists_by_partition({1: [5, 6]})
    "get(array(NULL, cast(split('5,6', ',') AS array<bigint>)), partition)"
    """
    lists = {
        p: f"cast(split('{','.join(map(str, each))}', ',') AS array<bigint>)" for p, each in values.items()
    }
    return _element(lists, "cast(NULL AS array<bigint>)")


def _element(values: Mapping[int, str], nothing: str) -> str:
    if not values:
        return nothing
    elements = ", ".join(values.get(p, "NULL") for p in range(max(values) + 1))
    return f"get(array({elements}), partition)"
