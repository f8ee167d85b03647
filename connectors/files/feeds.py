"""What a flow says of the files that it takes: where they come, when they are whole, how they are read.

Rule: strict and frozen; an unknown key is an author's mistake. Exactly one format is declared. What a layout
says is here as data, whatever file of the project it was written in.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from connectors.files.config import Below
from connectors.files.containers import Container
from connectors.files.controls import Controls
from connectors.files.dialects import Delimited, Names
from connectors.files.encodings import Encoding
from connectors.files.expecting import Expect
from connectors.files.jsons import JsonDocument, JsonLines
from connectors.files.layouts import FixedWidth
from connectors.files.patterns import both
from connectors.files.records import DEFAULTS, DETAIL
from connectors.files.xmls import Xml
from engine.source import Making, Records, Said

FORMATS = ("delimited", "fixed_width", "json_lines", "json_document", "xml")
OURS: Final = frozenset({"_file", "_record", "_problem", "_raw"})
"""The columns that every record has beside its own."""

Format = Delimited | FixedWidth | JsonLines | JsonDocument | Xml


def columns(declared: Format) -> dict[str, tuple[str, ...]]:
    """The columns of each kind of record that a format gives."""
    match declared:
        case Delimited(kinds=kinds):
            return {name: kind.columns for name, kind in kinds.items() if kind.role != "ignored"}
        case FixedWidth(records=records):
            given = {name: kind for name, kind in records.items() if kind.role != "ignored"}
            return {name: tuple(one.name for one in kind.fields) for name, kind in given.items()}
        case JsonLines(kinds=plain) | JsonDocument(kinds=plain) | Xml(kinds=plain):
            return plain


def details(declared: Format) -> dict[str, tuple[str, ...]]:
    """Those of its kinds of record whose records are rows."""
    match declared:
        case Delimited(kinds=kinds):
            rows = {name for name, kind in kinds.items() if kind.role == DETAIL}
        case FixedWidth(records=records):
            rows = {name for name, kind in records.items() if kind.role == DETAIL}
        case _:
            rows = {DETAIL}
    return {name: theirs for name, theirs in columns(declared).items() if name in rows}


class Ready(BaseModel):
    """When a file is whole.

    ``marker``: a file of the same name with ``suffix`` behind it is there (a sidecar of ``files announce``
    is one, too). ``rename``: it has its final name; names that end in ``suffix`` are not taken. ``stable``:
    size and time of change have stayed the same for ``stable_s`` seconds.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    by: Literal["marker", "rename", "stable"] = "stable"
    suffix: str = Field(default="", max_length=32, pattern=r"^[^/\x00]*$")
    stable_s: float = Field(default=30.0, gt=0)

    @model_validator(mode="after")
    def _has_a_suffix(self) -> Self:
        if self.by == "stable" and self.suffix:
            raise ValueError("stable needs no suffix")
        if self.by != "stable" and not self.suffix:
            raise ValueError(f"{self.by} needs a suffix, such as .done or .part")
        return self


