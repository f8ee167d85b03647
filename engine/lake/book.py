"""What the landing writes down beside the tables: the ledger, the plans, the state of every flow.

The ledger is a Delta table that is written without Spark, one small commit per batch. Plans are stored by
their hash before their first use. A flow's state is one JSON file, replaced atomically, so that a person or
``watch`` can read it while everything is down.

Rule: nothing here decides what lands. An entry is booked once per (application id, seq).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import deltalake
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction

from engine import checks, contract, ledger
from engine.errors import HistoryLost, LakeUnreachable, Missing
from engine.lake import parquet, stats
from engine.lake.answer import Answer
from engine.lake.log import Log
from engine.ledger import Entry
from engine.names import OWN_FOLDER, table_folder
from engine.plan import FlowPlan, QuarantinePlan, SchemaPolicy, SinkPlan, TopicPlan, as_json
from engine.source import TableSpec
from engine.state import State

_COMPACT_AFTER: Final = 100  # batches
_CLEAN_AFTER: Final = 10  # compactions
_FILE_BYTES: Final = 8 * 1024 * 1024
_KEEP_HOURS: Final = 1  # nobody reads an old version of the ledger for as long
LEDGER: Final = pa.schema(
    [
        pa.field("flow", pa.string(), nullable=False),
        pa.field("table", pa.string(), nullable=False),
        pa.field("app_id", pa.string(), nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("plan", pa.string()),
        pa.field("writer", pa.string()),
        pa.field("topic", pa.string()),
        pa.field("topic_id", pa.string()),
        pa.field("offsets", pa.string()),
        *[pa.field(name, pa.int64()) for name in ("read", *ledger.TERMS)],
        pa.field("table_version", pa.int64()),
        pa.field("committed_us_min", pa.int64()),
        pa.field("committed_us_max", pa.int64()),
        pa.field("landed_at_us", pa.int64()),
        pa.field("duration_ms", pa.int64()),
        pa.field("state", pa.string()),
        pa.field("reasons", pa.list_(pa.string())),
        pa.field("checks", pa.string()),
        pa.field("marks", pa.string()),
    ]
)
"""The ledger's table. Offsets are JSON, ``{"0": [from, to]}``: every engine reads a string."""
_PROPERTIES: Final = {
    "delta.checkpointInterval": "50",  # who reads the ledger reads so many entries one by one at most
    "delta.logRetentionDuration": "interval 5 minutes",
    "delta.deletedFileRetentionDuration": "interval 5 minutes",
}


def table_path(root: Path, table: str) -> Path:
    """Where the table ``layer.name`` lies."""
    return root / table_folder(table)


def tombstones_path(root: Path, table: str) -> Path:
    """Where the table's deletes and floors are remembered."""
    path = table_path(root, table)
    return path.with_name(path.name + "__tombstones")


def quarantine_path(root: Path) -> Path:
    """The one quarantine of a lake."""
    return root / OWN_FOLDER / "quarantine"


def ledger_path(root: Path) -> Path:
    """The one ledger of a lake."""
    return root / OWN_FOLDER / "ledger"


def checkpoint_path(root: Path, group: str, lane: str) -> Path:
    """The streaming checkpoint of a lane: a cache that may be lost."""
    return root / OWN_FOLDER / "checkpoints" / group / lane


@contextlib.contextmanager
def reached(path: Path, what: str = "") -> Iterator[None]:
    """Storage as the lake's: what it refuses may pass, a full disk too."""
    try:
        yield
    except (DeltaError, OSError) as error:
        hint = f"see that {path.parent} can be written and has space; the landing tries again by itself"
        raise LakeUnreachable(f"{what}{error}", where=str(path), hint=hint) from error


def described(table: Path, file: str) -> tuple[Any, AddAction]:
    """Of a Parquet file in a table's folder: its footer, and the action that adds it."""
    path = table / file
    footer, there = pq.read_metadata(path), path.stat()
    at_ms = there.st_mtime_ns // 1_000_000
    return footer, AddAction(file, there.st_size, {}, at_ms, data_change=True, stats=stats.of(footer))


# --- the ledger ------------------------------------------------------------------------------------------


@dataclass
class _Waiting:
    """An entry on its way into the ledger."""

    entry: Entry
    booked: bool = False


