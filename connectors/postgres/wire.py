"""The wire: what ``pgoutput`` (protocol version 1) says, and a generated parser for the tuples of a relation.

Rule: a message is a ``bytes`` with the header of XLogData still on it (kind at 25, body from 26), so that
nothing is copied twice; a column's form is read from its own kind byte. What is not in the protocol stops
the capture, it is never skipped. This room does not know what a table is for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct, error
from typing import Any, Final, NamedTuple

from connectors.postgres.cells import Form
from connectors.postgres.kinds import (
    BOOL,
    DATE,
    FLOAT4,
    FLOAT8,
    INT2,
    INT4,
    INT8,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
)
from engine.errors import SourceRefused
from engine.source import UNCHANGED, Field

REPORT: Final = "report it with the server's version; nothing was skipped"
"""What a person does about a message that nobody expects."""

KEEPALIVE: Final = ord("k")
XLOG_DATA: Final = ord("w")
KIND: Final = 25
BODY: Final = 26

BEGIN, COMMIT, RELATION, TYPE = ord("B"), ord("C"), ord("R"), ord("Y")
INSERT, UPDATE, DELETE, TRUNCATE = ord("I"), ord("U"), ord("D"), ord("T")
MESSAGE, ORIGIN, STREAM_ABORT = ord("M"), ord("O"), ord("A")
OLD_KEY, OLD_ROW, NEW_ROW = ord("K"), ord("O"), ord("N")

EPOCH_US: Final = 946_684_800_000_000  # 2000-01-01 in microseconds since 1970
_BINARY, _TEXT, _NULL, _UNCHANGED = ord("b"), ord("t"), ord("n"), ord("u")
_LARGE: Final = 1 << 20
FIXED: Final = {
    BOOL: 1,
    INT2: 2,
    INT4: 4,
    INT8: 8,
    FLOAT4: 4,
    FLOAT8: 8,
    DATE: 4,
    TIMESTAMP: 8,
    TIMESTAMPTZ: 8,
    UUID: 16,
}

unpack_begin: Final = Struct(">QqI").unpack_from
unpack_commit: Final = Struct(">BQQq").unpack_from
unpack_keepalive: Final = Struct(">QqB").unpack_from
_pack_status: Final = Struct(">cQQQqB").pack
_unpack_size: Final = Struct(">I").unpack_from
_unpack_count: Final = Struct(">H").unpack_from
_unpack_type: Final = Struct(">Ii").unpack_from

Values = tuple[Field, ...]
Parse = Callable[[bytes, int], Values]
ParseAny = Callable[[bytes, int], tuple[Values, int]]


class WireColumn(NamedTuple):
    """A column as the Relation message has it; ``flagged``: part of the replica identity."""

    flagged: bool
    name: str
    type_oid: int
    modifier: int


class WireRelation(NamedTuple):
    """A Relation message; ``identity`` is the letter of pg_class.relreplident."""

    id: int
    schema: str
    table: str
    identity: str
    columns: tuple[WireColumn, ...]


def status(received: int, confirmed: int, now_us: int, *, reply: bool) -> bytes:
    """The standby status update: what we have received, and what the server may forget."""
    return _pack_status(b"r", received, confirmed, confirmed, now_us - EPOCH_US, reply)


def lsn(text: str) -> int:
    """A log position as a number.

    >>> lsn("1/A"), show_lsn(4294967306)
    (4294967306, '1/A')
    """
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def show_lsn(position: int) -> str:
    """A log position as PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def show_position(major: int) -> str:
    """A major of the stream as people find it in both worlds: in PostgreSQL's views and in the topics."""
    return f"{show_lsn(major)} ({major})"


