"""XML records: text to the character, every attack refused before it costs anything."""

from __future__ import annotations

import http.server
import threading
import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.files.records import Limits, Refused
from connectors.files.xmls import Xml, XmlRecord, read_xml
from tests.support.lots import Record, cut, records

ORDERS = Xml(
    record="orders/order",
    columns={"id": "@id", "name": None, "city": "to/city", "country": "to/city/@country"},
    header=XmlRecord(record="orders/head", columns={"day": "@day"}),
    trailer=XmlRecord(record="orders/end/total", columns={"count": "."}),
)
SMALL = Limits(record=2_000, field=500, depth=8)
SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=4)


def orders(content: str | bytes, declared: Xml = ORDERS, encoding: str = "utf-8") -> list[Record]:
    given_ = content.encode() if isinstance(content, str) else content
    return records(read_xml([given_], declared, encoding=encoding, limits=SMALL))


def refusal(content: str | bytes | Iterable[bytes], encoding: str = "utf-8") -> Refused:
    chunks = (
        [content.encode()]
        if isinstance(content, str)
        else [content]
        if isinstance(content, bytes)
        else content
    )
    with pytest.raises(Refused) as refused:
        list(read_xml(chunks, ORDERS, encoding=encoding, limits=SMALL))
    assert f"byte {refused.value.at}" in refused.value.what
    return refused.value


def test_records_header_and_trailer_are_told_apart() -> None:
    found = orders(
        '<?xml version="1.0" encoding="UTF-8"?>\n<!-- hello --><orders><head day="2026-11-02"/>\n'
        '<order id="1"><name>Zoé &amp; <![CDATA[<Cie>]]>&#x1F4E6;</name>'
        '<to><city country="FR"> Lille </city></to></order>'
        "<order id='2'><name/><to/></order><order/><x><y/></x><end><total>3</total></end></orders>"
    )
    assert [(r.number, r.kind, r.row) for r in found] == [
        (1, "header", (b"2026-11-02",)),
        (2, "detail", (b"1", "Zoé & <Cie>📦".encode(), b" Lille ", b"FR")),
        (3, "detail", (b"2", b"", None, None)),
        (4, "detail", (None, None, None, None)),
        (5, "trailer", (b"3",)),
    ]


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ("<order><name>a</name><name>b</name></order>", "xml.twice"),
        ("<order><to><city/></to><to/></order>", "xml.twice"),
        ("<order><nom/></order>", "xml.unknown"),
        ('<order ref="1"/>', "xml.unknown"),
        ("<order><to>x<city/></to></order>", "xml.text"),
        ("<order>x</order>", "xml.text"),
        ("<order><name>a<b/>c</name></order>", "xml.mixed"),
        ("<order><name>" + "x" * 501 + "</name></order>", "xml.field-size"),
        ('<order id="' + "x" * 501 + '"/>', "xml.field-size"),
        (
            '<order><name xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="true">x</name></order>',
            "xml.nil",
        ),
        (
            '<order><xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd"/></order>',
            "xml.unknown",
        ),
    ],
)
def test_a_record_that_is_not_fit_is_a_problem_between_good_ones(record: str, code: str) -> None:
    found = orders(f'<orders><order id="1"/>{record}<order id="3"/></orders>')
    assert [(r.number, r.code) for r in found] == [(1, ""), (2, code), (3, "")]
    assert found[1].raw == record.encode()
    assert found[2].row == (b"3", None, None, None)


@pytest.mark.parametrize(
    "record",
    ["<order z='/>' />", "<order z=''></order >", "<order><z/></order>", "<order><!--/>--><z/>\n</order>"],
)
@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_the_bytes_of_a_bad_record_are_its_own(record: str, size: int) -> None:
    content = f"<orders><order/>{record}</orders>".encode()
    assert records(read_xml(cut(content, [size]), ORDERS))[1].raw == record.encode()


def test_what_no_column_names_may_be_ignored() -> None:
    lenient = Xml.model_validate({**ORDERS.model_dump(), "unknown": "ignore"})
    record = '<order z="1" id="1">x<nom>y<z/></nom><name>n</name></order>'
    assert orders(f"<orders>{record}</orders>", lenient)[0].row == (b"1", b"n", None, None)


def test_null_says_so_and_blank_is_text() -> None:
    found = orders(
        '<orders xmlns:i="http://www.w3.org/2001/XMLSchema-instance">'
        '<order><name i:nil="true"/></order><order><name i:nil="false" i:type="t"> </name></order></orders>'
    )
    assert [r.row[1] for r in found] == [None, b" "]


