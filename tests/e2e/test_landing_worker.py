"""The command ``run landing``: what it says, and where."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from engine.errors import LakeUnreachable
from tests.support.flows import World
from tests.support.killer import descendants
from tests.support.waits import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.spark]

FLOWS = {"parcel": {"table": "public.parcel", "sink": "parcel", "mode": "append"}}


@pytest.fixture(scope="module")
def world(worlds: Callable[[str], World]) -> World:
    found = worlds("landing")
    found.write_project(FLOWS)
    admin = AdminClient({"bootstrap.servers": found.places.kafka})
    for done in admin.create_topics([NewTopic(found.topic("parcel"), 1, 1)]).values():
        done.result(30)
    return found


def test_numbers_are_shown_on_loopback_when_asked_for(world: World) -> None:
    world.poison("parcel", b"junk")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    worker = world._start("landing", ["run", "landing", "--metrics-port", str(port)], "", 1)  # noqa: SLF001

    def shown(name: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        assert world.canary not in text
        found = re.search(rf"^ecluse_landing_{name} (\S+)$", text, re.MULTILINE)
        return found[1] if found else ""

    wait_until(lambda: any(e.get("event") == "landed" for e in worker.events()), "a batch", limit_s=120)
    wait_until(
        lambda: shown(r'rows_total\{flow="walk.parcel",outcome="quarantined"\}') == "1.0", "its number"
    )
    wait_until(lambda: shown(r'lag_offsets\{flow="walk.parcel"\}') == "0.0", "no lag")
    assert shown(r'state\{flow="walk.parcel",state="streaming"\}') == "1.0"
    assert worker.stop() == 0, worker.text()


def test_what_it_does_is_json_on_stderr_and_stdout_is_for_data(world: World) -> None:
    world.poison("parcel", b"more junk")
    ended = world.ecluse("run", "landing", "--available-now")
    assert ended.stdout == ""
    told = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith("{")]
    (landed,) = [each for each in told if each["event"] == "landed"]
    assert (landed["group"], landed["level"], landed["quarantined"]) == ("default", "info", 1)


def test_i7_a_landing_whose_jvm_alone_is_killed_ends_to_be_started_again_and_loses_nothing(
    world: World,
) -> None:
    worker = world.landing()
    world.poison("parcel", b"before the kill")
    wait_until(lambda: any(e.get("event") == "landed" for e in worker.events()), "a batch", limit_s=120)
    below = descendants(worker.process.pid)
    (java,) = [pid for pid in below if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8") == "java\n"]
    os.kill(java, signal.SIGKILL)
    world.poison("parcel", b"behind the kill")
    assert worker.ended(limit_s=120) == LakeUnreachable.exit_code, worker.text()[-3000:]
    assert LakeUnreachable.code in worker.text()
    assert "ecluse.bug" not in worker.text()
    world.land()
    assert sum(e["quarantined"] for e in world.ledger("parcel")) == len(world.poisoned)
