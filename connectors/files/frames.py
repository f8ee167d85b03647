"""The blocks of a zstd file: where each begins and ends, so that they are unpacked one at a time.

Rule: a file is frames, each whole to its last block, and skippable frames are passed over; anything else is
``Refused``. The library unpacks as much as it is handed, and says nothing when the data just ends; between
the two stands this walk, which reads headers only (RFC 8878, 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from connectors.files.records import Refused

WINDOW_MAX: Final = 8 << 20
"""What the format asks every reader to bear; ``zstd -19`` needs no more, ``--long`` and ``--ultra`` do."""

_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_SKIPPABLE: Final = range(0x184D2A50, 0x184D2A60)
_SIZE_BYTES: Final = (0, 2, 4, 8)
_DICTIONARY_BYTES: Final = (0, 1, 2, 4)
_RAW, _RUN, _COMPRESSED = range(3)
_BLOCK_MAX: Final = 128 << 10
_COPY: Final = 1 << 18


def blocks(file: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """Each block with what stands around it: how far the file is read, the bytes, whether the frame ends."""
    first = True
    while magic := file.read(4):
        at = file.tell() - len(magic)
        if len(magic) < len(_MAGIC) and _MAGIC.startswith(magic):
            raise _cut(file)
        if int.from_bytes(magic, "little") in _SKIPPABLE:
            _skip(file)
        elif magic == _MAGIC:
            yield from _frame(file, magic)
        elif first:
            raise Refused("container.kind", f"no zstd: the file begins with {magic.hex(' ')}", at=0)
        else:
            raise Refused("container.trailing", "bytes that are no zstd follow the last frame", at=at)
        first = False
    if first:
        raise Refused("container.truncated", "an empty file is no zstd", at=0)


def _frame(file: BinaryIO, magic: bytes) -> Iterator[tuple[int, bytes, bool]]:
    flags = _take(file, 1)
    single, checksum = flags[0] & 0x20, flags[0] & 0x04
    window = b"" if single else _take(file, 1)
    dictionary = _take(file, _DICTIONARY_BYTES[flags[0] & 3])
    size = _take(file, _SIZE_BYTES[flags[0] >> 6] or (1 if single else 0))
    if any(dictionary):
        raise Refused("container.dictionary", "the zstd frame needs a dictionary", at=file.tell())
    wanted = int.from_bytes(size, "little") if single else _window(window[0])
    if wanted > WINDOW_MAX:
        what = f"the zstd frame needs {wanted} bytes to look back on; {WINDOW_MAX} are allowed"
        raise Refused("container.window", what, at=file.tell())
    before = magic + flags + window + dictionary + size
    last = 0
    while not last:
        header = _take(file, 3)
        number = int.from_bytes(header, "little")
        last, kind, length = number & 1, number >> 1 & 3, number >> 3
        if kind > _COMPRESSED or length > _BLOCK_MAX:
            raise Refused(
                "container.corrupt", "a zstd block of a kind or size that does not exist", at=file.tell()
            )
        data = _take(file, 1 if kind == _RUN else length)
        behind = _take(file, 4) if last and checksum else b""
        yield file.tell(), before + header + data + behind, bool(last)
        before = b""


def _window(descriptor: int) -> int:
    base = 1 << (10 + (descriptor >> 3))
    return base + (base >> 3) * (descriptor & 7)


def _skip(file: BinaryIO) -> None:
    left = int.from_bytes(_take(file, 4), "little")
    while left:
        left -= len(_take(file, min(left, _COPY)))


def _take(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise _cut(file)
    return data


def _cut(file: BinaryIO) -> Refused:
    return Refused("container.truncated", "the zstd file ends within a frame", at=file.tell())
