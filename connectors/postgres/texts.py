"""From the binary form of a type to the text that the server would write for it.

Rule: the text is the server's own, to the character, under the settings of every session (``session``); a
type for which that is not certain is not here, and a capture that meets it reads text instead. Not here are
floating point numbers inside of others, geometry, composites (whose columns change unsaid), text search, the
names behind ``regclass`` and its like, and every extension that is not named below.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from struct import Struct
from typing import Final

from connectors.postgres import dates, kinds, numerics
from connectors.postgres.kinds import Kind

Text = Callable[[bytes], str]

_unpack_short: Final = Struct(">H").unpack_from
_unpack_size: Final = Struct(">i").unpack_from
_unpack_q: Final = Struct(">q").unpack
_unpack_interval: Final = Struct(">qii").unpack
_unpack_timetz: Final = Struct(">qi").unpack
_unpack_array: Final = Struct(">iiI").unpack_from
_unpack_dimension: Final = Struct(">ii").unpack_from
_unpack_tid: Final = Struct(">IH").unpack
_NEVER: Final = {
    Struct(">qii").pack(2**63 - 1, 2**31 - 1, 2**31 - 1): "infinity",
    Struct(">qii").pack(-(2**63), -(2**31), -(2**31)): "-infinity",
}
_IPV4: Final = 2
_BITS: Final = {4: 32, 16: 128}


def plain(v: bytes) -> str:
    """A type whose binary form is its text."""
    return v.decode()


def versioned(v: bytes) -> str:
    """A type whose binary form is a version, 1, before its text."""
    if v[:1] != b"\x01":
        raise ValueError("a version that is not 1")
    return v[1:].decode()


def boolean(v: bytes) -> str:
    """A boolean."""
    return {b"\x00": "f", b"\x01": "t"}[v]


def integer(v: bytes) -> str:
    """A signed integer of any width."""
    return str(int.from_bytes(v, "big", signed=True))


def natural(v: bytes) -> str:
    """An unsigned integer of any width."""
    return str(int.from_bytes(v, "big"))


def bytea(v: bytes) -> str:
    """Bytes, in hexadecimal."""
    return f"\\x{v.hex()}"


def uuid(v: bytes) -> str:
    """A UUID."""
    h = v.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def char(v: bytes) -> str:
    r"""A single byte, by its octal number where it is not ASCII; nothing for zero.

    >>> char(b"x"), char(b"\xe9"), char(b"\0")
    ('x', '\\351', '')
    """
    (n,) = v
    return f"\\{n:03o}" if n > 127 else chr(n) if n else ""  # noqa: PLR2004 - the end of ASCII


def lsn(v: bytes) -> str:
    """A position in the log."""
    n = int.from_bytes(v, "big")
    return f"{n >> 32:X}/{n & 0xFFFFFFFF:X}"


def tid(v: bytes) -> str:
    """A row's place in its table."""
    block, offset = _unpack_tid(v)
    return f"({block},{offset})"


def money(v: bytes) -> str:
    """An amount of money, as the locale C writes it.

    >>> money((-123456).to_bytes(8, "big", signed=True))
    '-$1,234.56'
    """
    (n,) = _unpack_q(v)
    whole, cents = divmod(abs(n), 100)
    return f"{'-' if n < 0 else ''}${whole:,}.{cents:02d}"


def mac(v: bytes) -> str:
    """A hardware address of 6 or 8 bytes."""
    return v.hex(":")


def bits(v: bytes) -> str:
    r"""A string of bits.

    >>> bits(b"\0\0\0\3\xa0")
    '101'
    """
    (size,) = _unpack_size(v, 0)
    held = v[4:]
    return f"{int.from_bytes(held, 'big'):0{8 * len(held)}b}"[:size] if size else ""


def time(v: bytes) -> str:
    """A time of day, 24:00:00 among them."""
    return _clock(*_unpack_q(v))


def timetz(v: bytes) -> str:
    """A time of day with its distance from UTC, which is counted westward in binary."""
    us, west = _unpack_timetz(v)
    hours, rest = divmod(abs(west), 3600)
    zone = f"{'-' if west > 0 else '+'}{hours:02d}"
    minutes, seconds = divmod(rest, 60)
    if rest:
        zone += f":{minutes:02d}"
    if seconds:
        zone += f":{seconds:02d}"
    return f"{_clock(us)}{zone}"


def _clock(us: int) -> str:
    seconds, fraction = divmod(us, 1_000_000)
    point = f".{fraction:06d}".rstrip("0") if fraction else ""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}"


