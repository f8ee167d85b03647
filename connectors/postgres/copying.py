"""COPY … TO STDOUT: the rows of one query as tuples of fields, in the wire form of the stream.

Rule: a row that is not whole stops the reading, it is never guessed. In the binary form a field is what the
stream would send; the text form serves the tables whose types have no binary one.
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Callable, Iterator
from struct import Struct, error
from typing import Any, Final

from psycopg import errors, pq

from connectors.postgres.cells import Form
from connectors.postgres.wire import Values
from engine.errors import SourceUnreachable

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_COUNT: Final = Struct(">h").unpack_from
_SIZE: Final = Struct(">i").unpack_from
_SILENCE_S: Final = 45.0  # the pump is patient for a little longer
_TICK_S: Final = 1.0

_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
_MEANT: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}

ParseRow = Callable[[bytes], Values]


def rows(
    pgconn: pq.abc.PGconn, query: str, form: Form, width: int, alive: Callable[[], None]
) -> Iterator[tuple[Values, int]]:
    """The rows of a query of ``width`` columns, each with the bytes that it took.

    ``alive`` is called about once a second while the server is silent. Raises SourceUnreachable when it
    stays so, and what the driver raises when the query fails.
    """
    options = "FORMAT binary" if form == "binary" else "FORMAT text"
    result = pgconn.exec_(f"COPY ({query}) TO STDOUT ({options})".encode())
    if result.status != pq.ExecStatus.COPY_OUT:
        raise errors.error_from_result(result)
    parse = binary_parser(width) if form == "binary" else _text_parser(width)
    messages = _messages(pgconn, alive)
    if form == "binary":
        first = next(messages, b"")
        if not first.startswith(_HEADER):
            raise SourceUnreachable("a copy without its header")
        messages = _after(first[len(_HEADER) :], messages)
    for data in messages:
        if data == _END and form == "binary":
            continue  # the driver reads on until the server says that it is done
        yield parse(data), len(data)


def _after(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


def _messages(pgconn: pq.abc.PGconn, alive: Callable[[], None]) -> Iterator[bytes]:
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN)
    heard = time.monotonic()
    while True:
        size, data = pgconn.get_copy_data(1)
        if size > 0:
            yield bytes(data)
            heard = 0.0
        elif size == 0:
            now = time.monotonic()
            heard = heard or now
            if now - heard > _SILENCE_S:
                raise SourceUnreachable(f"the server has sent no row for {_SILENCE_S:.0f} s")
            if not poll.poll(int(_TICK_S * 1000)):
                alive()
            pgconn.consume_input()
        else:
            result = pgconn.get_result()
            if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
                raise errors.error_from_result(result)
            while pgconn.get_result() is not None:
                pass
            return


def binary_parser(width: int) -> ParseRow:
    r"""The parser of a binary row: unrolled, because it runs once per row of a whole database.

    >>> binary_parser(2)(b"\0\2" + b"\0\0\0\1x" + b"\xff\xff\xff\xff")
    (b'x', None)
    """
    scope: dict[str, Any] = {"size": _SIZE, "count": _COUNT, "broken": _broken, "error": error}
    lines = ["def parse(d):", "    p = 2", "    try:", f"        if count(d)[0] != {width}: raise broken(d)"]
    for n in range(width):
        lines += [
            "        n = size(d, p)[0]; p += 4",
            f"        if n < 0: v{n} = None",
            f"        else: q = p; p += n; v{n} = d[q:p]",
        ]
    values = "".join(f"v{n}, " for n in range(width))
    lines += [
        "    except error:",
        "        raise broken(d) from None",
        "    if p != len(d): raise broken(d)",
        f"    return ({values})",
    ]
    exec(compile("\n".join(lines), "<row of a copy>", "exec"), scope)  # noqa: S102 - made of a number
    parse: ParseRow = scope["parse"]
    return parse


def _text_parser(width: int) -> ParseRow:
    def parse(d: bytes) -> Values:
        fields = d[:-1].split(b"\t") if width else []
        if len(fields) != width or not d.endswith(b"\n"):
            raise _broken(d)
        return tuple(None if f == b"\\N" else _meant(f) for f in fields)

    return parse


def _meant(field: bytes) -> bytes:
    r"""A field without the escapes of the text form.

    >>> _meant(rb"a\tb\\c")
    b'a\tb\\c'
    """
    if b"\\" not in field:
        return field
    return _ESCAPE.sub(lambda found: _MEANT.get(found[1], found[1]), field)


def _broken(d: bytes) -> SourceUnreachable:
    return SourceUnreachable(f"a row of {len(d)} bytes that does not fit its columns")
