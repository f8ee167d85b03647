"""The end of the demo: the verdict as a table, and what one can do next.

Rule: the verdict is data and goes to stdout; every line that is a command can be typed as it stands.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.cli import screen, show

_COUNTS: Final = (
    ("source\nrows", "source_rows"),
    ("= equal", "equal"),
    ("+ in quar-\nantine", "waiting"),
    ("+ missing", "missing"),
    ("+ different", "different"),
    ("extra", "extra"),
)
_QUERY: Final = "SELECT status, count(*) AS parcels FROM t GROUP BY status ORDER BY parcels DESC"


def verdict(said: Mapping[str, Any]) -> None:
    """Every table's sum, and what is wrong by name."""
    console = Console(file=sys.stdout)
    if console.is_terminal:
        console.print(_table(said["flows"]))
    else:
        for flow in said["flows"]:
            counts = " ".join(f"{key}={flow[key]}" for _, key in _COUNTS)
            changes = f" changes={flow['changes']} lost={flow['lost']} doubled={flow['doubled']}"
            show.line(
                f"verdict={'holds' if flow['holds'] else 'fails'} flow={flow['flow']} {counts}"
                f"{changes if flow['changes'] is not None else ''} hash={flow['hash']}"
            )
    for flow in said["flows"]:
        for text in _words(flow):
            show.line(text)
    show.line(
        "every row of the source is in the lake, or waits in quarantine by name"
        if said["holds"]
        else "THE VERDICT DOES NOT HOLD"
    )


def _table(flows: list[Mapping[str, Any]]) -> Table:
    table = screen.narrow("verdict, row by row")
    table.add_column("table", no_wrap=True)
    for name, _ in _COUNTS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("hash of the\nequal rows", no_wrap=True)
    table.add_column("", no_wrap=True)
    for flow in flows:
        cells: list[str | Text] = [flow["flow"]]
        for _, key in _COUNTS:
            wrong = flow[key] and key in ("missing", "different", "extra")
            waits = flow[key] and key == "waiting"
            cells.append(
                Text(screen.count(flow[key]), style="bold red" if wrong else "yellow" if waits else "")
            )
        cells += [flow["hash"][:16], Text("✓", "green") if flow["holds"] else Text("✗", "bold red")]
        table.add_row(*cells)
    return table


def _words(flow: Mapping[str, Any]) -> list[str]:
    name, said = flow["flow"], []
    if flow["changes"] is not None:
        wrong = f"{flow['lost']} lost, {flow['doubled']} doubled"
        how = wrong if flow["lost"] or flow["doubled"] else "each in the table once"
        said.append(f"{name}: {screen.count(flow['changes'])} committed changes, {how}")
    for kind, keys in sorted(flow["keys"].items()):
        where = "waits in quarantine; the table has its older state, or none" if kind == "waiting" else kind
        said.append(f"{name}: key {', '.join(keys)}: {where}")
    return [*said, f"{name}: {flow['note']}"] if flow["note"] else said


def fates(said: Mapping[str, Any]) -> None:
    """What became of each file that the partner sent, and what is wrong with that."""
    console = Console(file=sys.stdout)
    if console.is_terminal:
        console.print(_files(said["files"]))
    else:
        for one in said["files"]:
            show.line(
                f"fate={one['fate']} file={one['name']} sent={json.dumps(one['about'])} "
                f"landed={one['landed']} quarantined={one['quarantined']} "
                f"reason={json.dumps(_why(one), ensure_ascii=False)} holds={'yes' if one['holds'] else 'no'}"
            )
    for one in said["files"]:
        for text in one["wrong"]:
            show.line(f"{one['name']}: {text}")
    for name in said["strange"]:
        show.line(f"{name}: nobody sent it")
    show.line(
        "every record of an accepted file is in the lake, or waits in quarantine; of a refused one nothing is"
        if said["holds"]
        else "THE PARTNER'S FILES DID NOT COME TO WHAT THEY OUGHT TO"
    )


def _files(files: list[Mapping[str, Any]]) -> Table:
    table = screen.narrow("the partner's files")
    for name, right in (("file", 0), ("fate", 0), ("landed", 1), ("quarantined", 1)):
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    table.add_column("why", overflow="fold")
    table.add_column("", no_wrap=True)
    for one in files:
        refused = Text(one["fate"], "yellow" if one["fate"] == "refused" else "")
        waits = Text(screen.count(one["quarantined"]), "yellow" if one["quarantined"] else "")
        mark = Text("✓", "green") if one["holds"] else Text("✗", "bold red")
        why = f"{one['about']}\n{show.clean(_why(one))}".rstrip()
        table.add_row(one["name"], refused, screen.count(one["landed"]), waits, Text(why), mark)
    return table


def _why(one: Mapping[str, Any]) -> str:
    return f"{one['code']}: {one['reason']}" if one["code"] else str(one["reason"])


def farewell(project: str, lake: str, *, keep: bool) -> None:
    """Where everything is, and the next commands."""
    ecluse = show.command()
    show.line("")
    show.line(f"the tables are in {lake}/bronze; without Spark or Java:")
    show.line(
        f"  {sys.executable} -c \"from deltalake import *; print(QueryBuilder().register('t', "
        f"DeltaTable('{lake}/bronze/parcels')).execute('{_QUERY}').read_all())\""
    )
    show.line("look again")
    show.line(f"  {ecluse} -p {project} quarantine ls")
    if keep:
        show.line(f"  {ecluse} -p {project} files ls")
    if keep:
        show.line("the services still run (KEEP=1)")
        show.line(f"  {ecluse} -p {project} up               # the workers go on, with some traffic")
        show.line(f"  {ecluse} -p {project} down --delete    # the end of it")
    show.line("a project of your own")
    show.line(f"  {ecluse} init my-lake && {ecluse} -p my-lake up")
