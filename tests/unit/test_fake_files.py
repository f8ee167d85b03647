"""Made-up files: the same again from the same seed, valid by their contract, broken exactly as ordered."""

from __future__ import annotations

import builtins
import csv
import io
import random
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal as Exact
from typing import Any

import pytest

from connectors.files import jsons, xmls
from connectors.files.records import Refused
from engine.errors import Unusable
from engine.fake import (
    Defect,
    Delimited,
    Field,
    FixedWidth,
    Formats,
    JsonLines,
    Layout,
    Made,
    Order,
    Xml,
    make,
)
from engine.fake.patterns import matching
from engine.schema import Boolean, Date, Decimal, Int32, Timestamp
from tests.support.lots import records

FRENCH = Formats(decimal=",", thousands=" ", date="dd/MM/yyyy", true="O", false="N")
CONTRACT = (
    Field("order_id", Int32(), nullable=False, unique=True),
    Field("customer", nullable=False, length=40),
    Field("iban"),
    Field("city"),
    Field("email"),
    Field("amount", Decimal(12, 2), nullable=False, formats=FRENCH, high=Exact(20_000)),
    Field("ordered_on", Date(), formats=FRENCH),
    Field("seen_at", Timestamp()),
    Field("paid", Boolean(), formats=FRENCH),
    Field("status", one_of=("new", "sent", "back"), nullable=False),
    Field("label", pattern=r"(RR|LX)[0-9]{8}[A-Z]{2}"),
)
NAMES = [one.name for one in CONTRACT]
WIDTHS = dict(zip(NAMES, (8, 20, 30, 20, 30, 12, 10, 19, 1, 4, 12), strict=True))
LAYOUTS: Mapping[str, Layout] = {
    "delimited": Delimited(trailer="T;{count};{sums[amount]}\n"),
    "fixed": FixedWidth(WIDTHS, prefix="D", header="H20261102\n", trailer="T{count:06}\n"),
    "jsonl": JsonLines(),
    "xml": Xml(attributes=frozenset({"order_id"}), trailer="<total>{count}</total>\n"),
}


def rows_of(made: Made) -> list[list[str]]:
    *lines, _ = csv.reader(io.StringIO(made.content.decode(), newline=""), delimiter=";", strict=True)
    assert lines[0] == NAMES
    return lines[1:]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_seed_gives_its_file_again_and_another_one_another(layout: str) -> None:
    shares = {Defect.RAGGED: 0.2, Defect.DUPLICATE: 0.2}
    first, again, other = (make(CONTRACT, LAYOUTS[layout], Order(50, seed, shares)) for seed in (7, 7, 8))
    assert first == again
    assert first.content != other.content


def test_good_rows_keep_their_contract() -> None:
    made = make(CONTRACT, LAYOUTS["delimited"], Order(300))
    assert (made.broken, made.file) == ({}, frozenset())
    columns = dict(zip(NAMES, zip(*rows_of(made), strict=True), strict=True))
    assert len(set(columns["order_id"])) == 300
    assert "" not in {*columns["customer"], *columns["amount"], *columns["status"]}
    assert max(map(len, columns["customer"])) <= 40
    assert set(columns["status"]) == {"new", "sent", "back"}
    assert set(columns["paid"]) == {"O", "N", ""}
    assert all(re.fullmatch(r"(RR|LX)[0-9]{8}[A-Z]{2}|", text) for text in columns["label"])
    assert all(re.fullmatch(r"(FR|GB)[0-9]{2}[0-9A-Z]+|", text) for text in columns["iban"])
    assert all(re.fullmatch(r"[^@ ]+@[^@ ]+|", text) for text in columns["email"])
    assert all(re.fullmatch(r"\d{1,3}( \d{3})*,\d\d", text) for text in columns["amount"])
    assert {datetime.strptime(text, "%d/%m/%Y").year for text in columns["ordered_on"] if text} == {2026}  # noqa: DTZ007
    trailer = made.content.decode().splitlines()[-1].split(";")
    total = sum(Exact(text.replace(" ", "").replace(",", ".")) for text in columns["amount"])
    assert trailer[1] == "300"
    assert Exact(trailer[2].replace(" ", "").replace(",", ".")) == total


def test_every_row_of_a_fixed_width_file_is_as_wide() -> None:
    made = make(CONTRACT, LAYOUTS["fixed"], Order(100, shares={Defect.RAGGED: 0.3, Defect.BAD_TYPE: 0.3}))
    header, *lines, trailer = made.content.decode().splitlines()
    assert (header, trailer) == ("H20261102", "T000100")
    wide = 1 + sum(WIDTHS.values())
    ragged = {n for n, defect in made.broken.items() if defect is Defect.RAGGED}
    assert ragged
    assert {n for n, line in enumerate(lines, 1) if len(line) == wide - 1} == ragged
    assert {len(line) for line in lines} == {wide, wide - 1}
    with pytest.raises(ValueError, match="not cut"):
        make(CONTRACT, FixedWidth({**WIDTHS, "order_id": 1}), Order(20))


def test_broken_rows_are_the_ones_that_are_told() -> None:
    kinds = (Defect.BAD_TYPE, Defect.BAD_VALUE, Defect.NULL, Defect.DUPLICATE)
    made = make(CONTRACT, LAYOUTS["delimited"], Order(2_000, shares=dict.fromkeys(kinds, 0.1)))
    assert all(150 < made.counts[kind] < 250 for kind in kinds)
    rows = rows_of(made)
    for n, row in enumerate(rows, 1):
        fields = dict(zip(NAMES, row, strict=True))
        wrong = {
            Defect.BAD_TYPE: not _typed(fields),
            Defect.BAD_VALUE: fields["status"] not in ("new", "sent", "back", "")
            or not re.fullmatch(r"(RR|LX)[0-9]{8}[A-Z]{2}|", fields["label"])
            or fields["amount"] == "20 001",
            Defect.NULL: any(not fields[name] for name in ("order_id", "customer", "amount", "status")),
            Defect.DUPLICATE: row in rows[: n - 1],
        }
        found = {kind for kind, there in wrong.items() if there}
        assert found == ({made.broken[n]} if n in made.broken else set()), fields


