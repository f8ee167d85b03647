"""The schema registry: a schema becomes an id, and an id becomes a schema.

Rule: inside one subject every schema can read what the one before it wrote (BACKWARD), set per subject
because a registry's own default may be none. A schema that a subject refuses opens the next epoch under the
next subject, so that a schema never holds the source; the landing decides what to do about it. What was
answered once is remembered: ids never change their meaning. That nobody has an id sends rows aside, so it is
believed only in the registry's own words, said twice: a 404 may be anybody's. This client speaks the few
calls of the Confluent-compatible API that are needed, each bounded in time; who waits longer does so above.
"""

from __future__ import annotations

import ipaddress
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Final, Literal, NamedTuple, Protocol
from urllib.parse import quote, urlsplit

from engine.errors import RegistryRefused, RegistryUnreachable
from engine.names import subject

COMPATIBILITY: Final = "BACKWARD"
_EPOCHS_MAX: Final = 100
_CONFLICT, _NOT_FOUND, _SERVER = 409, 404, 500
_TIMEOUT, _BUSY = 408, 429
_NO_SUCH_SCHEMA: Final = 40403  # the registry's own code for an id that nobody has
_FOLLOWS_S: Final = 1.0  # a registry of several hears of a new id from its leader, a moment late
_REFUSED: Final = (401, 403)
_CHECK_ADDRESS: Final = "check registry.url in ecluse.yaml, its path too, and what stands before the registry"
_CHECK_RIGHTS: Final = (
    "let this machine read schemas by id, register them and set a subject's compatibility there;\n"
    "or check registry.url in ecluse.yaml"
)

Part = Literal["key", "value"]


@dataclass(frozen=True, slots=True)
class Registered:
    """Where a schema is: its epoch, and the id that records carry."""

    epoch: int
    id: int


class Registry(Protocol):
    """Schemas to ids and back."""

    def register(self, topic: str, part: Part, schema: dict[str, Any]) -> Registered:
        """The id of a schema, registered where it has not been."""
        ...

    def schema(self, schema_id: int) -> str | None:
        """The schema that an id stands for, as JSON text; None when the registry says that there is none."""
        ...

    def ask(self, schema_ids: Collection[int]) -> None:
        """Look up many ids at once, so that ``schema`` answers without a wait for each."""
        ...


