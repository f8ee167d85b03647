"""What an author declares of a delimited file.

Rule: strict and frozen; an unknown key is an author's mistake, and nothing is guessed from a file.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connectors.files.lines import Dialect, Escape, LineEnd
from engine.source import Typed, TypedLayout

Role = Literal["header", "detail", "trailer", "ignored"]
"""What records of a type are: ``ignored`` ones are counted and not given."""

BlankLines = Literal["problem", "skip", "refuse"]
Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)]
Columns = Annotated[tuple[Annotated[str, Field(min_length=1), Typed("name")], ...], Field(strict=False)]
"""Names of columns; a map that holds one says its type, too."""

DETAIL: Final = "detail"


class RecordType(BaseModel):
    """Lines of one kind: those whose first field is ``literal``. It is the first of its ``columns``, too."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    literal: str = Field(min_length=1)
    role: Role = "detail"
    columns: Columns = ()


class Delimited(TypedLayout):
    """A file of lines, or of records with line ends in quotes, whose fields are separated by one character.

    With ``header: by_name`` the first record names the columns, which may come in any order and all have to
    be there; with ``none`` they are found by their place. ``records`` tells lines of several kinds apart.
    ``quote: null`` says that nothing is quoted: a quote is then a character like any other. ``escape`` is how
    a quote is written within quotes; ``backslash`` also protects the delimiter and a line end, anywhere. A
    blank line is a ``problem`` of its own unless it is to be passed over (``skip``) or refuses the file.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    delimiter: str = ";"
    quote: str | None = '"'
    escape: Escape = "double"
    line_end: LineEnd = "lf"
    last_line_end: Literal["optional", "required"] = "optional"
    header: Literal["by_name", "none"] = "by_name"
    columns: Columns = ()
    records: dict[str, RecordType] = Field(default_factory=dict)
    blank_lines: BlankLines = "problem"

    @model_validator(mode="after")
    def _tells_fields_apart(self) -> Self:
        for name, value in (("delimiter", self.delimiter), ("quote", self.quote)):
            more = "; null says that nothing is quoted" if name == "quote" else ""
            if value is not None and (len(value) != 1 or not value.isascii() or value in "\0\r\n\\"):
                raise ValueError(
                    f"{name} is one ASCII character, and not NUL, a line end or a backslash{more}"
                )
        if self.delimiter == self.quote:
            raise ValueError("delimiter and quote are the same character")
        return self

    @model_validator(mode="after")
    def _names_columns(self) -> Self:
        if self.records and self.columns:
            raise ValueError("columns stand with each of the records, or alone: not both")
        if self.records and self.header == "by_name":
            raise ValueError("records have no line of names: declare header: none")
        if not self.records and not self.columns:
            raise ValueError("columns names the fields of a line, in their order")
        for name, kind in self.kinds.items():
            twice = [column for column, times in Counter(kind.columns).items() if times > 1]
            if twice:
                raise ValueError(f"{name} has two columns {twice[0]}")
            if not kind.columns and kind.role != "ignored":
                raise ValueError(f"{name} has no columns")
        return self

    @model_validator(mode="after")
    def _tells_records_apart(self) -> Self:
        if not self.records:
            return self
        literals = [kind.literal for kind in self.records.values()]
        if len(set(literals)) < len(literals):
            raise ValueError("two of the records have the same literal")
        if DETAIL not in {kind.role for kind in self.records.values()}:
            raise ValueError("one of the records has the role detail")
        return self

    @property
    def kinds(self) -> dict[str, RecordType]:
        """The record types by name; one, ``detail``, where none are told apart."""
        return self.records or {DETAIL: RecordType(literal="-", columns=self.columns)}

    @property
    def dialect(self) -> Dialect:
        """How records are told apart."""
        escape = "none" if self.quote is None and self.escape == "double" else self.escape
        return Dialect(
            delimiter=self.delimiter.encode(),
            quote=(self.quote or "").encode(),
            escape=escape,
            line_end=self.line_end,
            last_end=self.last_line_end == "required",
        )
