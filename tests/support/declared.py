"""Small projects for the tests of what authors write: files in a folder, and what became of them.

Rule: the real config model of PostgreSQL, the real shipped template; nothing stands in for either.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from connectors.postgres.config import PostgresConfig
from engine import template
from engine.template import Mistaken

MODELS: Final = {"postgres": PostgresConfig}
ENVIRONMENT: Final = {"KAFKA": "k1.example.org:9092,k2.example.org:9092", "LAKE": "/srv/lake"}

PROJECT: Final = """\
apiVersion: ecluse/v1
kind: Project
metadata: {name: postal}
spec:
  connections:
    shop:
      type: postgres
      host: db.example.org
      database: shop
      user: ecluse
      password: ${secret.shop_password}
  kafka:
    bootstrap_servers: ["${env.KAFKA}"]
    options:
      security.protocol: SASL_SSL
      sasl.mechanism: SCRAM-SHA-512
      sasl.username: ecluse
      sasl.password: ${secret.kafka_password}
  registry: {url: "https://registry.example.org/apis/ccompat/v7/"}
  lake: {root: "${env.LAKE}"}
"""

FLOWS: Final = """\
apiVersion: ecluse/v1
kind: FlowSet
metadata: {name: shop, group: logistics, owner: parcel-team@example.org}
spec:
  template: postgres_table@1
  params: {connection: shop, mode: scd1}
  flows:
    customer: {table: public.customer, deletes: soft}
    scan: {table: public.scan_event, mode: append, freshness: 500ms}
    parcel:
      table: public.parcel
"""

TEMPLATE: Final = """\
apiVersion: ecluse/v1
kind: FlowTemplate
metadata: {name: own, version: 2.1.0}
spec:
  params:
    connection: {type: connection, of: postgres, required: true}
    table: {type: string, required: true}
    into: {type: string, default: silver}
  flow:
    source:
      type: postgres
      connection: ${param.connection}
      table: ${param.table}
      snapshot: {mode: none}
    sink: {type: delta, table: "${param.into}.${source.schema}_${source.table}", mode: append}
"""


def project(folder: Path, files: Mapping[str, str | bytes] | None = None) -> Path:
    """A project in a folder; ``files`` add to ``ecluse.yaml`` and ``flows/shop.yaml``, or replace them."""
    for path, text in {"ecluse.yaml": PROJECT, "flows/shop.yaml": FLOWS, **(files or {})}.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def load(folder: Path, environment: Mapping[str, str] = ENVIRONMENT) -> template.Project:
    """The project as the engine reads it."""
    return template.load(folder, environment=environment, models=MODELS)


def mistakes(folder: Path, environment: Mapping[str, str] = ENVIRONMENT) -> list[str]:
    """The mistakes of a project, a line each; none when it is good."""
    try:
        load(folder, environment)
    except Mistaken as error:
        return [str(mistake) for mistake in error.mistakes]
    return []