def test_namespaces_count_and_prefixes_do_not() -> None:
    declared = Xml(
        record="o:orders/o:order",
        columns={"id": "@id", "ref": "@x:ref", "name": "o:name", "lang": "o:name/@xml:lang"},
        namespaces={"o": "urn:o", "x": "urn:x"},
    )
    row = '<order id="1" y:ref="2"><name xml:lang="fr">n</name></order>'
    found = orders(f'<orders xmlns="urn:o" xmlns:y="urn:x">{row}</orders>', declared)
    assert found[0].row == (b"1", b"2", b"n", b"fr")
    plain = Xml(record="orders/order", columns={"id": "@id"}, namespaces={"": "urn:o"})
    assert orders('<p:orders xmlns:p="urn:o"><p:order id="1"/></p:orders>', plain)[0].row == (b"1",)
    with pytest.raises(Refused, match="no declared path"):
        orders(f'<orders xmlns="urn:other">{row}</orders>', declared)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "xml.syntax"),
        ("<orders><order></orders>", "xml.syntax"),
        ("<orders><order id='1'/>", "xml.syntax"),
        ("<orders><order id='1' id='2'/></orders>", "xml.syntax"),
        ("<orders><order id='1'/></orders><orders/>", "xml.syntax"),
        ("<orders>&nbsp;</orders>", "xml.syntax"),
        ("<orders><order id='\0'/></orders>", "xml.syntax"),
        ("<orders>&#xD800;</orders>", "xml.syntax"),
        ("<orders><p:order/></orders>", "xml.syntax"),
        ("\ufeff<orders/>", "xml.bom"),
        ('<?xml version="1.0" encoding="iso-8859-1"?><orders/>', "xml.encoding"),
        ('<?xml version="1.0" encoding="utf-7"?><orders/>', "xml.encoding"),
        ('<?xml version="1.0" encoding="x-none"?><orders/>', "xml.encoding"),
        ("<!DOCTYPE orders><orders/>", "xml.dtd"),
        ("<ordres><order/></ordres>", "xml.no-records"),
        ("<orders><ordre/></orders>", "xml.no-records"),
        ("<orders><order>" + "<a>" * 9, "xml.depth"),
        ("<orders>" + "<a>" * 9, "xml.depth"),
        ("<orders><order>" + "<name/>" * 300 + "</order></orders>", "xml.record-size"),
    ],
)
def test_a_document_that_is_not_fit_is_refused_at_its_byte(content: str, code: str) -> None:
    assert refusal(content).code == code


def test_a_refusal_names_line_and_byte() -> None:
    refused = refusal("<orders>\n<order id='é'/>\n</order>")
    assert (refused.code, refused.record, refused.at) == ("xml.syntax", 1, 28)
    assert "line 3" in refused.what


def test_a_document_without_records_is_empty_only_where_they_might_stand() -> None:
    assert orders("<orders/>") == []
    deep = Xml(record="a/b/c", columns={"x": None})
    assert orders("<a><b/></a>", deep) == []
    with pytest.raises(Refused, match="/a/b/c"):
        orders("<a/>", deep)


@pytest.mark.parametrize(
    ("named", "declared"),
    [("ISO-8859-1", "latin-1"), ("windows-1252", "cp1252"), ("UTF-16", "utf-16-le"), ("utf8", "utf-8-sig")],
)
def test_the_declared_encoding_may_have_many_names(named: str, declared: str) -> None:
    content = f'<?xml version="1.0" encoding="{named}"?><orders><order id="é"/></orders>'
    assert orders(content, encoding=declared)[0].row[0] == "é".encode()


