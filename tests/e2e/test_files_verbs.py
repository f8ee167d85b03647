"""The verbs of partner files against a real broker, registry, capture, landing and lake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from engine.embedded import ports
from tests.support.partner_project import Partner
from tests.support.services import Services
from tests.support.waits import wait_until

pytestmark = pytest.mark.stack


@pytest.fixture
def partner(services: Services, prefix: str, tmp_path: Path) -> Iterator[Partner]:
    made = Partner(prefix.replace("-", "_"), tmp_path, services)
    made.write()
    yield made
    made.close()


def stands(partner: Partner, name: str, states: set[str]) -> Callable[[], bool]:
    return lambda: (found := partner.files().get(name)) is not None and found["state"] in states


def late(partner: Partner, feed: str) -> float:
    overdue_s: float = partner.awaited()[feed]["overdue_s"]
    return overdue_s


def sample(port: int, name: str) -> float | None:
    """A number as ``run watch`` shows it; None where it does not."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            lines = page.read().decode().splitlines()
    except URLError:  # it does not listen yet
        return None
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), None)


def test_a_file_is_followed_from_its_folder_to_its_table_refused_mended_and_taken_again(
    partner: Partner,
) -> None:
    # nothing runs yet: what lies in the folders is seen all the same
    partner.drop("ORDERS_1.csv", "id,town\n1,Aix\n2,Brest\n")
    partner.drop("ORDERS_2.csv", "id,city\n3,Caen\n")
    partner.drop("LETTERS_1.csv", "id,town\n1,Dax\n")
    partner.drop("LETTERS_2.csv", "id,town\n2,Evry\n")
    before = partner.files()
    assert {feed: one["overdue_s"] for feed, one in partner.awaited().items()} == {
        "acme.letters": None, "acme.orders": None,
    }  # fmt: skip
    assert {name: (one["state"], one["arrival"]) for name, one in before.items()} == {
        "ORDERS_1.csv": ("ready", None), "ORDERS_2.csv": ("ready", None),
        "LETTERS_1.csv": ("arriving", None), "LETTERS_2.csv": ("arriving", None),
    }  # fmt: skip

    # a mover says of one that it is whole, a person of another that it is not wanted
    done = partner.ecluse("files", "announce", partner.name, "letters", "LETTERS_1.csv", "--records", "1")
    assert (done.returncode, done.stdout) == (0, "LETTERS_1.csv is announced by LETTERS_1.csv.done\n")
    assert partner.files()["LETTERS_1.csv"]["state"] == "announced"
    rejected = partner.told("files", "reject", "LETTERS_2.csv", "--why", "sent by mistake")
    assert (rejected["wish"], rejected["number"], rejected["changed"]) == ("reject", 1, True)
    assert partner.told("files", "reject", "LETTERS_2.csv")["changed"] is False
    assert partner.files()["LETTERS_2.csv"]["wish"]["why"] == "sent by mistake"

    capture = partner.capture()
    for name, states in (
        ("ORDERS_1.csv", {"archived"}), ("ORDERS_2.csv", {"refused"}),
        ("LETTERS_1.csv", {"archived"}), ("LETTERS_2.csv", {"refused"}),
    ):  # fmt: skip
        wait_until(stands(partner, name, states), f"{name} is {states}", limit_s=60, every_s=0.5)
    assert set(partner.files("--state", "refused")) == {"ORDERS_2.csv", "LETTERS_2.csv"}
    assert set(partner.files("--feed", "letters", "--since", "1h")) == {"LETTERS_1.csv", "LETTERS_2.csv"}
    assert partner.files("--state", "landed") == {}

    shown = partner.ecluse("files", "show", "ORDERS_2.csv")
    refused = partner.told("files", "show", "ORDERS_2.csv")
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert "code header.mismatch" in lines
    assert (
        f"next ecluse -p {partner.folder} files requeue {refused['arrival']} # once flow or file is mended"
        in lines
    )
    assert refused["lies"] == f"errors/{refused['arrival']}-ORDERS_2.csv"

    # what is on the topic cannot be called back, and an archived file is not taken twice
    for verb in ("reject", "requeue"):
        told = partner.ecluse("files", verb, "ORDERS_1.csv")
        assert told.returncode == 3
        assert told.stderr.startswith("files.decided: ORDERS_1.csv (arrival ")
        assert "next the partner sends a corrected file" in told.stderr

    # orders are due each second, and letters tomorrow at the earliest; nobody's worker is asked
    wait_until(lambda: late(partner, "acme.orders") > 0, "orders are overdue", limit_s=30, every_s=0.5)
    assert late(partner, "acme.letters") == 0
    capture.kill()
    before_s = late(partner, "acme.orders")
    wait_until(lambda: late(partner, "acme.orders") > before_s, "it grows", limit_s=30, every_s=0.5)
    port = ports.free(set())
    watch = partner.start("watch", "--metrics-port", str(port), "--every", "1")
    seen_s = partial(sample, port, 'ecluse_feed_overdue_seconds{flow="acme.orders"}')
    wait_until(lambda: (seen_s() or 0) > before_s, "who watches sees it, too", limit_s=30, every_s=0.5)
    assert sample(port, 'ecluse_feed_overdue_seconds{flow="acme.letters"}') == 0
    assert sample(port, 'ecluse_kafka_lag_records{flow="acme.orders"}') == 2
    assert watch.stop() == 0, watch.text()
    listed = partner.ecluse("files", "ls", "--feed", "orders").stdout
    assert "acme.orders: expected every 1s: the next by " in listed
    assert ", overdue " in listed
    assert "expected by 06:30 Europe/Paris" in partner.ecluse("status").stdout

    # the flow is mended, and the refused file taken again, by the capture that runs
    partner.write(columns="[id, city]")
    partner.capture()
    asked = partner.ecluse("files", "requeue", str(refused["arrival"]), "--why", "they say city")
    assert asked.returncode == 0, asked.stderr
    wait_until(stands(partner, "ORDERS_2.csv", {"archived"}), "taken again", limit_s=60, every_s=0.5)
    first = partner.told("files", "show", str(refused["arrival"]))
    assert (first["state"], first["asked"]["why"], first["asked"]["done"]) == (
        "requeued", "they say city", True,
    )  # fmt: skip

    partner.land()
    landed = partner.files("--state", "landed")
    assert {name: one["records"] for name, one in landed.items()} == {
        "ORDERS_1.csv": 2, "ORDERS_2.csv": 1, "LETTERS_1.csv": 1,
    }  # fmt: skip
    status = partner.told("status")
    assert {one["feed"]: (one["waiting"], one["refused"]) for one in status["files"]} == {
        "acme.letters": (0, 1), "acme.orders": (0, 0),
    }  # fmt: skip


def test_a_name_that_is_none_and_a_state_that_is_none_say_so(partner: Partner) -> None:
    missing = partner.ecluse("files", "show", "nowhere.csv")
    assert (missing.returncode, missing.stderr.splitlines()[0]) == (
        2, "cli.missing: no file nowhere.csv: neither its name nor its arrival number",
    )  # fmt: skip
    strange = partner.ecluse("files", "ls", "--state", "archieved")
    assert (strange.returncode, "did you mean" in strange.stderr) == (2, True)
    other = partner.ecluse("files", "ls", "nobody")
    assert other.returncode == 2
