"""A table that is committed to again and again: its log is read on from where it was, not anew.

Rule: only while the newest commit that it knows is the very file that it was. A table that was made anew has
another one there, and of a log that was cleaned meanwhile it is gone: then the table is opened again, or a
commit of ours would take a number that was somebody's. # I3
"""

from __future__ import annotations

from pathlib import Path

import deltalake
from deltalake.exceptions import DeltaError

_Mark = tuple[int, int, int]


class Handle:
    """One table, as its one writer in this process holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._table: deltalake.DeltaTable | None = None
        self._mark: _Mark | None = None

    def table(self) -> deltalake.DeltaTable:
        """The table as it is now. Raises what the library raises where it cannot be read."""
        table = self._read_on() or deltalake.DeltaTable(str(self._path))
        self._table, self._mark = table, self._newest(table)
        return table

    def _read_on(self) -> deltalake.DeltaTable | None:
        """The table that is held, brought up to date; None where it is another one by now."""
        table = self._table
        if table is None or self._mark is None or self._mark != self._newest(table):
            return None
        try:
            table.update_incremental()
        except DeltaError:
            return None
        return table

    def _newest(self, table: deltalake.DeltaTable) -> _Mark | None:
        """What tells the file of the newest known commit from any other; None where it is gone."""
        try:
            found = (self._path / "_delta_log" / f"{table.version():020d}.json").stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
