"""Where a capture stands when something fails: told with every trouble, recorded when a person must act.

Rule: whatever stops a capture names the first position at stake where a mark is known, in this one place, and
leaves it in the marks topic for ``status`` and ``resolve``, because the process that said so is gone. A
writer that was replaced records nothing: the newer one goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.errors import CaptureFenced, EcluseError
from engine.marks import Stop
from engine.source import STREAM, Mark


@dataclass(slots=True)
class Stand:
    """The newest mark as far as it is known; ``show`` writes a major for people."""

    show: Callable[[int], str]
    mark: Mark | None = None
    known: bool = False

    def at(self, mark: Mark | None) -> None:
        """The capture stands at this mark, or has none yet."""
        self.mark, self.known = mark, True

    @property
    def first(self) -> str:
        """The first position at stake, for people; empty when there is none or it is not known."""
        if self.mark is None or STREAM not in self.mark.at:
            return ""
        return f"era {self.mark.era}, after {self.show(self.mark.at[STREAM])}"

    def tell(self, error: EcluseError) -> EcluseError:
        """The same error, with the first position at stake."""
        if not self.known or isinstance(error, CaptureFenced):
            return error
        first = (
            f"First position at stake: {self.first}"
            if self.first
            else "None is at stake: nothing is marked yet"
        )
        told = type(error)(f"{error.what.rstrip('.')}. {first}", where=error.where, hint=error.hint)
        return told.with_traceback(error.__traceback__)

    def stop(self, capture: str, error: EcluseError, now: str) -> Stop:
        """What is recorded of an error that stops the capture."""
        mark = self.mark or Mark({}, b"")
        command = [] if "ecluse " in error.hint else [f"ecluse run capture {capture}"]
        hint = "\n".join([*error.hint.splitlines(), *command])
        return Stop(
            capture, error.code, error.what, error.where, hint, now,
            first=self.first, era=mark.era, at=dict(mark.at),
        )  # fmt: skip
