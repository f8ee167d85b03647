"""Checks and tests as authors write them: a template's, a flow's, and both together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import plan
from engine.checks import Check, Expression, NotNull, OneOf, OnFail, Pattern, Range
from engine.cli import main
from engine.cli.rehearsal import Verdict
from engine.errors import Exit, Missing
from engine.lake.rehearse import Outcome
from tests.support.declared import ENVIRONMENT, FLOWS, TEMPLATE, load, mistakes, project

CHECKS = """\
    checks:
      light: {expr: "weight <= ${param.most}", on_fail: drop}
      named: {columns: [name, city], not_null: true}
      sane: {column: weight, range: {min: 0, max: "${param.most}"}}
    sink:"""
OWN = TEMPLATE.replace("    into:", "    most: {type: integer, default: 7}\n    into:").replace(
    "    sink:", CHECKS
)
LONE = (
    "apiVersion: ecluse/v1\nkind: Flow\nmetadata: {name: lone}\nspec:\n  template: own@2\n"
    "  params: {connection: shop, table: public.order_line, most: 9}\n"
)
MORE = "  checks:\n    form: {column: code, pattern: '[A-Z]$$', on_fail: fail}\n"
TESTS = """\
  tests:
    heavy:
      params: {connection: none_yet, table: public.parcel, most: 5}
      columns: {weight: "decimal(10,3)", name: string, city: string}
      rows:
        - row: {weight: 5, name: a, city: b}
        - {row: {weight: 6.5, city: b}, fails: [light, named], becomes: quarantined}
