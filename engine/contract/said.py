"""What a flow says of its source in a model of its connector, as far as the engine has to understand it.

Rule: a model says nothing of a database or a topic; what it does not say, only the source knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel

from engine.contract.making import Making


@dataclass(frozen=True, slots=True)
class Records:
    """The columns of a flow's records, in their order, and those that know a record."""

    columns: tuple[str, ...]
    keys: tuple[str, ...]


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
