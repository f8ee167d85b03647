"""The records of a delimited file: each in its place, or a problem there, or the file is refused."""

from __future__ import annotations

import csv
import io
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.files.delimited import Delimited, delimited_lots
from connectors.files.records import Limits, Refused
from tests.support.framed import Framed, cut, framed, told
from tests.support.scanner import scanned

ABC = ("a", "b", "c")


def layout(**more: Any) -> Delimited:
    return Delimited.model_validate({"header": "none", "columns": ABC, **more})


def records(data: bytes, limits: Limits | None = None, **more: Any) -> list[Framed]:
    return framed(delimited_lots([data], layout(**more), limits or Limits()))


def fields(data: bytes, **more: Any) -> list[tuple[bytes | None, ...]]:
    found = records(data, **more)
    assert all(one.problem is None for one in found)
    return [one.fields for one in found]


def refused(data: bytes, limits: Limits | None = None, **more: Any) -> Refused:
    with pytest.raises(Refused) as seen:
        records(data, limits, **more)
    return seen.value


WELL_WRITTEN: list[tuple[bytes, dict[str, Any], list[bytes]]] = [
    (b"1;2;3\n4;5;6\n", {}, [b"1 2 3", b"4 5 6"]),
    (b"1;2;3", {}, [b"1 2 3"]),
    (b"", {}, []),
    (b'1;;3\n1;"";3\n', {}, [b"1  3", b"1  3"]),
    (b'"1";"2";"3"\n', {}, [b"1 2 3"]),
    (b'1;"a;b";3\n', {}, [b"1 a;b 3"]),
    (b'1;"a\nb\r\nc";3\n4;5;6\n', {}, [b"1 a\nb\r\nc 3", b"4 5 6"]),
    (b'1;"say ""hi""";3\n', {}, [b'1 say "hi" 3']),
    (b'"""";"""a""";""""""\n', {}, [b'" "a" ""']),
    (b'1;"2";"3"', {}, [b"1 2 3"]),
    (b'1;2;"3"""', {}, [b'1 2 3"']),
    (b"1;2;3\r\n4;5;6\r\n", {"line_end": "crlf"}, [b"1 2 3", b"4 5 6"]),
    (b'1;2;"a\nb"\r\n4;5;6', {"line_end": "crlf"}, [b"1 2 a\nb", b"4 5 6"]),
    (b"1;2;3\r\n4;5;6\n7;8;9\r1;2;3\r", {"line_end": "any"}, [b"1 2 3", b"4 5 6", b"7 8 9", b"1 2 3"]),
    (b'1;2;"a\r"\r4;5;6\r', {"line_end": "any"}, [b"1 2 a\r", b"4 5 6"]),
    (b'1;5" pipe;3\n', {"quote": None}, [b'1 5" pipe 3']),
    (b"1,'a,b',3\n", {"delimiter": ",", "quote": "'"}, [b"1 a,b 3"]),
    (b"1\t2\t3\n", {"delimiter": "\t"}, [b"1 2 3"]),
    (b'1;"a\\"b";c\\;d\n', {"escape": "backslash"}, [b'1 a"b c;d']),
    (b"1;a\\\\;b\\\nc\n", {"escape": "backslash"}, [b"1 a\\ b\nc"]),
    (b'"\\\\";a\\\r\nb;3\r\n', {"escape": "backslash", "line_end": "crlf"}, [b"\\ a\r\nb 3"]),
    (b"C:\\temp;2;3\n", {}, [b"C:\\temp 2 3"]),
    ("é;ø;€\n".encode(), {}, ["é ø €".encode()]),
]


@pytest.mark.parametrize(("data", "more", "expected"), WELL_WRITTEN)
def test_what_is_well_written_is_read(data: bytes, more: dict[str, Any], expected: list[bytes]) -> None:
    assert [b" ".join(one or b"" for one in row) for row in fields(data, **more)] == expected


@pytest.mark.parametrize(("data", "more", "expected"), WELL_WRITTEN)
def test_a_file_may_come_in_two_chunks_anywhere(
    data: bytes, more: dict[str, Any], expected: list[bytes]
) -> None:
    whole = records(data, **more)
    assert len(whole) == len(expected)
    for place in range(len(data) + 1):
        assert framed(delimited_lots(cut(data, [place]), layout(**more))) == whole
    assert framed(delimited_lots(cut(data, range(len(data))), layout(**more))) == whole


