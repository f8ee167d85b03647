"""The README's first flow, typed word by word by somebody who has a PostgreSQL as `initdb` makes it.

What differs from the page, and nothing else: the port of the server, the home folder, and the two lines that
make and enter the virtual environment, which this test runs in already.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.embedded.stack import cache_folder
from tests.support.plain_postgres import PlainPostgres, plain_postgres
from tests.support.waits import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.spark, pytest.mark.timeout(1800)]

README = Path(__file__).parents[2] / "README.md"
SECTION = re.compile(r"^## A first flow of one's own\n(.*?)^## ", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HERE_ALREADY = ("make setup && . .venv/bin/activate\n", ". .venv/bin/activate\n")
HOST = "      host: localhost\n"
LIMIT_S = 600


@dataclass
class Reader:
    """Somebody with two terminals: types each block where it belongs."""

    home: Path
    clone: Path
    server: PlainPostgres
    folder: Path = field(init=False)
    changed: int = 0

    def __post_init__(self) -> None:
        self.folder = self.clone

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        cache = str(cache_folder(os.environ))
        return {**os.environ, "HOME": str(self.home), "PATH": path, "ECLUSE_CACHE": cache}

    def write(self, text: str) -> None:
        """A file, under the name in its first line."""
        self.changed += text.count(HOST)
        name = text.partition("\n")[0].removeprefix("# ")
        there = text.replace(HOST, f"{HOST}      port: {self.server.port}\n")
        (self.folder / name).write_text(there, encoding="utf-8")

    def type(self, text: str) -> str:
        """Commands, in the folder that the earlier ones have left; what they print."""
        for line in HERE_ALREADY:
            self.changed += text.count(line)
            text = text.replace(line, "")
        left = self.home / "pwd"
        done = subprocess.run(
            ["/bin/sh", "-ec", f"{text}\npwd > '{left}'"],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        self.folder = Path(left.read_text(encoding="utf-8").strip())
        return done.stdout

    def flow(self) -> dict[str, Any]:
        told = json.loads(self.type("ecluse status --json"))
        (flow,) = told["flows"]
        return dict(flow)

    @contextmanager
    def terminal(self, text: str) -> Iterator[None]:
        """A command that goes on in the first terminal, until Ctrl-C."""
        log = self.home / "terminal"
        with log.open("w") as out:
            words = ["/bin/sh", "-ec", f"exec {text}"]
            running = subprocess.Popen(words, cwd=self.folder, env=self.environment, stdout=out, stderr=out)
        try:
            yield
            assert running.poll() is None, log.read_text()
        finally:
            running.send_signal(
                signal.SIGTERM
            )  # which `up` takes as Ctrl-C; a background job may ignore that
            code = running.wait(LIMIT_S)
        assert code == 0, log.read_text()


def test_the_first_flow_of_the_readme_runs_as_it_is_typed(tmp_path: Path) -> None:
    section = SECTION.search(README.read_text(encoding="utf-8"))
    assert section is not None
    blocks = iter(BLOCK.findall(section[1]))
    for name in ("home", "clone"):
        (tmp_path / name).mkdir()
    with plain_postgres(tmp_path / "server") as server:
        assert server.psql.one("SHOW wal_level") == "replica"
        reader = Reader(tmp_path / "home", tmp_path / "clone", server)
        up = prepared(reader, blocks)
        with reader.terminal(up):
            wait_until(lambda: reader.flow()["lag"]["source_s"] is not None, "a source lag", limit_s=LIMIT_S)
            kind, text = next(blocks)
            assert kind == "sql"
            server.psql.type(text)
            wait_until(lambda: reader.flow()["in_delta"], "the row is in Delta", limit_s=LIMIT_S, every_s=1)
            reader.folder = reader.clone
            looked = reader.type(next(blocks)[1])
    assert re.search(r"^orders +bronze\.orders +streaming +OK +1 +1 +0 ", looked, re.MULTILINE), looked
    assert "lamp" in looked
    assert "19.90" in looked
    assert list(blocks) == []
    assert reader.changed == 1 + len(HERE_ALREADY)
    assert list(reader.clone.iterdir()) == [], "a secret in the clone would be one `git add` from the world"


def prepared(reader: Reader, blocks: Iterator[tuple[str, str]]) -> str:
    """Everything up to the command that goes on until Ctrl-C, which it gives."""
    psql = reader.server.psql
    for kind, text in blocks:
        if kind == "yaml":
            reader.write(text)
        elif kind == "sql":
            psql.type(text)
            if "ALTER SYSTEM" in text:  # the page says: and the server a restart after it
                reader.server.start()
                assert psql.one("SHOW wal_level") == "logical"
        elif text == "ecluse up\n":
            assert psql.one("SELECT rolsuper FROM pg_roles WHERE rolname = 'ecluse'") is False
            return text
        else:
            reader.type(text)
    raise AssertionError("the page runs nothing")
