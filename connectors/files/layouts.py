"""What an author declares of a file of fixed width.

Rule: strict and frozen; an unknown key is an author's mistake. The unit of places is declared, and a field is
trimmed only where that is declared.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from connectors.files.dialects import DETAIL, BlankLines, Role
from engine.source import TypedColumn, TypedLayout

_UNREAD: Final = (
    "packed", "packed-decimal", "comp", "comp-3", "binary", "overpunch", "zoned", "ebcdic",
)  # fmt: skip


def _text_only(value: object) -> object:
    if isinstance(value, str) and value.lower() in _UNREAD:
        raise ValueError(f"{value} is not read: ask for digits with a separate sign, as text")
    return value


class FixedField(TypedColumn):
    """A field: ``at`` is the place of its first character or byte, from 1; then its width, or its last place.

    ``trim`` takes ``pad`` off the side that it names. Of a field that is all zeros, one zero stays where zero
    is the padding.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    at: int = Field(ge=1)
    width: int | None = Field(default=None, ge=1)
    end: int | None = Field(default=None, ge=1)
    trim: Literal["none", "left", "right", "both"] = "none"
    pad: str = Field(default=" ", pattern=r"^[\x20-\x7e]$")
    form: Annotated[Literal["text"], BeforeValidator(_text_only)] = "text"

    @model_validator(mode="after")
    def _ends_once(self) -> Self:
        if (self.width is None) == (self.end is None):
            raise ValueError(f"{self.name} has a width or an end: one of them")
        if self.end is not None and self.end < self.at:
            raise ValueError(f"{self.name} ends before it begins")
        return self

    @property
    def begin(self) -> int:
        """How much stands before the field."""
        return self.at - 1

    @property
    def behind(self) -> int:
        """Where the field has ended, from 0."""
        return self.end if self.end is not None else self.begin + (self.width or 0)


class FixedRecord(BaseModel):
    """Lines of one kind: those that have ``literal`` at ``literal_at``.

    ``length`` is that of the line, where something stands behind the last field.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    literal: str = Field(default="", pattern=r"^[\x20-\x7e]*$")
    literal_at: int = Field(default=1, ge=1)
    role: Role = "detail"
    length: int | None = Field(default=None, ge=1)
    fields: Annotated[tuple[FixedField, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _lies_side_by_side(self) -> Self:
        at, last = 0, ""
        for one in sorted(self.fields, key=lambda one: one.begin):
            if one.begin < at:
                raise ValueError(f"{one.name} begins within {last}")
            at, last = one.behind, one.name
        if len({one.name for one in self.fields}) < len(self.fields):
            raise ValueError("two fields have the same name")
        if self.length is not None and self.length < at:
            raise ValueError(f"{last} ends at {at}, behind the length of {self.length}")
        if not self.fields and self.role != "ignored":
            raise ValueError("fields names the fields of a line and their places")
        return self

    @property
    def long(self) -> int:
        """How long a line is."""
        ends = (one.behind for one in self.fields)
        return self.length or max(ends, default=self.literal_at - 1 + len(self.literal))


class FixedWidth(TypedLayout):
    """A file whose fields are found by their places, counted in characters or in bytes of the partner's file.

    With ``line_end: none`` records follow each other without anything between them. A line that is too
    short is a ``problem`` of its own, or filled with blanks (``pad``), as some senders cut them off; one that
    is too long always is. A tab moves what stands behind it, unless it is declared to belong there.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    unit: Literal["characters", "bytes"]
    line_end: Literal["lf", "crlf", "any", "none"] = "lf"
    last_line_end: Literal["optional", "required"] = "optional"
    records: Annotated[dict[str, FixedRecord], Field(min_length=1)]
    short_lines: Literal["problem", "pad"] = "problem"
    tabs: Literal["problem", "keep"] = "problem"
    blank_lines: BlankLines = "problem"

    @model_validator(mode="after")
    def _tells_records_apart(self) -> Self:
        kinds = self.records.values()
        if DETAIL not in {kind.role for kind in kinds}:
            raise ValueError("one of the records has the role detail")
        if len(kinds) > 1 and not all(kind.literal for kind in kinds):
            raise ValueError("records of several kinds are told apart by a literal each")
        marks = {(kind.literal_at, kind.literal) for kind in kinds}
        if len(marks) < len(kinds):
            raise ValueError("two of the records have the same literal at the same place")
        if self.line_end == "none" and len({kind.long for kind in kinds}) > 1:
            raise ValueError("without line ends all records have the same length")
        return self