def interval(v: bytes) -> str:
    r"""An interval in ISO 8601, each of its parts with a sign of its own.

    >>> interval(Struct(">qii").pack(-1_500_000, 30, 13)), interval(bytes(16))
    ('P1Y1M30DT-1.5S', 'PT0S')
    """
    if v in _NEVER:
        return _NEVER[v]
    us, days, months = _unpack_interval(v)
    sign = -1 if months < 0 else 1
    years, months = sign * (abs(months) // 12), sign * (abs(months) % 12)
    date = "".join(f"{n}{unit}" for n, unit in ((years, "Y"), (months, "M"), (days, "D")) if n)
    clock = _since_midnight(us)
    return f"P{date}T{clock}" if clock else f"P{date}" if date else "PT0S"


def _since_midnight(us: int) -> str:
    minus = "-" if us < 0 else ""
    seconds, fraction = divmod(abs(us), 1_000_000)
    hours, minutes, seconds = seconds // 3600, seconds // 60 % 60, seconds % 60
    clock = "".join(f"{minus}{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M")) if n)
    if seconds or fraction:
        clock += f"{minus}{seconds}" + (f".{fraction:06d}".rstrip("0") if fraction else "") + "S"
    return clock


def network(v: bytes) -> str:
    """An address or a network; the length of the prefix of an address is written where it says something."""
    family, size, is_cidr, count = v[:4]
    address = v[4:]
    if len(address) != count or count not in _BITS or (family == _IPV4) != (count == 4):  # noqa: PLR2004
        raise ValueError("an address of a family that is not known")
    text = ".".join(map(str, address)) if count == 4 else _ipv6(address)  # noqa: PLR2004
    return f"{text}/{size}" if is_cidr or size != _BITS[count] else text


def _ipv6(address: bytes) -> str:
    words = [_unpack_short(address, at)[0] for at in range(0, 16, 2)]
    at, size = _longest_zeros(words)
    # what embeds an address of version 4 ends with it
    if at == 0 and (size == 6 or (size == 5 and words[5] == 0xFFFF)):  # noqa: PLR2004
        head = "::ffff:" if size == 5 else "::"  # noqa: PLR2004
        return head + ".".join(map(str, address[12:]))
    texts = [f"{word:x}" for word in words]
    if size < 2:  # noqa: PLR2004 - one zero is not worth two colons
        return ":".join(texts)
    return f"{':'.join(texts[:at])}::{':'.join(texts[at + size :])}"


def _longest_zeros(words: list[int]) -> tuple[int, int]:
    """Where the longest run of zeros begins, the first of equals, and its length."""
    best = (-1, 0)
    for at in range(len(words)):
        size = next((n for n, word in enumerate(words[at:]) if word), len(words) - at)
        if size > best[1]:
            best = (at, size)
    return best


def hstore(v: bytes) -> str:
    """The pairs of an hstore, in their order."""
    (count,) = _unpack_size(v, 0)
    parts, at = list[str | None](), 4
    for _ in range(2 * count):
        part, at = _sized(v, at)
        parts.append(None if part is None else '"' + _escaped(part.decode()) + '"')
    _ended(v, at)
    return ", ".join(f"{key}=>{value or 'NULL'}" for key, value in zip(parts[::2], parts[1::2], strict=True))


# --- what is made of others ------------------------------------------------------------------------------


def array(v: bytes, *, of: Text, delimiter: str) -> str:
    """An array of any shape: the lower bounds stand before it where they are not 1."""
    count, _, _ = _unpack_array(v, 0)
    at = 12 + 8 * count
    shape = [_unpack_dimension(v, 12 + 8 * n) for n in range(count)]
    if not shape:
        _ended(v, at)
        return "{}"
    total = 1
    for size, _ in shape:
        total *= size
    items = list[str]()
    for _ in range(total):
        item, at = _sized(v, at)
        items.append("NULL" if item is None else _item(of(item), delimiter))
    _ended(v, at)
    for size, _ in reversed(shape):
        items = [f"{{{delimiter.join(items[n : n + size])}}}" for n in range(0, len(items), size)]
    bounds = "".join(f"[{low}:{low + size - 1}]" for size, low in shape)
    return f"{bounds}={items[0]}" if any(low != 1 for _, low in shape) else items[0]


_SPACES: Final = " \t\n\r\v\f"


