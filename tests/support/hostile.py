"""Hostile and broken files of every format, each beside a good one, and what is documented to become of it.

Rule: a case is a file as a partner, or somebody who is none, may leave it. Its outcome is a code of
docs/reference/refusals.md: for the file as a whole, or for records of it by their numbers.
"""

from __future__ import annotations

import gzip
import io
import stat
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import zstandard

from connectors.files.records import DEFAULTS

CSV: Final = {"delimited": {"delimiter": ";", "columns": ["id", "town"]}}
BARE: Final = {"delimited": {"delimiter": ";", "quote": None, "columns": ["id", "town"]}}
TYPED: Final = {
    "delimited": {
        "delimiter": ";",
        "header": "none",
        "records": {
            "header": {"literal": "H", "role": "header", "columns": ["kind", "day"]},
            "detail": {"literal": "D", "columns": ["kind", "id", "amount"]},
            "trailer": {"literal": "T", "role": "trailer", "columns": ["kind", "count", "total"]},
        },
    },
    "controls": {
        "count": {"field": "trailer.count"},
        "sums": {"amount": {"field": "trailer.total", "column": "amount", "format": {"decimal": ","}}},
        "day": {"field": "header.day", "format": "yyyyMMdd"},
    },
}
FIXED: Final = {
    "fixed_width": {
        "unit": "bytes",
        "records": {
            "detail": {
                "fields": [{"name": "id", "at": 1, "width": 3}, {"name": "town", "at": 4, "width": 4}],
            },
        },
    }
}  # fmt: skip
LINES: Final = {"json_lines": {"columns": {"id": None, "town": None}}}
DOCUMENT: Final = {"json_document": {"records": "items", "columns": {"id": None, "town": None}}}
XML: Final = {"xml": {"record": "rows/row", "columns": {"id": "@id", "town": None}}}

GOOD_CSV: Final = b"id;town\n7;Aix\n"
GOOD_TYPED: Final = b"H;20261120\nD;7;1,50\nT;1;1,50\n"
GOOD_FIXED: Final = b"007Aix \n"
GOOD_LINES: Final = b'{"id": "7", "town": "Aix"}\n'
GOOD_DOCUMENT: Final = b'{"items": [{"id": "7", "town": "Aix"}]}'
GOOD_XML: Final = b'<rows><row id="7"><town>Aix</town></row></rows>'

Make = Callable[[], bytes]
Rows = Mapping[int, str]
"""The records that come, by their numbers: a code, or nothing for one that is fit."""


@dataclass(frozen=True, slots=True)
class Case:
    """A file, and what becomes of it: a code and words for all of it, or its rows."""

    name: str
    said: Mapping[str, Any]
    good: bytes
    make: Make
    code: str = ""
    says: str = ""
    rows: Rows = field(default_factory=dict)
    content_max: int = DEFAULTS.content

    @property
    def feed(self) -> Mapping[str, Any]:
        """What the flow says of its files."""
        return {"pattern": "*", "content_max_bytes": self.content_max, **self.said}


def _wrapped(kind: str, data: bytes) -> bytes:
    if kind == "gz":
        return gzip.compress(data)
    return _zip(("a.csv", data)) if kind == "zip" else zstandard.ZstdCompressor().compress(data)


