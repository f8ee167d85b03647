"""Every error of Écluse: what happened, where, and what to type next.

Rule: a bad *row* is data and never an exception; a bad *world* is an ``EcluseError`` with a stable
``code`` and an ``act`` that says who has to move. It is caught only where something is decided by it:
docs/adr/0016 lists the places. This room does not log, retry or exit.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final


class Act(StrEnum):
    """Who has to move before the work can go on."""

    RETRY = "retry"  # nobody: the same call may succeed later
    OPERATOR = "operator"  # a person who runs the systems
    AUTHOR = "author"  # a person who writes a template or a flow
    BUG = "bug"  # us


class Exit:
    """Exit codes of the command, the same for every verb."""

    OK: Final = 0
    FAILED: Final = 1
    AUTHOR: Final = 2
    OPERATOR: Final = 3
    UNMET: Final = 4
    BUG: Final = 70


_EXIT: Final = {
    Act.RETRY: Exit.FAILED,
    Act.OPERATOR: Exit.OPERATOR,
    Act.AUTHOR: Exit.AUTHOR,
    Act.BUG: Exit.BUG,
}

CODES: Final[dict[str, type[EcluseError]]] = {}


class EcluseError(Exception):
    """A fact about the world that stops some work.

    ``what`` is the fact with its value; ``where`` is a path:line:column or flow/partition/offset;
    ``hint`` is the fix and the next command to type.
    """

    code: ClassVar[str] = "ecluse.error"
    act: ClassVar[Act] = Act.BUG
    exit_code: ClassVar[int] = Exit.BUG

    def __init_subclass__(
        cls, code: str | None = None, act: Act | None = None, exit_code: int | None = None
    ) -> None:
        """Declare an error class; a code belongs to one class only, and who acts gives the exit code."""
        super().__init_subclass__()
        if code is not None:
            if code in CODES:
                raise TypeError(f"error code {code} is declared twice")
            cls.code = code
            CODES[code] = cls
        if act is not None:
            cls.act, cls.exit_code = act, _EXIT[act]
        if exit_code is not None:
            cls.exit_code = exit_code

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def as_dict(self) -> dict[str, str]:
        """The error as the ``--json`` form and the logs show it."""
        return {
            "code": self.code,
            "act": self.act.value,
            "what": self.what,
            "where": self.where,
            "hint": self.hint,
        }


def explain(error: EcluseError) -> str:
    """The error as a person reads it: code, fact, place, next step.

    >>> print(explain(SourceRefused("password refused", where="shop", hint="ecluse run capture shop")))
    source.refused: password refused
      at   shop
      next ecluse run capture shop
    """
    lines = [f"{error.code}: {error.what}"]
    lines += [f"  at   {error.where}"] if error.where else []
    lines += [
        f"  next {line}" if n == 0 else f"       {line}" for n, line in enumerate(error.hint.splitlines())
    ]
    return "\n".join(lines)


def answers(name: str) -> str:
    """What a person can type when changes of a capture or a flow may be missing."""
    return (
        f"ecluse resolve {name} --accept-gap\n"
        f"or, to have its tables read again: ecluse resolve {name} --resnapshot"
    )


# --- authors: templates, flows, projects -----------------------------------------------------------------


class TemplateInvalid(EcluseError, code="template.invalid", act=Act.AUTHOR):
    """A project, template or flow file says something that cannot be accepted."""


class SecretMissing(EcluseError, code="secret.missing", act=Act.OPERATOR):
    """A secret that a connection refers to has no file and no variable."""


# --- sources ---------------------------------------------------------------------------------------------


class SourceUnreachable(EcluseError, code="source.unreachable", act=Act.RETRY):
    """The source does not answer."""


class SourceRefused(EcluseError, code="source.refused", act=Act.OPERATOR):
    """The source answered, and said no: credentials, grants, limits."""


class SourceUnready(EcluseError, code="source.unready", act=Act.OPERATOR):
    """The source lacks something that capture needs; the hint holds the SQL or the setting."""


class SlotMissing(EcluseError, code="source.slot-missing", act=Act.OPERATOR):
    """The replication slot that our mark belongs to is gone."""


class SlotLost(EcluseError, code="source.slot-lost", act=Act.OPERATOR):
    """The server has thrown away log that we had not read."""


class SlotBusy(EcluseError, code="source.slot-busy", act=Act.RETRY):
    """Another worker holds the replication slot."""


class GapSuspected(EcluseError, code="source.gap-suspected", act=Act.OPERATOR):
    """The source cannot prove that nothing is missing since our mark."""


class ContractBroken(EcluseError, code="source.contract-broken", act=Act.BUG):
    """A connector broke a promise of the door."""


class FileDecided(EcluseError, code="files.decided", act=Act.OPERATOR):
    """A file stands where what is asked of it cannot be done, or would change nothing."""


# --- topic, registry, marks ------------------------------------------------------------------------------


class TopicUnreachable(EcluseError, code="topic.unreachable", act=Act.RETRY):
    """No broker answers, or not in time."""


class TopicRefused(EcluseError, code="topic.refused", act=Act.OPERATOR):
    """The broker answered, and said no."""


class TopicMismatch(EcluseError, code="topic.mismatch", act=Act.OPERATOR):
    """A topic exists with settings that the plan does not allow."""


class RegistryUnreachable(EcluseError, code="registry.unreachable", act=Act.RETRY):
    """The schema registry does not answer."""


class RegistryRefused(EcluseError, code="registry.refused", act=Act.OPERATOR):
    """The schema registry refuses what it should accept in any epoch."""


class CaptureFenced(EcluseError, code="capture.fenced", act=Act.OPERATOR):
    """A newer writer of the same capture exists: this one is a zombie and stops."""


# --- landing ---------------------------------------------------------------------------------------------


class LandingFenced(EcluseError, code="landing.fenced", act=Act.OPERATOR):
    """Another driver wrote the sequence number that was ours."""


class TableReplaced(EcluseError, code="landing.table-replaced", act=Act.OPERATOR):
    """The ledger knows this table, and the table does not know itself."""


class HistoryLost(EcluseError, code="landing.history-lost", act=Act.OPERATOR):
    """Neither the table's log nor the ledger says up to which offsets the table has landed."""


