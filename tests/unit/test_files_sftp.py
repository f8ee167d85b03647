"""Partner files on an SFTP server: the same life as in a folder, behind a host key that is declared."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from pydantic import SecretStr

from connectors.files.looking import compare, preflight
from connectors.files.sftp import SftpPlace
from engine.arrivals import Wish
from engine.errors import SourceRefused, SourceUnreachable
from engine.marks import Marks
from tests.conformance.source_contract import CHECKS, drain
from tests.support.files_bench import bench_of, entries, rows, runs
from tests.support.files_world import HEAD, FilesWorld, fates, names, settled, spec
from tests.support.sftp_server import PASSWORD, USER, Serving, serve


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[FilesWorld, Serving]]:
    world = FilesWorld(tmp_path)
    with serve(tmp_path) as serving:
        world.settings = settings(serving)
        yield world, serving


def settings(serving: Serving, **more: Any) -> dict[str, Any]:
    return {
        "protocol": "sftp", "root": "/place", "host": "127.0.0.1", "port": serving.port, "user": USER,
        "password": SecretStr(PASSWORD), "host_key": serving.host_key,
    } | more  # fmt: skip


def test_a_file_goes_from_the_server_to_its_topic_and_into_the_archive(
    served: tuple[FilesWorld, Serving],
) -> None:
    world, _ = served
    world.put("a.csv", HEAD + "".join(f"{n},Aix\n" for n in range(30_000)))
    world.put("b.csv", "wrong\n")
    bench = bench_of(world)
    runs(bench, 2)
    assert len(rows(bench)) == 30_000
    assert [(one.name, one.state) for one in entries(bench)] == [("a.csv", "archived"), ("b.csv", "refused")]
    assert names(world.inbox) == []
    assert names(world.root / "place" / "archive") == ["1-a.csv"]
    assert names(world.root / "place" / "errors") == ["2-b.csv"]


@pytest.mark.parametrize("check", ["rows_read_again_are_the_same", "what_arrives_late_is_read"])
def test_an_sftp_server_keeps_the_source_contract(check: str, served: tuple[FilesWorld, Serving]) -> None:
    CHECKS[check](served[0])


def test_a_refused_file_goes_back_to_its_folder_on_the_server(served: tuple[FilesWorld, Serving]) -> None:
    world, _ = served
    world.put("a.csv", "wrong\n")
    bench = bench_of(world)
    runs(bench, 1)
    (one,) = entries(bench)
    world.tables = [spec(delimited={"delimiter": ",", "columns": ["wrong"]})]
    asked = Wish(
        number=0, verb="requeue", folder="in", name="a.csv", size=one.size, modified_ns=one.modified_ns,
        arrival=1,
    )  # fmt: skip
    Marks(bench.topic, "demo", lambda: "").wish("shop", asked)
    runs(bench, 2)
    assert [each.state for each in entries(bench)] == ["refused", "archived"]
    assert names(world.root / "place" / "archive") == ["2-a.csv"]


def test_a_server_that_is_well_says_so_and_which_key_it_showed(served: tuple[FilesWorld, Serving]) -> None:
    world, serving = served
    (world.root / "place" / "archive").mkdir()
    found = {one.subject: (one.level, one.text) for one in preflight(world.config, world.tables)}
    assert {level for level, _ in found.values()} == {"ok"}
    assert found["host key"][1] == f"the server shows the {serving.key.get_name()} key that is declared"
    assert set(found) == {"place", "host key", "archive", "errors"}


def test_f20_another_host_key_is_refused_before_the_password_is_sent(
    served: tuple[FilesWorld, Serving],
) -> None:
    world, serving = served
    other = paramiko.RSAKey.generate(2048)
    world.settings = settings(serving, host_key=f"{other.get_name()} {other.get_base64()}")
    with pytest.raises(SourceRefused, match="another") as found:
        SftpPlace(world.config)
    assert "host_key" in found.value.hint
    assert not any(line.is_authenticated() for line in serving.lines)


def test_the_server_of_these_tests_outlives_a_client_that_resets_its_line(
    served: tuple[FilesWorld, Serving],
) -> None:
    world, serving = served
    with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b"SSH-2.0-gone\r\n")
        while client.recv(10_000)[-4:] != bytes(4):  # the end of what the server offers: it waits now
            pass
    SftpPlace(world.config).let_go()


def test_f20_a_key_of_another_kind_is_refused_too(served: tuple[FilesWorld, Serving]) -> None:
    world, serving = served
    other = paramiko.ECDSAKey.generate()
    world.settings = settings(serving, host_key=f"{other.get_name()} {other.get_base64()}")
    with pytest.raises(SourceRefused, match="host_key"):
        SftpPlace(world.config)
    assert not any(line.is_authenticated() for line in serving.lines)


def test_f20_a_host_without_a_key_is_refused_and_none_is_learnt(
    served: tuple[FilesWorld, Serving], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, serving = served
    monkeypatch.setattr(paramiko.HostKeys, "add", lambda *_: None)
    with pytest.raises(SourceRefused, match="host_key"):
        SftpPlace(world.config)
    assert not any(line.is_authenticated() for line in serving.lines)


@pytest.mark.parametrize("key", ["", "nonsense", "ssh-ed25519", "ssh-rsa AAAA"])
def test_a_host_key_that_is_none_is_refused(key: str, served: tuple[FilesWorld, Serving]) -> None:
    world, serving = served
    world.settings = settings(serving, host_key=key or " ")
    with pytest.raises(SourceRefused):
        SftpPlace(world.config)


def test_a_wrong_password_is_refused_and_not_shown(served: tuple[FilesWorld, Serving]) -> None:
    world, serving = served
    world.settings = settings(serving, password=SecretStr("canary-4711"))
    (finding,) = preflight(world.config, world.tables)
    assert (finding.level, finding.code) == ("fail", "source.refused")
    assert "canary" not in repr(finding)


def test_f20_a_line_that_is_cut_within_a_file_is_opened_again(served: tuple[FilesWorld, Serving]) -> None:
    world, serving = served
    world.put("a.csv", HEAD + "".join(f"{n},Aix\n" for n in range(60_000)))
    serving.drop_after = 5
    bench = bench_of(world)
    runs(bench, 1)
    assert len(bench.clock.waited) == 1
    assert [row["after"]["id"] for row in rows(bench)] == [str(n) for n in range(60_000)]


def test_a_line_that_is_cut_is_told_as_one_that_may_come_back(served: tuple[FilesWorld, Serving]) -> None:
    world, serving = served
    place = SftpPlace(world.config)
    for line in serving.lines:
        line.close()
    with pytest.raises(SourceUnreachable):
        place.list("in")
    place.let_go()


def test_f8_links_of_the_server_are_not_followed(served: tuple[FilesWorld, Serving]) -> None:
    world, _ = served
    outside = world.root / "outside"
    outside.mkdir()
    (outside / "a.csv").write_text(HEAD + "1,Secret\n")
    (world.inbox / "link.csv").symlink_to(outside / "a.csv")
    (world.root / "place" / "led").symlink_to(outside)
    settled(world)
    assert fates(world) == []
    place = SftpPlace(world.config)
    assert place.open("in", "link.csv") is None
    assert place.open("in", "../../outside/a.csv") is None
    with pytest.raises(SourceRefused):
        place.list("led")
    place.let_go()


def test_f20_many_files_are_listed_with_one_question(served: tuple[FilesWorld, Serving]) -> None:
    world, serving = served
    world.settings = {**world.settings, "poll_s": 1000.0}
    for n in range(60):
        world.put(f"{n:02}.csv", f"{HEAD}{n},Aix\n")
    with world.opened() as source:
        drain(source, 60)
    assert serving.asked["list"] == 1


def test_what_is_missing_on_the_server_is_told_with_what_makes_it(
    served: tuple[FilesWorld, Serving],
) -> None:
    world, _ = served
    needs = {need.name: need for need in compare(world.config, world.tables)}
    assert needs["in"].standing == "there"
    assert needs["archive"].statements == ("-mkdir /place/archive",)
