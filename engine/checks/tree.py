"""An expression as a tree: a closed set of nodes, each with the place where it stands in the text.

Rule: data and nothing else. Whoever walks a tree matches over all of its kinds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

ComparisonOp = Literal["=", "<>", "<", "<=", ">", ">="]
ArithmeticOp = Literal["+", "-", "*", "/", "%"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the row."""

    name: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class Number:
    """An exact number: digits, with a point or without."""

    text: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class Text:
    """Text."""

    value: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """A day or an instant, as ISO 8601 writes it."""

    kind: Literal["date", "timestamp"]
    text: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class Truth:
    """TRUE or FALSE."""

    value: bool
    at: int = 0


@dataclass(frozen=True, slots=True)
class Null:
    """NULL."""

    at: int = 0


@dataclass(frozen=True, slots=True)
class Not:
    """NOT."""

    of: Tree
    at: int = 0


@dataclass(frozen=True, slots=True)
class Negative:
    """A minus in front."""

    of: Tree
    at: int = 0


@dataclass(frozen=True, slots=True)
class Logic:
    """AND, OR."""

    op: Literal["AND", "OR"]
    left: Tree
    right: Tree
    at: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two values compared."""

    op: ComparisonOp
    left: Tree
    right: Tree
    at: int = 0


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Two numbers make another."""

    op: ArithmeticOp
    left: Tree
    right: Tree
    at: int = 0


@dataclass(frozen=True, slots=True)
class Joined:
    """Two texts put together: ``||``."""

    left: Tree
    right: Tree
    at: int = 0


@dataclass(frozen=True, slots=True)
class IsNull:
    """IS NULL."""

    of: Tree
    at: int = 0


@dataclass(frozen=True, slots=True)
class Among:
    """IN."""

    of: Tree
    values: tuple[Tree, ...]
    at: int = 0


@dataclass(frozen=True, slots=True)
class Between:
    """BETWEEN."""

    of: Tree
    low: Tree
    high: Tree
    at: int = 0


@dataclass(frozen=True, slots=True)
class Like:
    r"""LIKE: ``%`` is any text, ``_`` any character, a ``\`` in front makes either itself."""

    of: Tree
    pattern: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class Case:
    """CASE: the result behind the first condition that is TRUE, else ``otherwise``."""

    whens: tuple[tuple[Tree, Tree], ...]
    otherwise: Tree
    at: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the allow-list."""

    name: str
    arguments: tuple[Tree, ...]
    at: int = 0


Tree = (
    Column
    | Number
    | Text
    | Moment
    | Truth
    | Null
    | Not
    | Negative
    | Logic
    | Comparison
    | Arithmetic
    | Joined
    | IsNull
    | Among
    | Between
    | Like
    | Case
    | Call
)


def inner(tree: Tree) -> tuple[Tree, ...]:
    """The trees that a tree is made of."""
    match tree:
        case Column() | Number() | Text() | Moment() | Truth() | Null():
            return ()
        case Not(of=of) | Negative(of=of) | IsNull(of=of) | Like(of=of):
            return (of,)
        case Logic() | Comparison() | Arithmetic() | Joined():
            return (tree.left, tree.right)
        case Among(of=of, values=values):
            return (of, *values)
        case Between():
            return (tree.of, tree.low, tree.high)
        case Case(whens=whens, otherwise=otherwise):
            return (*(part for when in whens for part in when), otherwise)
        case Call(arguments=arguments):
            return arguments


def columns(tree: Tree) -> tuple[str, ...]:
    """The columns that a tree reads, each once.

    >>> columns(Logic("AND", Column("b"), IsNull(Comparison("=", Column("a"), Column("b")))))
    ('b', 'a')
    """
    return tuple(dict.fromkeys(node.name for node in walk(tree) if isinstance(node, Column)))


def walk(tree: Tree) -> Iterator[Tree]:
    """Every node of a tree, itself first, in the order of the text."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(inner(node)))
