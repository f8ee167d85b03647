"""COPY … TO STDOUT: the rows of one query as the server writes them.

Rule: rows are taken off the line as they are, so that whoever wants their fields takes them apart, many at
once (``unpacking``). In the binary form a field is what the stream would send; the text form serves the
tables whose types have no binary one.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from typing import Final

from psycopg import errors, pq

from connectors.postgres.cells import Form
from engine.errors import SourceUnreachable

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_BATCH_BYTES: Final = 1 << 19
_ROW_BYTES: Final = 256  # what is made of more than 2,000 rows does not stay in the fast memory of a core
_SILENCE_S: Final = 45.0  # the pump is patient for a little longer
_TICK_S: Final = 1.0


def batches(
    pgconn: pq.abc.PGconn, query: str, form: Form, alive: Callable[[], None]
) -> Iterator[list[bytes]]:
    """The rows of a query as they come, some at a time.

    ``alive`` is called about once a second while the server is silent. Raises SourceUnreachable when it
    stays so, and what the driver raises when the query fails.
    """
    binary = form == "binary"
    result = pgconn.exec_(f"COPY ({query}) TO STDOUT (FORMAT {form})".encode())
    if result.status != pq.ExecStatus.COPY_OUT:
        raise errors.error_from_result(result)
    get, poll = pgconn.get_copy_data, select.poll()
    poll.register(pgconn.socket, select.POLLIN)
    silent_since, begun = time.monotonic(), not binary
    waiting: list[bytes] = []
    free = _BATCH_BYTES
    while True:
        size, data = get(1)
        if size > 0:
            waiting.append(data.tobytes())
            free -= size + _ROW_BYTES
            if free > 0:
                continue
        elif size == 0:
            silent_since = _wait(pgconn, poll, silent_since, alive)
            continue
        rows = _framed(waiting, begun=begun) if binary else waiting
        waiting, free, silent_since, begun = [], _BATCH_BYTES, 0.0, True
        if size < 0:
            _ended(pgconn)
        if rows:
            yield rows
        if size < 0:
            return


def _framed(messages: list[bytes], *, begun: bool) -> list[bytes]:
    """The rows in messages of a binary copy, which has a header, alone or before a row, and a trailer."""
    if messages and not begun:
        messages[0] = _headed(messages[0])
    if messages and messages[-1] == _END:
        messages.pop()
    return messages if begun or not messages or messages[0] else messages[1:]


def _headed(d: bytes) -> bytes:
    if not d.startswith(_HEADER):
        raise SourceUnreachable("a copy without its header")
    return d[len(_HEADER) :]


def _wait(pgconn: pq.abc.PGconn, poll: select.poll, since: float, alive: Callable[[], None]) -> float:
    """Wait for more; gives since when nothing has come, 0 when something has."""
    now = time.monotonic()
    since = since or now
    if now - since > _SILENCE_S:
        raise SourceUnreachable(f"the server has sent no row for {_SILENCE_S:.0f} s")
    came = poll.poll(int(_TICK_S * 1000))
    if not came:
        alive()
    pgconn.consume_input()
    return 0.0 if came else since


def _ended(pgconn: pq.abc.PGconn) -> None:
    while (result := pgconn.get_result()) is not None:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result)
