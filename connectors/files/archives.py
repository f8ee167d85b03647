"""The directory of a zip archive: which member is read, and where its bytes stand.

Rule: the directory and what stands before each member have to say the same, members may not share a byte, and
names are data. Python's own reader believes the directory, and makes an object of each member before anyone
can count them; here the directory is walked with a cap.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from connectors.files.records import Limits, Refused

_END: Final = struct.Struct("<4s4H2LH")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64: Final = struct.Struct("<4sLQL")
_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_COMMENT_MAX: Final = 0xFFFF
_FULL_2, _FULL_4 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED: Final = 0x2041  # encrypted, strongly, and its directory masked
_STREAMED, _UTF8 = 0x8, 0x800
_STORED, _DEFLATED = 0, 8
_UNIX: Final = 3
_NAME_MAX: Final = 1024
_SHOWN: Final = 5
_EXTRA_64: Final = 1
_UNSAFE: Final = re.compile(r"^[/\\]|^[A-Za-z]:|\\|(?:^|/)\.\.(?:/|$)|[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Member:
    """One member: its name, the byte at which its data begins, and what the archive says of it."""

    name: str
    at: int
    packed: int
    size: int
    crc: int
    deflated: bool


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of the directory."""

    raw: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    start: int
    mode: int


def member(file: BinaryIO, size: int, pattern: str | None, limits: Limits) -> Member:
    """The one member of an archive that is no folder, or that the pattern names; or ``Refused``."""
    begin, end, count = _directory(file, size)
    if count > limits.members:
        raise Refused("container.members", f"the archive has {count} members, {limits.members} are allowed")
    entries = list(_entries(file, begin, end, limits))
    if len(entries) != count:
        raise Refused("container.directory", f"the archive says {count} members, and lists {len(entries)}")
    named = {_name(entry): entry for entry in entries}
    if len(named) < len(entries):
        raise Refused("container.members", "two members of the archive have one name")
    data = {name: _data(file, entry) for name, entry in named.items()}
    _apart(named, data, begin)
    name = _chosen(list(named), pattern)
    found = named[name]
    _readable(name, found)
    return Member(name, data[name], found.packed, found.size, found.crc, found.method == _DEFLATED)