@pytest.mark.parametrize(
    ("bad", "more", "code"),
    [
        (b"1;2", {}, "record.width"),
        (b"1;2;3;4", {}, "record.width"),
        (b'1;"a\nb""c"', {}, "record.width"),
        (b"", {}, "record.blank"),
        (b"1;a\\b;3", {"escape": "backslash"}, "field.escape"),
        (b'1;"\\\\\\b\\"";3', {"escape": "backslash"}, "field.escape"),
    ],
)
def test_a_record_that_is_not_fit_is_a_problem_in_its_place_with_its_bytes(
    bad: bytes, more: dict[str, Any], code: str
) -> None:
    good = b'1;"x";3\n'
    found = records(good * 3 + bad + b"\n" + good, **more)
    assert [one.number for one in found] == [1, 2, 3, 4, 5]
    assert [one.problem for one in found] == [None, None, None, (code, bad), None]
    assert {one.fields for one in found} == {(b"1", b"x", b"3"), (None, None, None)}


def test_a_short_and_a_long_record_do_not_make_two_good_ones() -> None:
    found = records(b"1;2\n1;2;3;4\n")
    assert [one.problem for one in found] == [("record.width", b"1;2"), ("record.width", b"1;2;3;4")]


@pytest.mark.parametrize(
    ("data", "more", "code", "at"),
    [
        (b'1;"ab"cd;3\n', {}, "record.quote", 6),  # text after a closing quote
        (b'1;2;3\n1;a"b";3\n', {}, "record.quote", 9),  # a quote within a field
        (b'1; "b";3\n', {}, "record.quote", 3),
        (b'1;2;3\n1;"b;3\n4;5;6\n', {}, "record.quote", 6),  # never closed
        (b'1;"b;3\n4;"5";6\n7;"8";9\n', {}, "record.quote", None),  # closed by the next one's
        (b'1;"a""b";3\n', {"escape": "none"}, "record.quote", None),
        (b'1;"a""b";3\n', {"escape": "backslash"}, "record.quote", None),
        (b"1;2;3\r\n", {}, "line.end", 5),
        (b"1;2;3\n4;5\r;6\n", {}, "line.end", 9),
        (b"1;2;3\n", {"line_end": "crlf"}, "line.end", 5),
        (b"1;2;3\r\n4;5;6\n", {"line_end": "crlf"}, "line.end", 12),
        (b"1;2;3\n4;5;6", {"last_line_end": "required"}, "line.last", 6),
        (b"1;2;3\n\n4;5;6\n", {"blank_lines": "refuse"}, "line.blank", None),
    ],
)
def test_where_records_end_is_certain_or_the_file_is_refused(
    data: bytes, more: dict[str, Any], code: str, at: int | None
) -> None:
    no = refused(data, **more)
    assert no.code == code
    assert at is None or no.at == at


@pytest.mark.parametrize("size", [1, 5, 999])
def test_a_refusal_names_the_record(size: int) -> None:
    good = b'1;"2";3\n'
    for bad in (b'1;"b"c;3\n', b'1;b"c";3\n', b'1;"b', b"1;2;3\r\n"):
        with pytest.raises(Refused) as seen:
            framed(delimited_lots(cut(good * 4 + bad, range(0, 999, size)), layout()))
        assert seen.value.record == 5


def test_a_quote_that_never_closes_does_not_swallow_the_file() -> None:
    rest = b"4;5;6\n" * 100_000
    assert refused(b'1;"2;3\n' + rest).code == "record.lines"
    chunks = (b'1;"2;3\n', *(rest[at : at + 6000] for at in range(0, len(rest), 6000)))
    with pytest.raises(Refused) as seen:
        framed(delimited_lots(chunks, layout()))
    assert seen.value.code == "record.lines"


@pytest.mark.parametrize(
    ("cell", "expected", "escape"),
    [
        (b'"' + b'""' * 200_000 + b'"', b'"' * 200_000, "double"),
        (b"\\\\" * 200_000, b"\\" * 200_000, "backslash"),
        (b"\\\r" * 200_000, b"\r" * 200_000, "backslash"),
    ],
)
def test_a_field_of_escapes_alone_is_read(cell: bytes, expected: bytes, escape: str) -> None:
    data = b"1;" + cell + b";3\n"
    for chunks in ([data], cut(data, range(0, len(data), 65_537))):
        found = framed(delimited_lots(chunks, layout(escape=escape)))
        assert [one.fields for one in found] == [(b"1", expected, b"3")]


