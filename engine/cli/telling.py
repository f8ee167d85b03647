"""How a worker tells what it does: a line per event on stderr, JSON unless a person is watching.

Rule: events and codes are stable names, facts are values; a secret or a row is never a fact (I8).
"""

from __future__ import annotations

import sys
from typing import Any

import structlog


def worker_log(**bound: str) -> Any:
    """A log that names its worker on every line."""
    people = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if people else structlog.processors.JSONRenderer()
    log = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
    )
    return log.bind(**bound)