def _directory(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Where the directory begins and ends, and how many members it says it has."""
    file.seek(max(0, size - _END.size - _COMMENT_MAX))
    tail = file.read(_END.size + _COMMENT_MAX)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        file.seek(0)
        if not b"PK\x03\x04".startswith(file.read(4)):
            raise Refused("container.kind", "no zip archive", at=0)
        raise Refused("container.truncated", "the zip archive has no directory at its end", at=size)
    _, disk, first_disk, here, count, length, begin, comment = _END.unpack_from(tail, at)
    place = size - len(tail) + at
    if place + _END.size + comment != size:
        raise Refused("container.trailing", "the zip archive does not end where its directory says", at=place)
    if _FULL_2 in (here, count) or _FULL_4 in (length, begin):
        place, disk, first_disk, here, count, length, begin = _directory_64(file, place)
    if disk or first_disk or here != count:
        raise Refused("container.members", "the archive is one of several volumes")
    if begin + length != place:
        raise Refused("container.directory", "the directory of the archive is not where it says", at=place)
    return begin, place, count


def _directory_64(file: BinaryIO, end: int) -> tuple[int, int, int, int, int, int, int]:
    file.seek(max(0, end - _LOCATOR_64.size))
    mark, _, place, _ = _LOCATOR_64.unpack(_read(file, _LOCATOR_64.size))
    if mark != b"PK\x06\x07" or place + _END_64.size + _LOCATOR_64.size != end:
        raise Refused("container.directory", "the archive says zip64, and has no such directory", at=end)
    file.seek(place)
    mark, _, _, _, disk, first_disk, here, count, length, begin = _END_64.unpack(_read(file, _END_64.size))
    if mark != b"PK\x06\x06":
        raise Refused("container.directory", "the archive says zip64, and has no such directory", at=place)
    return place, disk, first_disk, here, count, length, begin


def _entries(file: BinaryIO, begin: int, end: int, limits: Limits) -> Iterator[_Entry]:
    file.seek(begin)
    at = begin
    for _ in range(limits.members + 1):
        if at >= end:
            return
        fields = _ENTRY.unpack(_read(file, _ENTRY.size))
        mark, made, _, flags, method, _, _, crc, packed, size, name, extra, comment, _, _, mode, start = (
            fields
        )
        if mark != b"PK\x01\x02":
            raise Refused("container.directory", "the directory of the archive is broken", at=at)
        raw, more = _read(file, name), _read(file, extra)
        file.seek(comment, os.SEEK_CUR)
        size, packed, start = _sizes_64(more, size, packed, start)
        at += _ENTRY.size + name + extra + comment
        yield _Entry(raw, flags, method, crc, packed, size, start, mode >> 16 if made >> 8 == _UNIX else 0)


def _sizes_64(extra: bytes, *sizes: int) -> tuple[int, int, int]:
    """What of (size, packed size, start) did not fit into four bytes stands in an extra field."""
    wide: list[int] = []
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _EXTRA_64:
            body = extra[at + 4 : at + 4 + length]
            wide = [int.from_bytes(body[i : i + 8], "little") for i in range(0, len(body) // 8 * 8, 8)]
        at += 4 + length
    found = iter(wide)
    size, packed, start = (next(found, one) if one == _FULL_4 else one for one in sizes)
    return size, packed, start


def _name(entry: _Entry) -> str:
    """The name as text; it is shown and compared, never opened."""
    try:
        name = entry.raw.decode("utf-8" if entry.flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        raise Refused("container.name", f"the name of a member is not UTF-8: {entry.raw[:40]!r}") from None
    if not name or len(entry.raw) > _NAME_MAX or _UNSAFE.search(name):
        raise Refused("container.name", f"a member is named {name[:80]!r}, which leads out of the archive")
    if entry.mode and stat.S_IFMT(entry.mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise Refused("container.name", f"the member {name!r} is a link or a device")
    return name


def _data(file: BinaryIO, entry: _Entry) -> int:
    """Where a member's data begins; what stands before it has to say what the directory says."""
    file.seek(entry.start)
    mark, _, flags, method, _, _, crc, packed, size, name, extra = _LOCAL.unpack(_read(file, _LOCAL.size))
    raw, more = _read(file, name), _read(file, extra)
    size, packed, _ = _sizes_64(more, size, packed, 0)
    said = (crc, packed, size)
    ours = (entry.crc, entry.packed, entry.size)
    if flags & _STREAMED and not any(said):
        said = ours
    if mark != b"PK\x03\x04" or (raw, flags, method, *said) != (entry.raw, entry.flags, entry.method, *ours):
        what = f"the member {raw[:80]!r} and its entry in the directory, {entry.raw[:80]!r}, differ"
        raise Refused("container.directory", what, at=entry.start)
    return entry.start + _LOCAL.size + len(raw) + len(more)


def _apart(named: dict[str, _Entry], data: dict[str, int], end: int) -> None:
    at = 0
    for start, name in sorted((entry.start, name) for name, entry in named.items()):
        if start < at:
            raise Refused("container.overlap", f"the member {name!r} overlaps another", at=start)
        at = data[name] + named[name].packed
    if at > end:
        raise Refused("container.overlap", "the last member reaches into the directory", at=end)


def _chosen(names: list[str], pattern: str | None) -> str:
    files = [name for name in names if not name.endswith("/")]
    if pattern is not None:
        form = re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        files = [name for name in files if re.fullmatch(form, name)]
    if len(files) != 1:
        of = f"are named {pattern}" if pattern else "are files"
        shown = ", ".join(map(repr, files[:_SHOWN])) or "none"
        raise Refused("container.members", f"one member is read, and {len(files)} {of}: {shown}")
    return files[0]


def _readable(name: str, entry: _Entry) -> None:
    if entry.flags & _ENCRYPTED:
        raise Refused("container.encrypted", f"the member {name!r} is encrypted")
    if entry.method not in (_STORED, _DEFLATED):
        what = f"the member {name!r} is compressed by method {entry.method}; stored and deflated are read"
        raise Refused("container.method", what)


def _read(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise Refused(
            "container.truncated", "the zip archive ends within its directory or a member", at=file.tell()
        )
    return data
