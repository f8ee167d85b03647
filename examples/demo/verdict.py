"""Is the lake what the source is? An independent reader says, row by row.

For each table: source rows = equal + waiting in quarantine + missing + different, and rows of the table that
the source does not have are extra. A key whose newest change waits in quarantine is set apart. For the append
table also: every committed change stands in it once (the source's own witness knows them all), and the state
folded from it is the source's. Reads with SQL and deltalake; uses nothing of the engine. Prints JSON; exit
code 0 only if nothing is missing, different, extra, lost or doubled.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
import pyarrow as pa
import yaml
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import TableNotFoundError

from examples.demo import canonical

Key = tuple[str, ...]
SHOWN: Final = 5  # keys named per kind of mismatch
COLUMNS: Final = """
  SELECT a.attname, format_type(a.atttypid, a.atttypmod), coalesce(a.attnum = ANY (i.indkey), false)
  FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
  WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow as its file declares it: what is compared with what."""

    name: str
    source: str
    mode: str
    path: Path


@dataclass(slots=True)
class Verdict:
    """What the comparison of one table found."""

    flow: str
    source_rows: int = 0
    equal: int = 0
    waiting: int = 0
    missing: int = 0
    different: int = 0
    extra: int = 0
    changes: int | None = None  # append: committed changes that the witness knows
    lost: int = 0  # append: of them, not in the table and not in quarantine
    doubled: int = 0  # append: in the table more often than committed
    quarantined: int = 0  # records in quarantine, those without a key included
    hash: str = ""  # of the equal rows, the same on both sides
    keys: dict[str, list[str]] = field(default_factory=dict)  # examples per kind of mismatch
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether nothing is missing, different, extra, lost or doubled."""
        wrong = self.missing + self.different + self.extra + self.lost + self.doubled
        return wrong == 0 and not self.note and self.source_rows == self.equal + self.waiting