"""


def planned(folder: Path, files: dict[str, str]) -> tuple[Check, ...]:
    made = plan.build(load(project(folder, files)))
    return next(flow for flow in made.flows if flow.name == "lone").checks


def test_a_flow_adds_its_checks_to_those_of_its_template(tmp_path: Path) -> None:
    assert planned(tmp_path, {"templates/own.yaml": OWN, "flows/lone.yaml": LONE + MORE}) == (
        Check("form", OnFail.FAIL, Pattern(("code",), "[A-Z]$")),
        Check("light", OnFail.DROP, Expression("weight <= 9")),
        Check("named", OnFail.QUARANTINE, NotNull(("name", "city"))),
        Check("sane", OnFail.QUARANTINE, Range(("weight",), 0, 9)),
    )


def test_a_check_that_the_template_has_already_is_told_with_both_places(tmp_path: Path) -> None:
    files = {"templates/own.yaml": OWN, "flows/lone.yaml": LONE + MORE.replace("form:", "named:")}
    (told,) = mistakes(project(tmp_path, files))
    assert told == (
        'flows/lone.yaml:8:5: template.duplicate-name: the template has a check "named" already '
        "(the other at templates/own.yaml:18:7: give yours another name)"
    )


def test_a_flow_has_so_many_checks_and_no_more(tmp_path: Path) -> None:
    many = "  checks:\n" + "".join(f"    c{n}: {{expr: a = {n}}}\n" for n in range(48))
    files = {"templates/own.yaml": OWN, "flows/lone.yaml": LONE + many}
    assert mistakes(project(tmp_path, files)) == [
        "flows/lone.yaml:3:18: template.bad-value: a flow has at most 50 checks, and this one 51"
    ]


def test_i6_the_order_of_checks_changes_no_byte(tmp_path: Path) -> None:
    checks = ["    a: {expr: x > 1}\n", "    b: {expr: x > 2}\n"]
    found = {
        plan.as_json(planned(tmp_path / str(n), {"templates/own.yaml": OWN, "flows/lone.yaml": text})[0])
        for n, text in enumerate(
            (LONE + "  checks:\n" + "".join(checks), LONE + "  checks:\n" + "".join(reversed(checks)))
        )
    }
    assert len(found) == 1


def test_a_test_of_a_template_runs_the_checks_that_its_parameters_make(tmp_path: Path) -> None:
    read = load(project(tmp_path, {"templates/own.yaml": OWN + TESTS}))
    (trial,) = (trial for trial in read.trials if trial.about == "own@2")
    assert [(bound.name, bound.columns) for bound in trial.checks] == [
        ("light", ("weight",)), ("named", ("name", "city")), ("sane", ("weight",)),
    ]  # fmt: skip
    assert [row.values for row in trial.rows] == [
        {"weight": "5", "name": "a", "city": "b"}, {"weight": "6.5", "city": "b"},
    ]  # fmt: skip
    found = [Outcome((), "lands"), Outcome(("light", "named", "sane"), "quarantined")]
    verdict = Verdict(trial, list(zip(trial.rows, found, strict=True)))
    assert [(n, case.fails) for n, case, _ in verdict.wrong] == [(2, ("light", "named"))]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("most: 5}", "msot: 5}", '23:60: template.unknown-param: unknown parameter "msot"'),
        (", city: string}", "}", '18:48: template.bad-expression: the table has no column "city"'),
        ("fails: [light", "fails: [lihgt", '27:49: template.bad-name: "lihgt" is no check of this test'),
    ],
)
def test_a_test_that_does_not_fit_its_template_is_a_mistake(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    found = mistakes(project(tmp_path, {"templates/own.yaml": OWN + TESTS.replace(old, new)}))
    assert found
    assert found[0].startswith(f"templates/own.yaml:{told}"), found


PARAMS = """\
    states: {type: list, of: string, default: [new, paid]}
    form: {type: string, default: '[A-Z]+'}
    then: {type: enum, values: [warn, fail], default: warn}
    into:"""
TOKENS = """\
    checks:
      a: {columns: '${param.states}', one_of: '${param.states}', on_fail: '${param.then}'}
      b: {column: '${source.table}', pattern: '${param.form}'}
    sink:"""


def test_tokens_stand_in_every_part_of_a_templates_check_and_in_no_test(tmp_path: Path) -> None:
    own = TEMPLATE.replace("    into:", PARAMS).replace("    sink:", TOKENS)
    lone = LONE.replace(", most: 9", ", form: '[0-9]'")
    assert planned(tmp_path / "a", {"templates/own.yaml": own, "flows/lone.yaml": lone}) == (
        Check("a", OnFail.WARN, OneOf(("new", "paid"), ("new", "paid"))),
        Check("b", OnFail.QUARANTINE, Pattern(("order_line",), "[0-9]")),
    )
    wrong = {"templates/own.yaml": own, "flows/lone.yaml": lone.replace("[0-9]", "[0-9")}
    (told,) = mistakes(project(tmp_path / "b", wrong))
    assert told.startswith("flows/lone.yaml:6:62: template.bad-expression: this is no regular expression")
    tests = TESTS.replace("most: 5", "").replace("name: a,", "name: '${a.b}',")
    whole = TEMPLATE.replace("    sink:", "    checks: ${param.into}\n    sink:") + tests
    found = mistakes(project(tmp_path / "c", {"templates/own.yaml": whole}))
    assert [line.split(": ")[1] for line in found] == ["template.unresolved-token"]


def test_a_test_with_an_authors_mistake_ends_with_two_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("Spark was started")

    monkeypatch.setattr("engine.cli.places.spark", never)
    folder = project(
        tmp_path, {"flows/shop.yaml": FLOWS.replace("mode: append,", "checks: {c: {expr: a >}},")}
    )
    assert main.main(["-p", str(folder), "test"], environment=ENVIRONMENT) == Exit.AUTHOR
    assert "template.bad-expression" in capsys.readouterr().err
    good = str(project(tmp_path / "good"))
    assert main.main(["-p", good, "test", "flows/shop.yaml"], environment=ENVIRONMENT) == Exit.AUTHOR
    assert Missing.code in capsys.readouterr().err
