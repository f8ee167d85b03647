"""Every oracle on a whole walk: source, topics, tables, logs and ledger of a ``World``.

Rule: an empty list is green. What is called complete here was waited for by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.support import oracles, oracles_lake, oracles_log, oracles_versions, workload_postgres
from tests.support.flows import World
from tests.support.flows_declared import TABLES
from tests.support.workload import COUNTERS, LISTS, Change


def judge_stream(world: World, told: Mapping[str, list[Change]]) -> list[oracles.Wrong]:
    """O2, O3 and order on the topics."""
    lists = workload_postgres.as_source(world.source(LISTS), "items")
    counters = workload_postgres.as_source(world.source(COUNTERS), "state")
    wrong = oracles.lists_grow(told[LISTS], lists) + oracles.counters_walk(told[COUNTERS], counters)
    for table in TABLES:
        wrong += oracles.in_order(told[table]) + oracles.repeated_alike(told[table], ["note"])
    return wrong


def judge_lake(world: World, told: Mapping[str, list[Change]]) -> list[oracles.Wrong]:
    """O2, O3 and once on the journals, O2, O3 and O4 on the newest rows, O7 on the logs, I4 on the ledger."""
    wrong: list[oracles.Wrong] = []
    for table in TABLES:
        journal = oracles_lake.table_changes(world.table(f"{table}_log"))
        wrong += oracles.once(journal) + oracles.complete(told[table], journal)
        source = world.source(table)
        if table == LISTS:
            wrong += oracles.lists_grow(journal, workload_postgres.as_source(source, "items"))
        else:
            wrong += oracles.counters_walk(journal, workload_postgres.as_source(source, "state"))
        history = oracles_lake.versions(world.table(f"{table}_now"))
        walked = (
            oracles_versions.lists_only_grow if table == LISTS else oracles_versions.counters_only_advance
        )
        wrong += walked(history)
        newest = oracles_lake.user_rows(oracles_lake.table_rows(world.table(f"{table}_now")))
        compared = oracles.compare(source, newest)
        if not compared.exact:
            wrong.append(oracles.Wrong("O4", table, repr(compared)))
        for flow in (f"{table}_log", f"{table}_now"):
            commits, entries = oracles_log.read_log(world.table(flow)), world.ledger(flow)
            wrong += oracles_log.log_audit(commits) + oracles_log.ledger_balances(entries)
            wrong += oracles_log.ledger_tells_all(entries, commits)
    return wrong