class Book:
    """The ledger of a lake, one writer thread at a time in this process."""

    def __init__(self, root: Path) -> None:
        self._path = ledger_path(root)
        self._lock, self._gate = threading.Lock(), threading.Lock()
        self._queue: list[_Waiting] = []
        self._since_compaction = self._compactions = 0
        self._whole: set[str] = set()
        self._log = Log(self._path)

    def open(self) -> None:
        """Create the ledger where it is not."""
        with reached(self._path, "the ledger: "):
            if not deltalake.DeltaTable.is_deltatable(str(self._path)):
                self._path.mkdir(parents=True, exist_ok=True)
                deltalake.DeltaTable.create(str(self._path), LEDGER, mode="ignore", configuration=_PROPERTIES)
            self._grow()

    def _grow(self) -> None:
        """Give a ledger of an earlier version the columns that came later; they are NULL in its entries."""
        table = deltalake.DeltaTable(str(self._path))
        known = {field.name for field in table.schema().fields}
        missing = [deltalake.Field.from_arrow(field) for field in LEDGER if field.name not in known]
        if missing:
            table.alter.add_columns(missing)

    def add(self, entry: Entry) -> None:
        """Book a batch; booking it again changes nothing. What waits for the ledger goes in one commit."""
        mine = _Waiting(entry)
        with self._gate:
            self._queue.append(mine)
        with self._lock, reached(self._path, "the ledger: "):
            if mine.booked:
                return
            with self._gate:
                waiting, self._queue = self._queue, []
            # whoever waited behind one that failed stands in no queue any more
            together = [mine, *(each for each in waiting if each is not mine)]
            self._add([each.entry for each in together])
            for each in together:
                each.booked = True

    def _add(self, entries: Sequence[Entry]) -> None:
        while (rows := self._try(entries)) is None:
            continue  # somebody else has booked
        self._since_compaction += rows
        if self._since_compaction >= _COMPACT_AFTER:
            self._since_compaction = 0
            self._compact()

    def _try(self, entries: Sequence[Entry]) -> int | None:
        """Book what is not booked yet; its rows, or None where another commit has come before."""
        known = self._log.now(*(entry.app_id for entry in entries))
        if not known.ours:
            hint = "take back what was set on it: this engine alone writes it"
            raise LakeUnreachable(
                "the ledger asks for what is not known here", where=str(self._path), hint=hint
            )
        rows, seqs = list[dict[str, Any]](), dict[str, int]()
        for entry in entries:
            old = known.seq(entry.app_id) >= entry.seq
            if not old:
                seqs[entry.app_id] = max(entry.seq, seqs.get(entry.app_id, 0))
            if not old or entry.state == "rebooked":
                rows.append(ledger.to_row(entry))
        if not rows:
            return 0
        file = parquet.save(pa.Table.from_pylist(rows, schema=LEDGER), self._path)
        return len(rows) if self._log.commit({}, [described(self._path, file)[1]], seqs) else None

    def _compact(self) -> None:
        """Rewrite the ledger's small files; alone, because two compactions at once double its rows.

        Files that are large enough stay as they are, and what was rewritten is removed now and then.
        """
        with (self._path.parent / "ledger.lock").open("w") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            table = deltalake.DeltaTable(str(self._path))
            table.optimize.compact(target_size=_FILE_BYTES)
            self._compactions += 1
            if self._compactions % _CLEAN_AFTER == 0:
                table.create_checkpoint()
                table.cleanup_metadata()
                table.vacuum(_KEEP_HOURS, dry_run=False, enforce_retention_duration=False, full=True)

    # what is booked: looked up without reading the whole, which grows by one row per batch

    def entry(self, app_id: str, seq: int) -> Entry | None:
        """The entry of one batch."""
        rows = self._read((pc.field("app_id") == app_id) & (pc.field("seq") == seq)).to_pylist()
        rows.sort(key=lambda row: row["state"] == "rebooked")
        return ledger.from_row(rows[0]) if rows else None

    def count(self, app_id: str) -> int:
        """How many batches are booked for an application."""
        return int(self._read(pc.field("app_id") == app_id, ["seq"]).num_rows)

    def missing(self, app_id: str, before: int) -> list[range]:
        """The batches below ``before`` that are not booked.

        Looked for once per start: while this process lands, a batch is booked before the next one begins.
        """
        if app_id in self._whole:
            return []
        mine = (pc.field("app_id") == app_id) & (pc.field("seq") < before)
        seqs = pc.unique(self._read(mine, ["seq"]).column("seq"))
        ordered = pa.concat_arrays([pa.array([0]), seqs.sort(), pa.array([before])])
        after, to = ordered.slice(0, len(ordered) - 1), ordered.slice(1)
        holes = pc.greater(pc.subtract(to, after), 1)
        self._whole.add(app_id)
        pairs = zip(after.filter(holes).to_pylist(), to.filter(holes).to_pylist(), strict=True)
        return [range(first + 1, end) for first, end in pairs]

    def _read(self, only: pc.Expression, columns: list[str] | None = None) -> pa.Table:
        with reached(self._path, "the ledger: "):
            dataset = deltalake.DeltaTable(str(self._path)).to_pyarrow_dataset()
            return dataset.to_table(columns=columns, filter=only)


