"""Expressions: what is read is what was written, whatever stands there, and a mistake knows its character."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.checks import Misfit
from engine.checks.functions import FUNCTIONS
from engine.checks.parse import DEPTH_MAX, NODES_MAX, check_pattern, parse
from engine.checks.scan import LENGTH_MAX
from engine.checks.tree import (
    Among,
    Arithmetic,
    Between,
    Call,
    Case,
    Column,
    Comparison,
    IsNull,
    Joined,
    Like,
    Logic,
    Moment,
    Negative,
    Not,
    Null,
    Number,
    Text,
    Tree,
    Truth,
)

NAMES = st.one_of(st.sampled_from(["a", "weight", "select", "Straße", 'q"u', "a b", "AND"]))
LEAVES: st.SearchStrategy[Tree] = st.one_of(
    NAMES.map(Column),
    st.decimals(0, 10**9, places=2).map(lambda n: Number(f"{n:f}")),
    st.integers(0, 10**18).map(lambda n: Number(str(n))),
    st.text(max_size=8).map(Text),
    st.booleans().map(Truth),
    st.just(Null()),
    st.dates().map(lambda d: Moment("date", d.isoformat())),
)


def trees(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    comparisons = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
    return st.one_of(
        st.builds(Not, inner),
        st.builds(Negative, inner.filter(lambda tree: not isinstance(tree, Number))),
        st.builds(Logic, st.sampled_from(["AND", "OR"]), inner, inner),
        st.builds(Comparison, comparisons, inner, inner),
        st.builds(Arithmetic, st.sampled_from(["+", "-", "*", "/", "%"]), inner, inner),
        st.builds(Joined, inner, inner),
        st.builds(IsNull, inner),
        st.builds(Among, inner, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(Between, inner, inner, inner),
        st.builds(Like, inner, st.sampled_from(["a%", "_", r"\%", r"\\"])),
        st.builds(Case, st.lists(st.tuples(inner, inner), min_size=1, max_size=2).map(tuple), inner),
        st.builds(lambda a, b: Call("coalesce", (a, b)), inner, inner),
    )


def written(tree: Tree) -> str:  # noqa: C901, PLR0912 - a case for each kind
    """A tree as text, every part in brackets."""
    match tree:
        case Column(name=name):
            return '"' + name.replace('"', '""') + '"'
        case Number(text=text):
            return text
        case Text(value=value):
            return "'" + value.replace("'", "''") + "'"
        case Moment(kind=kind, text=text):
            return f"{kind} '{text}'"
        case Truth(value=value):
            return str(value).lower()
        case Null():
            return "null"
        case Not(of=of):
            return f"(not {written(of)})"
        case Negative(of=of):
            return f"(-{written(of)})"
        case Logic() | Comparison() | Arithmetic():
            return f"({written(tree.left)} {tree.op} {written(tree.right)})"
        case Joined():
            return f"({written(tree.left)} || {written(tree.right)})"
        case IsNull(of=of):
            return f"({written(of)} is null)"
        case Among(of=of, values=values):
            return f"({written(of)} in ({', '.join(map(written, values))}))"
        case Between():
            return f"({written(tree.of)} between {written(tree.low)} and {written(tree.high)})"
        case Like(of=of, pattern=pattern):
            return f"({written(of)} like '{pattern}')"
        case Case(whens=whens, otherwise=otherwise):
            said = " ".join(f"when {written(when)} then {written(then)}" for when, then in whens)
            return f"case {said} else {written(otherwise)} end"
        case Call(name=name, arguments=arguments):
            return f"{name}({', '.join(map(written, arguments))})"


def placeless(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(placeless(item) for item in value)
    if not hasattr(value, "at"):
        return value
    return (type(value), *(placeless(getattr(value, f.name)) for f in fields(value) if f.name != "at"))


@given(st.recursive(LEAVES, trees, max_leaves=12))
def test_a_tree_that_is_written_is_read_again(tree: Tree) -> None:
    assert placeless(parse(written(tree))) == placeless(tree)


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("a OR b AND NOT c = d", "(a or (b and (not (c = d))))"),
        ("a + b * -c || d = e", "(((a + (b * (-c))) || d) = e)"),
        ("a - b - c", "((a - b) - c)"),
        ("a NOT IN (1, 2) or b is not null", "((not (a in (1, 2))) or (not (b is null)))"),
        ("a between b + 1 and c and d", "((a between (b + 1) and c) and d)"),
        ("a not like 'x%'", "(not (a like 'x%'))"),
        ("date(a) = date '2026-01-31'", "(date(a) = date '2026-01-31')"),
        ("- -3 < 1e3", "((- -3) < 1000)"),
        ("""`or` = "in\"""", '("or" = "in")'),
    ],
)  # fmt: skip
def test_operators_bind_as_in_sql(text: str, means: str) -> None:
    assert placeless(parse(text)) == placeless(parse(means))


