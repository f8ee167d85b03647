"""Contracts without Spark: which texts a format lets through, and which formats are refused."""

from __future__ import annotations

import re
from dataclasses import asdict, fields
from decimal import Decimal as Exact
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.contract import (
    ContractColumn,
    Letters,
    Moment,
    Numeric,
    Truth,
    format_of,
    from_plain,
    numbers,
    patterns,
    typed,
)
from engine.contract.flaws import flaws
from engine.lake import values
from engine.schema import PLAIN_TYPES, Decimal, String, from_delta
from tests.support.contracts import EXACT, refused, worth, written
from tests.support.declared import TEMPLATE, load, project

MARKS = st.sampled_from(
    [(".", ""), (".", ","), (",", ""), (",", " "), (",", "."), (".", "'"), (",", "\u202f")]
)
NUMBERS = st.builds(
    lambda marks, sign: Numeric(marks[0], marks[1], sign), MARKS, st.sampled_from(["leading", "trailing"])
)
DECIMALS = st.integers(1, 38).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, p)))


def python(expression: str) -> re.Pattern[str]:
    return re.compile(expression.replace(r"\z", r"\Z"))


@given(st.data(), NUMBERS, DECIMALS)
def test_every_decimal_in_its_format_has_its_value_back(
    data: st.DataObject, how: Numeric, size: tuple[int, int]
) -> None:
    precision, scale = size
    value = Exact(data.draw(st.integers(1 - 10**precision, 10**precision - 1))).scaleb(-scale, EXACT)
    column = ContractColumn("n", f"decimal({precision},{scale})", format=how)
    text = written(column, value)
    assert worth(column, text) == value
    assert python(numbers.expression(how, column.kind)).match(text)


@given(NUMBERS, DECIMALS, st.text("0123456789 .,'+-\u202f", max_size=20))
def test_what_the_expression_of_a_number_lets_through_is_its_format_to_the_letter(
    how: Numeric, size: tuple[int, int], text: str
) -> None:
    column = ContractColumn("n", f"decimal({size[0]},{size[1]})", format=how)
    matches = python(numbers.expression(how, column.kind)).match(text) is not None
    assert matches or worth(column, text) is None
    if matches and worth(column, text) is None:  # too large is left to the cast, and nothing else
        assert (
            worth(ContractColumn("n", f"decimal(38,{min(size[1], 5)})", format=how), text) is not None
            or size[1] > 5
        )


@given(st.sampled_from([10**5, 10**6]))
def test_no_text_keeps_the_expression_of_a_number_busy(length: int) -> None:
    for how in (Numeric(), Numeric(",", " ")):
        found = python(numbers.expression(how, Decimal(38, 10)))
        assert not found.match("0" * length + "x")
        assert not found.match("1" * length)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("dd/MMM/yyyy", "'MMM' means nothing"), ("dMyyyy", "no digit"), ("d'1'MM.yyyy", "no digit"),
        ("yyyy-MM-dd[ HH:mm]", "means nothing"), ("yyyy-yy-dd", "the year twice"), ("uuuu-MM-dd", "nothing"),
        ("yyyy-MM-ddXXX HH:mm", "at the end"), ("yyyy-MM-dd'", "means nothing"), ("hh:mm", "means nothing"),
        ("yyyy-MM-dd HH:mm:ss.SSSSSSS", "means nothing"), ("{yyyy", "means nothing"),
    ],
)  # fmt: skip
def test_a_pattern_that_two_could_read_differently_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        patterns.read(pattern)


@pytest.mark.parametrize(
    ("type_", "how", "key"),
    [
        ("decimal(10,2)", Numeric(",", ","), "thousands"), ("decimal(10,2)", Numeric(implied=3), "implied"),
        ("int", Numeric(implied=1), "implied"), ("date", Moment("dd/MM"), "pattern"),
        ("date", Moment("dd/MM/yyyy HH:mm"), "pattern"), ("date", Moment("dd/MM/yy"), "pattern"),
        ("date", Moment("dd/MM/yyyy", years_from=1970), "years_from"),
        ("date", Moment("ddMMyyyy", "UTC"), "zone"),
        ("timestamp", Moment("yyyy-MM-dd HH:mm"), "zone"), ("timestamp", Moment("yyyy-MM-dd"), "pattern"),
        ("timestamp", Moment("yyyy-MM-dd HH:mmXXX", "UTC"), "zone"),
        ("timestamp", Moment("yyyy-MM-dd HH:mm", "Mars/Olympus"), "zone"),
        ("timestamp", Moment("yyyy-MM-dd HH:mmXXX", overlap="later"), "overlap"),
        ("timestamp", Moment("yyyy-MM-dd HH:mm.SSS", "UTC"), "pattern"),
        ("timestamp_ntz", Moment("yyyy-MM-dd HH:mmXXX"), "pattern"), ("boolean", Truth(("x",), ("x",)), "no"),
    ],
)  # fmt: skip
def test_a_format_with_no_meaning_or_two_is_refused_by_its_key(type_: str, how: Any, key: str) -> None:
    assert {flaw.key for flaw in flaws(ContractColumn("c", type_, format=how))} == {key}