@pytest.mark.parametrize("size", [7, 1000])
def test_a_record_beyond_its_bound(size: int) -> None:
    good, long = b"1;2;3\n", b"1;2;" + b"x" * 100
    chunks = cut(good + long + b"\n" + good, range(0, 999, size))
    plain = layout(quote=None)
    found = framed(delimited_lots(chunks, plain, Limits(record=50)))
    assert [one.problem for one in found] == [None, ("record.size", long[:50]), None]
    assert told(delimited_lots(chunks, layout(), Limits(record=50))) == "record.size"
    found = framed(delimited_lots(chunks, layout(), Limits(field=50)))
    assert [one.problem for one in found] == [None, ("field.size", long), None]
    lines = cut(good + b'1;2;"' + b"\n" * 10 + b'"\n' + good, range(0, 999, size))
    assert told(delimited_lots(lines, layout(), Limits(lines=10))) == "record.lines"
    assert len(framed(delimited_lots(lines, layout(), Limits(lines=11)))) == 3


def test_columns_are_found_by_their_names_in_any_order() -> None:
    by_name = layout(header="by_name")
    found = framed(delimited_lots([b'c;"a";b\n3;1;2\n6;"4";5\n'], by_name))
    assert [(one.number, one.fields) for one in found] == [(2, (b"1", b"2", b"3")), (3, (b"4", b"5", b"6"))]
    assert framed(delimited_lots([b"c;a;b"], by_name)) == []


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"a;b", "missing 'c'"),
        (b"a;b;c;d", "not declared 'd'"),
        (b"a;b;c;c", "twice 'c'"),
        (b"a;b;C", "missing 'c'; not declared 'C'"),
        (b"a;b; c", "not declared ' c'"),
        (b"", "found ''"),
    ],
)
def test_another_line_of_names_refuses_the_file_and_shows_both(head: bytes, says: str) -> None:
    no = refused(head + b"\n1;2;3\n", header="by_name")
    assert (no.code, no.record) == ("header.mismatch", 1)
    assert "declared 'a', 'b', 'c'" in no.what
    assert says in no.what


def test_a_file_without_its_line_of_names_is_refused() -> None:
    assert refused(b"", header="by_name").code == "header.mismatch"


KINDS = {
    "head": {"literal": "H", "role": "header", "columns": ["tag", "day"]},
    "detail": {"literal": "D", "columns": ["tag", "b", "c"]},
    "note": {"literal": "N", "role": "ignored"},
    "end": {"literal": "T", "role": "trailer", "columns": ["tag", "count"]},
}


def test_lines_of_several_kinds_are_told_apart_by_their_first_field() -> None:
    data = b'H;2026\nD;1;2\n"D";3;"4"\nN;what;ever;this\nDD;1;2\nD;5\nD;6;7\nT;5\n'
    found = records(data, columns=(), records=KINDS)
    assert [(one.number, one.kind, one.problem and one.problem[0]) for one in found] == [
        (1, "head", None), (2, "detail", None), (3, "detail", None), (5, "detail", "record.kind"),
        (6, "detail", "record.width"), (7, "detail", None), (8, "end", None),
    ]  # fmt: skip
    assert [one.fields for one in found if one.problem is None][1:3] == [
        (b"D", b"1", b"2"),
        (b"D", b"3", b"4"),
    ]


def test_lines_of_two_kinds_with_as_many_fields_are_told_apart() -> None:
    kinds = {name: {"literal": name, "columns": ["tag", "b"]} for name in ("D", "E")}
    found = records(b"D;1\nE;2\nD;3\nD;4\n", columns=(), records=kinds)
    assert [one.kind for one in found] == ["D", "E", "D", "D"]


def test_blank_lines_that_are_passed_over_keep_their_numbers() -> None:
    found = records(b"\n1;2;3\n\n\n4;5;6\n\n", blank_lines="skip")
    assert [one.number for one in found] == [2, 5]
    one = framed(delimited_lots([b"x\n\ny\n"], layout(columns=("a",), blank_lines="skip")))
    assert [(record.number, record.fields) for record in one] == [(1, (b"x",)), (3, (b"y",))]


CELL = st.text(st.sampled_from('ab;"\n\ré '), max_size=4)
ROWS = st.lists(st.tuples(CELL, CELL, CELL), max_size=8)
PLACES = st.lists(st.integers(0, 999), max_size=12)