RECORDS = '<orders><order id="1"/></orders>'
LAUGHS = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
ATTACKS = {
    "billion laughs": f'<!DOCTYPE orders [<!ENTITY l0 "ha">{LAUGHS}]><orders><order id="&l9;"/></orders>',
    "quadratic": f'<!DOCTYPE orders [<!ENTITY a "{"a" * 1_000}">]>{RECORDS.replace("1", "&a;" * 9_000)}',
    "external entity": f'<!DOCTYPE orders [<!ENTITY x SYSTEM "{{file}}">]>{RECORDS.replace("1", "&x;")}',
    "entity over the network": '<!DOCTYPE o [<!ENTITY x SYSTEM "{url}/x">]><orders><order id="1"/></orders>',
    "external dtd": '<!DOCTYPE orders SYSTEM "{url}/a.dtd"><orders/>',
    "public dtd": '<!DOCTYPE orders PUBLIC "-//x//y" "{url}/a.dtd"><orders/>',
    "parameter entity": '<!DOCTYPE orders [<!ENTITY % p SYSTEM "{url}/p.dtd">%p;]><orders/>',
}


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine, and what it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *words: Any) -> None:
            del words

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_dtd_is_refused_before_anything_in_it_acts(
    attack: str, tmp_path: Path, listener: tuple[str, list[str]]
) -> None:
    url, asked = listener
    canary = tmp_path / "canary"
    canary.write_text("the canary sings", encoding="utf-8")
    content = ATTACKS[attack].replace("{file}", canary.as_uri()).replace("{url}", url)
    tracemalloc.start()
    refused = refusal(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.code == "xml.dtd"
    assert refused.at is not None
    assert refused.at <= content.index(">")
    assert "canary" not in refused.what
    assert asked == []
    assert peak < 1 << 20


def test_inclusions_and_style_sheets_fetch_nothing(listener: tuple[str, list[str]]) -> None:
    url, asked = listener
    content = (
        f'<?xml-stylesheet href="{url}/s.xsl"?><orders xmlns:xi="http://www.w3.org/2001/XInclude" '
        f'xmlns:s="http://www.w3.org/2001/XMLSchema-instance" s:schemaLocation="u {url}/x.xsd">'
        f'<xi:include href="{url}/x"/><order id="1"/></orders>'
    )
    assert [r.row[0] for r in orders(content)] == [b"1"]
    assert asked == []


@pytest.mark.parametrize(
    ("start", "again", "code"),
    [
        ("<orders><order id='", "x", "xml.token-size"),
        ("<orders><!--", "x", "xml.token-size"),
        ("<", "x", "xml.token-size"),
        ("<orders><order>", "x", "xml.record-size"),
        ("<orders><order>", "<name/>", "xml.record-size"),
        ("<orders>", "<a{n}/>", "xml.names"),
        ("<orders>", "<a xmlns:a{n}='u'/>", "xml.names"),
        (f"<orders xmlns:p='{'u' * 1_001}'>", "<p:a{n}/>", "xml.names"),
        (f"<orders xmlns:p='{'u' * 999}'>", "<p:a{n}/>", "xml.names"),
    ],
)
def test_what_never_ends_is_refused_in_bounded_memory(start: str, again: str, code: str) -> None:
    def blocks() -> Iterator[bytes]:
        yield start.encode()
        n = 0
        while True:
            yield "".join(again.replace("{n}", str(n + i)) for i in range(1_000)).encode()
            n += 1_000

    tracemalloc.start()
    refused = refusal(blocks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.code == code
    assert peak < 2 << 20


def test_the_name_of_a_namespace_does_not_multiply_by_the_elements_in_it() -> None:
    inside = "".join(f"<p:a{n}/>" for n in range(2_000))
    content = f"<orders xmlns:p='{'u' * 500_000}'>{inside}</orders>".encode()
    tracemalloc.start()
    with pytest.raises(Refused) as refused:
        list(read_xml([content], ORDERS))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.value.code == "xml.names"
    assert peak < 16 << 20


def test_two_hundred_megabytes_are_read_in_a_few() -> None:
    order = f'<order id="1"><name>{"x" * 9_960}</name></order>\n'.encode()
    chunks = chain(
        [b"<orders>"], repeat(order * 100, 150), [b"<x>", *repeat(b"y" * 65_536, 800), b"</x></orders>"]
    )
    tracemalloc.start()
    count = sum(lot.count for lot in read_xml(chunks, ORDERS))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 15_000
    assert peak < 8 << 20


TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff"), max_size=12
).map(lambda text: text.replace("\r", ""))


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6), SIZES)
def test_texts_come_back_exactly_however_the_bytes_are_cut(
    rows: list[tuple[str, str]], sizes: list[int]
) -> None:
    written = "".join(f"<order id={quoteattr(a)}><name>{escape(b)}</name></order>\n" for a, b in rows)
    found = records(read_xml(cut(f"<orders>{written}</orders>".encode(), sizes), ORDERS))
    assert [r.row[:2] for r in found] == [(a.encode(), b.encode()) for a, b in rows]


@given(st.text("<>/ abcordersid='&;![]CDATA-?x", max_size=60), SIZES)
def test_whatever_a_document_is_its_fate_does_not_depend_on_the_cut(content: str, sizes: list[int]) -> None:
    def fate(chunks: Iterable[bytes]) -> Any:
        try:
            return records(read_xml(chunks, ORDERS, limits=SMALL))
        except Refused as refused:
            return refused.code

    whole = f"<orders><order id='1'>{content}</order></orders>".encode()
    assert fate([whole]) == fate(cut(whole, sizes)) == fate(cut(b"" + whole, [1]))
    start = b"\xef\xbb\xbf" + whole
    assert fate([start]) == fate(cut(start, sizes)) == "xml.bom"


@pytest.mark.parametrize(
    "wrong",
    [
        {"record": "orders//order"},
        {"record": "orders/order[1]"},
        {"columns": {}},
        {"columns": {"a": "a/@b/c"}},
        {"columns": {"a": "p:a"}},
        {"columns": {"a": "x", "b": "x"}},
        {"columns": {"a": "x", "b": "x/y"}},
        {"columns": {"a": ".", "b": None}},
        {"header": {"record": "orders", "columns": {"a": "@x"}}},
        {"header": {"record": "orders/order/h", "columns": {"a": None}}},
        {"header": {"record": "orders/order", "columns": {"a": None}}},
        {"colums": {}},
    ],
)
def test_a_mistake_in_what_is_declared_is_named(wrong: dict[str, Any]) -> None:
    right = {"record": "orders/order", "columns": {"a": None}}
    Xml.model_validate(right)
    with pytest.raises(ValidationError):
        Xml.model_validate({**right, **wrong})
