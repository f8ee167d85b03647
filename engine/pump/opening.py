"""The source behind a mark, opened while other writers may still be ending.

Rule: where a writer that ends has marked more meanwhile, the mark was too old. The source then looks as if
somebody else had read from it, which is a gap only behind the newest mark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from engine.errors import GapSuspected, SourceUnreachable
from engine.marks import Found, Marks
from engine.source import Source


@contextmanager
def opened(
    opening: Callable[[], AbstractContextManager[Source]], marks: Marks, capture: str, found: Found
) -> Iterator[Source]:
    """The source behind the mark that was found; SourceUnreachable when a newer one stands there by now."""
    with ExitStack() as stack:
        try:
            source = stack.enter_context(opening())
        except GapSuspected as error:
            if marks.find(capture) == found:
                raise
            raise SourceUnreachable(
                f"another writer of {capture} went on meanwhile", where=capture
            ) from error
        yield source