def _typed(fields: Mapping[str, str]) -> bool:
    patterns = {
        "order_id": r"\d*",
        "amount": r"(\d{1,3}( \d{3})*(,\d\d)?)?",
        "ordered_on": r"(\d\d/(0\d|1[0-2])/2026)?",
        "seen_at": r"(2026-.*)?",
        "paid": "[ON]?",
    }
    return all(re.fullmatch(pattern, fields[name]) for name, pattern in patterns.items())


def test_ragged_lines_of_json_and_records_of_xml_are_problems_where_they_were_made() -> None:
    order = Order(200, shares={Defect.RAGGED: 0.1})
    columns = dict.fromkeys(NAMES)
    lines = make(CONTRACT, LAYOUTS["jsonl"], order)
    found = records(jsons.read_lines([lines.content], jsons.JsonLines(columns=columns)))
    assert {r.number for r in found if r.code == "json.syntax"} == lines.broken.keys() != set()
    document = make(CONTRACT, LAYOUTS["xml"], order)
    declared = xmls.Xml(
        record="records/record",
        columns={**columns, "order_id": "@order_id"},
        trailer=xmls.XmlRecord(record="records/total", columns={"count": "."}),
    )
    read = records(xmls.read_xml([document.content], declared))
    assert {r.number for r in read if r.code == "xml.unknown"} == document.broken.keys()
    assert read[-1].row == (b"200",)
    assert {len(r.row) for r in read[:-1]} == {len(NAMES)}


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16-le", "ascii"])
def test_a_wrong_byte_stands_in_exactly_the_rows_that_are_told(encoding: str) -> None:
    layout = Delimited(encoding=encoding, names=False)
    assert make(CONTRACT, layout, Order(50)).content.decode(encoding)
    made = make(CONTRACT, layout, Order(50, shares={Defect.ENCODING: 0.2}))
    lines = made.content.split("\n".encode(encoding))[:-1]
    bad = set()
    for n, line in enumerate(lines, 1):
        try:
            line.decode(encoding)
        except UnicodeDecodeError:
            bad.add(n)
    assert bad == made.broken.keys() != set()


def test_a_wrong_trailer_counts_one_more_and_a_cut_file_has_none() -> None:
    wrong = make(CONTRACT, LAYOUTS["fixed"], Order(30, shares={Defect.TRAILER: 1}))
    assert (wrong.file, wrong.broken) == (frozenset({Defect.TRAILER}), {})
    assert wrong.content.splitlines()[-1] == b"T000031"
    cut = make(CONTRACT, LAYOUTS["fixed"], Order(30, shares={Defect.TRUNCATED: 1}))
    assert not cut.content.endswith(b"\n")
    assert b"\nT0" not in cut.content
    lines = make(CONTRACT, LAYOUTS["jsonl"], Order(30, shares={Defect.TRUNCATED: 1}))
    with pytest.raises(Refused, match="ends inside line"):
        list(jsons.read_lines([lines.content], jsons.JsonLines(columns=dict.fromkeys(NAMES))))


@pytest.mark.parametrize(
    ("fields", "layout", "shares", "said"),
    [
        ((Field("a"),), JsonLines(), {Defect.BAD_TYPE: 0.1}, "bad_type"),
        ((Field("a"),), JsonLines(), {Defect.NULL: 0.1}, "null"),
        ((Field("a"),), JsonLines(), {Defect.BAD_VALUE: 0.1}, "bad_value"),
        (CONTRACT, Delimited(encoding="latin-1"), {Defect.ENCODING: 0.1}, "every byte"),
        (CONTRACT, JsonLines(), {Defect.TRAILER: 1}, "no trailer"),
        (CONTRACT, JsonLines(), {Defect.RAGGED: 1.5}, "from 0 to 1"),
        (CONTRACT, JsonLines(), {Defect.RAGGED: 0.6, Defect.NULL: 0.6}, "more than 1"),
        ((Field("a", one_of=("x",), unique=True),), JsonLines(), {}, "no more values"),
    ],
)
def test_what_cannot_be_made_is_refused(fields: Any, layout: Layout, shares: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(fields, layout, Order(5, shares=shares))


def test_without_faker_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def without(name: str, *words: Any) -> Any:
        if name == "faker":
            raise ImportError(name)
        return usual(name, *words)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Unusable) as unusable:
        make(CONTRACT, JsonLines(), Order(1))
    assert "ecluse[demo]" in unusable.value.hint


@pytest.mark.parametrize(
    "pattern", [r"[A-Z]{2}\d{3,5}", r"(ab|c.d)+?x?", r"[^a-z0-9]{3}", r"^\w+\s\S$", r"a{2}[\d.]*", r"(?:é|ü)"]
)
def test_a_text_is_made_for_a_pattern(pattern: str) -> None:
    chance = random.Random(3)  # noqa: S311
    made = {matching(pattern, chance) for _ in range(50)}
    assert all(re.fullmatch(pattern, text) for text in made)
    assert len(made) > 1


@pytest.mark.parametrize("pattern", [r"(?=a)b", r"(a)\1", "(", r"x$y"])
def test_a_pattern_that_is_beyond_this_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"pattern|expression"):
        matching(pattern, random.Random(1))  # noqa: S311