@given(
    rows=ROWS,
    places=PLACES,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    line_end=st.sampled_from(["lf", "crlf"]),
)
def test_what_the_csv_module_writes_is_read_in_any_chunks(
    rows: list[tuple[str, str, str]], places: list[int], quoting: Any, line_end: str
) -> None:
    out = io.StringIO()
    if line_end == "lf":  # the module writes a CR as it stands where lines end with LF
        rows = [(a.replace("\r", ""), b.replace("\r", ""), c.replace("\r", "")) for a, b, c in rows]
    csv.writer(
        out, delimiter=";", quoting=quoting, lineterminator={"lf": "\n", "crlf": "\r\n"}[line_end]
    ).writerows(rows)
    lots = delimited_lots(cut(out.getvalue().encode(), places), layout(line_end=line_end))
    assert [one.fields for one in framed(lots)] == [tuple(v.encode() for v in row) for row in rows]


@given(rows=ROWS, places=PLACES)
def test_what_is_written_with_backslashes_is_read_in_any_chunks(
    rows: list[tuple[str, str, str]], places: list[int]
) -> None:
    def written(cell: str) -> str:
        return "".join("\\" + c if c in '\\;"\n\r' else c for c in cell)

    data = "".join(";".join(map(written, row)) + "\n" for row in rows).encode()
    lots = delimited_lots(cut(data, places), layout(escape="backslash"))
    assert [one.fields for one in framed(lots)] == [tuple(v.encode() for v in row) for row in rows]


@given(
    data=st.text(st.sampled_from('a;"\n\r\\'), max_size=40),
    places=PLACES,
    declared=st.builds(
        layout,
        line_end=st.sampled_from(["lf", "crlf", "any"]),
        escape=st.sampled_from(["double", "backslash", "none"]),
        quote=st.sampled_from(['"', None]),
        columns=st.just(("a", "b")),
    ),
    limits=st.sampled_from([Limits(), Limits(record=6), Limits(field=2)]),
)
def test_any_chunks_of_anything_give_the_same(
    data: str, places: list[int], declared: Delimited, limits: Limits
) -> None:
    whole = told(delimited_lots([data.encode()], declared, limits))
    parts = told(delimited_lots(cut(data.encode(), places), declared, limits))
    # of two reasons to refuse a file, another one may be met first
    assert whole == parts or (isinstance(whole, str) and isinstance(parts, str))


@given(data=st.text(st.sampled_from('aé;;"""\n\n\r'), max_size=40), places=PLACES)
def test_anything_is_read_as_one_character_after_the_other_says(data: str, places: list[int]) -> None:
    expected = scanned(data.encode())
    found = told(delimited_lots(cut(data.encode(), places), layout(columns=("a", "b"))))
    if expected is None:
        assert isinstance(found, str)
        return
    assert not isinstance(found, str)
    assert [one.fields if one.problem is None else None for one in found] == [
        row if len(row) == 2 else None for row in expected
    ]


def test_a_line_of_64_mb_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        chunks = (b"x" * (1 << 18) for _ in range(256))
        found = list(delimited_lots(chunks, layout(quote=None)))
        assert [lot.problems[0].code for lot in found] == ["record.size"]
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_long_stream_takes_little_memory() -> None:
    chunk = (b'1;"two";3\n' + b"four;five;six hundred\n" * 31) * 400  # 277 kB
    tracemalloc.start()
    try:
        count = sum(lot.count for lot in delimited_lots((chunk for _ in range(800)), layout()))
        assert count == 800 * 12_800
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("declared", "hint"),
    [
        ({"delimiter": "||"}, "one ASCII character"),
        ({"quote": ""}, "null says that"),
        ({"delimiter": "\n"}, "one ASCII character"),
        ({"delimiter": '"'}, "same character"),
        ({"columns": ["a", "a"]}, "two columns a"),
        ({"columns": []}, "names the fields"),
        ({"records": KINDS}, "not both"),
        ({"columns": [], "records": KINDS, "header": "by_name"}, "header: none"),
        ({"columns": [], "records": {"end": KINDS["end"]}}, "role detail"),
        ({"columns": [], "records": {"x": KINDS["detail"], "y": KINDS["detail"]}}, "same literal"),
        ({"columns": [], "records": {"x": {"literal": "D"}}}, "no columns"),
        ({"seperator": ";"}, "Extra inputs"),
    ],
)
def test_a_layout_that_cannot_be_is_an_authors_mistake(declared: dict[str, Any], hint: str) -> None:
    with pytest.raises(ValidationError, match=hint):
        layout(**declared)
