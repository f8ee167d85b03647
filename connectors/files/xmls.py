"""XML: the elements at one path are the records; their elements and attributes are the fields.

Rule: what the document may cost is decided before it costs it: a DTD is refused at its first word, before
anything in it is declared, and nothing is ever fetched or included. No tree is built: of a document, only
the record that is being read is held. A document is well-formed to its last byte, or it is refused. Which
parser, and why: docs/adr/0031.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from connectors.files.lots import Unknown
from connectors.files.records import DEFAULTS, DETAIL, HEADER, TRAILER, Limits, Lot
from connectors.files.xmlwalk import Place, Walk
from engine.source import Typed, TypedLayout

_XML: Final = "http://www.w3.org/XML/1998/namespace"
_NAME: Final = r"(?:[^\W\d][\w.\-]*:)?[^\W\d][\w.\-]*"
_ABSOLUTE: Final = re.compile(rf"/?{_NAME}(?:/{_NAME})*")
_RELATIVE: Final = re.compile(rf"\.|@{_NAME}|{_NAME}(?:/{_NAME})*(?:/@{_NAME})?")


def _absolute(path: str) -> str:
    if not _ABSOLUTE.fullmatch(path):
        raise ValueError("a path names elements from the root on, such as orders/order")
    return path


def _relative(path: str) -> str:
    if not _RELATIVE.fullmatch(path):
        raise ValueError("a path names an element in the record or an attribute: name, a/b, @id, a/@id, or .")
    return path


_Path = Annotated[str, AfterValidator(_relative)]


class XmlRecord(BaseModel):
    """The elements at one path, and their columns.

    ``columns`` maps a column's name to the path of its text in the record: an element (``customer/name``),
    an attribute (``@id``, ``customer/@id``) or the record's own text (``.``); without a path it is the
    element of that name.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    record: Annotated[str, AfterValidator(_absolute)]
    columns: Mapping[str, Annotated[_Path | None, Typed("path")]] = Field(min_length=1)


class Xml(XmlRecord, TypedLayout):
    """The records of an XML document.

    ``namespaces`` maps the prefixes of the declared paths to their names, whatever the document's own
    prefixes are; the empty prefix is for elements without one. ``header`` and ``trailer`` are records of
    their own kind, for the controls. ``unknown`` says what an element, attribute or text in a record is
    that no column names.
    """

    format: Literal["xml"] = "xml"
    namespaces: Mapping[str, str] = Field(default_factory=dict)
    header: XmlRecord | None = None
    trailer: XmlRecord | None = None
    unknown: Unknown = "problem"

    @property
    def kinds(self) -> dict[str, tuple[str, ...]]:
        """The columns of each kind of record."""
        return {kind: tuple(declared.columns) for kind, declared in self._records()}

    def _records(self) -> list[tuple[str, XmlRecord]]:
        declared = ((DETAIL, self), (HEADER, self.header), (TRAILER, self.trailer))
        return [(kind, one) for kind, one in declared if one is not None]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        self.places()
        return self

    def places(self) -> Place:
        """Where the records stand in a document. Raises ValueError for what contradicts itself."""
        root = Place()
        for kind, declared in self._records():
            self._record(root, kind, declared)
        return root

    def _record(self, root: Place, kind: str, declared: XmlRecord) -> None:
        place = root
        for step in declared.record.strip("/").split("/"):
            place = place.below.setdefault(self._name(step), Place())
            if place.kind:
                raise ValueError(f"the {kind} stands in the {place.kind}: records hold no records")
        if place.below:
            raise ValueError(f"the {kind} holds another record")
        place.kind, place.columns = kind, tuple(declared.columns)
        for index, (column, path) in enumerate(declared.columns.items()):
            self._column(place, index, path or column)
        _texts(place)

    def _column(self, place: Place, index: int, path: str) -> None:
        *steps, last = path.split("/")
        steps, attribute = (steps, last[1:]) if last.startswith("@") else ([*steps, last], "")
        for step in steps:
            if step != ".":
                place = place.below.setdefault(self._name(step), Place())
        if attribute:
            taken = place.attributes.setdefault(self._name(attribute, plain=""), index)
        else:
            taken, place.text = (index, index) if place.text is None else (place.text, place.text)
        if taken != index:
            raise ValueError(f"two columns take {path}")

    def _name(self, step: str, plain: str | None = None) -> str:
        """A step as the parser names elements and attributes: with its namespace."""
        prefix, _, local = step.rpartition(":")
        spaces = {"": "", "xml": _XML, **self.namespaces}
        if prefix not in spaces:
            raise ValueError(f"the prefix {prefix} is not in namespaces")
        space = spaces[prefix] if prefix or plain is None else plain
        return f"{space} {local}" if space else local


def _texts(place: Place) -> None:
    """Refuse an element that is a column and holds others: it has no text of its own."""
    if place.text is not None and place.below:
        inner = next(iter(place.below)).rpartition(" ")[2]
        raise ValueError(f"an element is a column, and columns name {inner} in it: take one of them")
    for below in place.below.values():
        _texts(below)


def read_xml(
    chunks: Iterable[bytes], declared: Xml, *, encoding: str = "utf-8", limits: Limits = DEFAULTS
) -> Iterator[Lot]:
    """The records of an XML document, from chunks of valid UTF-8.

    ``encoding`` is what the template declares, and what the chunks were decoded from: an XML declaration
    that names another one refuses the file. Places are bytes of the content in UTF-8. Raises Refused.
    """
    walk = Walk(declared.places(), declared.unknown == "problem", encoding, limits)
    for chunk in chunks:
        yield from walk.feed(chunk)
    yield from walk.end()
