"""COPY … TO STDOUT: the rows of one query as the server writes them, and the columns of fields in them.

Rule: a row that is not whole stops the reading, it is never guessed. Rows are taken off the line as they are,
so that whoever wants their fields takes them apart, many at once. In the binary form a field is what the
stream would send; the text form serves the tables whose types have no binary one.
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Callable, Iterator, Sequence
from struct import Struct, error
from typing import Any, Final

from psycopg import errors, pq

from connectors.postgres.cells import Form
from connectors.postgres.wire import FIXED, Values
from engine.errors import SourceUnreachable
from engine.source import Field, Unpack

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_COUNT: Final = Struct(">h").unpack_from
_SIZE: Final = Struct(">i").unpack_from
_BATCH_BYTES: Final = 1 << 19
_BATCH_ROWS: Final = 1000
_SILENCE_S: Final = 45.0  # the pump is patient for a little longer
_TICK_S: Final = 1.0

_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
_MEANT: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}

ParseRow = Callable[[bytes], Values]


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
    held, free = 0, _BATCH_ROWS
    while True:
        size, data = get(1)
        if size > 0:
            waiting.append(bytes(data))
            held += size
            free -= 1
            if free and held < _BATCH_BYTES:
                continue
        elif size == 0:
            silent_since = _wait(pgconn, poll, silent_since, alive)
            continue
        rows = _framed(waiting, begun=begun) if binary else waiting
        waiting, held, free, silent_since, begun = [], 0, _BATCH_ROWS, 0.0, True
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


def unpacker(bases: Sequence[int], form: Form) -> Unpack:
    """What takes the rows of a query apart whose columns have these base types."""
    parse = binary_parser(bases) if form == "binary" else _text_parser(len(bases))
    width = len(bases)

    def unpack(raw: Sequence[bytes]) -> Sequence[Sequence[Field]]:
        # a row without columns is looked at like any other
        return tuple(zip(*map(parse, raw), strict=True)) or ((),) * width

    return unpack


def binary_parser(bases: Sequence[int]) -> ParseRow:
    r"""The parser of a binary row: generated, because it runs once per row of a whole database.

    One ``unpack`` takes a run of fixed-width columns and the length of the column after it; a NULL among the
    fixed-width ones sends the row to the other parser, which goes field by field.

    >>> from connectors.postgres.kinds import INT2, TEXT
    >>> parse = binary_parser([INT2, TEXT])
    >>> parse(b"\0\2" + b"\0\0\0\2ab" + b"\0\0\0\1x"), parse(b"\0\2" + b"\xff\xff\xff\xff" * 2)
    ((b'ab', b'x'), (None, None))
    """
    scope: dict[str, Any] = {"size": _SIZE, "count": _COUNT, "broken": _broken, "error": error}
    lines = [*_careful(len(bases)), *_fast(bases, scope)]
    exec(compile("\n".join(lines), "<row of a copy>", "exec"), scope)  # noqa: S102 - made of numbers
    parse: ParseRow = scope["parse"]
    return parse


def _careful(width: int) -> Iterator[str]:
    yield "def careful(d):"
    yield "    p = 2"
    yield "    try:"
    yield f"        if count(d)[0] != {width}: raise broken(d)"
    for n in range(width):
        yield "        n = size(d, p)[0]; p += 4"
        yield f"        if n < 0: v{n} = None"
        yield f"        else: q = p; p += n; v{n} = d[q:p]"
    yield "    except error:"
    yield "        raise broken(d) from None"
    yield "    if p != len(d): raise broken(d)"
    yield f"    return ({_values(width)})"


def _fast(bases: Sequence[int], scope: dict[str, Any]) -> Iterator[str]:
    yield "def parse(d):"
    yield "    try:"
    layout, targets, plain = ">h", ["c"], [f"c == {len(bases)}"]
    at, segments = "0", 0
    for n, base in enumerate([*bases, None]):
        fixed = FIXED.get(base) if base is not None else None
        if fixed is not None:
            layout += f"i{fixed}s"
            targets += [f"n{n}", f"v{n}"]
            plain.append(f"n{n} == {fixed}")
            continue
        layout += "" if base is None else "i"
        targets += [] if base is None else ["n"]
        if targets:
            step = Struct(layout)
            scope[f"segment_{segments}"] = step.unpack_from
            yield f"        {', '.join(targets)}, = segment_{segments}(d, {at})"
            if plain:
                yield f"        if not ({' and '.join(plain)}): return careful(d)"
            yield f"        p = {at} + {step.size}"
            at, segments = "p", segments + 1
        if base is not None:
            yield f"        if n < 0: v{n} = None"
            yield f"        else: q = p; p += n; v{n} = d[q:p]"
        layout, targets, plain = ">", [], []
    yield f"        if p == len(d): return ({_values(len(bases))})"
    yield "    except error: pass"
    yield "    return careful(d)"


def _values(width: int) -> str:
    return "".join(f"v{n}, " for n in range(width))


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