class Feed(Said):
    """The files of one kind that one partner sends.

    ``pattern`` is a glob of names, not of paths, in ``folder``. ``same_name`` is what becomes of a name that
    came before with other bytes. ``keys`` are the columns that know a record; none: each is a row of its
    own. ``record_max_bytes`` bounds a record, ``content_max_bytes`` a file without its container.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    partner: str = Field(min_length=1, max_length=100, description="who sends the files")
    folder: Below = Field(default=".", description="where they are dropped, below the root")
    pattern: str = Field(
        min_length=1, max_length=200, pattern=r"^[^/\x00]+$", description="a glob of their names"
    )
    ready: Ready = Field(default=Ready(), description="when a file is whole")
    same_name: Literal["supersede", "append", "reject"] = Field(
        default="reject", description="what a name is that came before with other bytes"
    )
    container: Container = Field(default=Container(), description="what a file is wrapped in")
    encoding: Encoding = Field(default="utf-8", description="that of the whole file")
    delimited: Delimited | None = Field(default=None, description="fields between delimiters")
    fixed_width: FixedWidth | None = Field(default=None, description="fields by their places")
    json_lines: JsonLines | None = Field(default=None, description="a JSON object a line")
    json_document: JsonDocument | None = Field(default=None, description="an array of JSON objects")
    xml: Xml | None = Field(default=None, description="the elements at a path")
    controls: Controls = Field(default=Controls(), description="what has to hold for a file")
    keys: Names = Field(default=(), description="the columns that know a record")
    expect: Expect = Field(default=Expect(), description="when the next one is due")
    record_max_bytes: int = Field(default=DEFAULTS.record, ge=1, le=2**27, description="the largest record")
    content_max_bytes: int = Field(
        default=DEFAULTS.content, ge=1, description="the largest file, without its container"
    )

    @field_validator(*FORMATS)
    @classmethod
    def _columns_are_its_own(cls, declared: Format | None) -> Format | None:
        given = {} if declared is None else details(declared)
        for name in (name for names in given.values() for name in names):
            if name in OURS:
                raise ValueError(
                    f"{name} is a column that every record has beside its own: name it otherwise"
                )
        return declared

    @field_validator("controls")
    @classmethod
    def _controls_find_their_fields(cls, controls: Controls, known: ValidationInfo) -> Controls:
        for declared in _declared(known.data):
            missing = controls.missing(columns(declared))
            if missing:
                raise ValueError(f"no kind of record has {', '.join(missing)}")
        return controls

    @field_validator("keys")
    @classmethod
    def _keys_are_columns(cls, keys: Names, known: ValidationInfo) -> Names:
        for declared in _declared(known.data):
            given = {name for names in details(declared).values() for name in names}
            strange = [key for key in keys if key not in given]
            if strange:
                raise ValueError(f"the records have no column {', '.join(strange)}")
        return keys

    def records(self) -> Records:
        """The columns of its details, each once, and its keys."""
        names = dict.fromkeys(
            name for form in _declared(vars(self)) for name in chain(*details(form).values())
        )
        keys = tuple(name for name in names if name in self.keys)
        return Records(tuple(names), keys, _places(self))

    def making(self) -> Making:
        """What writes such files: a capture has no use for it."""
        from connectors.files.making import FilesMaking

        return FilesMaking(self)

    def clash(self, other: Self) -> str:
        """Whether a file could belong to this feed and to another."""
        if self.folder != other.folder:
            return ""
        name = both(self.pattern, other.pattern)
        if name is None:
            return ""
        where = "" if self.folder == "." else f" in {self.folder}"
        return f"a file {name}{where} would fit both patterns, {self.pattern} and {other.pattern}"

    @model_validator(mode="after")
    def _one_format(self) -> Self:
        declared = [name for name in FORMATS if getattr(self, name) is not None]
        if len(declared) != 1:
            said = " and ".join(declared) or "none"
            raise ValueError(f"exactly one format is declared ({', '.join(FORMATS)}), not {said}")
        return self


def declared_of(feed: Feed) -> Format:
    """The one format that is declared."""
    return _declared(vars(feed))[0]


def _places(feed: Feed) -> tuple[tuple[str, ...], ...]:
    """Where the columns of its details are declared."""
    declared = declared_of(feed)
    name = next(each for each in FORMATS if getattr(feed, each) is declared)
    match declared:
        case FixedWidth():
            return tuple((name, "records", kind, "fields") for kind in details(declared))
        case Delimited(records=records) if records:
            return tuple((name, "records", kind, "columns") for kind in details(declared))
        case _:
            return ((name, "columns"),)


def _declared(known: Mapping[str, Any]) -> list[Format]:
    """The formats among the fields that were found good so far."""
    return [known[name] for name in FORMATS if known.get(name) is not None]
