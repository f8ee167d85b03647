"""JSON lines and JSON documents: every value to the character, every fault in its place."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.files.jsons import JsonDocument, JsonLines, read_document, read_lines
from connectors.files.records import Limits, Refused
from tests.support.lots import cut, records

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=4)
AB = JsonLines(columns={"a": None, "b": None})
SMALL = Limits(record=2_000, field=500, depth=8)


def lines(content: str | bytes, declared: JsonLines = AB, limits: Limits = SMALL) -> list[Any]:
    given_ = content.encode() if isinstance(content, str) else content
    return records(read_lines([given_], declared, limits))


def document(content: str, declared: JsonDocument, limits: Limits = SMALL) -> list[Any]:
    return records(read_document([content.encode()], declared, limits))


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("0.10000000000000000000000000001", b"0.10000000000000000000000000001"),
        ("1.10E+2", b"1.10E+2"),
        ("-0", b"-0"),
        ("1e999", b"1e999"),
        ('"1.0"', b"1.0"),
        ("true", b"true"),
        ("false", b"false"),
        ("null", None),
        ('""', b""),
        (r'"\u00e9\ud83d\udce6\u0000\/"', "é📦\0/".encode()),
        (r'{"x": [1.50, "é\n\"", {}], "w":[ ]}', r'{"x":[1.50,"é\n\"",{}],"w":[]}'.encode()),
        ("[true, null, 1E5]", b"[true,null,1E5]"),
    ],
)
def test_a_value_travels_as_its_partner_wrote_it(written: str, text: bytes | None) -> None:
    assert [record.row for record in lines(f'{{"a": {written}, "b": "x"}}\n')] == [(text, b"x")]
    assert [
        record.row for record in document(f'[{{"a": {written}}}]', JsonDocument(columns={"a": None}))
    ] == [(text,)]


def test_an_integer_of_thousands_of_digits_is_text() -> None:
    digits = "9" * 100_000
    assert lines(f'{{"a":{digits}}}', limits=Limits())[0].row == (digits.encode(), None)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('{"a": 1, "a": 1}', "json.duplicate-key"),
        ('{"a": {"x": 1, "x": 2}}', "json.duplicate-key"),
        ('{"a": NaN}', "json.not-a-number"),
        ('{"a": [-Infinity]}', "json.not-a-number"),
        (r'{"a": "\ud800"}', "json.surrogate"),
        (r'{"a": ["\udc00x"]}', "json.surrogate"),
        ('{"a": ' + "[" * 9 + "]" * 9 + "}", "json.depth"),
        ("[" * 1_900, "json.depth"),
        ('{"a": "' + "x" * 501 + '"}', "json.field-size"),
        ('{"a": "' + "x" * 2_001 + '"}', "json.record-size"),
        ('{"a": 1, "c": 2}', "json.unknown-key"),
        ("[1, 2]", "json.not-an-object"),
        ('"a"', "json.not-an-object"),
        ("null", "json.not-an-object"),
        ('{"a": 01}', "json.syntax"),
        ('{"a": 1,}', "json.syntax"),
        ("{'a': 1}", "json.syntax"),
        ('{"a": 1} {"a": 2}', "json.syntax"),
        ('{"a": "\x01"}', "json.syntax"),
        ('\ufeff{"a": 1}', "json.syntax"),
        ('{"a": 1', "json.syntax"),
    ],
)
def test_a_bad_line_is_a_problem_between_good_ones(line: str, code: str) -> None:
    found = lines(f'{{"a": 1}}\n{line}\n{{"b": 2}}\n')
    assert [(r.number, r.row, r.code) for r in found] == [
        (1, (b"1", None), ""),
        (2, (None, None), code),
        (3, (None, b"2"), ""),
    ]
    assert found[1].raw == line.encode()[: SMALL.record]


def test_a_number_is_a_line_also_behind_blank_ones() -> None:
    found = lines('\n{"a": 1}\r\n\r\n  \n{"a": 2}\n\n')
    assert [(r.number, r.row[0]) for r in found] == [(2, b"1"), (5, b"2")]


def test_a_file_that_ends_inside_its_last_line_is_refused() -> None:
    assert len(lines('{"a": 1}\n{"a": 2}')) == 2
    with pytest.raises(Refused, match="line 2") as refused:
        lines('{"a": 1}\n{"a": "t')
    assert (refused.value.code, refused.value.record) == ("json.truncated", 2)


def test_paths_reach_into_objects_and_names_with_dots() -> None:
    declared = JsonLines(columns={"city": "address.city", "dotted": "/a.b", "a": None})
    found = lines('{"a":1,"a.b":2,"address":{"city":"Lille"}}\n{"address":null}\n{"address":3}', declared)
    assert [(r.row, r.code) for r in found] == [
        ((b"Lille", b"2", b"1"), ""),
        ((None, None, None), ""),
        ((None, None, None), "json.shape"),
    ]
    assert lines('{"address":{"zip":1}}', declared)[0].code == "json.unknown-key"
    lenient = JsonLines(columns=declared.columns, unknown="ignore")
    assert lines('{"address":{"zip":1,"city":"x"},"z":0}', lenient)[0].row == (b"x", None, None)


@pytest.mark.parametrize("columns", [{}, {"a": "x..y"}, {"a": "x", "b": "x.y"}, {"a": 1}])
def test_a_mistake_in_declared_columns_is_named(columns: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        JsonLines.model_validate({"columns": columns})
    with pytest.raises(ValidationError):
        JsonLines.model_validate({"columns": {"a": None}, "colums": {}})


ITEMS = JsonDocument(
    columns={"a": None}, records="data.items", document={"n": "count", "d": "meta.day", "z": "data.z"}
)


def test_a_document_gives_its_array_and_what_stands_beside_it() -> None:
    found = document(
        '{"x":[{"a":[1]}], "data":{"y":{}, "items":[{"a":1},{"a":2},7], "z":1}, '
        '"count":3, "meta":{"day":"d"}} ',
        ITEMS,
    )
    assert [(r.number, r.kind, r.row, r.code) for r in found] == [
        (1, "detail", (b"1",), ""),
        (2, "detail", (b"2",), ""),
        (3, "detail", (None,), "json.not-an-object"),
        (4, "document", (b"3", b"d", b"1"), ""),
    ]


@pytest.mark.parametrize(
    ("content", "code", "at"),
    [
        ("", "json.no-records", 0),
        ('{"data":{"items":[{"a":1},{"a":é}]}}', "json.syntax", 31),
        ('{"data":{"items":[{"é":1} {"a":1}]}}', "json.syntax", 27),
        ('{"data":{"items":[{"a":1}', "json.syntax", 25),
        ('{"data":{"items":[{"a":"1', "json.syntax", 23),
        ('{"data":{"items":[]}} x', "json.syntax", 22),
        ('{"data":{"items":[],}}', "json.syntax", 20),
        ('{"data":{"items":[1,]}}', "json.syntax", 20),
        ('{"data":{"item":[]}}', "json.no-records", 20),
        ('{"data":{"items":{}}}', "json.no-records", 17),
        ('{"data":[]}', "json.no-records", 8),
        ('{"data":{"items":[]}, "data":{"items":[]}}', "json.duplicate-key", 28),
        ('{"x":{"y":1,"y":1},"data":{"items":[]}}', "json.duplicate-key", 5),
        ('{"x":NaN,"data":{"items":[]}}', "json.not-a-number", 8),
        ('{"x":' + "[" * 3_000, "json.depth", None),
        ('{"x":' + "[" * 9 + "]" * 9, "json.depth", None),
        ('{"data":{"items":[' + "[" * 9 + "]" * 9, "json.depth", None),
        ('{"data":{"items":[' + "[" * 1_500, "json.depth", None),
        ('{"data":{"items":["' + "x" * 70_000 + '"', "json.record-size", None),
        ('{"x":"' + "x" * 70_000 + '"', "json.record-size", None),
        ("{" + ",".join(f'"{n}":0' for n in range(10_001)), "json.keys", None),
    ],
)
def test_a_document_that_is_not_fit_is_refused_at_its_byte(content: str, code: str, at: int | None) -> None:
    with pytest.raises(Refused) as refused:
        document(content, ITEMS)
    assert refused.value.code == code
    assert at in (None, refused.value.at)
    assert f"byte {refused.value.at}" in refused.value.what


def test_the_byte_of_a_fault_is_counted_from_the_files_beginning() -> None:
    before = "[" + '{"a":"é📦"},\n' * 20_000
    for sizes in ([1 << 16], [997], [1 << 20]):
        with pytest.raises(Refused) as refused:
            list(read_document(cut(f"{before}?]".encode(), sizes), JsonDocument(columns={"a": None})))
        assert (refused.value.at, refused.value.record) == (len(before.encode()), 20_001)


def test_a_field_is_measured_in_bytes_in_a_document_too() -> None:
    found = document(
        '[{"a":"' + "é" * 250 + '"},{"a":"' + "é" * 251 + '"}]', JsonDocument(columns={"a": None})
    )
    assert [r.code for r in found] == ["", "json.field-size"]


def test_a_value_beside_the_records_may_not_hold_them() -> None:
    for path in ("data", "data.items", "data.items.x"):
        with pytest.raises(ValidationError, match="array of records"):
            JsonDocument(columns={"a": None}, records="data.items", document={"n": path})


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
NUMBER = st.from_regex(r"\A-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?\Z")


@st.composite
def written(draw: st.DrawFn) -> tuple[str, bytes | None]:
    """A value as a partner may write it, and the text that has to travel."""
    text = draw(TEXT)
    return draw(
        st.one_of(
            NUMBER.map(lambda n: (n, n.encode())),
            st.booleans().map(lambda plain: (json.dumps(text, ensure_ascii=plain), text.encode())),
            st.just(("null", None)),
        )
    )


@given(st.lists(st.tuples(written(), written()), min_size=1, max_size=8), SIZES)
def test_values_come_back_exactly_however_the_bytes_are_cut(
    rows: list[tuple[tuple[str, bytes | None], tuple[str, bytes | None]]], sizes: list[int]
) -> None:
    objects = [f'{{"a": {a[0]},\t"b":{b[0]} }}' for a, b in rows]
    wanted = [(a[1], b[1]) for a, b in rows]
    content = "".join(f"{one}\n" for one in objects).encode()
    assert [r.row for r in records(read_lines(cut(content, sizes), AB))] == wanted
    declared = JsonDocument(columns=AB.columns, records="r")
    content = ('{"s": [{"t": 1.5}], "r": [' + " ,\n".join(objects) + ']\n, "u": 1}').encode()
    assert [r.row for r in records(read_document(cut(content, sizes), declared))] == wanted


@given(st.binary(max_size=60).map(lambda b: b.decode(errors="ignore")), SIZES)
def test_whatever_a_document_is_its_fate_does_not_depend_on_the_cut(content: str, sizes: list[int]) -> None:
    def fate(chunks: Iterator[bytes]) -> Any:
        try:
            return records(read_document(chunks, ITEMS, SMALL))
        except Refused as refused:
            return refused.code, refused.at

    content = '{"data":{"items":[{"a":1}' + content
    assert fate(iter([content.encode()])) == fate(cut(content.encode(), sizes))


@pytest.mark.parametrize("at", range(1, 14))
def test_a_number_that_the_windows_end_cuts_is_whole(at: int) -> None:
    number = "-12.50e+10"
    space = " " * ((1 << 16) - at)
    content = f"[{space}{number}, {number}]".encode()
    found = records(read_document(cut(content, [1 << 16]), JsonDocument(columns={"a": None})))
    assert [r.raw for r in found] == [number.encode()] * 2


def _peak(lots: Any) -> tuple[int, int]:
    tracemalloc.start()
    count = sum(lot.count for lot in lots)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return count, peak


def test_two_hundred_megabytes_are_read_in_a_few() -> None:
    wide = '{"a":"' + "x" * 9_984 + '","b":1}'
    block = (wide + "\n") * 100
    count, peak = _peak(read_lines(repeat(block.encode(), 100), AB))
    assert count == 10_000
    assert peak < 16 << 20

    def chunks() -> Iterator[bytes]:
        yield b'{"skip": ['
        yield from repeat((wide + ",").encode() * 50, 100)
        yield b'0], "r": ['
        yield from repeat((wide + ",").encode() * 50, 100)
        yield wide.encode() + b"]}"

    count, peak = _peak(read_document(chunks(), JsonDocument(columns=AB.columns, records="r")))
    assert count == 5_001
    assert peak < 16 << 20


def test_a_line_without_end_is_not_held() -> None:
    endless = chain([b'["'], repeat(b"x" * 65_536))
    with pytest.raises(Refused) as refused:
        next(read_document(endless, JsonDocument(columns={"a": None})))
    assert refused.value.code == "json.record-size"
    count, peak = _peak(read_lines(repeat(b"x" * (1 << 20), 100), AB))
    assert count == 1
    assert peak < 8 << 20