@dataclass
class HttpRegistry:
    """A registry behind the Confluent-compatible API at ``url``."""

    url: str
    timeout_s: float = 10.0
    pause: Callable[[float], None] = time.sleep
    _known: dict[tuple[str, str, str], Registered] = field(default_factory=dict)
    _texts: dict[int, str] = field(default_factory=dict)
    _prepared: set[str] = field(default_factory=set)
    _nobodys: set[int] = field(default_factory=set)  # asked for twice already

    def register(self, topic: str, part: Part, schema: dict[str, Any]) -> Registered:
        """The id of a schema in the first epoch that takes it."""
        text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
        known = self._known.get((topic, part, text))
        if known is None:
            known = self._registered(topic, part, text)
            self._known[topic, part, text] = known
            self._texts[known.id] = text
        return known

    def schema(self, schema_id: int) -> str | None:
        """The schema that an id stands for; None when the registry answers twice that no schema has it."""
        self.ask([schema_id])
        return self._texts.get(schema_id)

    def ask(self, schema_ids: Collection[int]) -> None:
        """Ask for many at once: the ids that are missing the first time share one pause."""
        missing = [id_ for id_ in schema_ids if not self._found(id_)]
        new = [id_ for id_ in missing if id_ not in self._nobodys]
        if new:
            self.pause(_FOLLOWS_S)
            self._nobodys.update(id_ for id_ in new if not self._found(id_))

    def subjects(self, names: Collection[str]) -> dict[str, str]:
        """Those of the subjects that are there, each with a compatibility of its own, or none; only reads."""
        there = _answered(*self._call("GET", "/subjects"), self.where)
        found = {}
        for name in sorted({*names}.intersection(there)):
            status, answer = self._call("GET", f"/config/{quote(name, safe='')}")
            own = {} if status == _NOT_FOUND else _answered(status, answer, self.where)
            found[name] = str(own.get("compatibilityLevel", ""))
        return found

    def _found(self, schema_id: int) -> bool:
        if schema_id not in self._texts:
            status, answer = self._call("GET", f"/schemas/ids/{schema_id}")
            if status == _NOT_FOUND and answer.code == _NO_SUCH_SCHEMA:
                return False
            self._texts[schema_id] = str(_answered(status, answer, self.where)["schema"])
        return True

    def _registered(self, topic: str, part: Part, text: str) -> Registered:
        for epoch in range(1, _EPOCHS_MAX + 1):
            name = subject(topic, part, epoch)
            self._prepare(name)
            status, answer = self._call(
                "POST", f"/subjects/{quote(name, safe='')}/versions", {"schema": text}
            )
            if status != _CONFLICT:
                return Registered(epoch, int(_answered(status, answer, self.where)["id"]))
        raise RegistryRefused(
            f"{_EPOCHS_MAX} schema epochs of {topic} refuse the schema",
            where=self.where,
            hint="the schema of this table changes with every row: look at what alters it",
        )

    def _prepare(self, name: str) -> None:
        if name not in self._prepared:
            path = f"/config/{quote(name, safe='')}"
            _answered(*self._call("PUT", path, {"compatibility": COMPATIBILITY}), self.where)
            self._prepared.add(name)

    @property
    def where(self) -> str:
        """The address as errors name it: no secret in it."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Status and answer of one call; RegistryUnreachable when there is none to speak of."""
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked with the plan
            self.url.rstrip("/") + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/vnd.schemaregistry.v1+json"},
        )
        try:
            with way(self.url).open(request, timeout=self.timeout_s) as response:
                return int(response.status), json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _said(error)
        except (OSError, ValueError, HTTPException) as error:
            # an answer that breaks off is no OSError; its text may repeat the address, secrets included
            reason = (
                type(error).__name__ if isinstance(error, HTTPException) else getattr(error, "reason", error)
            )
            raise RegistryUnreachable(
                f"the schema registry does not answer: {reason}", where=self.where, hint=_CHECK_ADDRESS
            ) from error


def on_this_machine(url: str) -> bool:
    """Whether a URL's host is the loopback, which no proxy can reach for us.

    >>> on_this_machine("http://127.0.0.1:8081/apis"), on_this_machine("http://registry:8081")
    (True, False)
    """
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def way(url: str) -> urllib.request.OpenerDirector:
    """How a URL is reached: directly on this machine, elsewhere as the environment's proxies say."""
    handlers = [urllib.request.ProxyHandler({})] if on_this_machine(url) else []
    return urllib.request.build_opener(*handlers)


class _Said(NamedTuple):
    """A refusal: the registry's own code, None where the words are somebody else's."""

    code: int | None
    text: str


def _said(error: urllib.error.HTTPError) -> _Said:
    try:
        body = error.read()
    except (OSError, HTTPException):
        return _Said(None, "an answer that breaks off")
    try:
        told = json.loads(body)
        return _Said(told.get("error_code"), str(told["message"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return _Said(None, body[:200].decode(errors="replace"))


def _answered(status: int, answer: Any, where: str) -> Any:
    """The answer of a call that went well."""
    if status < 300:  # noqa: PLR2004
        return answer
    what = f"the schema registry answers {status}: {answer.text}"
    if status >= _SERVER or status in (_TIMEOUT, _BUSY, _NOT_FOUND):
        # none of our calls names what a registry could miss: a 404 comes from what stands before it
        raise RegistryUnreachable(what, where=where, hint=_CHECK_ADDRESS)
    raise RegistryRefused(what, where=where, hint=_CHECK_RIGHTS if status in _REFUSED else _CHECK_ADDRESS)
