"""What became of the partner's five files? An independent reader says, file by file and record by record.

For each file: its fate and the reason are what they ought to be; of an accepted one each record is in the
table once, as its sender means it, or waits in quarantine with its reason and its bytes; of a refused one
nothing is anywhere. The file itself lies in the archive, or with the errors, byte for byte. Reads the lake
with deltalake and the folders; what the ledger of files says is given. Uses nothing of the engine. Prints
JSON; exit code 0 only if all of it is so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from examples.demo.verdict import read

FLOW: Final = "relay.handovers"
_COLUMNS: Final = ["_file", "_record", "number", "shop", "city", "fee", "day"]
_WAITING: Final = ["flow", "reason", "unfit", "value"]

Row = tuple[Any, ...]
"""A record: its number in the file, then what it says."""


@dataclass(slots=True)
class Fate:
    """What became of one file, and what is wrong with that."""

    name: str
    about: str
    fate: str = "unknown"
    code: str = ""
    reason: str = ""
    landed: int = 0
    quarantined: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Waits:
    """A quarantined record: why, the texts that it is about, and its bytes on the topic."""

    reason: str
    about: Mapping[str, str | None]
    value: bytes


def meant(rows: Mapping[str, list[str]]) -> Counter[Row]:
    """The records as their sender means them: he writes 02/11/2026 and 12,50."""
    return Counter(
        (int(record), int(number), shop, city, Decimal(fee.replace(",", ".")), _day(day))
        for record, (number, shop, city, fee, day) in rows.items()
    )


def _day(text: str) -> Any:
    return datetime.strptime(text, "%d/%m/%Y").date()  # noqa: DTZ007 - a day has no zone


def landed(lake: Path) -> dict[str, Counter[Row]]:
    """The rows of the table, by file."""
    found: dict[str, Counter[Row]] = defaultdict(Counter)
    for name, *row in _rows(lake / "bronze" / "handovers", _COLUMNS):
        found[name][tuple(row)] += 1
    return found


def quarantined(lake: Path) -> dict[str, dict[int, Waits]]:
    """The records that wait, by file and number."""
    found: dict[str, dict[int, Waits]] = defaultdict(dict)
    for flow, reason, unfit, value in _rows(lake / "_ecluse" / "quarantine", _WAITING):
        if flow == FLOW:
            about = dict(unfit)
            name, record = str(about.pop("_file")), int(str(about.pop("_record")))
            found[name][record] = Waits(reason, about, value)
    return found


def _rows(table: Path, columns: list[str]) -> list[list[Any]]:
    try:
        return list(read(DeltaTable(str(table)), [f'"{column}"' for column in columns]))
    except TableNotFoundError:
        return []


def judge(
    sent: Mapping[str, Any],
    told: list[Mapping[str, Any]],
    rows: Counter[Row],
    waits: Mapping[int, Waits],
    drop: Path,
) -> Fate:
    """Hold one file against what its sender meant; ``told`` are its entries in the ledger of files."""
    fate = Fate(sent["name"], sent["about"], landed=rows.total(), quarantined=len(waits))
    if len(told) != 1:
        fate.wrong.append(f"the ledger has {len(told)} entries of it")
    for entry in told:
        fate.fate = "refused" if entry["state"] == "refused" else "accepted"
        fate.code, fate.reason = entry["code"], entry["reason"]
        fate.wrong += _decided(sent, entry) + _kept(sent, entry, drop)
    ought = meant(sent["rows"])
    if rows != ought:
        less, more = (ought - rows).total(), (rows - ought).total()
        fate.wrong.append(f"{less} records are not in the table, and {more} are that ought not to be")
    for record in sorted({int(n) for n in sent["bad"]} | waits.keys()):
        fate.wrong += _waiting(record, sent["bad"].get(str(record)), waits.get(record))
    if waits:
        fate.reason = " · ".join(_shown(waits[record]) for record in sorted(waits))
    return fate


def _decided(sent: Mapping[str, Any], entry: Mapping[str, Any]) -> list[str]:
    if entry["code"] != sent["code"]:
        return [f"it ought to be {sent['code'] or 'accepted'}, and is {entry['code'] or 'accepted'}"]
    return [f'the reason does not say "{text}"' for text in sent["says"] if text not in entry["reason"]]


def _kept(sent: Mapping[str, Any], entry: Mapping[str, Any], drop: Path) -> list[str]:
    folder = "errors" if sent["code"] else "archive"
    path = drop / entry["lies"]
    if not entry["lies"].startswith(f"{folder}/") or not path.is_file():
        return [f"it does not lie in {folder}"]
    same = hashlib.sha256(path.read_bytes()).hexdigest() == sent["sha256"] == entry["sha256"]
    return [] if same else [f"what lies in {folder} are other bytes"]


def _waiting(record: int, ought: Mapping[str, str] | None, waits: Waits | None) -> list[str]:
    """A record in quarantine: its reason, the text that it is about, and every field of its line."""
    if ought is None or waits is None:
        return [f"record {record} {'waits' if ought is None else 'does not wait'} in quarantine"]
    if waits.reason != ought["reason"]:
        return [f"record {record} waits for {waits.reason}, not {ought['reason']}"]
    if "_raw" in waits.about:
        whole = waits.about["_raw"] == ought["line"] and ought["text"] in str(waits.about["_problem"])
    else:
        fields = ought["line"].split(";")
        whole = ought["text"] in waits.about.values() and all(f.encode() in waits.value for f in fields)
    return [] if whole else [f"record {record} waits with other bytes than were sent"]


def _shown(waits: Waits) -> str:
    if "_problem" in waits.about:
        return str(waits.about["_problem"])
    return ", ".join(f"{column} = {text}" for column, text in waits.about.items())


def main() -> int:
    """Judge every file that was sent; 0 only if each came to what it ought to."""
    parser = argparse.ArgumentParser(description="what became of the partner's files")
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--lake", type=Path, required=True)
    given = parser.parse_args()
    said = json.load(sys.stdin)
    rows, waits = landed(given.lake), quarantined(given.lake)
    fates = [
        judge(
            sent,
            [entry for entry in said["entries"] if entry["name"] == sent["name"]],
            rows.pop(sent["name"], Counter()),
            waits.pop(sent["name"], {}),
            given.project / "drop",
        )
        for sent in said["sent"]
    ]
    strange = sorted({*rows, *waits})
    holds = not strange and not any(fate.wrong for fate in fates)
    files = [asdict(fate) | {"holds": not fate.wrong} for fate in fates]
    print(json.dumps({"holds": holds, "files": files, "strange": strange}))
    return 0 if holds else 4


if __name__ == "__main__":
    raise SystemExit(main())
