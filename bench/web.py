"""JSON over HTTP, for the services on this machine."""

from __future__ import annotations

import json
import urllib.request
from typing import Any, Final

_TIMEOUT_S: Final = 30.0


def ask(url: str, *, method: str = "GET", body: object = None, kind: str = "application/json") -> Any:
    """The JSON answer to a request; raises HTTPError or URLError."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": kind})  # noqa: S310 - loopback only
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - loopback only
        return json.loads(answer.read() or b"null")
