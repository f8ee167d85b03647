"""Many parts are asked at once, each bounded in time: what verbs that look at everything have in common.

Rule: a part that fails, or gives no answer, keeps none of the others waiting (I9), and what it has said by
then counts. Whoever waits is told for whom.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from engine.cli import show
from engine.errors import Bug, EcluseError, NoAnswer, TopicUnreachable

T = TypeVar("T")

LIMIT_S: Final = 45.0  # more than the sum of what one part may wait for its answers
_QUIET_S: Final = 2.0
_AGAIN_S: Final = 5.0


@dataclass
class Question(Generic[T]):
    """One part of the project, what it is asked and has answered; ``error``: why there is no more."""

    name: str
    ask: Callable[[], Iterable[T]]
    answers: list[T] = field(default_factory=list)
    error: EcluseError | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Ask, and keep what comes."""
        self.error = failure(self.name, self._keep)
        self.ended.set()

    def _keep(self) -> None:
        for answer in self.ask():
            self.answers.append(answer)


def failure(name: str, work: Callable[[], None]) -> EcluseError | None:
    """What work fails by; None when it does not."""
    try:
        work()
    except EcluseError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a fault of ours in one part must not hide the others (I9)
        return Bug(  # without the text, which could hold a secret (I8)
            f"unexpected {type(error).__name__}: a fault of ours",
            where=name,
            hint="send us this line, and what ecluse --version says",
        )
    return None


def ask(questions: Sequence[Question[T]], *, limit_s: float = LIMIT_S) -> None:
    """Ask all at once, and wait until each has ended or its time has."""
    began = time.monotonic()
    for question in questions:
        # whoever hangs in a foreign library is left behind when the command ends
        threading.Thread(target=question.run, name=question.name, daemon=True).start()
    tell_at = began + _QUIET_S
    for question in questions:
        while not question.ended.wait(max(0.0, min(tell_at, began + limit_s) - time.monotonic())):
            now = time.monotonic()
            if now >= began + limit_s:
                question.error = _late(question.name, limit_s)
                break
            waiting = ", ".join(other.name for other in questions if not other.ended.is_set())
            show.note(f"looking at {waiting}: {now - began:.0f} s")
            tell_at = now + _AGAIN_S


def way_out(error: EcluseError) -> str:
    """What to do about a part that could not be looked at."""
    if isinstance(error, TopicUnreachable):  # whose own hint is to look
        return "see that kafka.bootstrap_servers of ecluse.yaml is reached from here: address, port, firewall"
    return error.hint


def _late(name: str, limit_s: float) -> NoAnswer:
    hint = "see that it answers from here: its address, the firewall, its own logs"
    return NoAnswer(f"no answer within {limit_s:g} s", where=name, hint=hint)
