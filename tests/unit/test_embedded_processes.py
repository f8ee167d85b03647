"""Services as child processes: bound to their owner, found by others, never mistaken for another process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from engine.embedded import child, ports, record
from engine.embedded.child import Identity, Service
from engine.embedded.kafka import brokers
from engine.embedded.record import Entry
from engine.errors import StackFailed
from tests.support.waits import wait_until

OWNER = """
import sys, signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from engine.embedded import child
from engine.embedded.child import Service
log = Path(sys.argv[1])
service = Service("sleeper", 0, ("/bin/sleep", "600"), log, lambda: None, lambda: True, lambda: None)
starter = ThreadPoolExecutor(1) if sys.argv[2] == "bound" else None
print(child.spawn(service, starter).pid, flush=True)
signal.pause()
"""


def sleeper(log: Path, *words: str) -> Service:
    command = words or ("/bin/sleep", "600")
    return Service("sleeper", 0, command, log, lambda: None, lambda: True, lambda: None)


@pytest.fixture
def starter() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as found:
        yield found


def owned(log: Path, how: str) -> tuple[subprocess.Popen[str], Identity]:
    words = [sys.executable, "-c", OWNER, str(log), how]
    owner = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert owner.stdout is not None
    found = child.identity(int(owner.stdout.readline()))
    assert found is not None
    return owner, found


def test_a_service_ends_with_its_killed_owner(tmp_path: Path) -> None:
    owner, service = owned(tmp_path / "log", "bound")
    with owner:
        assert service.alive
        owner.kill()
    wait_until(lambda: not service.alive, "the service has ended")


def test_a_detached_service_outlives_its_killed_owner(tmp_path: Path) -> None:
    owner, service = owned(tmp_path / "log", "detached")
    with owner:
        owner.kill()
    assert service.alive
    child.kill(service)
    assert not service.alive


def test_a_service_has_a_session_of_its_own(tmp_path: Path, starter: ThreadPoolExecutor) -> None:
    service = child.spawn(sleeper(tmp_path / "log"), starter)
    wait_until(lambda: os.getsid(service.pid) == service.pid, "it leads its own session")
    child.stop(service, signal.SIGTERM, 10)
    assert not service.alive


def test_what_does_not_end_when_asked_is_killed(tmp_path: Path, starter: ThreadPoolExecutor) -> None:
    stubborn = sleeper(
        tmp_path / "log", "/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    )
    service = child.spawn(stubborn, starter)
    wait_until(lambda: "ready" in child.tail(stubborn.log), "it ignores SIGTERM")
    child.stop(service, signal.SIGTERM, 0.2)
    assert not service.alive


def test_a_kill_takes_the_grandchildren_too(tmp_path: Path, starter: ThreadPoolExecutor) -> None:
    parent = sleeper(tmp_path / "log", "/bin/sh", "-c", "setsid sleep 600 & echo $!; wait")
    service = child.spawn(parent, starter)
    wait_until(lambda: child.tail(parent.log).strip().isdigit(), "it has a child")
    below = child.identity(int(child.tail(parent.log)))
    child.kill(service)
    assert below is not None
    assert not below.alive


def test_a_service_that_ends_early_shows_its_log(tmp_path: Path, starter: ThreadPoolExecutor) -> None:
    broken = replace(
        sleeper(tmp_path / "log", "/bin/sh", "-c", "echo no such setting; exit 3"), answers=lambda: False
    )
    service = child.spawn(broken, starter)
    with pytest.raises(StackFailed, match=r"sleeper ended while it started: \n    no such setting"):
        child.wait_ready(broken, service, 30)


def test_a_service_that_never_answers_is_given_up(tmp_path: Path, starter: ThreadPoolExecutor) -> None:
    deaf = replace(sleeper(tmp_path / "log"), answers=lambda: False)
    service = child.spawn(deaf, starter)
    with pytest.raises(StackFailed, match=r"did not answer within 0\.1 s"):
        child.wait_ready(deaf, service, 0.1)
    child.kill(service)


def test_a_pid_that_means_another_process_now_is_not_ours() -> None:
    me = child.identity(os.getpid())
    assert me is not None
    assert me.alive
    assert not Identity(me.pid, me.started - 1).alive


def test_ports_are_kept_and_lie_outside_what_clients_get(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    first = ports.kept(path, ("a", "b"))
    assert ports.kept(path, ("b", "c"))["b"] == first["b"]
    assert ports.kept(path, ("a",)) == {"a": first["a"]}
    low, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert all(port < low for port in first.values())


def test_a_taken_port_is_refused_by_name(tmp_path: Path) -> None:
    with socket.create_server((ports.LOOPBACK, ports.free(set()))) as server:
        port = server.getsockname()[1]
        assert not ports.is_free(port)
        with pytest.raises(StackFailed, match=f"port {port} of kafka is taken"):
            ports.refuse_taken("kafka", port, tmp_path / "ports.json")
    ports.refuse_taken("kafka", port, tmp_path / "ports.json")


def test_nothing_that_listens_is_not_a_broker() -> None:
    assert brokers(ports.LOOPBACK, ports.free(set())) == 0


def test_an_empty_folder_has_no_stack(tmp_path: Path) -> None:
    assert record.find(tmp_path) is None
    assert record.read(tmp_path) == {}
    assert record.down(tmp_path / "nowhere", delete=True) == []


def test_a_record_of_dead_processes_is_no_stack(tmp_path: Path) -> None:
    me = child.identity(os.getpid())
    assert me is not None
    gone = Identity(me.pid, me.started - 1)
    at = record.endpoints(tmp_path, record.SERVICES, java_home=tmp_path, spark_jars=(tmp_path / "a.jar",))
    record.write(tmp_path, {"kafka": Entry(gone, me), "registry": Entry(me, gone)}, at)
    assert record.find(tmp_path) is None  # the one is dead, the other about to follow its owner
    record.write(tmp_path, {"kafka": Entry(me, None)}, at)
    found = record.find(tmp_path)
    assert found is not None
    assert (found.kafka, found.registry, found.postgres) == (at.kafka, "", None)
    assert found.spark_jars == (tmp_path / "a.jar",)


def test_a_harmed_record_is_no_stack(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text('{"services": ')
    assert record.find(tmp_path) is None


def test_one_at_a_time_changes_a_state_folder(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with record.locked(tmp_path):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with record.locked(tmp_path):
            waiting = pool.submit(second)
            time.sleep(0.1)
            order.append("first")
        waiting.result()
    assert order == ["first", "second"]
