"""What a mover says of a file in a sidecar: who sent it, its size, its hash, and how many records it has.

Rule: a sidecar stands where a marker would, and is written last, whole or not at all: what is announced is
there. What it says is held against the file when that is taken. A plain marker may hold anything.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from connectors.files.places import Place
from connectors.files.ready import Candidate
from connectors.files.records import Refused

_MOST: Final = 64 << 10
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Announced:
    """What a sidecar says."""

    partner: str
    size: int
    sha256: str
    records: int | None = None

    def dump(self) -> bytes:
        """The bytes of the sidecar."""
        return json.dumps({"announced": _VERSION, **asdict(self)}, sort_keys=True).encode() + b"\n"

    def holds(self, partner: str, size: int, sha256: str) -> None:
        """Raise Refused where the file is another than was announced."""
        said = (("partner", self.partner, partner), ("size", self.size, size), ("hash", self.sha256, sha256))
        for name, told, found in said:
            if told != found:
                raise Refused(f"announced.{name}", f"the {name} is {found}, and {told} was announced")

    def counts(self, records: int) -> None:
        """Raise Refused where the file has another number of records than was announced."""
        if self.records is not None and self.records != records:
            raise Refused("announced.records", f"{records} records, and {self.records} were announced")


def beside(place: Place, one: Candidate) -> Announced | None:
    """What was announced of a file; None where nothing was, or its marker says nothing."""
    opened = place.open(one.folder, one.marker) if one.marker else None
    if opened is None:
        return None
    try:
        said = opened.file.read(_MOST)
    finally:
        place.close(opened)
    return _read(said)


def _read(said: bytes) -> Announced | None:
    try:
        told = json.loads(said)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or "announced" not in told:
        return None
    version = told.pop("announced")
    whole: dict[str, Any] = {"partner": str, "size": int, "sha256": str, "records": (int, type(None))}
    if version != _VERSION or told.keys() != whole.keys():
        raise Refused("announced.kind", "the announcement is of a kind that is not known here")
    if any(type(told[name]) is bool or not isinstance(told[name], kinds) for name, kinds in whole.items()):
        raise Refused("announced.kind", "the announcement holds values of another kind")
    return Announced(**told)