def test_a_blank_that_no_trimmed_text_can_be_is_refused() -> None:
    assert [flaw.key for flaw in flaws(ContractColumn("c", trim="both", blank=(" ", "")))] == ["blank"]
    assert [*flaws(ContractColumn("c", trim="left", blank=("", "a ")))] == []
    assert [
        flaw.key for flaw in flaws(ContractColumn("c", "boolean", format=Truth(("1",), ("0",)), blank=("0",)))
    ] == ["no"]


def test_a_column_comes_back_out_of_a_stored_plan_as_it_was() -> None:
    for type_, how in (
        ("decimal(5,2)", Numeric(",", " ", "trailing", 2)), ("date", Moment("dd.MM.yy", years_from=1970)),
        ("boolean", Truth(("O",), ("N",))), ("string", Letters(7)),
    ):  # fmt: skip
        column = ContractColumn("c", type_, nullable=False, format=how, blank=("",), trim="both")
        assert from_plain(asdict(column)) == column
    assert list(typed([ContractColumn("c", "int", format=Numeric())])) == ["c", "_file", "_record"]


@given(st.text(max_size=8), st.sampled_from(["none", "left", "right", "both"]))
def test_a_text_is_blank_or_has_a_value_or_is_refused(text: str, trim: Any) -> None:
    column = ContractColumn("c", format=Letters(4), blank=("", "-"), trim=trim)
    states = [worth(column, text) is not None, refused(column, text)]
    assert states.count(True) <= 1


def test_texts_of_an_author_are_literals_of_ours() -> None:
    column = ContractColumn("it's`", "boolean", format=Truth(("a'b\\",), ("n",)), blank=("'); x",))
    assert values.value(column, "i.`x`") == (
        "if(i.`x` IN ('\\'); x'), NULL, CASE WHEN i.`x` = 'a\\'b\\\\' THEN true "
        "WHEN i.`x` = 'n' THEN false END)"
    )
    assert from_delta("string") == String()


# --- the page


PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "contracts.md").read_text(encoding="utf-8")


def test_the_page_of_contracts_names_every_type_and_what_says_its_format() -> None:
    said: dict[str, tuple[set[str], str]] = {}
    for types, keys, usual, _ in re.findall(
        r"^\| (`.+?) \| (`.+?) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE
    ):
        for type_ in re.findall(r"`([\w(),]+)`", types):
            said[type_.replace("(p,s)", "(1,1)")] = ({*re.findall(r"`(\w+)`", keys)}, usual)
    known = {type_ for type_, each in PLAIN_TYPES.items() if format_of(each)} | {"decimal(1,1)"}
    assert said.keys() == known
    told: dict[Any, set[str]] = {}
    for type_, (keys, usual) in said.items():
        made = format_of(from_delta(type_))
        assert made is not None
        assert keys <= {each.name for each in fields(made)}, type_
        told.setdefault(made, set()).update(keys)
        if made is Moment:
            assert usual.strip("`").removesuffix("XXX") == _usual(type_)
    assert told == {made: {each.name for each in fields(made)} - {"years_from"} for made in told}


def _usual(type_: str) -> str:
    return "yyyy-MM-dd" if type_ == "date" else "yyyy-MM-dd'T'HH:mm:ss"


def test_the_page_of_contracts_names_every_letter_of_a_pattern() -> None:
    table = PAGE.partition("## Letters of a pattern")[2].partition("Everything else")[0]
    said = {
        *re.findall(
            r"`([A-Za-z]+)`", "".join(line.split("|")[1] for line in table.splitlines() if "|" in line)
        )
    }
    assert said == patterns.LETTERS.keys() - {"S" * n for n in range(2, 6)}


def test_the_example_of_the_page_is_a_contract(tmp_path: Path) -> None:
    example = PAGE.partition("```yaml\n")[2].partition("```")[0]
    avro = PAGE.partition("```json\n")[2].partition("```")[0]
    lines = "".join(f"    {line}\n" for line in example.splitlines())
    flow = (
        "apiVersion: ecluse/v1\nkind: Flow\nmetadata: {name: lone}\nspec:\n  template: own@2\n"
        "  params: {connection: shop, table: acme.payment}\n"
    )
    template = TEMPLATE.replace("    sink:", f"{lines}    sink:")
    made = load(project(tmp_path, {"templates/own.yaml": template, "flows/lone.yaml": flow}))
    assert [len(each.contract.columns) for each in made.flows if each.name.text == "lone"] == [6]
    template = TEMPLATE.replace("    sink:", "    contract: {schema: schemas/payment.avsc}\n    sink:")
    made = load(project(tmp_path, {"templates/own.yaml": template, "schemas/payment.avsc": avro}))
    assert [len(each.contract.columns) for each in made.flows if each.name.text == "lone"] == [2]
