"""A small project whose flows are partner files, a flow for each template that ships for them.

Rule: the real models of the connector, handed in as ``cli`` hands in those of what is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from connectors.files.config import FilesConfig
from connectors.files.feeds import Feed
from engine import plan, template
from engine.plan import FlowPlan, ProjectPlan
from engine.template import Mistaken
from tests.support import declared

MODELS: Final[Mapping[str, type[BaseModel]]] = {**declared.MODELS, "files": FilesConfig}
FLOWS: Final[Mapping[str, type[BaseModel]]] = {"files": Feed}
KEEPS: Final = {"files": "_files"}

PROJECT: Final = """\
apiVersion: ecluse/v1
kind: Project
metadata: {name: postal}
spec:
  connections:
    drop: {type: files, root: /srv/drop, poll: 2s}
    sftp:
      type: files
      protocol: sftp
      root: /out
      host: sftp.example.org
      user: ecluse
      host_key: ssh-ed25519 AAAAC3Nz
      private_key: ${secret.sftp_key}
      staging_max: 2GiB
"""

LINES: Final = """\
apiVersion: ecluse/v1
kind: FlowSet
metadata: {name: acme, group: partners}
spec:
  template: partner_csv@1
  params: {connection: drop, partner: acme}
  flows:
    orders:
      feed: orders
      files: ORDERS_*.csv
      layout: {columns: [id, city, weight], delimiter: "\\t"}
      keys: [id]
      mode: scd1
      contract:
        columns: {id: {type: bigint}, city: {type: string}, weight: {type: "decimal(9,3)", decimal: ","}}
    returns:
      feed: returns
      files: RET_*.csv.gz
      container: gz
      encoding: cp1252
      layout: {file: layouts/returns.yaml}
      ready: {by: marker, suffix: .done}
      controls:
        count: {field: trailer.count}
        sums:
          amount: {field: trailer.total, column: amount, format: {decimal: ",", thousands: " "}}
"""

RETURNS: Final = """\
# what a line of a file of returns holds
header: none
quote: null
line_end: crlf
records:
  detail: {literal: D, columns: [kind, id, amount]}
  trailer: {literal: T, role: trailer, columns: [kind, count, total]}
"""

WIDTHS: Final = """\
apiVersion: ecluse/v1
kind: Flow
metadata: {name: post_scans}
spec:
  template: partner_fixed_width@1
  params:
    connection: sftp
    partner: la_poste
    feed: scans
    folder: in/scans
    files: SCAN*.txt
    layout: {file: layouts/scans.yaml}
    contract: {file: layouts/scan_types.yaml}
    ready: {stable: 90s}
"""

SCANS: Final = """\
unit: characters
records:
  detail:
    fields:
      - {name: parcel, at: 1, width: 13}
      - {name: place, at: 14, end: 40, trim: right}
"""

SCAN_TYPES: Final = "columns: {parcel: {type: string, nullable: false}, place: {type: string}}\n"

OTHERS: Final = """\
apiVersion: ecluse/v1
kind: Flow
metadata: {name: events}
spec:
  template: partner_jsonl@1
  params:
    connection: drop
    partner: acme
    feed: events
    files: "*.jsonl"
    layout: {columns: {id: null, city: address.city}, unknown: ignore}
---
apiVersion: ecluse/v1
kind: Flow
metadata: {name: bills}
spec:
  template: partner_xml@1
  params:
    connection: drop
    partner: acme
    feed: bills
    files: "*.xml"
    layout:
      record: bills/bill
      columns: {id: "@id", total: sum/total}
"""

FILES: Final = {
    "ecluse.yaml": PROJECT,
    "flows/acme.yaml": LINES,
    "flows/others.yaml": OTHERS,
    "flows/post.yaml": WIDTHS,
    "layouts/returns.yaml": RETURNS,
    "layouts/scan_types.yaml": SCAN_TYPES,
    "layouts/scans.yaml": SCANS,
}


def project(folder: Path, files: Mapping[str, str | bytes] | None = None) -> Path:
    """The project in a folder; ``files`` add to it, or replace."""
    for path, text in {**FILES, **(files or {})}.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def load(folder: Path) -> template.Project:
    """The project as the engine reads it."""
    return template.load(folder, environment={}, models=MODELS, flows=FLOWS, keeps=KEEPS)


def mistakes(folder: Path) -> list[str]:
    """The mistakes of a project, a line each; none when it is good."""
    try:
        load(folder)
    except Mistaken as error:
        return [str(mistake) for mistake in error.mistakes]
    return []


def built(folder: Path, files: Mapping[str, str | bytes] | None = None) -> ProjectPlan:
    """The plan of the project, with some of its files changed."""
    return plan.build(load(project(folder, files)))


def flow(made: ProjectPlan, name: str) -> FlowPlan:
    """A flow of a plan."""
    return next(each for each in made.flows if each.name == name)
