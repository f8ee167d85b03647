"""How a running Spark job says that one record must not be passed, and what Spark's errors mean.

A batch is planned on what the driver knows; a record that shows otherwise (a schema id never seen, a stub,
a newer writer) makes the job raise before its commit, with the record's coordinates in the message. The
driver answers and runs the range, or a shorter one, again. So the ordinary batch pays nothing for them.

Rule: a call into Spark goes through ``run`` where it may meet a record, and else through ``sure``; nothing
above sees a foreign exception.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from py4j.protocol import Py4JError
from pyspark.errors import AnalysisException, IllegalArgumentException, ParseException, PySparkException
from pyspark.sql import SparkSession

from engine.errors import EcluseError, LakeUnreachable, LandingFenced

T = TypeVar("T")


class Kind(StrEnum):
    """Why a record must not be passed."""

    SCHEMA = "schema"  # its schema id is unknown to the driver; detail: the id
    BLOCKED = "blocked"  # its schema id is known, and the flow's policy forbids it; detail: the id
    STUB = "stub"  # it stands for a row above the size limit
    GAP = "gap"  # its position is at or after a gap that the capture found
    WRITER = "writer"  # it comes from another writer epoch; detail: the epoch
    FLOOR = "floor"  # it is a control record that takes other rows away
    LARGE = "large"  # its record is too large for the way it was to be written; detail: its bytes
    UNSET = "unset"  # it leaves a column unset
    CHECK = "check"  # it fails a check that stops its flow; detail: which


@dataclass(frozen=True, slots=True)
class Halt:
    """One record that the batch must not pass as planned."""

    kind: Kind
    partition: int
    offset: int
    detail: int


_SIGN: Final = re.compile(r"ecluse!(\w+)!(\d+)!(\d+)!(-?\d+)!")


def sql(kind: Kind, detail: str = "0") -> str:
    """The SQL expression that raises; needs the columns ``partition`` and ``offset``."""
    return (
        f"raise_error(concat('ecluse!{kind.value}!', partition, '!', offset, '!', "
        f"cast({detail} as string), '!'))"
    )


def parse(text: str) -> Halt | None:
    """The halt that an exception's text carries.

    >>> parse("Job aborted: [USER_RAISED_EXCEPTION] ecluse!stub!2!17!0! SQLSTATE: P0001")
    Halt(kind=<Kind.STUB: 'stub'>, partition=2, offset=17, detail=0)
    """
    found = _SIGN.search(text)
    if found is None:
        return None
    kind, partition, offset, detail = found.groups()
    return Halt(Kind(kind), int(partition), int(offset), int(detail))


def run(work: Callable[[], T], *, where: str) -> T | Halt:
    """Call into Spark: its result, or the halt that it met.

    Raises LandingFenced when another driver's commit was in the way, LakeUnreachable for the rest.
    """
    try:
        return work()
    except (PySparkException, Py4JError, OSError) as error:  # a JVM that is gone refuses the connection
        text = _text(error)
        halt = parse(text)
        if halt is not None:
            return halt
        lasting = isinstance(error, AnalysisException)
        raise translate(text, where=where, hint=_LASTING if lasting else _PASSING) from error


def refused(session: SparkSession, frame: Callable[[], object], patterns: Iterable[str]) -> str:
    """Why Spark cannot take a frame, or Java one of these regular expressions; empty where both can."""
    try:
        frame()
        java: Any = session.sparkContext._jvm  # noqa: SLF001 - there is no other way to the compiler of patterns
        for pattern in patterns:
            java.java.util.regex.Pattern.compile(pattern)
    except (AnalysisException, ParseException, IllegalArgumentException) as error:
        return str(error).split("\n", 1)[0]
    return ""


def sure(work: Callable[[], T], *, where: str) -> T:
    """Call into Spark where no record is looked at: a halt there is impossible."""
    result = run(work, where=where)
    if isinstance(result, Halt):
        raise LakeUnreachable(f"a halt where none can be: {result}", where=where)
    return result


def _text(error: PySparkException | Py4JError | OSError) -> str:
    """The message, and with it the message of every cause: Spark wraps a task's error several times."""
    texts = [str(error)]
    cause = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    while cause is not None:
        texts.append(_CAUSE + str(cause.toString()))
        cause = cause.getCause()
    return "\n".join(texts)


_CAUSE: Final = "cause: "
_TRACE: Final = "PythonException: Traceback (most recent call last):"
_CRASHED: Final = "Python worker exited unexpectedly"
_MEMORY: Final = "most often by a machine without memory left: see the kernel's log"
_FENCES: Final = ("ConcurrentTransactionException", "DELTA_CONCURRENT_TRANSACTION")


_PASSING: Final = "the landing tries again by itself"
_LASTING: Final = f"{_PASSING}; if this stays, DESCRIBE HISTORY tells who has changed the table: undo that"


def translate(text: str, *, where: str, hint: str = _PASSING) -> EcluseError:
    """The error of ours that a message of Spark stands for."""
    if any(sign in text for sign in _FENCES):
        return LandingFenced(
            "another driver wrote this table at the same time",
            where=where,
            hint="stop the other landing of this group, then start this one again",
        )
    if _CRASHED in text:
        return LakeUnreachable(
            "a worker that writes files was killed", where=where, hint=f"{_MEMORY}; {hint}"
        )
    if _TRACE in text:  # else Spark says of it no more than that a worker in Python has failed
        trace = text.rpartition(_TRACE)[2].splitlines()
        said = next((line for line in trace if line and not line[0].isspace()), "a worker failed")
        return LakeUnreachable(said[:400], where=where, hint=hint)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if line.startswith(_CAUSE)), lines[0] if lines else text)
    return LakeUnreachable(said.removeprefix(_CAUSE)[:400], where=where, hint=hint)
