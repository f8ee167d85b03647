"""What the projects of ``flows`` declare: one template, and each table of the workload twice."""

from __future__ import annotations

from typing import Any, Final

from tests.support.workload import COUNTERS, LISTS

TABLES: Final = (LISTS, COUNTERS)

TEMPLATE: Final = """\
apiVersion: ecluse/v1
kind: FlowTemplate
metadata: {name: walk_table, version: 1.0.0}
spec:
  params:
    connection: {type: connection, of: postgres, required: true}
    table: {type: string, required: true}
    sink: {type: string, required: true}
    mode: {type: enum, values: [append, scd1], required: true}
    deletes: {type: enum, values: [hard, soft], default: hard}
    freshness: {type: duration, default: 500ms}
    rows_per_commit: {type: integer, default: 500000}
    row_bytes_max: {type: size, default: 1MiB}
    snapshot: {type: enum, values: [initial, none], default: none}
    run: {type: integer, default: 0}
  flow:
    source:
      type: postgres
      connection: ${param.connection}
      table: ${param.table}
      snapshot: {mode: "${param.snapshot}", run: "${param.run}"}
      on_truncate: apply
    topic: {partitions: 2, retention: 30d, compatibility: backward, row_bytes_max: "${param.row_bytes_max}"}
    schema: {add_column: evolve, widen_type: evolve, drop_column: keep, alter_type: park, change_key: park}
    landing: {freshness: "${param.freshness}", rows_per_commit: "${param.rows_per_commit}"}
    sink:
      type: delta
      table: "bronze.${param.sink}"
      mode: "${param.mode}"
      keys: auto
      deletes: "${param.deletes}"
"""


def default_flows() -> dict[str, dict[str, Any]]:
    """Each table twice."""
    return {
        f"{table}_{suffix}": {"table": f"public.{table}", "sink": f"{table}_{suffix}", "mode": mode}
        for table in TABLES
        for suffix, mode in (("log", "append"), ("now", "scd1"))
    }
