"""What a flow says of its source in a model of its connector, as far as the engine has to understand it.

Rule: a model says nothing of a database or a topic; what it does not say, only the source knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel

from engine.contract.making import Making


class TypedColumn(BaseModel):
    """A model that places a column: beside its own keys may stand what a contract says of one.

    Those keys are the contract's. They never reach the model, and are no part of how its source is read.
    """


class TypedLayout(BaseModel):
    """A model that holds such columns: beside its own keys may stand the ``formats`` of a contract."""


@dataclass(frozen=True, slots=True)
class Typed:
    """Marks what names a column in a model and is no model: a map may stand there, as ``TypedColumn`` has it.

    ``key`` is what the entry itself is called in that map.
    """

    key: str


@dataclass(frozen=True, slots=True)
class Records:
    """The columns of a flow's records, in their order, and those that know a record.

    ``at`` says where the model has them, each a path of fields and names: columns that stand elsewhere are
    of no row.
    """

    columns: tuple[str, ...]
    keys: tuple[str, ...]
    at: tuple[tuple[str, ...], ...] = ()


class Said(BaseModel):
    """The model of what a flow says of its source: strict and frozen, like that of a connection."""

    def records(self) -> Records | None:
        """What its records hold; None: only the source knows."""
        return None

    def making(self) -> Making | None:
        """What writes files as this flow reads them; None: it reads none."""
        return None

    def clash(self, other: Self) -> str:
        """Why a source cannot serve this flow and another; empty: it can."""
        del other
        return ""
