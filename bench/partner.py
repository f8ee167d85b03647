"""What a partner sends in the files bench, and our project that takes it.

Rule: ten text columns in about ninety bytes, as delimited lines or as lines of fixed width, known by their
number alone. Nothing is tuned for the bench: the shipped templates and their defaults; a file is whole as
soon as it has its name, so that no waiting is measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import Any, Final, Literal

from bench.change import STATES
from bench.place import Place
from bench.tally import Plain

Form = Literal["delimited", "fixed_width"]

PARTNER: Final = "acme"
FEED: Final = "orders"
_WIDTHS: Final[Mapping[str, int]] = {
    "id": 10, "customer": 5, "weight": 6, "price": 8, "day": 10, "express": 1, "tracking": 13,
    "status": 12, "address": 24, "zip": 5,
}  # fmt: skip
_COLUMNS: Final = tuple(_WIDTHS)
_WORDS: Final = frozenset({"status", "address"})  # blanks fill them up; the others are as wide as they are
_AT_ONCE: Final = 50_000
_HEAD: Final = (",".join(_COLUMNS) + "\n").encode()
_PLACES: Final = tuple(pairwise(accumulate(_WIDTHS.values(), initial=0)))

_ECLUSE_YAML: Final = """\
apiVersion: ecluse/v1
kind: Project
metadata: {{name: {project}}}
spec:
  connections:
    {connection}: {{type: files, root: "{root}", staging: "{staging}"}}
  kafka: {{bootstrap_servers: ["{bootstrap}"]}}
  registry: {{url: "{registry}"}}
  lake: {{root: "{lake}"}}
"""
_FLOW_YAML: Final = """\
apiVersion: ecluse/v1
kind: Flow
metadata: {{name: orders, owner: bench@example.org}}
spec:
  template: {template}@1
  params: {params}
"""


def _delimited(n: int) -> bytes:
    amounts = f"{n},{n * 7919 % 50000},{n % 30}.{n % 1000:03},{n % 10000}.{n % 100:02}"
    state, address = STATES[n % len(STATES)], f"{n % 200 + 1} rue des Lilas"
    rest = f"2026-11-{n % 28 + 1:02},{n % 2},FR{n:011},{state},{address},{n * 37 % 95000:05}"
    return f"{amounts},{rest}\n".encode()


def _fixed(n: int) -> bytes:
    amounts = f"{n:010}{n * 7919 % 50000:05}{n % 30:02}.{n % 1000:03}{n % 10000:05}.{n % 100:02}"
    state, address = STATES[n % len(STATES)], f"{n % 200 + 1} rue des Lilas"
    rest = f"2026-11-{n % 28 + 1:02}{n % 2}FR{n:011}{state:12}{address:24}{n * 37 % 95000:05}"
    return f"{amounts}{rest}\n".encode()


@dataclass(frozen=True, slots=True)
class Kind:
    """One form of file: its template, how it is laid out, a line by its number, and a line's fields."""

    template: str
    layout: Mapping[str, Any]
    head: bytes
    line: Callable[[int], bytes]
    fields: Callable[[bytes], Plain]


def _cut(line: bytes) -> Plain:
    texts = (line[begin:behind].decode() for begin, behind in _PLACES)
    return ("c", *(t.rstrip(" ") if c in _WORDS else t for c, t in zip(_COLUMNS, texts, strict=True)))


KINDS: Final[Mapping[Form, Kind]] = {
    "delimited": Kind(
        "partner_csv",
        {"delimiter": ",", "columns": list(_COLUMNS)},
        _HEAD,
        _delimited,
        lambda line: ("c", *line.decode().split(",")),
    ),
    "fixed_width": Kind(
        "partner_fixed_width",
        {
            "unit": "characters",
            "records": {
                "detail": {
                    "fields": [
                        {"name": name, "at": begin + 1, "width": width}
                        | ({"trim": "right"} if name in _WORDS else {})
                        for (name, width), (begin, _) in zip(_WIDTHS.items(), _PLACES, strict=True)
                    ]
                }
            },
        },
        b"",
        _fixed,
        _cut,
    ),
}


def rows(form: Form, count: int) -> Iterator[Plain]:
    """The rows of a file, as plain values."""
    kind = KINDS[form]
    return (kind.fields(kind.line(n)[:-1]) for n in range(count))


def row(record: Mapping[str, Any]) -> Plain:
    """A record of ours as plain values: one that stands in its file where it says, and is fit."""
    after = record["after"]
    assert after["_problem"] is None
    assert not record["unfit"]
    return (record["op"], *(after[name] for name in _COLUMNS))


def content(form: Form, lines: int, *, head: bool) -> Iterator[bytes]:
    """The bytes of a file, in pieces; without its line of names for who knows of none."""
    kind = KINDS[form]
    if head and kind.head:
        yield kind.head
    numbers = iter(range(lines))
    while piece := b"".join(map(kind.line, islice(numbers, _AT_ONCE))):
        yield piece


def wide(n: int, more: int) -> bytes:
    """A delimited line by its number, so many bytes longer in its last field."""
    filler = sha256(b"%d" % n).hexdigest().encode() * (more // 64 + 1)
    return _delimited(n)[:-1] + filler[:more] + b"\n"


def write(path: Path, pieces: Iterable[bytes]) -> Path:
    """A file of these pieces."""
    with path.open("wb") as file:
        file.writelines(pieces)
    return path


def project(
    place: Place, connection: str, form: Form, *, name: str, pattern: str, container: str = "none"
) -> Path:
    """A project folder with one connection and one flow, which takes files from ``drop/in`` in it."""
    folder, kind = place.folder / connection, KINDS[form]
    for below in ("flows", "drop/in", "staging"):
        (folder / below).mkdir(parents=True)
    given = {
        "project": name,
        "connection": connection,
        "root": folder / "drop",
        "staging": folder / "staging",
        "bootstrap": place.bootstrap,
        "registry": place.registry,
        "lake": folder / "lake",
    }
    params = {
        "connection": connection,
        "partner": PARTNER,
        "feed": FEED,
        "folder": "in",
        "files": pattern,
        "layout": kind.layout,
        "container": container,
        "ready": {"by": "rename", "suffix": ".part"},
    }
    flow = _FLOW_YAML.format(template=kind.template, params=json.dumps(params))
    (folder / "ecluse.yaml").write_text(_ECLUSE_YAML.format(**given), encoding="utf-8")
    (folder / "flows" / "orders.yaml").write_text(flow, encoding="utf-8")
    return folder
