"""A replication connection that gives messages of the test's own, without a server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any


@contextmanager
def streaming(*messages: bytes) -> Iterator[Any]:
    """The driver's connection in COPY: these messages, then silence."""
    left = list(messages)
    ends = os.pipe()
    try:
        yield SimpleNamespace(
            socket=ends[0],
            get_copy_data=lambda _: (len(left[0]), memoryview(left.pop(0))) if left else (0, b""),
            consume_input=lambda: None,
        )
    finally:
        for end in ends:
            os.close(end)
