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

from engine.source import Finding

_NAME: Final = "ecluse"
_MARKS: Final = {"ok": "ok", "warn": "warn", "fail": "FAIL"}
_STYLES: Final = {"ok": "green", "warn": "yellow", "FAIL": "bold red"}
_UNSHOWN: Final = frozenset({"Cc", "Cf", "Cs"})


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


def findings(part: str, found: Iterable[Finding]) -> None:
    """What was found at one part: a line each, and the fix below it."""
    rows = [(_MARKS[f.level], f.subject, clean_lines(f.text, f.fix)) for f in found]
    if sys.stdout.isatty():
        _rich_findings(part, rows)
        return
    line(part)
    width = max((len(subject) for _, subject, _ in rows), default=0)
    for level, subject, (text, *fix) in rows:
        line(f"  {level:4}  {clean(subject).ljust(width)}  {text}")
        for n, each in enumerate(fix):
            line(f"        {'fix'.ljust(width) if n == 0 else ' ' * width}  {each}")


def clean_lines(text: str, fix: str) -> list[str]:
    """A finding's text on one line, and its fix on as many as it has."""
    return [clean(" ".join(text.split())), *(clean(each) for each in fix.splitlines())]


def _rich_findings(part: str, rows: Sequence[tuple[str, str, Sequence[str]]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(2):
        drawn.add_column(no_wrap=True)
    drawn.add_column(overflow="fold")
    for level, subject, (text, *fix) in rows:
        drawn.add_row(Text(f"  {level:4}", style=_STYLES[level]), Text(clean(subject)), Text(text))
        for n, each in enumerate(fix):
            drawn.add_row(Text(""), Text("fix" if n == 0 else "", style="bold"), Text(each, style="bold"))
    console = Console()
    console.print(Text(part, style="bold"))
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
