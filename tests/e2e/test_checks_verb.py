"""``ecluse test``: rows that an author makes up, through the checks as a landing runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import Exit
from tests.support.declared import ENVIRONMENT, FLOWS, TEMPLATE, project

pytestmark = [pytest.mark.spark]

ENTRY = """\
      table: public.parcel
      checks:
        sane: {column: weight, range: {min: 0}}
        coded: {column: code, pattern: "[A-Z]{2}", on_fail: fail}
        known: {expr: "kind IN ('a', 'b')", on_fail: drop}
        dated: {column: day, not_null: true, on_fail: warn}
      tests:
        each_outcome:
          columns: {id: bigint, weight: "decimal(10,3)", code: string, kind: string, day: date, raw: binary}
          rows:
            - row: {id: 1, weight: 0, code: AB, kind: a, day: "2026-01-31", raw: "00ff"}
            - {row: {weight: -0.001, day: "2026-01-31"}, fails: [sane], becomes: quarantined}
            - {row: {kind: it's}, fails: [dated, known], becomes: dropped}
            - {row: {code: "AB\\n", kind: x}, fails: [coded, dated, known], becomes: stops}
            - {row: {id: 1}, fails: [dated]}
            - {row: {id: 1}, unchanged: [day]}
            - {row: {weight: -1, kind: x}, op: d}
"""
WRONG = """\
        wrongly_expected:
          columns: {weight: int, code: string, kind: string, day: date}
          rows:
            - {row: {weight: 1}, fails: [dated]}
            - {row: {weight: -1, day: "2026-01-31"}}
"""


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine.cli", "-p", str(folder), "test", *words]
    return subprocess.run(
        command, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False
    )


def test_a_test_that_does_not_hold_is_shown_row_by_row_and_ends_with_four(tmp_path: Path) -> None:
    flows = FLOWS.replace("      table: public.parcel\n", ENTRY)
    folder = project(tmp_path, {"flows/shop.yaml": flows})
    held = run(folder)
    assert held.returncode == Exit.OK, held.stderr
    *shipped, mine = held.stdout.splitlines()
    assert "ok     postgres_table@1  without_checks_every_row_lands  (2 rows)" in shipped
    assert mine == "ok     shop.parcel  each_outcome  (7 rows)"
    assert held.stderr.splitlines()[-1].endswith("rows: all hold")
    project(tmp_path, {"flows/shop.yaml": flows + WRONG})
    failed = run(folder, "flows", "--json")
    assert failed.returncode == Exit.UNMET, failed.stderr
    told = {test["test"]: test for test in json.loads(failed.stdout)["tests"]}
    assert [told[name]["holds"] for name in ("each_outcome", "wrongly_expected")] == [True, False]
    assert [row["found"] for row in told["wrongly_expected"]["rows"]] == [
        {"fails": ["dated"], "becomes": "lands", "unfit": []},
        {"fails": ["sane"], "becomes": "quarantined", "unfit": []},
    ]  # fmt: skip
    assert [row["holds"] for row in told["wrongly_expected"]["rows"]] == [True, False]


CONTRACT = """\
    contract:
      formats: {decimal: ",", blank: [""]}
      columns:
        number: {type: int, nullable: false}
        amount: {type: "decimal(5,2)"}
        at: {type: timestamp, pattern: dd/MM/yyyy HH:mm, zone: Europe/Paris}
    checks:
      positive: {column: amount, range: {min: 0}}
      summer: {expr: "at < TIMESTAMP '2026-07-01 08:01:00Z'", on_fail: drop}
    sink:"""
LONE = """\
apiVersion: ecluse/v1
kind: Flow
metadata: {name: lone}
spec:
  template: own@2
  params: {connection: shop, table: acme.payment}
  tests:
    texts:
      rows:
        - row: {number: "007", amount: "1,50", at: "01/07/2026 10:00", _file: a.csv, _record: 1}
        - {row: {number: "1", at: "01/07/2026 10:01"}, fails: [summer], becomes: dropped}
        - {row: {number: "1", amount: "-1,5"}, fails: [positive], becomes: quarantined}
        - row: {number: "1.0", amount: "1.5", at: "29/03/2026 02:30"}
          unfit: [number, amount, at]
          becomes: quarantined
        - {row: {number: "", amount: ""}, unfit: [number], becomes: quarantined}
        - {row: {number: "1"}, unfit: [amount], becomes: quarantined}
"""


def test_the_rows_of_a_flow_with_a_contract_are_texts(tmp_path: Path) -> None:
    template = TEMPLATE.replace("    sink:", CONTRACT)
    folder = project(tmp_path, {"templates/own.yaml": template, "flows/lone.yaml": LONE})
    shown = run(folder, "flows/lone.yaml")
    assert shown.returncode == Exit.UNMET, shown.stderr
    assert [line.strip() for line in shown.stdout.splitlines()[2:]] == [
        "expected  quarantined, no value in amount",
        "found     lands, fails nothing",
    ], shown.stdout