def transaction_version(table: Path, app_id: str) -> int | None:
    """The newest seq that a table has landed for an application; it survives the cleaning of its log."""
    if not deltalake.DeltaTable.is_deltatable(str(table)):
        return None
    with reached(table):
        return deltalake.DeltaTable(str(table)).transaction_version(app_id)


def exists(table: Path) -> bool:
    """Whether a Delta table lies there."""
    return bool(deltalake.DeltaTable.is_deltatable(str(table)))


def properties(table: Path) -> dict[str, str]:
    """A table's properties."""
    with reached(table):
        return dict(deltalake.DeltaTable(str(table)).metadata().configuration)


def file_sizes(table: Path) -> list[int]:
    """The sizes in bytes of the files that a table consists of."""
    with reached(table):
        actions = deltalake.DeltaTable(str(table)).get_add_actions(flatten=True)
    return [int(size) for size in pa.table(actions).column("size_bytes").to_pylist()]


# --- plans -----------------------------------------------------------------------------------------------


def store_plan(root: Path, flow: FlowPlan) -> None:
    """Keep a plan under its hash; recovery completes a batch with the plan that began it."""
    path = root / OWN_FOLDER / "plans" / f"{flow.hash}.json"
    if not path.exists():
        write_atomically(path, as_json(flow))


def load_plan(root: Path, hash_: str) -> FlowPlan:
    """The plan of a hash."""
    path = root / OWN_FOLDER / "plans" / f"{hash_}.json"
    text = _text(path)
    if text is None:
        raise HistoryLost(
            f"the plan {hash_} of a batch that must be completed is not in the lake",
            where=str(path),
            hint="put the file back from a backup of the lake, then restart the landing",
        )
    said = json.loads(text)
    columns = {key: tuple(said["table"].get(key, ())) for key in ("exclude", "text")}
    said["table"] = TableSpec(**(said["table"] | columns))
    said["topic"] = TopicPlan(**said["topic"])
    said["schema"] = SchemaPolicy(**said["schema"])
    said["sink"] = SinkPlan(**(said["sink"] | {"keys": tuple(said["sink"]["keys"])}))
    said["checks"] = tuple(checks.from_plain(each) for each in said["checks"])
    said["contract"] = tuple(contract.from_plain(each) for each in said.get("contract", ()))
    said["quarantine"] = QuarantinePlan(**said["quarantine"])
    return FlowPlan(**said)


# --- the state of a flow ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FlowState:
    """Where a flow is, as everybody may read it.

    ``first_unapplied`` is the next offset per partition. ``accepted`` are a person's answers to stops that no
    batch has recorded yet.
    """

    flow: str
    state: State = State.NEW
    code: str = ""
    what: str = ""
    where: str = ""
    hint: str = ""
    first_unapplied: Mapping[str, int] = field(default_factory=dict)
    since: str = ""
    attempts: int = 0
    accepted: tuple[Answer, ...] = ()


def _state_path(root: Path, flow: str) -> Path:
    return root / OWN_FOLDER / "flows" / f"{flow}.json"


def store_state(root: Path, state: FlowState) -> None:
    """Replace a flow's state."""
    write_atomically(_state_path(root, state.flow), json.dumps(asdict(state), ensure_ascii=False, indent=1))


def load_state(root: Path, flow: str) -> FlowState:
    """A flow's state; NEW where nothing was written yet."""
    text = _text(_state_path(root, flow))
    if text is None:
        return FlowState(flow)
    said: dict[str, Any] = json.loads(text)
    accepted = tuple(Answer(**each) for each in said["accepted"])
    return FlowState(**(said | {"state": State(said["state"]), "accepted": accepted}))


def accept(root: Path, shown: FlowState, *, by: str, at: str) -> FlowState:
    """Record a person's answer to the stop that was shown: the landing goes on behind what is lost.

    Raises Missing where the flow does not stand at that stop any more.
    """
    state = load_state(root, shown.flow)
    if (state.state, state.code, state.where) != (shown.state, shown.code, shown.where):
        now = f"{state.state.value} {state.code}: {state.what}" if state.code else state.state.value
        raise Missing(
            f"flow {shown.flow} does not stand at {shown.code} any more: it is {now}",
            where=state.where,
            hint=f"ecluse status {shown.flow}",
        )
    answered = replace(state, accepted=(*state.accepted, Answer(state.code, state.where, by, at)))
    store_state(root, answered)
    return answered


def _text(path: Path) -> str | None:
    """What stands in a file; None where there is none."""
    with reached(path):
        try:
            return path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None


def write_atomically(path: Path, text: str) -> None:
    """Replace a file so that no reader ever sees a part of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with reached(path), _dropped(draft):
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


@contextlib.contextmanager
def _dropped(draft: Path) -> Iterator[None]:
    """A file that is there no longer than this."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