class TopicReplaced(EcluseError, code="landing.topic-replaced", act=Act.OPERATOR):
    """The topic was deleted and made again: offsets mean other records now."""


class OffsetsGone(EcluseError, code="landing.offsets-gone", act=Act.OPERATOR):
    """Retention removed records that had not landed."""


class SchemaBlocked(EcluseError, code="landing.schema-blocked", act=Act.OPERATOR):
    """The flow's policy does not allow the schema change that the topic brings."""


class RowTooLarge(EcluseError, code="landing.row-too-large", act=Act.OPERATOR):
    """The topic holds a stub in place of a row above the size limit."""


class CheckUnbound(EcluseError, code="landing.check-unbound", act=Act.AUTHOR):
    """A check of the flow does not fit the columns of its table."""


class CheckFailed(EcluseError, code="landing.check-failed", act=Act.OPERATOR):
    """A row fails a check that stops its flow (``on_fail: fail``)."""


class QuarantineTooFull(EcluseError, code="landing.quarantine-too-full", act=Act.OPERATOR):
    """More of a batch went into quarantine than the flow allows (``quarantine.max_ratio``)."""


class GapAhead(EcluseError, code="landing.gap-ahead", act=Act.OPERATOR):
    """The capture found a gap in this flow's table; the landing stops at the first position in doubt."""


class LedgerDisagrees(EcluseError, code="ledger.disagrees", act=Act.OPERATOR):
    """The counters of a batch do not balance (I4)."""


class LakeUnreachable(EcluseError, code="lake.unreachable", act=Act.RETRY):
    """The lake's storage, Spark or Kafka failed in a way that may pass."""


# --- the embedded stack and the machine ------------------------------------------------------------------


class StackFailed(EcluseError, code="stack.failed", act=Act.OPERATOR):
    """A service of the embedded stack did not start."""


class DownloadFailed(EcluseError, code="stack.download-failed", act=Act.RETRY):
    """The files of the embedded stack could not be fetched."""


class Missing(EcluseError, code="cli.missing", act=Act.AUTHOR):
    """A name on the command line is not in the project."""


class Unusable(EcluseError, code="cli.unusable", act=Act.AUTHOR):
    """A value on the command line or in the environment cannot be used."""


class NoAnswer(EcluseError, code="cli.no-answer", act=Act.RETRY):
    """A part of the project has not answered in the time that a look has."""


class Unmet(EcluseError, code="cli.unmet", act=Act.OPERATOR, exit_code=Exit.UNMET):
    """A verdict or a check did not hold."""


class Bug(EcluseError, code="ecluse.bug", act=Act.BUG):
    """Something that only a fault of ours explains."""


def reference() -> str:
    """The table of all declared codes, in Markdown: what ``docs/reference/errors.md`` holds."""
    lines = ["| code | who acts | exit | what it means |", "|---|---|---|---|"]
    for code, declared in sorted(CODES.items()):
        meaning = " ".join((declared.__doc__ or "").split("\n\n")[0].split())
        lines.append(f"| `{code}` | {declared.act.value} | {declared.exit_code} | {meaning} |")
    return "\n".join(lines) + "\n"
