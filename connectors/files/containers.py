"""From a staged file to its content: whatever wraps it is taken off, whole and with its checksum, or refused.

Rule: what a container says of itself (sizes, names) is checked and never believed: what counts is what has
come out so far, against ``Limits``. A name in an archive is data; nothing here opens a path.

What is decided, and not by the formats: concatenated gzip members and zstd frames are one content, as their
tools write them. Behind the last one nothing may follow; zero bytes, with which some movers fill up a record,
only where ``padding`` is declared, because a transfer that was cut off in a file of full length looks the
same. A container in a container is refused, and so is content that begins like one where none is declared.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connectors.files.archives import Member, member
from connectors.files.frames import WINDOW_MAX, blocks
from connectors.files.records import DEFAULTS, Limits, Refused

Kind = Literal["none", "gz", "zip", "zst"]

CHUNK: Final = 1 << 17

Taken = Iterator[tuple[int, bytes]]
"""How many bytes of the container were read so far, and the content that came of them."""

_FREE: Final = 1 << 20  # content up to here has any ratio: a megabyte of blanks is no bomb
_GZIP: Final = 31  # zlib's word for a gzip header, and its checksum and length at the end
_PIECE: Final = 1 << 15  # zlib hands back what follows a member: small, for files of many small members
_GZIP_MARK: Final = b"\x1f\x8b"
_RAW: Final = -15
_BEGINNINGS: Final = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "an empty zip archive",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"\x1f\x9d": "compress (.Z)",
}
_BEGINNING_BYTES: Final = max(map(len, _BEGINNINGS))


class Container(BaseModel):
    """What a partner's file is wrapped in.

    ``member`` names the one member of a zip archive that is read, where it holds more than one: ``*`` and
    ``?`` stand for anything but a slash. ``padding`` allows zero bytes behind the end of a gzip file.
    """

    SHORT: ClassVar = "kind"
    """What ``container: gz`` says."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    kind: Kind = "none"
    member: str | None = Field(default=None, min_length=1)
    padding: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {cls.SHORT: value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits(self) -> Container:
        if self.member is not None and self.kind != "zip":
            raise ValueError(f"member names a file in a zip archive, and kind is {self.kind}")
        if self.padding and self.kind != "gz":
            raise ValueError(f"padding concerns gz, and kind is {self.kind}")
        return self


def content(file: BinaryIO, container: Container, limits: Limits = DEFAULTS) -> Iterator[bytes]:
    """The content of a staged file in chunks of at most 128 KiB, complete, or ``Refused``."""
    file.seek(0, os.SEEK_END)
    size = file.tell()
    file.seek(0)
    return _bounded(_not_nested(_taken(file, size, container, limits), container.kind), limits)


def _taken(file: BinaryIO, size: int, container: Container, limits: Limits) -> Taken:
    match container.kind:
        case "none":
            return _plain(file)
        case "gz":
            return _gzip(file, padding=container.padding)
        case "zip":
            return _zip(file, member(file, size, container.member, limits))
        case "zst":
            return _zstd(file)


def _plain(file: BinaryIO) -> Taken:
    read = 0
    while chunk := file.read(CHUNK):
        read += len(chunk)
        yield read, chunk


def _gzip(file: BinaryIO, *, padding: bool) -> Taken:
    read, rest = 0, b""
    while True:
        # at the beginning of a member
        while len(rest) < len(_GZIP_MARK) and (more := file.read(_PIECE)):
            read, rest = read + len(more), rest + more
        at = read - len(rest)
        if not rest and at:
            return
        if not rest.startswith(_GZIP_MARK):
            if not at:
                raise _no_gzip(rest)
            _only_padding(file, rest, at, padding=padding)
            return
        unpack = zlib.decompressobj(_GZIP)
        while not _ended(unpack):
            out = _inflate(unpack, rest, at)
            rest = unpack.unused_data if _ended(unpack) else unpack.unconsumed_tail
            if out:
                yield read - len(rest), out
            elif not _ended(unpack) and not rest:
                if not (rest := file.read(_PIECE)):
                    raise Refused("container.truncated", "the gzip file ends within a member", at=read)
                read += len(rest)


def _inflate(unpack: zlib._Decompress, data: bytes, at: int) -> bytes:
    try:
        return unpack.decompress(data, CHUNK)
    except zlib.error as error:
        what = str(error).rpartition(": ")[2]
        code = "container.checksum" if "check" in what else "container.corrupt"
        raise Refused(code, f"{what}, in the member that begins at byte {at}", at=at) from None


def _ended(unpack: zlib._Decompress) -> bool:
    return unpack.eof


def _only_padding(file: BinaryIO, rest: bytes, at: int, *, padding: bool) -> None:
    zeros = 0
    while rest:
        if rest.strip(b"\0"):
            raise Refused("container.trailing", "bytes that are no gzip follow the last member", at=at)
        zeros += len(rest)
        rest = file.read(CHUNK)
    if not padding:
        raise Refused(
            "container.trailing", f"{zeros} zero bytes follow the last member; padding allows that", at=at
        )


def _zip(file: BinaryIO, found: Member) -> Taken:
    size = crc = 0
    for read, out in _inflated(file, found) if found.deflated else _packed(file, found):
        size, crc = size + len(out), zlib.crc32(out, crc)
        yield read, out
    if size != found.size:
        what = f"the member is {size} bytes, its archive says {found.size}"
        raise Refused("container.checksum", what, at=found.at)
    if crc != found.crc:
        what = f"the member's CRC is {crc:08x}, its archive says {found.crc:08x}"
        raise Refused("container.checksum", what, at=found.at)


def _packed(file: BinaryIO, found: Member) -> Taken:
    file.seek(found.at)
    left = found.packed
    while left:
        data = file.read(min(CHUNK, left))
        if not data:
            raise Refused("container.truncated", "the archive ends within its member", at=file.tell())
        left -= len(data)
        yield found.packed - left, data


def _inflated(file: BinaryIO, found: Member) -> Taken:
    unpack, read = zlib.decompressobj(_RAW), 0
    for read, data in _packed(file, found):
        rest = data
        while rest and not _ended(unpack):
            out = _inflate(unpack, rest, found.at)
            rest = unpack.unconsumed_tail
            yield read - len(rest), out
        if _ended(unpack):
            break
    while not _ended(unpack) and (out := _inflate(unpack, b"", found.at)):
        yield read, out
    if not _ended(unpack):
        raise Refused("container.truncated", "the compressed member does not come to its end", at=found.at)
    if left := found.packed - read + len(unpack.unused_data):
        what = f"{left} bytes follow the compressed data within its member"
        raise Refused("container.trailing", what, at=found.at)


def _zstd(file: BinaryIO) -> Taken:
    # one block at a time: what a call can give is then bounded by the format, whatever the frame says
    from zstandard import ZstdDecompressor, ZstdError

    unpack, last = ZstdDecompressor(max_window_size=WINDOW_MAX), 0
    frame = unpack.decompressobj()
    try:
        for at, data, last_of_frame in blocks(file):
            last = at
            if out := frame.decompress(data):
                yield at, out
            if last_of_frame:
                if not frame.eof:
                    raise Refused("container.corrupt", "a zstd frame goes on behind its last block", at=at)
                frame = unpack.decompressobj()
    except ZstdError as error:
        what = str(error).rpartition(": ")[2]
        code = "container.checksum" if "checksum" in what else "container.corrupt"
        raise Refused(code, f"zstd: {what}", at=last) from None


def _no_gzip(seen: bytes) -> Refused:
    if _GZIP_MARK.startswith(seen):
        return Refused("container.truncated", f"{len(seen)} bytes are no gzip file", at=0)
    name = next((name for mark, name in _BEGINNINGS.items() if seen.startswith(mark)), "")
    return Refused("container.kind", f"no gzip: the file begins like {name or seen[:4].hex(' ')}", at=0)


def _not_nested(taken: Taken, kind: Kind) -> Taken:
    """Look at what the content begins with."""
    held: list[tuple[int, bytes]] = []
    for item in taken:
        held.append(item)
        if sum(len(chunk) for _, chunk in held) >= _BEGINNING_BYTES:
            break
    head = b"".join(chunk for _, chunk in held)
    name = next((name for mark, name in _BEGINNINGS.items() if head.startswith(mark)), "")
    if name and kind == "none":
        raise Refused("container.kind", f"the file is {name}, and no container is declared", at=0)
    if name:
        raise Refused("container.nested", f"within {kind} stands {name}; one container is taken off", at=0)
    yield from held
    yield from taken


def _bounded(taken: Taken, limits: Limits) -> Iterator[bytes]:
    came = 0
    for read, chunk in taken:
        came += len(chunk)
        if came > limits.content:
            raise Refused("container.size", f"more than {limits.content} bytes of content came of {read}")
        if came > _FREE and came > limits.ratio * read:
            raise Refused(
                "container.ratio",
                f"{came} bytes came of {read}: more than {limits.ratio} times as many",
                at=read,
            )
        yield chunk
