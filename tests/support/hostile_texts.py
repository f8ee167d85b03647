"""Hostile and broken content: encodings, lines, JSON, XML, and what a file says of itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from connectors.files.records import DEFAULTS
from tests.support.hostile import (
    BARE,
    CSV,
    DOCUMENT,
    FIXED,
    GOOD_CSV,
    GOOD_DOCUMENT,
    GOOD_FIXED,
    GOOD_LINES,
    GOOD_TYPED,
    GOOD_XML,
    LINES,
    TYPED,
    XML,
    Case,
    Rows,
)

_LONG: Final = DEFAULTS.record
_ENDLESS: Final = 24 << 20  # of a record: more than the memory that a case has
_LAUGHS: Final = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))


def _encodings() -> Iterable[Case]:
    def case(name: str, encoding: str, content: bytes, code: str, says: str = r"byte \d+") -> Case:
        # what is no text in any encoding leaves the good file readable in the declared one
        good = GOOD_CSV.decode().encode(encoding)
        return Case(
            f"{encoding}: {name}",
            {**CSV, "encoding": encoding},
            good,
            lambda: content,
            f"encoding.{code}",
            says,
        )

    head = b"id;town\n"
    yield case("a mark", "utf-8", b"\xef\xbb\xbf" + GOOD_CSV, "bom", "declare utf-8-sig")
    yield case("UTF-16", "utf-8", GOOD_CSV.decode().encode("utf-16"), "bom", "declare utf-16")
    yield case("UTF-16 without a mark", "utf-8", GOOD_CSV.decode().encode("utf-16-le"), "nul", "UTF-16")
    yield case("no mark", "utf-16", GOOD_CSV.decode().encode("utf-16-le"), "bom", "byte order mark")
    yield case("cp1252", "utf-8", head + "1;Orléans\n".encode("cp1252"), "undecodable")
    yield case("two encodings", "utf-8", head + "1;é\n".encode() + b"2;\xe9\n", "undecodable")
    yield case("half a surrogate pair", "utf-8", head + b"1;\xed\xa0\x80\n", "undecodable")
    yield case("an overlong slash", "utf-8", head + b"1;\xc0\xaf\n", "undecodable")
    yield case("cut within a character", "utf-8", head + b"1;\xc3", "undecodable")
    yield case("NUL", "utf-8", head + b"1;A\0x\n", "nul")
    yield case("NUL", "cp1252", head + b"1;\xe9\0\n", "nul")
    yield case("open bytes", "cp1252", head + b"1;\x81\n", "undecodable")
    yield case("the euro of cp1252", "latin-1", head + b"1;50 \x80\n", "control")
    yield case(
        "half a surrogate pair", "utf-16-le",
        "id;town\n1;\ud800\n".encode("utf-16-le", "surrogatepass"), "undecodable",
    )  # fmt: skip


def _delimited() -> Iterable[Case]:
    def refused(name: str, content: bytes, code: str, says: str = r"record \d+|byte \d+") -> Case:
        return Case(f"csv: {name}", CSV, GOOD_CSV, lambda: content, code, says)

    def rows(name: str, content: bytes, codes: Rows, said: Any = CSV) -> Case:
        return Case(f"csv: {name}", said, GOOD_CSV, lambda: content, rows=codes)

    head = b"id;town\n"
    tail = b"3;Caen\n" * 200_000
    yield refused("a quote that never closes", head + b'1;"Aix\n' + tail, "record.lines|record.size")
    yield refused(
        "a quote that never closes at the end", head + b'1;Aix\n2;"Brest\n', "record.quote", "record 3"
    )
    yield refused(
        "a quote that the next one closes", head + b'1;"Aix\n2;"Brest"\n', "record.quote", "record 2|3"
    )
    yield refused("text behind a quote", head + b'1;"Aix"en\n', "record.quote", "record 2")
    yield refused("a quote within", head + b'1;A"ix\n', "record.quote", "record 2")
    yield refused("an endless record with quotes", head + b'"' + b"x" * _ENDLESS, "record.size")
    yield refused("CR alone", b"id;town\r1;Aix\r", "line.end")
    yield refused("LF and CRLF", head + b"1;Aix\r\n", "line.end")
    yield refused(
        "a header that is renamed", b"id;city\n1;Aix\n", "header.mismatch", "missing 'town'.*'city'"
    )
    yield refused("a header with one more", b"id;town;x\n1;Aix;2\n", "header.mismatch", "not declared 'x'")
    yield refused("a header twice", b"id;town;id\n1;Aix;2\n", "header.mismatch", "twice 'id'")
    yield refused("no header", b"1;Aix\n", "header.mismatch")
    yield refused("empty", b"", "header.mismatch", "empty")
    yield rows("ragged", head + b"1\n2;Aix\n3;a;b\n", {2: "record.width", 3: "", 4: "record.width"})
    yield rows("two halves that fit", head + b"1\n2;a;b\n", {2: "record.width", 3: "record.width"})
    yield rows("blank lines", head + b"1;Aix\n\n", {2: "", 3: "record.blank"})
    yield rows("names in another order", b"town;id\nAix;1\n", {2: ""})
    yield rows("line ends in quotes", head + b'1;"A\nx"\n2;Aix\n', {2: "", 3: ""})
    yield rows(
        "an endless line", head + b"1;" + b"x" * _ENDLESS + b"\n2;Aix\n", {2: "record.size", 3: ""}, BARE
    )
    yield rows(
        "a million delimiters", head + b";" * 1_000_000 + b"\n2;Aix\n", {2: "record.width", 3: ""}, BARE
    )


def _fixed() -> Iterable[Case]:
    def rows(name: str, content: bytes, codes: Rows) -> Case:
        return Case(f"fixed: {name}", FIXED, GOOD_FIXED, lambda: content, rows=codes)

    yield rows(
        "short and long", b"001Aix\n002Aix \n003Aix  \n", {1: "record.length", 2: "", 3: "record.length"}
    )
    yield rows(
        "two bytes for one character", "001É   \n00É2 x \n".encode(), {1: "record.length", 2: "record.length"}
    )
    yield rows("within a character", "00ÉAix\n".encode(), {1: "field.character"})
    yield rows("a tab", b"001\tAix\n", {1: "record.tab"})
    yield rows("an endless line", b"001Aix \n" + b"9" * _ENDLESS + b"\n", {1: "", 2: "record.size"})
    yield rows("blank", b"\n001Aix \n", {1: "record.blank", 2: ""})


def _json() -> Iterable[Case]:
    def rows(name: str, line: str | bytes, code: str) -> Case:
        content = GOOD_LINES + (line.encode() if isinstance(line, str) else line) + b"\n" + GOOD_LINES
        return Case(f"json: {name}", LINES, GOOD_LINES, lambda: content, rows={1: "", 2: code, 3: ""})

    def refused(name: str, content: str, code: str, says: str = r"byte \d+") -> Case:
        return Case(f"json: {name}", DOCUMENT, GOOD_DOCUMENT, content.encode, code, says)

    yield rows("a key twice", '{"id": 1, "id": 2}', "json.duplicate-key")
    yield rows("NaN", '{"id": NaN}', "json.not-a-number")
    yield rows("half a surrogate pair", r'{"id": "\ud800"}', "json.surrogate")
    yield rows("deep", '{"id": ' + "[" * 100_000 + "]" * 100_000 + "}", "json.depth")
    yield rows("deep and open", "[" * 100_000, "json.depth")
    yield rows("no object", "[1]", "json.not-an-object")
    yield rows("an unknown key", '{"id": 1, "x": 2}', "json.unknown-key")
    yield rows("broken", '{"id": 1,}', "json.syntax")
    yield rows("two objects", '{"id": 1} {"id": 2}', "json.syntax")
    yield rows("a number of 5,000 digits", '{"id": ' + "9" * 5_000 + "}", "")
    yield rows("an endless line", b'{"id": "' + b"x" * _ENDLESS, "json.record-size")
    yield Case(
        "json: cut within its last line", LINES, GOOD_LINES, lambda: GOOD_LINES + b'{"id": 1',
        "json.truncated", "line 2",
    )  # fmt: skip
    yield refused("a document that is deep", '{"x": ' + "[" * 100_000, "json.depth")
    yield refused("a record that is deep", '{"items": [' + "[" * 100_000, "json.depth")
    yield refused("an endless text", '{"items": ["' + "x" * _ENDLESS, "json.record-size")
    yield refused("endless keys", "{" + ",".join(f'"{n}": 0' for n in range(50_000)), "json.keys")
    yield refused("two arrays of records", '{"items": [], "items": []}', "json.duplicate-key")
    yield refused("no records", '{"rows": []}', "json.no-records")
    yield refused("cut off", '{"items": [{"id": 1}', "json.syntax")
    yield refused("empty", "", "json.no-records")


def _xml() -> Iterable[Case]:
    def refused(name: str, content: str, code: str) -> Case:
        return Case(f"xml: {name}", XML, GOOD_XML, content.encode, code, r"byte \d+")

    def rows(name: str, row: str, code: str) -> Case:
        content = f'<rows><row id="1"/>{row}<row id="3"/></rows>'
        return Case(f"xml: {name}", XML, GOOD_XML, content.encode, rows={1: "", 2: code, 3: ""})

    laughs = f'<!DOCTYPE rows [<!ENTITY l0 "ha">{_LAUGHS}]><rows><row id="&l9;"/></rows>'
    yield refused("a billion laughs", laughs, "xml.dtd")
    entity = '<!DOCTYPE rows [<!ENTITY x SYSTEM "file:///etc/passwd">]><rows><row id="&x;"/></rows>'
    yield refused("an external entity", entity, "xml.dtd")
    yield refused("a DTD elsewhere", '<!DOCTYPE rows SYSTEM "http://127.0.0.1:1/x.dtd"><rows/>', "xml.dtd")
    long = f'<!DOCTYPE rows [<!ENTITY a "{"a" * 1_000}">]><rows><row id="{"&a;" * 9_000}"/></rows>'
    yield refused("quadratic", long, "xml.dtd")
    yield refused("an unknown entity", '<rows><row id="&x;"/></rows>', "xml.syntax")
    yield refused("an endless attribute", "<rows><row id='" + "x" * _ENDLESS, "xml.token-size")
    yield refused("an endless comment", "<rows><!--" + "x" * _ENDLESS, "xml.token-size")
    yield refused("an endless record", "<rows><row>" + "<town>x</town>" * 2_000_000, "xml.record-size")
    yield refused("endless names", "<rows>" + "".join(f"<a{n}/>" for n in range(300_000)), "xml.names")
    yield refused("deep", "<rows>" + "<a>" * 100_000, "xml.depth")
    yield refused("cut off", '<rows><row id="1"', "xml.syntax")
    yield refused("another encoding", '<?xml version="1.0" encoding="latin-1"?><rows/>', "xml.encoding")
    yield refused("another root", "<html/>", "xml.no-records")
    yield refused("text behind it", '<rows><row id="1"/></rows>x', "xml.syntax")
    yield rows("an unknown element", "<row><x/></row>", "xml.unknown")
    yield rows("an element twice", "<row><town/><town/></row>", "xml.twice")
    yield rows("text where none is", "<row>Aix</row>", "xml.text")


def _controls() -> Iterable[Case]:
    def case(name: str, content: bytes, code: str, says: str) -> Case:
        return Case(f"controls: {name}", TYPED, GOOD_TYPED, lambda: content, f"control.{code}", says)

    day, two = b"H;20261120\n", b"D;1;1,50\nD;2;2,25\n"
    yield case("a wrong count", day + two + b"T;3;3,75\n", "count", "says 3 details, and the file has 2")
    yield case("a wrong sum", day + two + b"T;2;3,76\n", "sum", r"says 3\.76.*is 3\.75")
    yield case("a sum that is no number", day + two + b"T;2;much\n", "sum", "'much'")
    yield case("a day that is none", b"H;20261322\n" + two + b"T;2;3,75\n", "date", "'20261322'")
    yield case("no trailer", day + two, "trailer-missing", "the file has 0")
    yield case("two trailers", day + two + b"T;2;3,75\nT;2;3,75\n", "trailer-twice", "record 5")
    yield case("records behind the trailer", day + b"T;0;0\nD;1;1\n", "trailer-place", "record 3")
    yield case("no header", two + b"T;2;3,75\n", "header-missing", "the file has 0")
    yield case("a header below", two + day + b"T;2;3,75\n", "header-place", "record 3")
    yield case("a trailer that is ragged", day + two + b"T;2\n", "trailer-unfit", "2 fields")
    content = day + b"D;1;1,50\nX;2\nT;1;1,50\n"
    yield Case("controls: an unknown kind", TYPED, GOOD_TYPED, lambda: content, "control.count", "has 2")


TEXTS: Final = (*_encodings(), *_delimited(), *_fixed(), *_json(), *_xml(), *_controls())
