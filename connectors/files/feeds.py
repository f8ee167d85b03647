"""What a flow says of the files that it takes: where they come, when they are whole, how they are read.

Rule: strict and frozen; an unknown key is an author's mistake. Exactly one format is declared. What a layout
says is here as data, whatever file of the project it was written in.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connectors.files.config import Below
from connectors.files.containers import Container
from connectors.files.controls import Controls
from connectors.files.dialects import Delimited, Names
from connectors.files.encodings import Encoding
from connectors.files.jsons import JsonDocument, JsonLines
from connectors.files.layouts import FixedWidth
from connectors.files.records import DEFAULTS
from connectors.files.xmls import Xml

FORMATS = ("delimited", "fixed_width", "json_lines", "json_document", "xml")


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


class Feed(BaseModel):
    """The files of one kind that one partner sends.

    ``pattern`` is a glob of names, not of paths, in ``folder``. ``same_name`` is what becomes of a name that
    came before with other bytes. ``keys`` are the columns that know a record; none: each is a row of its
    own. ``record_max_bytes`` bounds a record, ``content_max_bytes`` a file without its container.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    partner: str = Field(min_length=1, max_length=100)
    folder: Below = "."
    pattern: str = Field(min_length=1, max_length=200, pattern=r"^[^/\x00]+$")
    ready: Ready = Ready()
    same_name: Literal["supersede", "append", "reject"] = "reject"
    container: Container = Container()
    encoding: Encoding = "utf-8"
    delimited: Delimited | None = None
    fixed_width: FixedWidth | None = None
    json_lines: JsonLines | None = None
    json_document: JsonDocument | None = None
    xml: Xml | None = None
    controls: Controls = Controls()
    keys: Names = ()
    record_max_bytes: int = Field(default=DEFAULTS.record, ge=1, le=2**27)
    content_max_bytes: int = Field(default=DEFAULTS.content, ge=1)

    @model_validator(mode="after")
    def _one_format(self) -> Self:
        declared = [name for name in FORMATS if getattr(self, name) is not None]
        if len(declared) != 1:
            said = " and ".join(declared) or "none"
            raise ValueError(f"exactly one format is declared ({', '.join(FORMATS)}), not {said}")
        return self
