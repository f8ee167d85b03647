"""Two globs: whether a name fits both, with an example."""

from __future__ import annotations

import itertools
import re
from fnmatch import translate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.files.patterns import both

PIECES = ("a", "b", ".", "*", "?", "[ab]", "[!a]", "[a-c]", "[!a-b]", "[]]", "[", "]", "[*]", "**")
GLOBS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)
NAMES = ["".join(name) for size in range(1, 5) for name in itertools.product("abcx.[]*", repeat=size)]


@given(first=GLOBS, second=GLOBS)
def test_a_name_fits_both_or_none_does(first: str, second: str) -> None:
    fits = [re.compile(translate(glob)).match for glob in (first, second)]
    name = both(first, second)
    if name is not None:
        assert all(fit(name) for fit in fits)
        assert not name.startswith(".")
        return
    assert not [one for one in NAMES if all(fit(one) for fit in fits) and not one.startswith(".")]


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ("*.csv", "*.csv.gz", None),
        ("ORDERS_*.csv", "RET_*.csv", None),
        ("A[0-9]", "A[!5]", "A0"),
        ("A[5]", "A[!5]", None),
        ("[b-d]", "[!bd]", "c"),
        (".a*", "*", None),
        ("*", "*", "x"),
        ("é*", "?.txt", "é.txt"),
    ],
)
def test_globs_as_partners_have_them(first: str, second: str, name: str | None) -> None:
    assert both(first, second) == name
    assert (both(second, first) is None) == (name is None)
