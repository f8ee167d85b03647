"""The README's flows, typed word by word by somebody who has a PostgreSQL as `initdb` makes it.

What differs from the page, and nothing else: the port of the server, the home folder, and the two lines that
make and enter the virtual environment, which this test runs in already.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.plain_postgres import PlainPostgres, plain_postgres
from tests.support.reader import HERE_ALREADY, LIMIT_S, Reader, blocks
from tests.support.waits import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.spark, pytest.mark.timeout(1800)]

README = Path(__file__).parents[2] / "README.md"
HOST = "      host: localhost\n"


def section(title: str) -> list[tuple[str, str]]:
    """The blocks of a section."""
    pattern = rf"^## {re.escape(title)}\n(.*?)^## "
    found = re.search(pattern, README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return blocks(found[1])


@dataclass
class Newcomer(Reader):
    """Somebody with two terminals: types each block where it belongs."""

    def flow(self) -> dict[str, Any]:
        told = json.loads(self.type("ecluse status --json"))
        (flow,) = told["flows"]
        return dict(flow)


def test_the_first_flow_of_the_readme_runs_as_it_is_typed(tmp_path: Path) -> None:
    typed = iter(section("A first flow of one's own"))
    with plain_postgres(tmp_path / "server") as server:
        assert server.psql.one("SHOW wal_level") == "replica"
        instead = {**HERE_ALREADY, HOST: f"{HOST}      port: {server.port}\n"}
        reader = Newcomer(tmp_path / "home", tmp_path / "clone", instead)
        up = prepared(reader, server, typed)
        with reader.terminal(up):
            wait_until(lambda: reader.flow()["lag"]["source_s"] is not None, "a source lag", limit_s=LIMIT_S)
            kind, text = next(typed)
            assert kind == "sql"
            server.psql.type(text)
            wait_until(lambda: reader.flow()["in_delta"], "the row is in Delta", limit_s=LIMIT_S, every_s=1)
            reader.folder = reader.clone
            looked = reader.type(next(typed)[1])
    assert re.search(r"^orders +bronze\.orders +streaming +OK +1 +1 +0 ", looked, re.MULTILINE), looked
    assert "lamp" in looked
    assert "19.90" in looked
    assert list(typed) == []
    assert reader.changed == 1 + len(HERE_ALREADY)
    assert list(reader.clone.iterdir()) == [], "a secret in the clone would be one `git add` from the world"


def prepared(reader: Reader, server: PlainPostgres, typed: Iterator[tuple[str, str]]) -> str:
    """Everything up to the command that goes on until Ctrl-C, which it gives."""
    psql = server.psql
    for kind, text in typed:
        if kind == "yaml":
            reader.write(text)
        elif kind == "sql":
            psql.type(text)
            if "ALTER SYSTEM" in text:  # the page says: and the server a restart after it
                server.start()
                assert psql.one("SHOW wal_level") == "logical"
        elif text == "ecluse up\n":
            assert psql.one("SELECT rolsuper FROM pg_roles WHERE rolname = 'ecluse'") is False
            return text
        else:
            reader.type(text)
    raise AssertionError("the page runs nothing")


def test_the_files_of_a_partner_are_declared_as_the_readme_says(tmp_path: Path) -> None:
    """Declared, and no more: the guide goes on from the like of it, and its own test follows that."""
    reader = Newcomer(tmp_path / "home", tmp_path / "clone")
    typed = section("A partner's files")
    said = ""
    for kind, text in typed:
        if kind == "yaml":
            reader.write(text)
        else:
            said = reader.type(text)
    assert [kind for kind, _ in typed] == ["sh", "yaml", "yaml", "sh"]
    assert "+  flow  orders: lands in bronze.orders (append)" in said
    assert "mkdir -p" in said
