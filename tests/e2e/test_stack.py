"""The one-machine stack keeps its promises: ready is ready, kill -9 loses nothing, nothing stays behind."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from engine.embedded import child, ports, record
from engine.embedded.stack import Stack, cache_folder
from engine.errors import RegistryUnreachable, StackFailed
from engine.registry import HttpRegistry
from tests.support.services import Database, Role, Services
from tests.support.waits import wait_until

pytestmark = pytest.mark.stack

OWNER = """
import os, signal, sys
from pathlib import Path
from engine.embedded.stack import Stack, cache_folder
folder, detached = Path(sys.argv[1]), sys.argv[2] == "1"
stack = Stack(folder, cache_folder(os.environ), environment=os.environ, detached=detached)
stack.start(sys.argv[3:])
print("ready", flush=True)
signal.pause()
"""


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=20) as answer:  # noqa: S310
        return json.loads(answer.read())


def produce(services: Services, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": services.kafka, "acks": "all", "enable.idempotence": True})
    failed: list[object] = []
    for value in values:
        producer.produce(topic, value, partition=0, on_delivery=lambda e, _: failed.append(e) if e else None)
    assert producer.flush(60) == 0
    assert failed == []


def consume(services: Services, topic: str, count: int) -> list[bytes]:
    consumer = Consumer(
        {"bootstrap.servers": services.kafka, "group.id": "none", "enable.auto.commit": False}
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[bytes] = []

        def enough() -> bool:
            message = consumer.poll(0.5)
            if message is not None and not message.error():
                found.append(message.value())
            return len(found) >= count

        wait_until(enough, f"{count} records of {topic}", limit_s=60, every_s=0)
        return found
    finally:
        consumer.close()


def new_topic(services: Services, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": services.kafka})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)


def schema(name: str) -> str:
    return json.dumps({"type": "record", "name": name, "fields": [{"name": "a", "type": "int"}]})


def test_acknowledged_records_survive_a_killed_broker(services: Services, prefix: str) -> None:
    new_topic(services, prefix)
    produce(services, prefix, [b"1", b"2", b"x" * 5_000])
    services.kill("kafka")
    services.restart("kafka")
    produce(services, prefix, [b"4"])
    assert consume(services, prefix, 4) == [b"1", b"2", b"x" * 5_000, b"4"]


def test_a_client_of_before_goes_on_after_the_broker_came_back(services: Services, prefix: str) -> None:
    new_topic(services, prefix)
    producer = Producer({"bootstrap.servers": services.kafka, "acks": "all"})
    producer.produce(prefix, b"before", partition=0)
    assert producer.flush(30) == 0
    services.kill("kafka")
    producer.produce(prefix, b"meanwhile", partition=0)
    services.restart("kafka")
    assert producer.flush(60) == 0
    assert consume(services, prefix, 2) == [b"before", b"meanwhile"]


def test_topics_are_not_made_by_accident(services: Services, prefix: str) -> None:
    admin = AdminClient({"bootstrap.servers": services.kafka})
    assert admin.list_topics(prefix, timeout=20).topics[prefix].error.name() == "UNKNOWN_TOPIC_OR_PART"
    assert prefix not in admin.list_topics(timeout=20).topics


def test_schema_ids_survive_a_registry_killed_right_after_its_answer(services: Services, prefix: str) -> None:
    given = {}
    for number in range(5):
        url = f"{services.registry}/subjects/{prefix}-{number}/versions"
        given[number] = ask(url, {"schema": schema(f"r{number}_{prefix}")})["id"]
    services.kill("registry")
    services.restart("registry")
    newer = ask(f"{services.registry}/subjects/{prefix}-new/versions", {"schema": schema(f"new_{prefix}")})
    assert newer["id"] not in given.values()
    assert len(set(given.values())) == len(given)
    for number, identity in given.items():
        kept = ask(f"{services.registry}/schemas/ids/{identity}")["schema"]
        assert json.loads(kept) == json.loads(schema(f"r{number}_{prefix}"))


def test_an_id_that_nobody_has_is_told_from_an_address_that_is_nobodys(services: Services) -> None:
    assert HttpRegistry(services.registry, pause=lambda _: None).schema(2_000_000_000) is None
    with pytest.raises(RegistryUnreachable, match="404"):
        HttpRegistry(services.registry + "/elsewhere", pause=lambda _: None).schema(1)


def test_an_incompatible_schema_is_refused(services: Services, prefix: str) -> None:
    url = f"{services.registry}/subjects/{prefix}/versions"
    ask(url, {"schema": schema(prefix)})
    wider = json.dumps({"type": "record", "name": prefix, "fields": [{"name": "b", "type": "string"}]})
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(url, {"schema": wider})
    assert caught.value.code == 409


def test_committed_rows_survive_a_killed_server_and_open_ones_do_not(
    services: Services, database: Database
) -> None:
    database.run("CREATE TABLE t (a int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    with psycopg.connect(database.dsn(database.app)) as connection:
        connection.execute("INSERT INTO t VALUES (3)")
        services.kill("postgres")
        services.restart("postgres")
        with pytest.raises(psycopg.OperationalError):
            connection.commit()
    with database.connect() as connection:
        assert connection.execute("SELECT a FROM t ORDER BY a").fetchall() == [(1,), (2,)]


def test_the_capturing_role_replicates_and_reads_and_writes_nothing(database: Database) -> None:
    database.run("CREATE TABLE t (a int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    with database.connect(database.capture) as connection:
        assert connection.execute("SELECT a FROM t").fetchall() == [(1,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO t VALUES (2)")
        is_super = "SELECT rolsuper, rolreplication FROM pg_roles WHERE rolname = current_user"
        assert connection.execute(is_super).fetchone() == (False, True)
        connection.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput', true)")


def test_a_wrong_password_is_refused(database: Database) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        database.connect(Role(database.app.name, "wrong"))


def test_spark_is_given_no_jar_that_it_has_itself(services: Services) -> None:
    def names(jars: Iterable[Path]) -> set[str]:
        return {re.sub(r"-\d+\.\d.*", "", jar.name) for jar in jars}

    spec = importlib.util.find_spec("pyspark")
    assert spec is not None
    assert spec.origin is not None
    own = names((Path(spec.origin).parent / "jars").glob("*.jar"))
    assert {"delta-spark_4.1_2.13", "spark-sql-kafka-0-10_2.13"} <= names(services.spark_jars)
    assert not own & names(services.spark_jars)


def test_the_server_does_not_run_as_root(services: Services) -> None:
    status = Path(f"/proc/{services.stack.pid('postgres')}/status").read_text()
    assert "Uid:\t0" not in status


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    found = tmp_path / "state"
    yield found
    record.down(found, delete=True)


def own(state: Path, *parts: str, detached: bool = False) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", OWNER, str(state), "1" if detached else "0", *parts]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def test_services_die_with_an_owner_that_is_killed_and_their_data_stay(state: Path) -> None:
    with own(state, *record.SERVICES) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        before = record.find(state)
        assert before is not None
        running = [entry.process for entry in record.read(state).values()]
        assert len(running) == 3
        owner.kill()
    wait_until(lambda: not any(process.alive for process in running), "every service has ended")
    assert record.find(state) is None
    with Stack(state, cache_folder(os.environ), environment=os.environ) as stack:
        assert stack.start({"postgres"}).postgres == before.postgres


def test_a_detached_stack_outlives_its_owner_is_adopted_and_taken_down(state: Path) -> None:
    with own(state, "postgres", detached=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        owner.kill()
    running = {name: entry.process for name, entry in record.read(state).items()}
    with Stack(state, cache_folder(os.environ), environment=os.environ) as stack:
        stack.start({"postgres"})
        assert stack.pid("postgres") == running["postgres"].pid
    assert running["postgres"].alive
    assert record.down(state, delete=True) == ["postgres"]
    assert not running["postgres"].alive
    assert not state.exists()


def test_a_port_taken_by_somebody_else_is_named(state: Path) -> None:
    state.mkdir()
    port = record.kept_ports(state)["postgres"]
    blocker = subprocess.Popen([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"])
    try:
        wait_until(lambda: not ports.is_free(port), "the port is taken")
        stack = Stack(state, cache_folder(os.environ), environment=os.environ)
        with pytest.raises(StackFailed, match=f"port {port} of postgres is taken") as caught:
            stack.start({"postgres"})
        assert "down --delete" in caught.value.hint
    finally:
        blocker.kill()
        blocker.wait()


def test_a_service_that_does_not_start_shows_the_end_of_its_log(state: Path) -> None:
    broken = {"wal_level": "sideways"}
    stack = Stack(state, cache_folder(os.environ), environment=os.environ, postgres_settings=broken)
    with pytest.raises(StackFailed, match=r"invalid value for parameter .wal_level.: .sideways."):
        stack.start({"postgres"})


def test_a_kill_takes_the_children_of_a_service_with_it(services: Services) -> None:
    with services.admin() as connection:
        found = connection.execute("SELECT pid FROM pg_stat_activity").fetchall()
        family = [child.identity(pid) for (pid,) in found]
        services.kill("postgres")
    assert len(family) > 1
    assert not any(member and member.alive for member in family)
    services.restart("postgres")
