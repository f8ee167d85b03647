"""What the command writes: data to stdout, progress to stderr.

Rule: on a terminal a table has rules and colours, in a pipe it is plain aligned text, with ``--json`` it
is one JSON document, or one a line where it goes on. Text from outside loses its control characters before it
reaches a terminal. This room computes nothing.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

_NAME: Final = "ecluse"
_STYLES: Final = {
    "ok": "green", "warn": "yellow", "FAIL": "bold red",
    "+": "green", "~": "yellow", "-": "red", "?": "magenta",
}  # fmt: skip
_UNSHOWN: Final = frozenset({"Cc", "Cf", "Cs"})

Row = tuple[str, Sequence[tuple[str, str]]]
"""Of a listing: a mark, and lines of a label and a text: the row's own, and those that belong to it."""


def clean(text: str) -> str:
    r"""Text that cannot move the cursor, change a colour or reverse a line.

    >>> clean("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    if text.isprintable():
        return text
    return "".join(
        c if unicodedata.category(c) not in _UNSHOWN else c.encode("unicode_escape").decode() for c in text
    )


def line(text: str) -> None:
    """One line of data."""
    sys.stdout.write(clean(text) + "\n")


def note(text: str) -> None:
    """One line (or several) of progress, for people."""
    sys.stderr.write("\n".join(clean(part) for part in text.splitlines()) + "\n")
    sys.stderr.flush()


def data(value: Any) -> None:
    """One JSON document: what ``--json`` prints."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def record(value: Any) -> None:
    """One JSON document on one line, where more follow."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def command() -> str:
    """How this program is called from here: by its name, or by its path where the shell would not find it."""
    ours = Path(sys.executable).with_name(_NAME)
    found = shutil.which(_NAME)
    if not ours.is_file() or (found is not None and Path(found).samefile(ours)):
        return _NAME
    here = Path.cwd()
    return shlex.quote(str(ours.relative_to(here) if ours.is_relative_to(here) else ours))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table: with rules on a terminal, aligned by spaces in a pipe."""
    cells = [[clean(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(columns, cells)
        return
    widths = [max(len(row[n]) for row in [list(columns), *cells]) for n in range(len(columns))]
    for row in [list(columns), *cells]:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def listing(title: str, rows: Sequence[Row]) -> None:
    """Under a title, a line for each row, and what belongs to it below."""
    clean_rows = [(mark, [(clean(a), clean(" ".join(b.split()))) for a, b in lines]) for mark, lines in rows]
    if sys.stdout.isatty():
        _rich_listing(title, clean_rows)
        return
    line(title)
    marks = max((len(mark) for mark, _ in rows), default=0)
    width = max((len(label) for _, lines in clean_rows for label, _ in lines), default=0)
    for mark, lines in clean_rows:
        for n, (label, text) in enumerate(lines):
            line(f"  {mark if n == 0 else '':{marks}}  {label:{width}}  {text}".rstrip())


def _rich_listing(title: str, rows: Sequence[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(2):
        drawn.add_column(no_wrap=True)
    drawn.add_column(overflow="fold")
    for mark, lines in rows:
        for n, (label, text) in enumerate(lines):
            shown = Text(f"  {mark}" if n == 0 else "", style=_STYLES.get(mark.strip(), ""))
            drawn.add_row(shown, Text(label), Text(text, style="" if n == 0 else "bold"))
    console = Console()
    console.print(Text(title, style="bold"))
    console.print(drawn)


def _rich_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    # imported here: a verb that prints one line does not pay for it
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)
