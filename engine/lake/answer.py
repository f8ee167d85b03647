"""A person's answer to a stop: what was accepted, for which place, by whom and when.

Rule: an answer is for exactly the stop that was shown, its code and its place (``where``): another range, or
another topic of the same name, stops again. What was accepted is written into the commit that goes on
behind it, and into the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.errors import (
    CheckFailed,
    EcluseError,
    GapAhead,
    OffsetsGone,
    QuarantineTooFull,
    RowTooLarge,
    SchemaBlocked,
    TopicReplaced,
)

_ANSWERABLE: Final = (
    CheckFailed, GapAhead, OffsetsGone, QuarantineTooFull, RowTooLarge, SchemaBlocked, TopicReplaced,
)  # fmt: skip
ANSWERABLE: Final = frozenset(error.code for error in _ANSWERABLE)
"""The stops that an answer helps; every other has to be mended first."""
READ_AGAIN: Final = frozenset(error.code for error in (GapAhead, OffsetsGone, TopicReplaced))
"""Those behind which reading the table again brings back what is missing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One loss that a person has accepted."""

    code: str
    where: str
    by: str
    at: str

    def fits(self, code: str, where: str) -> bool:
        """Whether it was given for this stop."""
        return (self.code, self.where) == (code, where)

    @property
    def reason(self) -> str:
        """The answer as the ledger keeps it.

        >>> Answer("landing.offsets-gone", "t[0] offsets [3, 5)", "anna", "noon").reason
        'anna accepted landing.offsets-gone at noon: t[0] offsets [3, 5)'
        """
        return f"{self.by} accepted {self.code} at {self.at}: {self.where}"


def find(answers: Sequence[Answer], error: EcluseError) -> Answer | None:
    """The answer that was given for a stop."""
    return next((a for a in answers if a.fits(error.code, error.where)), None)