def _item(text: str, delimiter: str) -> str:
    quoted = (
        not text
        or text.upper() == "NULL"
        or any(c in '"\\{}' or c in _SPACES or c == delimiter for c in text)
    )
    return f'"{_escaped(text)}"' if quoted else text


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


_EMPTY, _LOW_IN, _HIGH_IN, _LOW_OPEN, _HIGH_OPEN = 1, 2, 4, 8, 16


def range_(v: bytes, *, of: Text) -> str:
    """A range, with its bounds in or out, or without one."""
    flags = v[0]
    if flags & _EMPTY:
        _ended(v, 1)
        return "empty"
    low, high, at = "", "", 1
    if not flags & _LOW_OPEN:
        low, at = _bound(v, at, of)
    if not flags & _HIGH_OPEN:
        high, at = _bound(v, at, of)
    _ended(v, at)
    return f"{'[' if flags & _LOW_IN else '('}{low},{high}{']' if flags & _HIGH_IN else ')'}"


def _bound(v: bytes, at: int, of: Text) -> tuple[str, int]:
    bound, at = _sized(v, at)
    if bound is None:
        raise ValueError("a bound that is NULL")
    text = of(bound)
    if text and not any(c in '"\\()[],' or c in _SPACES for c in text):
        return text, at
    doubled = text.replace("\\", "\\\\").replace('"', '""')
    return f'"{doubled}"', at


def multirange(v: bytes, *, of: Text) -> str:
    """Ranges, in their order."""
    (count,) = _unpack_size(v, 0)
    texts, at = list[str](), 4
    for _ in range(count):
        each, at = _sized(v, at)
        texts.append(of(each or b""))
    _ended(v, at)
    return f"{{{','.join(texts)}}}"


def _sized(v: bytes, at: int) -> tuple[bytes | None, int]:
    """What stands behind its own length, and where it ends; None for NULL."""
    (size,) = _unpack_size(v, at)
    at += 4
    return (None, at) if size < 0 else (v[at : at + size], at + size)


def _ended(v: bytes, at: int) -> None:
    if at != len(v):
        raise ValueError("a value that is not as long as its parts")


# --- by type ---------------------------------------------------------------------------------------------

_BUILT_IN: Final[dict[int, Text]] = {
    kinds.BOOL: boolean,
    kinds.BYTEA: bytea,
    kinds.CHAR: char,
    kinds.NAME: plain,
    kinds.INT8: integer,
    kinds.INT2: integer,
    kinds.INT4: integer,
    kinds.TEXT: plain,
    kinds.OID: natural,
    kinds.TID: tid,
    kinds.XID: natural,
    kinds.CID: natural,
    kinds.JSON: plain,
    kinds.XML: plain,
    kinds.CIDR: network,
    kinds.MACADDR8: mac,
    kinds.MONEY: money,
    kinds.MACADDR: mac,
    kinds.INET: network,
    kinds.BPCHAR: plain,
    kinds.VARCHAR: plain,
    kinds.DATE: dates.date_text,
    kinds.TIME: time,
    kinds.TIMESTAMP: dates.timestamp_text,
    kinds.TIMESTAMPTZ: dates.timestamptz_text,
    kinds.INTERVAL: interval,
    kinds.TIMETZ: timetz,
    kinds.BIT: bits,
    kinds.VARBIT: bits,
    kinds.NUMERIC: numerics.text_of_binary,
    kinds.REFCURSOR: plain,
    kinds.UUID: uuid,
    kinds.PG_LSN: lsn,
    kinds.JSONB: versioned,
    kinds.JSONPATH: versioned,
    kinds.XID8: natural,
}
_EXTENSIONS: Final[dict[str, Text]] = {
    "citext.citext": plain,
    "hstore.hstore": hstore,
    "ltree.ltree": versioned,
    "ltree.lquery": versioned,
    "ltree.ltxtquery": versioned,
}
"""Types of extensions by their names: their numbers differ from database to database."""


@cache
def reading(kind: Kind) -> Text | None:
    """How the binary form of a type is written as text; None where only the server knows."""
    if kind.form == "base":
        return _BUILT_IN.get(kind.oid) if kind.built_in else _EXTENSIONS.get(kind.name)
    if kind.form == "enum":
        return plain
    of = reading(kind.part) if kind.part else None
    if kind.part is None or of is None:
        return None
    match kind.form:
        case "array":
            return partial(array, of=of, delimiter=kind.part.delimiter)
        case "range":
            return partial(range_, of=of)
        case "multirange":
            return partial(multirange, of=of)
        case _:
            return None