def flows(project: Path, lake: Path) -> list[Flow]:
    """The flows of tables in the project's sets, with what an entry overrides."""
    found = []
    for path in sorted((project / "flows").glob("*.yaml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not document["spec"]["template"].startswith("postgres_table@"):
            continue  # a partner's files: ``fates`` judges them
        for name, entry in document["spec"]["flows"].items():
            params = document["spec"]["params"] | entry
            table = params["table"].split(".")[1]
            where = lake / "bronze" / table
            found.append(
                Flow(f"{document['metadata']['name']}.{name}", params["table"], params["mode"], where)
            )
    return found


@dataclass(frozen=True, slots=True)
class Shape:
    """The source's columns in order, their declared types, and which of them are the key."""

    columns: Mapping[str, str]
    key: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SQL: the digest of a row."""
        return f"md5({' || '.join(canonical.sql(c, t) for c, t in self.columns.items())})"

    @property
    def key_texts(self) -> str:
        """SQL: the texts of the key's columns."""
        return ", ".join(f'"{c}"::text' for c in self.key)


def shape(db: psycopg.Connection[Any], table: str) -> Shape:
    """The source's columns, as its catalogue has them now."""
    rows = db.execute(COLUMNS, [table]).fetchall()
    return Shape({name: kind for name, kind, _ in rows}, tuple(name for name, _, key in rows if key))


def source_rows(db: psycopg.Connection[Any], table: str, shape: Shape) -> dict[Key, int]:
    """The digest of every row of the source, by key."""
    with db.cursor(name="verdict") as cursor:
        cursor.itersize = 20_000
        cursor.execute(f"SELECT {shape.digest}, {shape.key_texts} FROM {table}".encode())  # noqa: S608
        return {tuple(key): int(digest, 16) for digest, *key in cursor}


def lake_table(flow: Flow) -> DeltaTable | None:
    """The flow's Delta table, or None where none was made."""
    try:
        return DeltaTable(str(flow.path))
    except TableNotFoundError:
        return None


def read(table: DeltaTable, columns: list[str]) -> Iterator[list[Any]]:
    """The table's rows, deletion vectors applied, instants as microseconds."""
    query = f"SELECT {', '.join(columns)} FROM t"  # noqa: S608
    stream = QueryBuilder().register("t", table).execute(query)
    for batch in pa.RecordBatchReader.from_stream(stream):
        yield from map(list, zip(*(_plain(column) for column in batch.columns), strict=True))


def _plain(values: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", tz=values.type.tz)).cast(pa.int64())
    return values.to_pylist()  # type: ignore[no-any-return]


def names(table: DeltaTable) -> set[str]:
    """The table's columns."""
    return {field.name for field in table.schema().fields}


Position = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Change:
    """A row of a Delta table: for an append table a change, for the others the state of a key."""

    op: str
    position: Position
    digest: int


def lake_rows(table: DeltaTable, shape: Shape) -> Iterator[tuple[Key, Change]]:
    """Every row that stands in the table and is not marked as deleted."""
    have = names(table)
    deleted = ['"_deleted"'] if "_deleted" in have else []
    columns = [f'"{c}"' for c in shape.columns]
    at = [n for n, c in enumerate(shape.columns) if c in shape.key]
    for op, position, *values in read(table, ['"_op"', '"_position"', *columns, *deleted]):
        if deleted and values.pop():
            continue
        parts = [canonical.of(v) for v in values]
        key = tuple(parts[n].split(":", 1)[1] for n in at)
        yield key, Change(op, _position(position), canonical.digest(parts))


def _position(value: Mapping[str, int]) -> Position:
    return value["era"], value["major"], value["minor"]


def quarantine(lake: Path, flow: str, shape: Shape) -> tuple[int, dict[Key, Position]]:
    """How many records of a flow wait in quarantine, and the newest position per key that can be read."""
    try:
        table = DeltaTable(str(lake / "_ecluse" / "quarantine"))
    except TableNotFoundError:
        return 0, {}
    newest: dict[Key, Position] = {}
    count = 0
    for name, key, position in read(table, ["flow", "key_json", "position"]):
        if name == flow:
            count += 1
            if key is not None and position is not None:
                values = json.loads(key)
                found = tuple(str(values[column]) for column in shape.key)
                newest[found] = max(newest.get(found, (0, 0, 0)), _position(position))
    return count, newest


def folded(changes: Iterable[tuple[Key, Change]]) -> dict[Key, Change]:
    """The state that a log of changes leaves: the newest change of each key, deletes gone."""
    state: dict[Key, Change] = {}
    for key, change in changes:
        if key not in state or state[key].position < change.position:
            state[key] = change
    return {key: change for key, change in state.items() if change.op != "d"}


def compare(
    verdict: Verdict, source: Mapping[Key, int], lake: Mapping[Key, Change], waiting: Mapping[Key, Position]
) -> None:
    """Count every key of both sides once."""
    verdict.source_rows = len(source)
    same: list[int] = []
    for key, digest in source.items():
        row = lake.get(key)
        if row is not None and row.digest == digest:
            same.append(digest)
        elif key in waiting and (row is None or row.position < waiting[key]):
            verdict.waiting += 1
            _name(verdict, "waiting", key)
        elif row is None:
            verdict.missing += 1
            _name(verdict, "missing", key)
        else:
            verdict.different += 1
            _name(verdict, "different", key)
    for key in lake.keys() - source.keys():
        verdict.extra += 1
        _name(verdict, "extra", key)
    verdict.equal = len(same)
    verdict.hash = f"{canonical.total(same):032x}"


def compare_changes(
    verdict: Verdict,
    witness: Counter[tuple[Key, str, int]],
    changes: Counter[tuple[Key, str, int]],
    waiting: Mapping[Key, Position],
) -> None:
    """Every committed change once: two multisets, and what is in one only."""
    verdict.changes = witness.total()
    for (key, _, _), n in (witness - changes).items():
        if key not in waiting:
            verdict.lost += n
            _name(verdict, "lost", key)
    for (key, _, _), n in (changes - witness).items():
        verdict.doubled += n
        _name(verdict, "doubled", key)


def _name(verdict: Verdict, kind: str, key: Key) -> None:
    named = verdict.keys.setdefault(kind, [])
    if len(named) < SHOWN:
        named.append(",".join(key))


def witness(db: psycopg.Connection[Any], table: str, shape: Shape) -> Counter[tuple[Key, str, int]]:
    """Every committed change of the append table, as the database itself noted it."""
    digest = f"SELECT {shape.digest} FROM jsonb_populate_record(NULL::{table}, w.image)"  # noqa: S608
    query = f"SELECT w.op, w.id::text, ({digest}) FROM witness.scan_changes w"  # noqa: S608
    with db.cursor(name="witness") as cursor:
        cursor.itersize = 20_000
        cursor.execute(query.encode())
        return Counter(((key,), op, int(d, 16) if op != "d" else 0) for op, key, d in cursor)


def judge(db: psycopg.Connection[Any], flow: Flow, lake: Path) -> Verdict:
    """Compare one flow's table with its source."""
    verdict = Verdict(flow.name)
    described = shape(db, flow.source)
    source = source_rows(db, flow.source, described)
    verdict.quarantined, waiting = quarantine(lake, flow.name, described)
    table = lake_table(flow)
    if table is None:
        compare(verdict, source, {}, waiting)
        return verdict
    absent = described.columns.keys() - names(table)
    if absent:
        verdict.note = f"not in the lake: column {', '.join(sorted(absent))}"
        verdict.source_rows = len(source)
        return verdict
    rows = list(lake_rows(table, described))
    if flow.mode == "append":
        changes = Counter((k, c.op, c.digest if c.op != "d" else 0) for k, c in rows)
        compare_changes(verdict, witness(db, flow.source, described), changes, waiting)
        compare(verdict, source, folded(rows), waiting)
    else:
        state = dict(rows)
        verdict.doubled = len(rows) - len(state)
        compare(verdict, source, state, waiting)
    return verdict


def main() -> int:
    """Judge every flow of the project; 0 only if all hold."""
    parser = argparse.ArgumentParser(description="the lake against the source, row by row")
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--lake", type=Path, required=True)
    given = parser.parse_args()
    with psycopg.connect(os.environ["ECLUSE_DEMO_DSN"]) as db:
        db.execute("SET TIME ZONE 'UTC'")
        db.execute("SET default_transaction_isolation TO 'repeatable read'")
        db.commit()
        verdicts = [judge(db, flow, given.lake) for flow in flows(given.project, given.lake)]
    holds = all(v.holds for v in verdicts)
    json.dump({"holds": holds, "flows": [asdict(v) | {"holds": v.holds} for v in verdicts]}, sys.stdout)
    print()
    return 0 if holds else 4


if __name__ == "__main__":
    raise SystemExit(main())
