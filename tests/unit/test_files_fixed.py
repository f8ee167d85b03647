"""The records of a file of fixed width: each in its place, or a problem there, or the file is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.files.encodings import utf8
from connectors.files.fixed import FixedWidth, fixed_lots, mismatch
from connectors.files.records import Limits, Refused
from tests.support.framed import Framed, cut, framed, told

DETAIL = {
    "fields": [
        {"name": "id", "at": 1, "width": 3},
        {"name": "name", "at": 5, "end": 8, "trim": "right"},
        {"name": "sum", "at": 9, "width": 3, "trim": "left", "pad": "0"},
    ]
}
KINDS = {
    "head": {"literal": "H", "role": "header", "fields": [{"name": "day", "at": 2, "width": 4}]},
    "detail": {**DETAIL, "literal": "D"},
    "note": {"literal": "#", "role": "ignored"},
    "end": {
        "literal": "T",
        "role": "trailer",
        "length": 8,
        "fields": [{"name": "count", "at": 2, "width": 3}],
    },
}


def layout(**more: Any) -> FixedWidth:
    return FixedWidth.model_validate({"unit": "characters", "records": {"detail": DETAIL}, **more})


def records(data: bytes, limits: Limits | None = None, encoding: str = "utf-8", **more: Any) -> list[Framed]:
    return framed(fixed_lots([data], layout(**more), limits or Limits(), encoding=encoding))


def problems(data: bytes, **more: Any) -> list[tuple[str, bytes] | None]:
    return [one.problem for one in records(data, **more)]


def refused(data: bytes, **more: Any) -> str:
    with pytest.raises(Refused) as seen:
        records(data, **more)
    return seen.value.code


def test_fields_are_taken_by_their_places_and_trimmed_as_declared() -> None:
    found = records(b"001 Ada 042\n 2  B b 000\n3       7  \n")
    assert [one.fields for one in found] == [
        (b"001", b"Ada", b"42"), (b" 2 ", b"B b", b"0"), (b"3  ", b"", b"7  "),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("trim", "pad", "expected"),
    [
        ("none", " ", b" 0ab0 "), ("left", " ", b"0ab0 "), ("right", " ", b" 0ab0"), ("both", " ", b"0ab0"),
        ("both", "0", b" 0ab0 "),
    ],
)  # fmt: skip
def test_only_the_declared_side_and_padding_go(trim: str, pad: str, expected: bytes) -> None:
    one = {"fields": [{"name": "a", "at": 1, "width": 6, "trim": trim, "pad": pad}]}
    assert records(b" 0ab0 \n", records={"detail": one})[0].fields == (expected,)


@pytest.mark.parametrize(
    ("line", "more", "code"),
    [
        ("001 Ada 04", {}, "record.length"),
        ("001 Ada 0421", {}, "record.length"),
        ("", {}, "record.blank"),
        ("001\tAda 042", {}, "record.tab"),
        ("001 Zoé 042", {"unit": "bytes"}, "record.length"),
        ("001 Zoé\u20ac 4", {"unit": "bytes"}, "record.length"),
        ("00éAda \u20ac", {"unit": "bytes"}, "field.character"),
        ("001 Ada\u20ac2", {"unit": "bytes"}, "field.character"),
    ],
)
def test_a_line_that_is_not_fit_is_a_problem_in_its_place_with_its_bytes(
    line: str, more: dict[str, Any], code: str
) -> None:
    good = b"001 Ada 042\n"
    found = records(good * 2 + line.encode() + b"\n" + good, **more)
    assert [one.problem for one in found] == [None, None, (code, line.encode()), None]
    assert [one.fields for one in found] == [
        (b"001", b"Ada", b"42"), (b"001", b"Ada", b"42"), (None,) * 3, (b"001", b"Ada", b"42"),
    ]  # fmt: skip


def test_a_short_and_a_long_line_do_not_make_two_good_ones() -> None:
    found = problems(b"001 Ada 04\n001 Ada 0421\n")
    assert found == [("record.length", b"001 Ada 04"), ("record.length", b"001 Ada 0421")]


@pytest.mark.parametrize("name", ["Zoé ", "Zoé\u20ac", "\U0001f600 x "])
def test_characters_count_as_one_each_however_many_bytes_they_have(name: str) -> None:
    lines = f"001 Ada 042\n002 {name}007\n".encode()
    assert [one.fields for one in records(lines)] == [
        (b"001", b"Ada", b"42"),
        (b"002", name.rstrip().encode(), b"7"),
    ]


def test_bytes_are_those_of_the_partners_file() -> None:
    latin = "002 Zoé 007\n".encode("latin-1")
    found = framed(fixed_lots(utf8([latin], "latin-1"), layout(unit="bytes"), encoding="latin-1"))
    assert [one.fields for one in found] == [(b"002", "Zoé".encode(), b"7")]
    in_utf8 = records("002 Zoé007\n".encode(), unit="bytes")
    assert [one.fields for one in in_utf8] == [(b"002", "Zoé".encode()[:4], b"7")]
    assert "unit: characters" in mismatch(layout(unit="bytes"), "utf-16")
    assert mismatch(layout(), "utf-16") == mismatch(layout(unit="bytes"), "cp1252") == ""


def test_short_lines_are_filled_where_that_is_declared() -> None:
    found = records(b"001 Ada\n001 Ada 042\n002\n", short_lines="pad")
    assert [one.fields for one in found] == [
        (b"001", b"Ada", b"   "), (b"001", b"Ada", b"42"), (b"002", b"", b"   "),
    ]  # fmt: skip


def test_tabs_pass_where_they_are_declared() -> None:
    assert problems(b"001\tAda 042\n", tabs="keep") == [None]


def test_lines_of_several_kinds_are_told_apart_by_their_literals() -> None:
    data = b"H2026\nD01 Ada 042\nD02 Bob 043\n# what\nX03 Bob 043\nD3\nT002    \n"
    found = records(data, records=KINDS)
    assert [(one.number, one.kind, one.problem and one.problem[0]) for one in found] == [
        (1, "head", None), (2, "detail", None), (3, "detail", None), (5, "detail", "record.kind"),
        (6, "detail", "record.length"), (7, "end", None),
    ]  # fmt: skip
    assert found[-1].fields == (b"002",)


def test_the_first_record_type_whose_literal_is_there_is_taken() -> None:
    kinds = {
        "total": {
            "literal": "Z",
            "literal_at": 2,
            "role": "trailer",
            "fields": [{"name": "a", "at": 3, "width": 1}],
        },
        "detail": {"literal": "D", "fields": [{"name": "a", "at": 2, "width": 2}]},
    }
    assert [one.kind for one in records(b"Dab\nDZb\nDac\n", records=kinds)] == ["detail", "total", "detail"]


@pytest.mark.parametrize("name", ["Ada ", "Zoé ", "\u20acuro"])
def test_records_without_line_ends_have_one_length(name: str) -> None:
    one = f"001 {name}042".encode()
    assert [row.fields[1] for row in records(one * 3, line_end="none")] == [name.strip().encode()] * 3
    assert refused(one * 3 + b"00", line_end="none") == "record.length"
    assert refused(one + b"\n" + one, line_end="none") == "line.end"
    assert records(b"", line_end="none") == []


@pytest.mark.parametrize(
    ("data", "more", "code"),
    [
        (b"001 Ada 042\r\n", {}, "line.end"),
        (b"001 Ada 042\n", {"line_end": "crlf"}, "line.end"),
        (b"001 Ada 042", {"last_line_end": "required"}, "line.last"),
        (b"001 Ada 042\n\n", {"blank_lines": "refuse"}, "line.blank"),
    ],
)
def test_where_records_end_is_certain_or_the_file_is_refused(
    data: bytes, more: dict[str, Any], code: str
) -> None:
    assert refused(data, **more) == code


def test_a_line_without_an_end_is_one_problem_and_takes_little_memory() -> None:
    chunks = [b"001 Ada 042\n", *[b"x" * 1000] * 100, b"\n001 Ada 042\n"]
    found = framed(fixed_lots(chunks, layout(), Limits(record=5000)))
    assert [one.problem for one in found] == [None, ("record.size", b"x" * 5000), None]


TEXTS = st.text(st.sampled_from("aé\u20ac 0D"), min_size=11, max_size=11)


@given(
    lines=st.lists(TEXTS | st.text(st.sampled_from("aé\tD"), max_size=13), max_size=9),
    places=st.lists(st.integers(0, 999), max_size=9),
    unit=st.sampled_from(["characters", "bytes"]),
    kinds=st.sampled_from([{"detail": DETAIL}, KINDS]),
    short=st.sampled_from(["problem", "pad"]),
)
def test_any_chunks_give_the_same_as_each_line_alone(
    lines: list[str], places: list[int], unit: str, kinds: Any, short: str
) -> None:
    declared = layout(unit=unit, records=kinds, short_lines=short)
    data = "".join(line + "\n" for line in lines).encode()
    parts = framed(fixed_lots(cut(data, places), declared))
    alone = [
        (number, one)
        for number, line in enumerate(lines, 1)
        for one in framed(fixed_lots([line.encode() + b"\n"], declared))
    ]
    assert [(one.number, one.kind, one.fields, one.problem) for one in parts] == [
        (number, one.kind, one.fields, one.problem) for number, one in alone
    ]


@given(rows=st.lists(TEXTS, max_size=9), places=st.lists(st.integers(0, 999), max_size=9))
def test_any_chunks_of_records_without_line_ends_give_the_same(rows: list[str], places: list[int]) -> None:
    data = "".join(rows).encode()
    whole = told(fixed_lots([data], layout(line_end="none")))
    assert whole == told(fixed_lots(cut(data, places), layout(line_end="none")))
    assert len(whole) == len(rows)
    assert [one.fields[0] for one in whole if isinstance(one, Framed)] == [row[:3].encode() for row in rows]


@pytest.mark.parametrize(
    ("declared", "hint"),
    [
        ({"at": 1}, "a width or an end"),
        ({"at": 3, "end": 2}, "ends before"),
        ({"at": 1, "width": 2, "form": "comp-3"}, "comp-3 is not read"),
        ({"at": 1, "width": 2, "form": "overpunch"}, "overpunch is not read"),
        ({"at": 3, "width": 2}, "begins within"),
        ({"at": 0, "width": 1}, "greater than or equal to 1"),
        ({"at": 1, "width": 1, "pad": "é"}, "pattern"),
    ],
)
def test_a_field_that_cannot_be_is_an_authors_mistake(declared: dict[str, Any], hint: str) -> None:
    fields = [{"name": "x", **declared}, {"name": "y", "at": 4, "width": 2}]
    with pytest.raises(ValidationError, match=hint):
        layout(records={"detail": {"fields": fields}})


@pytest.mark.parametrize(
    ("declared", "hint"),
    [
        ({"unit": None}, "unit"),
        ({"records": {}}, "at least 1 item"),
        ({"records": {"end": KINDS["end"]}}, "role detail"),
        ({"records": {"a": DETAIL, "b": KINDS["detail"]}}, "a literal each"),
        ({"records": {"a": KINDS["detail"], "b": KINDS["detail"]}}, "same literal"),
        ({"records": KINDS, "line_end": "none"}, "same length"),
        ({"records": {"a": {**DETAIL, "length": 5}}}, "behind the length"),
        ({"records": {"a": {"fields": []}}}, "names the fields"),
        (
            {
                "records": {
                    "a": {"fields": [{"name": "x", "at": 1, "width": 1}, {"name": "x", "at": 2, "width": 1}]}
                }
            },
            "name",
        ),
    ],
)
def test_a_layout_that_cannot_be_is_an_authors_mistake(declared: dict[str, Any], hint: str) -> None:
    with pytest.raises(ValidationError, match=hint):
        layout(**declared)
