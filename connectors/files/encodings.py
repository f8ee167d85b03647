"""From a partner's encoding to UTF-8: the encoding is declared, and nothing else passes.

Rule: no text is guessed, replaced or dropped. What the declared encoding does not know refuses the file with
the byte at which it stands. Text that is UTF-8 already is looked at, not rewritten.

A single-byte encoding gives a character for nearly every byte, so text in another encoding passes in silence.
What gives that away is refused: the mark of another encoding at the beginning, bytes that cp1252 leaves open,
and the control characters 0x80 to 0x9F, which stand in a file declared ``latin-1`` when it is in cp1252.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Final, Literal, get_args

from pydantic import BeforeValidator

from connectors.files.records import Refused

_Known = Literal[
    "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "ascii",
    "cp1252", "latin-1", "iso-8859-15", "cp1250", "iso-8859-2", "cp850",
]  # fmt: skip
_EBCDIC: Final = (
    "ebcdic",
    "cp037",
    "cp273",
    "cp297",
    "cp500",
    "cp1047",
    "cp1140",
    "cp1141",
    "cp1147",
    "cp1148",
)


def _known(value: object) -> object:
    """The name as it is declared, or a mistake that says what may be declared."""
    if isinstance(value, str) and value.lower().replace("ibm-", "cp").replace("ibm", "cp") in _EBCDIC:
        raise ValueError(
            f"{value} is EBCDIC, which is not read: have the transfer convert it, to cp1252 or utf-8"
        )
    if value not in get_args(_Known):
        raise ValueError(f"{value} is no encoding that is read; known: {', '.join(get_args(_Known))}")
    return value


Encoding = Annotated[_Known, BeforeValidator(_known)]
"""The encodings that may be declared."""

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MARK_BYTES: Final = 3
_NEAR: Final = 16  # bytes that a refusal shows
_WIDE: Final = frozenset({"utf-16", "utf-16-le", "utf-16-be"})
_C1: Final = bytes(range(0x80, 0xA0))
_NOT_C1: Final = bytes(sorted({*range(256)} - {*_C1}))
_C1_ARE_CONTROLS: Final = frozenset({"latin-1", "iso-8859-15", "iso-8859-2"})

Decode = Callable[[bytes, str, bool], tuple[str, int]]


def mark_of(encoding: str) -> bytes:
    """What a file in an encoding begins with."""
    return {"utf-8-sig": codecs.BOM_UTF8, "utf-16": codecs.BOM_UTF16_LE}.get(encoding, b"")


def single_byte(encoding: str) -> bool:
    """Whether each character of an encoding is one byte: offsets in bytes are then offsets in characters."""
    return encoding not in _WIDE and not encoding.startswith("utf-8")


def utf8(chunks: Iterable[bytes], encoding: str, *, nul: bool = False) -> Iterator[bytes]:
    """Content in an encoding, as chunks of UTF-8 without a mark at the beginning; or ``Refused``.

    A chunk ends with a whole character. NUL is refused unless it was declared.
    """
    wide = encoding in _WIDE
    whole = _from(_start(iter(chunks), encoding), encoding)
    for at, chunk, text in whole:
        if not nul and b"\0" in text:
            # the byte in the partner's encoding: characters before it, each as long as it was there
            before = text[: text.index(b"\0")]
            raise Refused("encoding.nul", _nul(wide=wide), at=at + _length(before, chunk, text, encoding))
        yield text


def _nul(*, wide: bool) -> str:
    hint = "" if wide else "; a text of which every second byte is NUL is UTF-16"
    return f"a NUL byte; declare it where NUL belongs to the data{hint}"


def _length(before: bytes, chunk: bytes, text: bytes, encoding: str) -> int:
    if chunk is text:
        return len(before)
    name = {"utf-16": "utf-16-le"}.get(encoding, encoding)
    return len(before.decode().encode(name))


def _start(chunks: Iterator[bytes], encoding: str) -> tuple[int, Iterator[bytes], str]:
    """Past the mark at the beginning: its length, the content behind it, and the codec that holds."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _MARK_BYTES:
            break
    mark, name = next(((mark, name) for mark, name in _MARKS if head.startswith(mark)), (b"", ""))
    codec = encoding
    if encoding == "utf-16":
        if name != "utf-16" and head:
            raise Refused("encoding.bom", "no byte order mark; declare utf-16-le or utf-16-be", at=0)
        codec = "utf-16-be" if mark == codecs.BOM_UTF16_BE else "utf-16-le"
    elif encoding == "utf-8-sig":
        codec = "utf-8"
        mark = mark if name == encoding else b""
    elif mark:
        what = f"the file begins with the mark of {name}, and {encoding} is declared: declare {name}"
        raise Refused("encoding.bom", what, at=0)
    return len(mark), _again(head[len(mark) :], chunks), codec


def _again(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from chunks


def _from(start: tuple[int, Iterator[bytes], str], encoding: str) -> Iterator[tuple[int, bytes, bytes]]:
    """For each chunk, from whole character to whole character: where it begins, itself, and it in UTF-8."""
    at, chunks, codec = start
    decode, ascii_alike = _decoder(codec), encoding not in _WIDE
    rest = b""
    for came in chunks:
        chunk = rest + came if rest else came
        rest = b""
        if ascii_alike and chunk.isascii():
            yield at, chunk, chunk
        else:
            text, used = _strict(decode, chunk, encoding, at, last=False)
            chunk, rest = chunk[:used], chunk[used:]
            yield at, chunk, chunk if codec == "utf-8" else text.encode()
        at += len(chunk)
    _strict(decode, rest, encoding, at, last=True)


def _decoder(codec: str) -> Decode:
    if codec == "utf-8":
        return codecs.utf_8_decode
    if codec == "utf-16-le":
        return codecs.utf_16_le_decode
    if codec == "utf-16-be":
        return codecs.utf_16_be_decode
    decode = codecs.lookup(codec).decode
    return lambda data, errors, _: decode(data, errors)


def _strict(decode: Decode, chunk: bytes, encoding: str, at: int, *, last: bool) -> tuple[str, int]:
    try:
        text, used = decode(chunk, "strict", last)
    except UnicodeDecodeError as error:
        near = chunk[error.start : error.start + _NEAR].hex(" ")
        raise Refused(
            "encoding.undecodable",
            f"not {encoding}: {error.reason}; the bytes there are {near}",
            at=at + error.start,
        ) from None
    if encoding in _C1_ARE_CONTROLS and (found := chunk.translate(None, _NOT_C1)):
        raise Refused(
            "encoding.control",
            f"byte 0x{found[0]:02x} is a control character in {encoding}; text in cp1252 has such bytes",
            at=at + chunk.index(found[:1]),
        )
    return text, used
