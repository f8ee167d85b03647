"""Our side of the landing bench, as a program: the real dispatch, available now, in a Spark that stays.

Rule: the flow is as the shipped template makes it, but for its batch size; the registry, the topic and the
lake are real. It reads a table's folder per line from its input (its name says which checks are meant), lands
the whole topic into it, and answers when it is done; a flow that is not streaming then is an error.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from bench import change, checks
from bench.spark_program import announce, engine, requests
from engine.lake.dispatch import World, drive
from engine.lake.session import end, start
from engine.plan import FlowPlan, LanePlan, SchemaPolicy, SinkPlan, TopicPlan
from engine.registry import HttpRegistry
from engine.source import TableSpec
from engine.state import State
from engine.topic import KafkaTopic


def flow(given: dict[str, Any], path: Path) -> FlowPlan:
    """The flow into the table at ``path``, as a plan has it."""
    name = f"bench.{path.name}"
    return FlowPlan(
        name=name,
        group="default",
        owner="bench@example.org",
        template="postgres_table@1.0.0",
        connection="bench",
        table=TableSpec(name, change.SCHEMA, change.TABLE),
        topic=TopicPlan(given["topic"], given["partitions"], 1, 86_400_000, "backward", 8 << 20),
        schema=SchemaPolicy("evolve", "evolve", "keep", "park", "park"),
        sink=SinkPlan(f"{path.parent.name}.{path.name}", "append", (), "hard"),
        freshness_s=10.0,
        rows_per_commit=given["rows_per_commit"],
        checks=checks.of(path.name),
    )


def land(spark: SparkSession, given: dict[str, Any], path: Path) -> None:
    """One pass over the topic, from its beginning to its end, into a new table of the lake."""
    kafka = {"bootstrap.servers": given["bootstrap"]}
    world = World(
        lake_root=path.parent.parent,
        kafka=kafka,
        schemas=HttpRegistry(given["registry"]),
        topics=KafkaTopic(kafka),
    )
    lane = LanePlan("default", "live", (flow(given, path),), 2, 1.0)
    for state in drive(spark, lane, world, stop=threading.Event(), available_now=True).values():
        if state.state is not State.STREAMING:
            raise RuntimeError(f"{state.flow} is {state.state}: {state.code} {state.what}")


def main(given: dict[str, Any]) -> None:
    """Answer requests until the input ends."""
    spark = start(engine(given))
    announce()
    for path in requests():
        land(spark, given, path)
        announce()
    end(spark)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