def relation(d: bytes) -> WireRelation:
    """Read a Relation message."""
    (relid,) = _unpack_size(d, BODY)
    schema, at = _text(d, BODY + 4)
    table, at = _text(d, at)
    identity = chr(d[at])
    (count,) = _unpack_count(d, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        flagged = bool(d[at] & 1)
        name, at = _text(d, at + 1)
        oid, modifier = _unpack_type(d, at)
        at += 8
        columns.append(WireColumn(flagged, name, oid, modifier))
    return WireRelation(relid, schema or "pg_catalog", table, identity, tuple(columns))


def truncated(d: bytes) -> list[bytes]:
    """The ids, as they stand on the wire, of the relations of a Truncate message."""
    (count,) = _unpack_size(d, BODY)
    at = BODY + 5
    return [d[at + 4 * n : at + 4 * n + 4] for n in range(count)]


def _text(d: bytes, at: int) -> tuple[str, int]:
    end = d.index(b"\0", at)
    return d[at:end].decode(), end + 1


def unknown(d: bytes) -> SourceRefused:
    """The error for a message that the protocol of this version does not have."""
    return SourceRefused(
        f"the server sent a message of kind {chr(d[KIND])!r}, which pgoutput 1 does not have",
        hint=REPORT,
    )


def malformed(d: bytes, at: int) -> SourceRefused:
    """The error for a tuple that its relation does not describe."""
    return SourceRefused(
        f"a tuple that its relation does not describe: kind {chr(d[KIND])!r}, at byte {at} of {len(d)}",
        hint=REPORT,
    )


def parsers(bases: Sequence[int], form: Form) -> tuple[Parse, ParseAny]:
    """The two parsers of a relation's tuples, for columns of these base types.

    The second reads any tuple and says where it ends. The first reads the last tuple of a message: it
    takes runs of fixed-width columns in one step, and calls the second when a field is not plain.
    """
    scope: dict[str, Any] = {
        "size_at": _unpack_size,
        "malformed": malformed,
        "UNCHANGED": UNCHANGED,
        "COUNT": len(bases).to_bytes(2, "big"),
        "TooShort": error,
    }
    sizes = [FIXED.get(base) if form == "binary" else None for base in bases]
    plain = _BINARY if form == "binary" else _TEXT
    lines = [*_any(sizes, plain), *_fast(sizes, plain, scope)]
    exec("\n".join(lines), scope)  # noqa: S102 - made of counts and sizes, never of data
    return scope["parse"], scope["parse_any"]


def _any(sizes: Sequence[int | None], plain: int) -> list[str]:
    lines = [
        "def parse_any(d, p):",
        "    if d[p:p + 2] != COUNT: raise malformed(d, p)",
        "    p += 2",
    ]
    for n, size in enumerate(sizes):
        lines += ["    k = d[p]", f"    if k == {plain}:"]
        if size is None:
            lines += [f"        q = p + 5; p = q + size_at(d, p + 1)[0]; v{n} = d[q:p]"]
        else:
            lines += [f"        v{n} = d[p + 5:p + {5 + size}]; p += {5 + size}"]
        lines += [
            f"    elif k == {_NULL}: v{n} = None; p += 1",
            f"    elif k == {_UNCHANGED}: v{n} = UNCHANGED; p += 1",
            "    else: raise malformed(d, p)",
        ]
    values = "".join(f"v{n}, " for n in range(len(sizes)))
    return [*lines, "    if p > len(d): raise malformed(d, p)", f"    return ({values}), p"]


def _fast(sizes: Sequence[int | None], plain: int, scope: dict[str, Any]) -> list[str]:
    """One ``unpack`` per run of fixed-width columns and the head of the column after it."""
    # a large field is cut out once: the second parser must not find the first one's copy still here
    lines = [
        "def parse(d, p):",
        f"    if len(d) > {_LARGE}: return parse_any(d, p)[0]",
        "    s = p",
        "    try:",
    ]
    layout, targets, kinds, segment = ">2s", ["count"], ["count == COUNT"], 0

    def close() -> None:
        nonlocal layout, targets, kinds, segment
        step = Struct(layout)
        scope[f"segment_{segment}"] = step.unpack_from
        lines.append(f"        {', '.join(targets)}, = segment_{segment}(d, p)")
        lines.append(f"        if not ({' and '.join(kinds)}): return parse_any(d, s)[0]")
        lines.append(f"        p += {step.size}")
        layout, targets, kinds, segment = ">", [], [], segment + 1

    for n, size in enumerate(sizes):
        targets.append(f"k{n}")
        kinds.append(f"k{n} == {plain}")
        if size is None:
            layout += "BI"
            targets.append("n")
            close()
            lines.append(f"        q = p; p += n; v{n} = d[q:p]")
        else:
            layout += f"B4x{size}s"
            targets.append(f"v{n}")
    if targets:
        close()
    values = "".join(f"v{n}, " for n in range(len(sizes)))
    lines += [
        f"        if p == len(d): return ({values})",
        "    except TooShort: pass",
        "    return parse_any(d, s)[0]",
    ]
    return lines