def _zip(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def _patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _entry(data: bytes) -> int:
    return data.index(b"PK\x01\x02")


def _bomb(kind: str) -> bytes:
    """64 MB of good lines, which are all alike."""
    return _wrapped(kind, GOOD_CSV + b"8;Brest\n" * 8_000_000)


def _overlapping() -> bytes:
    """Many entries of one and the same data, as in a bomb that needs no nesting."""
    whole = _zip(("a", GOOD_CSV), ("b", GOOD_CSV))
    second = whole.rindex(b"PK\x01\x02")
    return _patched(whole, second + 42, struct.pack("<L", 0))


def _link() -> bytes:
    link = zipfile.ZipInfo("a.csv")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return _zip((link, b"/etc/passwd"))


def _containers() -> Iterable[Case]:
    gz, zipped, zst = (_wrapped(kind, GOOD_CSV) for kind in ("gz", "zip", "zst"))

    def case(kind: str, name: str, make: Make, code: str, **more: Any) -> Case:
        said = {**CSV, "container": {"kind": kind}}
        good = GOOD_CSV if kind == "none" else _wrapped(kind, GOOD_CSV)
        return Case(f"{kind}: {name}", said, good, make, f"container.{code}", **more)

    for kind, whole in (("gz", gz), ("zip", zipped), ("zst", zst)):
        again, large = _wrapped(kind, gz), _wrapped(kind, GOOD_CSV + b"8;Brest\n" * 9_000)
        yield case(kind, "cut off", partial(bytes, whole[:-5]), "truncated")
        yield case(kind, "text", partial(bytes, GOOD_CSV), "kind", says="begins|no zip")
        yield case(kind, "empty", bytes, "truncated")
        yield case(kind, "garbage behind", partial(bytes, whole + b"garbage"), "trailing")
        yield case(kind, "a bomb", partial(_bomb, kind), "ratio", says="more than 200 times")
        yield case(kind, "nested", partial(bytes, again), "nested", says="gzip")
        most = "more than 50000 bytes"
        yield case(kind, "too large", partial(bytes, large), "size", says=most, content_max=50_000)
    yield case("gz", "zeros behind", lambda: gz + bytes(4096), "trailing", says="4096 zero bytes")
    yield case("gz", "a wrong CRC", lambda: _patched(gz, len(gz) - 8, b"\0\0\0\0"), "checksum")
    yield case("gz", "broken inside", lambda: _patched(gz, 10, b"\x07"), "corrupt")
    yield case("gz", "is a zip", lambda: zipped, "kind", says="zip")
    yield case("none", "is a gzip", lambda: gz, "kind", says="no container is declared")
    for name in ("../../etc/passwd", "/etc/passwd", "a/../../b", "C:\\x", "..\\x", "a\nb", "n" * 4096):
        yield case(
            "zip", f"a slip {name[:12]!r}", partial(_zip, (name, GOOD_CSV)), "name", says="leads out",
        )  # fmt: skip
    yield case("zip", "a link", _link, "name", says="is a link or a device")
    yield case(
        "zip", "a name that is no text",
        lambda: _zip(("é.csv", GOOD_CSV)).replace("é".encode(), b"\xff\xfe"), "name", says="not UTF-8",
    )  # fmt: skip
    yield case("zip", "two members", lambda: _zip(("a", b"1"), ("b", b"2")), "members", says="2")
    yield case(
        "zip", "too many members", lambda: _zip(*((f"{n}", b"") for n in range(1_001))),
        "members", says="1001 members, 1000 are allowed",
    )  # fmt: skip
    yield case(
        "zip", "one name twice",
        lambda: _zip(("a.csv", b"1"), ("b.csv", b"2")).replace(b"b.csv", b"a.csv"), "members",
        says="one name",
    )  # fmt: skip
    yield case("zip", "overlapping members", _overlapping, "directory|container.overlap")
    yield case(
        "zip", "encrypted",
        lambda: _patched(_patched(zipped, 6, b"\1"), _entry(zipped) + 8, b"\1"), "encrypted",
    )  # fmt: skip
    yield case("zip", "lzma", lambda: _zip(("a", GOOD_CSV), method=zipfile.ZIP_LZMA), "method")
    yield case("zip", "two names for one", lambda: _patched(zipped, _entry(zipped) + 46, b"b"), "directory")
    yield case(
        "zip", "another size",
        lambda: zipped.replace(struct.pack("<L", len(GOOD_CSV)), struct.pack("<L", 9)), "checksum",
    )  # fmt: skip
    yield case("zip", "no member", _zip, "members")
    yield case(
        "zst", "a window of a gigabyte",
        lambda: b"\x28\xb5\x2f\xfd\x00" + bytes([20 << 3]) + b"\1\0\0", "window",
    )  # fmt: skip
    yield case(
        "zst", "a dictionary",
        lambda: b"\x28\xb5\x2f\xfd" + bytes([zst[4] | 1]) + b"\x07" + zst[5:], "dictionary",
    )  # fmt: skip


CONTAINERS: Final = tuple(_containers())
