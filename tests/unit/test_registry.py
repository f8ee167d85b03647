"""The registry's client, against a server that answers what it is told to."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from engine.errors import RegistryRefused, RegistryUnreachable
from engine.registry import HttpRegistry, Registered, on_this_machine

SCHEMA: dict[str, Any] = {"type": "record", "name": "Row", "fields": [], "ecluse": {"table": "pièce"}}


class Server(BaseHTTPRequestHandler):
    """Takes the answers of ``answers`` by method and the end of the path; notes every call."""

    answers: ClassVar[dict[tuple[str, str], tuple[int, Any]]] = {}
    calls: ClassVar[list[tuple[str, str, Any]]] = []

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.calls.append((self.command, self.path, body))
        default = (200, {"id": 7, "schema": json.dumps(SCHEMA)})
        status, answer = self.answers.get((self.command, self.path), default)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the names of the library

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    Server.answers.clear()
    Server.calls.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def versions(subject: str) -> tuple[str, str]:
    return ("POST", f"/subjects/{subject}/versions")


def test_a_subject_is_made_backward_before_its_first_schema(server: str) -> None:
    registry = HttpRegistry(server)
    assert registry.register("shop.public.parcel", "value", SCHEMA) == Registered(1, 7)
    put, post = Server.calls
    assert put == ("PUT", "/config/shop.public.parcel-value", {"compatibility": "BACKWARD"})
    assert json.loads(post[2]["schema"]) == SCHEMA


def test_what_was_registered_is_known_without_asking(server: str) -> None:
    registry = HttpRegistry(server)
    for _ in range(3):
        registry.register("t", "value", SCHEMA)
        assert json.loads(registry.schema(7) or "") == SCHEMA
    assert len(Server.calls) == 2


def test_a_known_schema_needs_no_registry(server: str) -> None:
    registry = HttpRegistry(server)
    registry.register("t", "value", SCHEMA)
    registry.url = "http://127.0.0.1:1"
    assert registry.register("t", "value", SCHEMA) == Registered(1, 7)
    with pytest.raises(RegistryUnreachable):
        registry.register("t", "key", SCHEMA)


def test_a_refused_schema_opens_the_next_epoch(server: str) -> None:
    refused = (409, {"error_code": 409, "message": "incompatible"})
    Server.answers.update({versions("t-value"): refused, versions("t-value-e2"): refused})
    assert HttpRegistry(server).register("t", "value", SCHEMA) == Registered(3, 7)


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_registry_in_trouble_may_recover(server: str, status: int) -> None:
    Server.answers[versions("t-value")] = (status, b"<html>busy</html>")
    with pytest.raises(RegistryUnreachable, match=f"{status}"):
        HttpRegistry(server).register("t", "value", SCHEMA)


@pytest.mark.parametrize("status", [401, 403, 422])
def test_a_registry_that_says_no_is_for_a_person(server: str, status: int) -> None:
    Server.answers[versions("t-value")] = (status, {"message": "no such right"})
    with pytest.raises(RegistryRefused, match="no such right") as caught:
        HttpRegistry(server).register("t", "value", SCHEMA)
    assert "registry.url" in caught.value.hint
    assert ("let this machine" in caught.value.hint) is (status != 422)


def test_an_answer_that_is_not_json_is_trouble(server: str) -> None:
    Server.answers[versions("t-value")] = (200, b"<html>proxy</html>")
    with pytest.raises(RegistryUnreachable):
        HttpRegistry(server).register("t", "value", SCHEMA)


NOBODYS = (404, {"error_code": 40403, "message": "Schema 9 not found."})
ID_9 = ("GET", "/schemas/ids/9")


def test_i9_many_ids_that_nobody_has_share_one_pause(server: str) -> None:
    Server.answers.update({("GET", f"/schemas/ids/{id_}"): NOBODYS for id_ in range(9, 59)})
    paused: list[float] = []
    registry = HttpRegistry(server, pause=paused.append)
    registry.ask(range(9, 59))
    assert {registry.schema(id_) for id_ in range(9, 59)} == {None}
    assert len(paused) == 1, "a second for each would hold a flow for many minutes"


def test_an_id_that_nobody_has_is_an_answer_and_not_remembered(server: str) -> None:
    Server.answers[ID_9] = NOBODYS
    paused: list[float] = []
    registry = HttpRegistry(server, pause=paused.append)
    assert [registry.schema(9), registry.schema(9)] == [None, None]
    assert len(paused) == 1, "the pause is for a registry that may not have heard of a new id"
    del Server.answers[ID_9]
    assert registry.schema(9) is not None


def test_an_id_that_a_follower_has_not_heard_of_is_asked_for_again(server: str) -> None:
    Server.answers[ID_9] = NOBODYS
    registry = HttpRegistry(server, pause=lambda _: Server.answers.clear())
    assert json.loads(registry.schema(9) or "") == SCHEMA


@pytest.mark.parametrize(
    "body",
    [
        b"default backend - 404",
        b"",
        b"[]",
        {"error_code": 404, "message": "HTTP 404 Not Found"},
        {"error_code": 40401, "message": "Subject not found."},
        {"message": "not found"},
    ],
)
def test_a_404_that_is_not_the_registrys_own_answer_makes_no_row_foreign(server: str, body: Any) -> None:
    Server.answers[ID_9] = (404, body)
    with pytest.raises(RegistryUnreachable, match="404"):
        HttpRegistry(server, pause=lambda _: None).schema(9)


def test_a_404_between_two_answers_makes_no_row_foreign(server: str) -> None:
    Server.answers[ID_9] = NOBODYS
    registry = HttpRegistry(server, pause=lambda _: Server.answers.update({ID_9: (404, b"default backend")}))
    with pytest.raises(RegistryUnreachable):
        registry.schema(9)


def test_a_404_to_a_schema_that_is_registered_is_waited_out(server: str) -> None:
    Server.answers[versions("t-value")] = (404, b"default backend - 404")
    with pytest.raises(RegistryUnreachable, match="404"):
        HttpRegistry(server).register("t", "value", SCHEMA)


def test_a_registry_on_this_machine_is_reached_past_a_proxy(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert HttpRegistry(server).register("t", "value", SCHEMA) == Registered(1, 7)
    with pytest.raises(RegistryUnreachable):
        HttpRegistry("http://registry.invalid:8081").schema(1)


@pytest.mark.parametrize(
    ("url", "direct"),
    [
        ("http://127.0.0.1:8081", True),
        ("http://127.8.8.8", True),
        ("http://[::1]:8081", True),
        ("http://localhost:8081", True),
        ("http://registry:8081", False),
        ("http://10.0.0.1", False),
    ],
)
def test_only_a_registry_on_this_machine_goes_past_a_proxy(url: str, direct: bool) -> None:  # noqa: FBT001
    assert on_this_machine(url) is direct


def test_a_registry_that_hangs_is_given_up_in_time() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as http:  # accepts, never answers
        registry = HttpRegistry(f"http://127.0.0.1:{http.server_port}", timeout_s=0.2)
        with pytest.raises(RegistryUnreachable, match="timed out"):
            registry.schema(1)


def test_a_password_in_the_url_shows_in_no_error() -> None:
    registry = HttpRegistry("http://ana:canary@127.0.0.1:1")
    with pytest.raises(RegistryUnreachable) as caught:
        registry.schema(1)
    assert "canary" not in f"{caught.value.what} {caught.value.where}"


def test_an_answer_that_breaks_off_is_waited_out_and_repeats_no_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def half() -> None:
            for _ in range(2):
                line, _ = server.accept()
                # A request left unread in the socket would make its close a reset, not an end.
                with line, line.makefile("rb") as request:
                    length = 0
                    while header := request.readline().strip().lower():
                        if header.startswith(b"content-length:"):
                            length = int(header.split(b":")[1])
                    request.read(length)
                    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

        thread = threading.Thread(target=half)
        thread.start()
        registry = HttpRegistry(f"http://127.0.0.1:{server.getsockname()[1]}")
        for ask in (lambda: registry.schema(1), lambda: registry.register("t", "value", SCHEMA)):
            with pytest.raises(RegistryUnreachable, match="IncompleteRead"):
                ask()
        thread.join()
    with pytest.raises(RegistryUnreachable) as caught:
        HttpRegistry("http://ecluse:hush:hush@127.0.0.1:1").schema(1)
    assert "hush" not in str(caught.value.as_dict())


def test_the_subjects_that_are_there_are_told_with_their_own_compatibility(server: str) -> None:
    Server.answers |= {
        ("GET", "/subjects"): (200, ["a-value", "b-value", "another"]),
        ("GET", "/config/a-value"): (200, {"compatibilityLevel": "NONE"}),
        ("GET", "/config/b-value"): (404, {"error_code": 40408, "message": "none of its own"}),
    }
    assert HttpRegistry(server).subjects(["b-value", "a-value", "c-value"]) == {
        "a-value": "NONE",
        "b-value": "",
    }
    assert {method for method, _, _ in Server.calls} == {"GET"}
