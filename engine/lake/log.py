"""The log of a table, as who commits to it again and again knows it.

The native library lists the whole log for each commit, and reads again what came since the last checkpoint.
Here two looks at files say that nobody has committed meanwhile, and a commit is a file that is there under
the next number, whole, or not at all: what it takes does not grow with the log.

Rule: what is known holds only while the newest known commit is the very file that it was. What others have
committed behind it is read first, and whatever changes more than rows makes the library open the table again;
so do a table that was made anew, which has another file there, and a log that was cleaned meanwhile, in which
it is gone or lies before a checkpoint that is not known. Else ours would be a commit with a number that was
somebody's. # I3
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import deltalake
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction

from engine.lake import commits

_READER: Final = (1, 3)
_WRITER: Final = (2, 7)  # with names for what they know, or from before there were names
_FEATURES: Final = frozenset({"appendOnly", "invariants", "timestampNtz"})
_INTERVAL: Final = "delta.checkpointInterval"
_PROPERTIES: Final = frozenset(
    {"delta.appendOnly", _INTERVAL, "delta.deletedFileRetentionDuration", "delta.logRetentionDuration"}
)
_CHECKPOINT_EVERY: Final = 20  # commits, where a table does not say it
_ENGINE: Final = f"ecluse/{metadata.version('ecluse')}"

_Mark = tuple[int, int, int]


@dataclass
class Known:
    """A table at one version.

    ``columns`` are names and types, ``plain`` whether it asks nothing of its writers that is not listed here,
    ``ours`` the same where its columns may have rules. ``opened`` is the table as the library opened it, at
    this version or an earlier one.
    """

    version: int
    mark: _Mark | None
    names: list[str]
    columns: Any
    plain: bool
    ours: bool
    checkpoint_every: int
    opened: deltalake.DeltaTable
    seqs: dict[str, int | None] = field(default_factory=dict)

    def seq(self, app_id: str) -> int:
        """The newest seq that is there for an application that was asked for, 0 where there is none."""
        return self.seqs[app_id] or 0


class Log:
    """One table's log, as its one writer in this process holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = path / "_delta_log"
        self._known: Known | None = None

    def now(self, *app_ids: str) -> Known:
        """The table as it is now, with the seqs of these applications.

        Raises what the library raises where it cannot be read.
        """
        known = self._known = self._read_on() or self._opened()
        for app_id in app_ids:
            if app_id not in known.seqs:
                if known.opened.version() != known.version:
                    # the library looks into the log when it is asked, and what it opened may be cleaned away
                    known.opened = deltalake.DeltaTable(str(self.path))
                known.seqs[app_id] = known.opened.transaction_version(app_id)
        return known

    def commit(
        self,
        info: Mapping[str, Any],
        add: Sequence[AddAction],
        seqs: Mapping[str, int],
        remove: Sequence[RemoveAction] = (),
    ) -> bool:
        """Commit files behind what was known last; False when somebody has committed since: look again."""
        known, now_ms = self._known or self.now(), time.time_ns() // 1_000_000
        said = {"timestamp": now_ms, "operation": "WRITE", "operationParameters": {"mode": "Append"}}
        actions = [
            {"commitInfo": {**said, "isBlindAppend": True, "engineInfo": _ENGINE, **info}},
            *({"txn": {"appId": a, "version": n, "lastUpdated": now_ms}} for a, n in seqs.items()),
            *({"add": _added(each)} for each in add),
            *({"remove": _removed(each)} for each in remove),
        ]
        version = known.version + 1
        if not self._put(version, "".join(json.dumps(action) + "\n" for action in actions)):
            return False
        self._known = None  # until what follows has gone well
        if self._checkpointed() >= version:
            return (
                False  # the number was free because the log has been cleaned beyond it: nobody reads it there
            )
        self._known = known
        known.version, known.mark = version, self._mark(version)
        known.seqs.update(seqs)
        if version % known.checkpoint_every == 0:
            self._checkpoint()
        return True

    def _opened(self) -> Known:
        table = deltalake.DeltaTable(str(self.path))
        schema, version = table.schema(), table.version()
        interval = table.metadata().configuration.get(_INTERVAL, "")
        ours = _asks_nothing(table)
        return Known(
            version=version,
            mark=self._mark(version),
            names=[each.name for each in schema.fields],
            columns=columns(schema),
            plain=ours and all(each.nullable and not each.metadata for each in schema.fields),
            ours=ours,
            checkpoint_every=int(interval) if interval.isdigit() and int(interval) else _CHECKPOINT_EVERY,
            opened=table,
        )

    def _read_on(self) -> Known | None:
        """What is known, with what others have committed since; None where the table has to be opened."""
        known = self._known
        if known is None or known.mark is None or known.mark != self._mark(known.version):
            return None
        begun = known.version
        try:
            for actions in self._behind(begun):
                if any("metaData" in action or "protocol" in action for action in actions):
                    return None
                said = [action["txn"] for action in actions if "txn" in action]
                known.seqs.update({txn["appId"]: int(txn["version"]) for txn in said})
                known.version += 1
        except (KeyError, TypeError, ValueError):
            return None  # damaged: the library says how
        if known.version != begun:
            known.mark = self._mark(known.version)
        # what lies before a checkpoint may be cleaned away, so that a number is free and not the next one
        return known if self._checkpointed() <= known.version else None

    def _behind(self, version: int) -> Iterator[list[dict[str, Any]]]:
        """The commits behind one."""
        while (actions := commits.read(self.path, version := version + 1)) is not None:
            yield actions

    def _put(self, version: int, text: str) -> bool:
        """Make the file of a version, unless there is one: a link appears whole, and takes nobody's place."""
        made = self._folder / f"_commit_{uuid.uuid4().hex}.json.tmp"
        try:
            made.write_text(text, encoding="utf-8")
            os.link(made, self._file(version))
        except FileExistsError:
            return False
        finally:
            made.unlink(missing_ok=True)
        return True

    def _checkpoint(self) -> None:
        """Let readers begin here, and let go of what is older than the table keeps."""
        with contextlib.suppress(DeltaError, OSError):  # the commit is there; the next checkpoint is as good
            table = deltalake.DeltaTable(str(self.path))
            table.create_checkpoint()
            table.cleanup_metadata()

    def _checkpointed(self) -> int:
        """The version of the newest checkpoint; no commit from there on is ever cleaned away."""
        try:
            return int(json.loads((self._folder / "_last_checkpoint").read_bytes())["version"])
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            return -1

    def _mark(self, version: int) -> _Mark | None:
        """What tells the file of a commit from any other; None where it is gone."""
        try:
            found = self._file(version).stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _file(self, version: int) -> Path:
        return self._folder / f"{version:020d}.json"


