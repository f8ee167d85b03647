"""A declared encoding is held: what it does not know refuses the file, with the byte."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from connectors.files.encodings import Encoding, utf8
from connectors.files.records import Refused
from tests.support.framed import cut

SINGLE = ["cp1252", "latin-1", "iso-8859-15", "cp1250", "iso-8859-2", "cp850"]


def refused(data: bytes, encoding: str, *, nul: bool = False) -> tuple[str, int | None]:
    with pytest.raises(Refused) as seen:
        list(utf8([data], encoding, nul=nul))
    return seen.value.code, seen.value.at


@given(
    text=st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"])),
    places=st.lists(st.integers(0, 999)),
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_any_text_in_any_chunks_comes_out_as_utf_8(encoding: str, text: str, places: list[int]) -> None:
    assert b"".join(utf8(cut(text.encode(encoding), places), encoding)) == text.encode()


@given(data=st.binary(), places=st.lists(st.integers(0, 999)))
@pytest.mark.parametrize("encoding", SINGLE)
def test_a_single_byte_encoding_is_read_or_refused_as_its_codec_does(
    encoding: str, data: bytes, places: list[int]
) -> None:
    data = data.translate(None, b"\0" + bytes(range(0x80, 0xA0)) + b"\xef\xff\xfe")
    assert b"".join(utf8(cut(data, places), encoding)).decode() == data.decode(encoding)


def ended(chunks: list[bytes]) -> tuple[str, int | None]:
    try:
        return "", len(b"".join(utf8(chunks, "utf-8")))
    except Refused as no:
        return no.code, no.at


@given(data=st.binary(), places=st.lists(st.integers(0, 999)))
def test_what_is_no_utf_8_is_refused_where_the_codec_says(data: bytes, places: list[int]) -> None:
    data = data.translate(None, b"\0")
    expected: tuple[str, int | None] = ("", len(data))
    try:
        data.decode()
    except UnicodeDecodeError as error:
        expected = ("encoding.undecodable", error.start)
    if data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        expected = ("encoding.bom", 0)
    assert ended([data]) == ended(cut(data, places)) == expected


@pytest.mark.parametrize(
    ("data", "encoding", "code", "at"),
    [
        (b"abc;\xe9t\xe9", "utf-8", "encoding.undecodable", 4),  # cp1252 in a file declared UTF-8
        (b"abc\xc3", "utf-8", "encoding.undecodable", 3),  # cut off within a character
        (b"abc\xed\xa0\x80", "utf-8", "encoding.undecodable", 3),  # a lone surrogate
        (b"\xc0\xaf", "utf-8", "encoding.undecodable", 0),  # an overlong slash
        (b"abc\xe9", "ascii", "encoding.undecodable", 3),
        (b"abc\x81", "cp1252", "encoding.undecodable", 3),
        ("a;\ud800".encode("utf-16-le", "surrogatepass"), "utf-16-le", "encoding.undecodable", 4),
        ("ab".encode("utf-16-le")[:3], "utf-16-le", "encoding.undecodable", 2),
        (b"\xef\xbb\xbfid", "utf-8", "encoding.bom", 0),
        (b"\xef\xbb\xbfid", "cp1252", "encoding.bom", 0),
        (b"\xff\xfei\0", "latin-1", "encoding.bom", 0),
        (b"\xff\xfei\0", "utf-16-le", "encoding.bom", 0),
        ("id".encode("utf-16-le"), "utf-16", "encoding.bom", 0),
        (b"50 \x80", "latin-1", "encoding.control", 3),  # the euro of cp1252
        (b"ab\0c", "utf-8", "encoding.nul", 2),
        ("é\0".encode("utf-16"), "utf-16", "encoding.nul", 4),
        (b"\xe9\xe9\0", "cp1252", "encoding.nul", 2),
    ],
)
def test_what_is_not_in_the_declared_encoding_is_refused_with_its_byte(
    data: bytes, encoding: str, code: str, at: int
) -> None:
    assert refused(data, encoding) == (code, at)


def test_f9_utf_8_under_another_name_passes_where_nothing_gives_it_away() -> None:
    assert refused("Á".encode(), "cp1252") == ("encoding.undecodable", 1)
    assert refused("É".encode(), "latin-1") == ("encoding.control", 1)
    # all its bytes are characters of cp1252: no reader can tell
    assert b"".join(utf8(["é".encode()], "cp1252")).decode() == "Ã©"


def test_a_mark_that_was_not_declared_says_what_to_declare() -> None:
    with pytest.raises(Refused, match="declare utf-8-sig"):
        list(utf8([b"\xef", b"\xbb", b"\xbfid"], "utf-8"))
    assert b"".join(utf8([b"\xef", b"\xbb", b"\xbfid"], "utf-8-sig")) == b"id"
    assert b"".join(utf8([b"id"], "utf-8-sig")) == b"id"
    assert b"".join(utf8([b""], "utf-16")) == b""


def test_nul_passes_where_it_is_declared() -> None:
    assert b"".join(utf8([b"a\0b"], "utf-8", nul=True)) == b"a\0b"


def test_text_that_is_utf_8_already_is_not_copied() -> None:
    chunk = "é;".encode() * 1000
    assert next(utf8([chunk], "utf-8")) is chunk


@pytest.mark.parametrize(("name", "hint"), [("cp500", "EBCDIC"), ("IBM-1047", "EBCDIC"), ("utf8", "utf-8")])
def test_an_encoding_that_is_not_read_is_an_authors_mistake(name: str, hint: str) -> None:
    with pytest.raises(ValidationError, match=hint):
        TypeAdapter(Encoding).validate_python(name)
    assert TypeAdapter(Encoding).validate_python("cp1252") == "cp1252"
