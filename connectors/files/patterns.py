"""Globs of file names: whether there is a name that fits two of them.

Rule: what a glob means is what ``fnmatch`` makes of it. The answer is exact, and it has an example. A name
that begins with a dot is nobody's.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fnmatch import translate
from typing import Final

_TOKEN: Final = re.compile(r"\*|\[!?+\]?+[^\]]*\]|.", re.DOTALL)
_USUAL: Final = (
    "x",
    "0",
    "_",
)  # a set that leaves characters out has one of these, or a neighbour of its ends
_STAR: Final = "*"

Fits = Callable[[str], object]


def both(first: str, second: str) -> str | None:
    """A name that fits both globs, one of the shortest; None where there is none.

    >>> both("ORD_*.csv", "*_2026.csv"), both("a?.csv", "b*")
    ('ORD_2026.csv', None)
    """
    ways = _TOKEN.findall(first), _TOKEN.findall(second)
    fits: dict[str, Fits] = {token: re.compile(translate(token)).match for token in {*ways[0], *ways[1]}}
    characters = _characters(first + second)
    todo = deque([((0, 0), "")])
    seen = {(0, 0, False)}
    while todo:
        (i, j), name = todo.popleft()
        if (i, j) == (len(ways[0]), len(ways[1])) and name:
            return name
        for state, more in _steps(i, j, ways, fits, [c for c in characters if name or c != "."]):
            known = (*state, bool(name + more))
            if known not in seen:
                seen.add(known)
                (todo.append if more else todo.appendleft)((state, name + more))
    return None


def _steps(
    i: int,
    j: int,
    ways: tuple[Sequence[str], Sequence[str]],
    fits: dict[str, Fits],
    characters: Sequence[str],
) -> Iterator[tuple[tuple[int, int], str]]:
    """Where one character more leads, or none where a star ends."""
    one = ways[0][i] if i < len(ways[0]) else ""
    other = ways[1][j] if j < len(ways[1]) else ""
    if one == _STAR:
        yield (i + 1, j), ""
    if other == _STAR:
        yield (i, j + 1), ""
    if one and other:
        c = next((c for c in characters if fits[one](c) and fits[other](c)), "")
        if c:
            yield (i + (one != _STAR), j + (other != _STAR)), c


def _characters(globs: str) -> list[str]:
    """Enough characters to try: those that are named, their neighbours, and usual ones."""
    codes = {ord(c) + step for c in globs for step in (0, -1, 1)}
    near = [chr(code) for code in sorted(codes) if 0 < code <= 0x10FFFF]  # noqa: PLR2004 - the last character
    return [c for c in (*_USUAL, *near) if c != "/"]