WORDS = """a 1 1.5 'x' "b" ( ) , = <> < || + - * / % . ; -- /* ' " ` [ NOT AND OR IS NULL IN LIKE BETWEEN
CASE WHEN THEN ELSE END TRUE DATE TIMESTAMP length( reflect( é == && | ! \\"""
PIECES = st.sampled_from([*WORDS.split(), "\n", "\t", "\x00"])


@given(st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=14).map(" ".join)))
def test_any_text_is_an_expression_or_a_mistake_with_its_character(text: str) -> None:
    told: Misfit | None = None
    try:
        tree = parse(text)
    except Misfit as misfit:
        told = misfit
    else:
        assert placeless(parse(written(tree))) == placeless(tree)
    if told is not None:
        assert told.at is not None
        assert 0 <= told.at <= len(text)
        assert told.text.isprintable()


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("", 0, "the expression ends too early: a value is missing"),
        ("a = 1; drop table x", 5, '";" has no meaning here'),
        ("a = 1 -- b", 6, "no comments stand in an expression"),
        ("1 < a < 3", 6, "a comparison compares two values"),
        ("java_method('x') = 1", 0, "java_method is no function that a check may call"),
        ("length(a, b) = 1", 0, "length takes 1 arguments, not 2"),
        ("round(a, b) = 1", 9, "round takes 0 to 18 places, a literal"),
        ("matches(a, b)", 11, "the regular expression is a text literal"),
        ("day = DATE '2026-02-30'", 11, "this is no date"),
        ("a = 1" + "0" * 40, 4, "a number has at most 38 digits"),
        ("a LIKE 'x\\'", 7, "a \\ stands before %, _ or \\ only"),
        ("CASE a WHEN 1 THEN 2 END = 1", 5, "WHEN was expected"),
        ("END = 1", 0, "a value was expected"),
        ("(" * (DEPTH_MAX + 1) + "a", DEPTH_MAX, f"nested more than {DEPTH_MAX} levels deep"),
        ("a" + " + 1" * NODES_MAX, 398, f"an expression has at most {NODES_MAX} parts"),
        ("a" * (LENGTH_MAX + 1), LENGTH_MAX, f"an expression has at most {LENGTH_MAX} characters"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_expression_says_its_character(text: str, at: int, said: str) -> None:
    with pytest.raises(Misfit) as told:
        parse(text)
    assert (told.value.at, told.value.text) == (at, said)


def test_what_runs_code_reads_files_or_gives_another_value_next_time_is_no_function() -> None:
    strange = re.compile(
        r"reflect|java|input_file|rand|uuid|current|now|user|session|version|raise|sleep|repeat|pad"
    )
    assert [name for name in FUNCTIONS if strange.search(name)] == []


@pytest.mark.parametrize("pattern", ["", "a" * 501, "(", "(?P<a>b)", "a\\Z", "\\p{L}", "[a&&[b]]", "*"])
def test_a_regular_expression_that_java_or_python_does_not_know_is_refused(pattern: str) -> None:
    with pytest.raises(Misfit):
        check_pattern(pattern)
