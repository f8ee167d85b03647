"""The guide "A partner sends us a file", typed word by word by somebody in an empty home.

What differs from the page, and nothing else: the home folder, and the lines that make and enter the virtual
environment. Where the page says "moments later" this waits for the state that is meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from tests.support.reader import LIMIT_S, Reader, blocks
from tests.support.waits import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.spark, pytest.mark.timeout(1800)]

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "a-partner-sends-us-a-file.md"
UP = "ecluse up\n"
DROPS = "> drop/in/"  # in a block that drops a file, and says that it is whole

Order = tuple[int, str, Decimal, date, str, int]


class Follower(Reader):
    """Follows the page; knows when what it waits for has come."""

    @property
    def project(self) -> Path:
        return self.home / "acme"

    def flows(self) -> dict[str, dict[str, Any]]:
        told = json.loads(self.type("ecluse status --json"))
        return {flow["flow"]: flow for flow in told["flows"]}

    def settled(self) -> bool:
        """Every file has left its folder, and what came of it has landed, whoever reads it."""
        flows = self.flows().values()
        return not list((self.project / "drop" / "in").iterdir()) and all(
            flow["in_delta"] and flow["in_delta"] == flow["in_kafka"] for flow in flows
        )

    def rows(self, layer: str) -> list[dict[str, Any]]:
        table = DeltaTable(str(self.project / ".ecluse" / "lake" / layer / "orders"))
        found: list[dict[str, Any]] = table.to_pyarrow_table().to_pylist()
        return sorted(found, key=lambda row: row["number"])

    def orders(self, layer: str) -> list[Order]:
        names = ("number", "customer", "amount", "day", "_file", "_record")
        return [tuple(row[name] for name in names) for row in self.rows(layer)]

    def files(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.project / "drop" / folder).glob("*.csv"))


def follow(reader: Follower, typed: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Each block where it belongs; what those print that are no file, as they are typed."""
    with ExitStack() as first:
        runs = False
        for kind, text in typed:
            if kind == "yaml":
                reader.write(text)
            elif text == UP:
                first.close()  # Ctrl-C in the first terminal
                first.enter_context(reader.terminal(text))
                if runs:
                    wait_until(reader.settled, "both flows have landed all", limit_s=LIMIT_S, every_s=1)
                runs = True
            else:
                if text.startswith(". .venv/bin/activate"):
                    reader.folder = reader.clone  # the second terminal
                said = reader.type(text)
                if DROPS in text:
                    wait_until(reader.settled, "the file has come to its fate", limit_s=LIMIT_S, every_s=1)
                yield said


def test_the_guide_leads_from_an_empty_folder_to_a_mended_table(tmp_path: Path) -> None:
    typed = blocks(GUIDE.read_text(encoding="utf-8"))
    reader = Follower(tmp_path / "home", tmp_path / "clone")
    said = follow(reader, typed)
    assert next(said) == ""  # make setup
    assert next(said) == ""  # mkdir
    assert "+  flow  acme.orders: lands in bronze.orders" in next(said)

    assert next(said) == ""  # the first file
    looked = next(said)
    assert re.search(r"^1 +archived +yes +acme\.orders +ORDERS_1\.csv +2 +0 ", looked, re.MULTILINE), looked
    assert "archive/1-ORDERS_1.csv" in looked
    table = next(said)
    assert ("2026-02-11" in table, "Évrard" in table) == (True, False)
    waits = next(said)
    assert "unfit:day" in waits
    assert "from  ORDERS_1.csv, record 2\n  unfit day = 13/11/2026" in waits

    assert "ORDERS_2.csv is announced by ORDERS_2.csv.ok" in next(said)
    waits = next(said)
    assert {"unfit:day", "unfit:amount", "record.width"} <= {*waits.split()}
    assert "  why   record.width: 3 fields, 5 are declared\n  sent  D;1004;Petit\n" in waits
    assert next(said) == ""  # a wrong trailer
    looked = next(said)
    assert re.search(r"^3 +refused +- +acme\.orders +ORDERS_3\.csv ", looked, re.MULTILINE), looked
    assert "ORDERS_1.csv" not in looked
    assert "trailer.count says 2 details, and the file has 1" in looked
    assert reader.orders("bronze") == [
        (1001, "Durand", Decimal("19.90"), date(2026, 2, 11), "ORDERS_1.csv", 1)
    ]
    before = reader.flows()["acme.orders"]["in_kafka"], reader.files("archive")
    assert before == (4, ["1-ORDERS_1.csv", "2-ORDERS_2.csv"])

    assert "+  flow  acme.orders_2: lands in mended.orders" in next(said)
    mends_from_the_same_topic(reader, before, next(said))
    assert list(said) == []
    assert reader.changed == 2
    assert list(reader.clone.iterdir()) == []


def mends_from_the_same_topic(reader: Follower, before: tuple[int, list[str]], looked: str) -> None:
    """All that is sound lands typed, from the records that were there: nothing was sent again."""
    assert "Évrard" in looked
    assert ("unfit:day" in looked, "unfit:amount" in looked, "record.width" in looked) == (False, True, True)
    assert reader.orders("mended") == [
        (1001, "Durand", Decimal("19.90"), date(2026, 11, 2), "ORDERS_1.csv", 1),
        (1002, "Évrard", Decimal("1250.00"), date(2026, 11, 13), "ORDERS_1.csv", 2),
    ]
    flows = reader.flows()
    assert {flow["topic"] for flow in flows.values()} == {"drop.acme.orders"}
    assert (flows["acme.orders_2"]["in_kafka"], reader.files("archive")) == before
    old, new = reader.rows("bronze")[0], reader.rows("mended")[0]
    assert new["_position"] == old["_position"]