def _asks_nothing(table: deltalake.DeltaTable) -> bool:
    """Whether a table has no feature, property or partition that asks something of its writers.

    A property or a feature that is not known may ask for anything.
    """
    protocol, said = table.protocol(), table.metadata()
    features = {*(protocol.reader_features or ()), *(protocol.writer_features or ())}
    asked = {name for name in said.configuration if name.startswith("delta.")}
    return (
        protocol.min_reader_version in _READER
        and protocol.min_writer_version in _WRITER
        and features <= _FEATURES
        and asked <= _PROPERTIES
        and not said.partition_columns
    )


def columns(schema: deltalake.Schema) -> Any:
    """Names and types, in order; whether a value may be missing is not compared: the table has said yes."""
    return _bare(json.loads(schema.to_json())["fields"])


def _bare(said: Any) -> Any:
    if isinstance(said, Mapping):
        return {k: _bare(v) for k, v in said.items() if k not in ("nullable", "containsNull", "metadata")}
    return [_bare(each) for each in said] if isinstance(said, list) else said


def _added(add: AddAction) -> dict[str, Any]:
    return {
        "path": add.path,
        "partitionValues": dict(add.partition_values),
        "size": add.size,
        "modificationTime": add.modification_time,
        "dataChange": add.data_change,
        "stats": add.stats,
    }


def _removed(remove: RemoveAction) -> dict[str, Any]:
    return {
        "path": remove.path,
        "deletionTimestamp": remove.deletion_timestamp,
        "dataChange": remove.data_change,
        "extendedFileMetadata": True,
        "partitionValues": dict(remove.partition_values or {}),
        "size": remove.size,
    }
