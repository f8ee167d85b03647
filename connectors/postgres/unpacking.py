"""The rows of a copy, taken apart: from the bytes of each to columns of fields.

Rule: a row that is not whole stops the reading, it is never guessed. Rows of the binary form mostly go
another way (``lanes``): here are those that are asked for one by one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from struct import Struct, error
from typing import Any, Final

from connectors.postgres.cells import Form
from connectors.postgres.wire import FIXED, Values
from engine.errors import SourceUnreachable
from engine.source import Field, Unpack

_COUNT: Final = Struct(">h").unpack_from
_SIZE: Final = Struct(">i").unpack_from

_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
_MEANT: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}

ParseRow = Callable[[bytes], Values]


def unpacker(bases: Sequence[int], form: Form) -> Unpack:
    """What takes the rows of a query apart whose columns have these base types."""
    return _Unpacker(len(bases), _text_parser(len(bases)) if form == "text" else binary_parser(bases))


class _Unpacker:
    """Rows to columns."""

    def __init__(self, width: int, parse: ParseRow) -> None:
        self._width, self._parse = width, parse

    def __call__(self, raw: Sequence[bytes]) -> Sequence[Sequence[Field]]:
        """The columns of these rows; a row without columns is looked at like any other."""
        return tuple(zip(*map(self._parse, raw), strict=True)) or ((),) * self._width


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
    fixed = tuple(FIXED.get(base) for base in bases)
    lines = [*_careful(len(bases)), *_fast(fixed, scope)]
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


def _fast(sizes: Sequence[int | None], scope: dict[str, Any]) -> Iterator[str]:
    yield "def parse(d):"
    yield "    try:"
    layout, targets, plain = ">h", ["c"], [f"c == {len(sizes)}"]
    at, segments = "0", 0
    for n, fixed in enumerate([*sizes, None]):
        last = n == len(sizes)
        if fixed is not None:
            layout += f"i{fixed}s"
            targets += [f"n{n}", f"v{n}"]
            plain.append(f"n{n} == {fixed}")
            continue
        layout += "" if last else "i"
        targets += [] if last else ["n"]
        if targets:
            step = Struct(layout)
            scope[f"segment_{segments}"] = step.unpack_from
            yield f"        {', '.join(targets)}, = segment_{segments}(d, {at})"
            if plain:
                yield f"        if not ({' and '.join(plain)}): return careful(d)"
            yield f"        p = {at} + {step.size}"
            at, segments = "p", segments + 1
        if not last:
            yield f"        if n < 0: v{n} = None"
            yield f"        else: q = p; p += n; v{n} = d[q:p]"
        layout, targets, plain = ">", [], []
    yield f"        if p == len(d): return ({_values(len(sizes))})"
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
