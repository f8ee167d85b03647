"""Made-up files through the whole way: what is foretold is what lies in table, quarantine and folders."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.flows import Places, World
from tests.support.oracles_lake import table_rows
from tests.support.services import Services
from tests.support.waits import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.spark, pytest.mark.timeout(900)]

FLOW = """\
apiVersion: ecluse/v1
kind: Flow
metadata: {name: orders}
spec:
  template: partner_csv@1
  params:
    connection: CONNECTION
    partner: acme
    feed: orders
    folder: in
    files: ORDERS_*.csv.gz
    container: gz
    encoding: cp1252
    freshness: 0s
    quarantine: 1
    ready: {by: rename, suffix: .part}
    layout:
      header: none
      records:
        detail:
          literal: D
          columns:
            - kind
            - {name: id, type: bigint, nullable: false}
            - customer
            - {name: amount, type: "decimal(12,2)", nullable: false}
            - {name: day, type: date, format: {pattern: dd/MM/yyyy, blank: [""]}}
            - {name: seen, type: timestamp}
        trailer: {literal: T, role: trailer, columns: [kind, count, total]}
      formats: {decimal: ",", thousands: " ", timestamp: "yyyy-MM-dd HH:mm", zone: Europe/Paris}
    controls:
      count: {field: trailer.count}
      sums: {amounts: {field: trailer.total, column: amount, format: {decimal: ",", thousands: " "}}}
  checks:
    small: {column: amount, range: {max: 3000}, on_fail: quarantine}
"""
DEFECTS = (
    "bad_type=5", "bad_value=3", "ragged=4", "duplicate=2",
    "wrong_count=1", "wrong_sum=1", "truncated=1", "encoding=1", "again=1",
)  # fmt: skip


@pytest.fixture
def world(services: Services, tmp_path: Path) -> Iterator[World]:
    places = Places(services.kafka, services.registry, services.superuser, {})
    made = World(services.unique("fake"), tmp_path, places, lambda _: None)
    project = {
        "apiVersion": "ecluse/v1",
        "kind": "Project",
        "metadata": {"name": made.name},
        "spec": {
            # relative to the project: the workers of a world are started somewhere else
            "connections": {
                made.name: {"type": "files", "root": "drop", "staging": "copies", "poll": "200ms"}
            },
            "kafka": {"bootstrap_servers": [services.kafka]},
            "registry": {"url": services.registry},
            "lake": {"root": str(made.lake)},
        },
    }
    (tmp_path / "ecluse.yaml").write_text(json.dumps(project))
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "orders.yaml").write_text(FLOW.replace("CONNECTION", made.name))
    yield made
    made.close()


def told(world: World, *words: str) -> Any:
    done = world.ecluse(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def names(folder: Path) -> set[str]:
    return {path.name.partition("-")[2] for path in folder.iterdir()} if folder.is_dir() else set()


def test_made_up_files_land_as_their_report_foretells(world: World) -> None:
    drop = world.folder / "drop"
    defects = [word for one in DEFECTS for word in ("--defect", one)]
    report = told(
        world, "fake", "orders", "--out", str(drop / "in"), "--files", "9", "--records", "60", *defects
    )
    files = report["files"]
    assert Counter(one["becomes"] for one in files) == {"refused": 5, "accepted": 4}

    capture = world.capture(of=world.name)

    def settled() -> bool:
        assert capture.process.poll() is None, capture.text()[-3000:]
        return len(names(drop / "archive") | names(drop / "errors")) == len(files)

    wait_until(settled, "every file is dealt with", limit_s=120)
    assert capture.stop() == 0, capture.text()[-3000:]
    world.land()

    for becomes, folder in (("accepted", "archive"), ("refused", "errors")):
        assert names(drop / folder) == {one["name"] for one in files if one["becomes"] == becomes}
    landed = Counter(row["_file"] for row in table_rows(world.lake / "bronze" / "orders"))
    assert landed == {one["name"]: one["lands"] for one in files if one["lands"]}
    waiting: Counter[str] = Counter()
    for one in files:
        waiting.update(one["quarantined"])
    found: Counter[str] = Counter()
    for group in told(world, "quarantine", "ls"):
        kind = group["reason"].partition(":")[0]  # behind it stand columns, or checks
        found[group["reason"] if kind == "check" else kind] += group["records"]
    assert found == waiting
