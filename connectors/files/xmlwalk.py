"""A walk through an XML document, event by event, with what is wanted of it in hand.

Rule: the parser's events are all there is: no tree, no entities of the document's own, nothing fetched.
Every buffer is bounded: a record, a markup, a text, the names. This room does not know how a template
declares paths: a ``Place`` says what stands where.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NoReturn
from xml.parsers import expat

from connectors.files.lots import Fault, Gathering, shown
from connectors.files.records import DETAIL, Limits, Lot, Refused, Text

_BLOCK: Final = 1 << 16
_NAMESPACE: Final = 1_000  # characters: the parser repeats it in the name of each element that is in it
_XSI: Final = "http://www.w3.org/2001/XMLSchema-instance "
_SPACE: Final = " \t\r\n"


@dataclass(slots=True)
class Place:
    """An element that is known: what is wanted of it, and what is known below it.

    ``kind`` is not empty where a record begins, with ``columns`` its names. ``text`` and ``attributes`` are
    the places of columns. ``seen`` is the number of the last record in which the element stood.
    """

    kind: str = ""
    columns: tuple[str, ...] = ()
    text: int | None = None
    attributes: dict[str, int] = field(default_factory=dict)
    below: dict[str, Place] = field(default_factory=dict)
    seen: int = -1


_ELSEWHERE: Final = Place()


class Walk:
    """One document: feed it, and it gives lots. It uses up the places that it is given."""

    def __init__(self, root: Place, strict: bool, encoding: str, limits: Limits) -> None:  # noqa: FBT001
        self._strict, self._encoding, self._limits = strict, encoding, limits
        self._root, self._path = root, [root]
        self._record: Place | None = None
        self._row: list[Text] = []
        self._fault: Fault | None = None
        self._began, self._level, self._number = 0, 0, 0
        self._text: list[str] = []  # since the last tag, in a record
        self._length, self._nil = 0, False
        self._bare = True  # nothing stands in the record yet
        self._kept, self._fed, self._names = b"", 0, 0
        self._strange = ""  # the first element around the records that nothing is known of
        self._details = 0
        self._gathering = Gathering("", 0, 1)
        self._full: list[Lot] = []
        self._parser = self._listening()

    def _listening(self) -> expat.XMLParserType:
        parser = expat.ParserCreate("utf-8", " ")
        parser.buffer_text = True
        parser.buffer_size = _BLOCK
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartNamespaceDeclHandler = self._namespace
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        return parser

    def feed(self, chunk: bytes) -> Iterator[Lot]:
        """The lots that are full with this chunk."""
        for begin in range(0, len(chunk), _BLOCK):
            block = chunk[begin : begin + _BLOCK]
            self._kept += block
            self._fed += len(block)
            if self._fed == len(self._kept) and self._kept.startswith(codecs.BOM_UTF8):
                self._refuse("xml.bom", "a byte order mark that the template does not declare")
            self._parse(block, last=False)
            self._bound()
            yield from self._full
            self._full.clear()

    def end(self) -> Iterator[Lot]:
        """The last lots. Raises Refused for a document that is not whole."""
        self._parse(b"", last=True)
        if not self._details:
            self._looked_for(self._root)
        if self._gathering:
            self._full.append(self._gathering.lot())
        yield from self._full

    def _parse(self, block: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(block, last)
        except expat.ExpatError as error:
            what = f"{expat.ErrorString(error.code)}, at line {error.lineno}"
            self._refuse("xml.syntax", what, self._parser.ErrorByteIndex)

    def _bound(self) -> None:
        """Refuse what would not let memory be bounded, and forget the bytes that are done with."""
        longest, at = self._limits.record, self._parser.CurrentByteIndex
        if self._fed - at > longest:
            self._refuse("xml.token-size", f"a tag, comment or declaration of more than {longest} bytes", at)
        if self._record is not None:
            self._measure(self._fed)
            at = self._began
        names = self._parser.intern
        if len(names) > self._names:
            self._names = len(names)
            if sum(len(name or "") for name in names) > longest:  # no prefix is None
                self._refuse(
                    "xml.names",
                    f"names, of all elements, attributes and prefixes, of more than {longest} characters",
                )
        self._kept = self._kept[at - self._fed :] if at < self._fed else b""

    def _measure(self, end: int) -> None:
        if end - self._began > self._limits.record:
            self._refuse("xml.record-size", f"a record of more than {self._limits.record} bytes", self._began)

    def _looked_for(self, place: Place, way: str = "") -> None:
        """Raise for a document without one record where the way to them was not there either."""
        for name, below in place.below.items():
            step = f"{way}/{name.rpartition(' ')[2]}"
            if below.kind == DETAIL and (place.seen < 0 or self._strange):
                other = f"; there is an element {self._strange}" if self._strange else ""
                self._refuse("xml.no-records", f"no record stands at {step}{other}")
            if not below.kind:
                self._looked_for(below, step)

    # what the parser tells

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        del version, standalone
        if encoding is not None and _family(encoding) != _family(self._encoding):
            what = f"the document says that it is in {shown(encoding)}, the template in {self._encoding}"
            self._refuse("xml.encoding", what)

    def _doctype(self, name: str, system: str | None, public: str | None, internal: int) -> None:
        del name, system, public, internal
        self._refuse("xml.dtd", "a document type declaration: entities may stand in it")

    def _namespace(self, prefix: str | None, name: str | None) -> None:
        del prefix
        if name is not None and len(name) > _NAMESPACE:
            self._refuse(
                "xml.names",
                f"the name of a namespace has {len(name)} characters, at most {_NAMESPACE} may be",
            )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        above, path = self._path[-1], self._path
        place = above.below.get(name, _ELSEWHERE)
        path.append(place)
        if len(path) > self._limits.depth + 1:
            self._refuse("xml.depth", f"it nests deeper than {self._limits.depth}")
        if self._record is None:
            if not place.kind:
                self._around(name, above, place)
                return
            self._open(place)
        else:
            self._inside(name, above, place)
        self._nil = False
        if attributes:
            self._take(place, attributes)

    def _around(self, name: str, above: Place, place: Place) -> None:
        place.seen = 0
        if place is _ELSEWHERE and above is not _ELSEWHERE:
            self._strange = self._strange or shown(name)
            if above is self._root:
                self._refuse(
                    "xml.no-records", f"the document is a {shown(name)}, which no declared path begins with"
                )

    def _open(self, place: Place) -> None:
        self._number += 1
        self._details += place.kind == DETAIL
        self._record, self._row, self._fault = place, [None] * len(place.columns), None
        self._began, self._level, self._bare = self._parser.CurrentByteIndex, len(self._path), True
        if self._gathering.kind != place.kind or self._gathering.full:
            if self._gathering:
                self._full.append(self._gathering.lot())
            self._gathering = Gathering(place.kind, len(place.columns), self._number)
        self._parser.CharacterDataHandler = self._characters

    def _inside(self, name: str, above: Place, place: Place) -> None:
        self._bare = False
        self._no_text(above)
        if above.text is not None:
            self._fail(
                "xml.mixed", f"{self._column(above.text)} has elements between its text: {shown(name)}"
            )
        if place is _ELSEWHERE:
            if self._strict and above is not _ELSEWHERE:
                self._fail("xml.unknown", f"no column names the element {shown(name)}")
        elif place.seen == self._number:
            self._fail("xml.twice", f"the element {shown(name)} stands twice where one is meant")
        else:
            place.seen = self._number

    def _take(self, place: Place, attributes: dict[str, str]) -> None:
        for name, value in attributes.items():
            index = place.attributes.get(name)
            if index is not None:
                self._row[index] = self._field(index, value)
            elif name.startswith(_XSI):  # says how the element is to be read, and is no data
                self._nil = self._nil or (name == f"{_XSI}nil" and value.strip() in ("true", "1"))
            elif self._strict and place is not _ELSEWHERE:
                self._fail("xml.unknown", f"no column names the attribute {shown(name)}")

    def _characters(self, text: str) -> None:
        self._bare = False
        self._length += len(text)
        if self._length <= self._limits.field:
            self._text.append(text)

    def _end(self, name: str) -> None:
        place = self._path.pop()
        if self._record is None:
            return
        if place.text is None:
            self._no_text(place)
        else:
            text = "".join(self._text)
            if not self._nil:
                self._row[place.text] = self._field(place.text, text)
            elif text:
                self._fail("xml.nil", f"{self._column(place.text)} says that it is null, and has text")
            if self._length > self._limits.field:
                self._too_long(place.text, self._length)
            self._text.clear()
            self._length = 0
        self._nil = False
        if len(self._path) < self._level:
            self._close(name)

    def _close(self, name: str) -> None:
        del name
        end = self._parser.CurrentByteIndex
        self._measure(end)
        if self._fault is None:
            self._gathering.add(self._row, end - self._began)
        else:
            self._gathering.fail(self._fault, self._raw(end))
        self._record = None
        self._parser.CharacterDataHandler = None

    # what follows from it

    def _no_text(self, place: Place) -> None:
        """Text that is in no column: spaces may be, whatever the element."""
        if not self._text:
            return
        text = "".join(self._text).strip(_SPACE)
        self._text.clear()
        self._length = 0
        if text and self._strict and place is not _ELSEWHERE and place.text is None:
            self._fail("xml.text", f"text where no column takes any: {shown(text)}")

    def _field(self, index: int, text: str) -> bytes:
        value = text.encode()
        if len(value) > self._limits.field:
            self._too_long(index, len(value))
        return value

    def _too_long(self, index: int, size: int) -> None:
        what = f"{self._column(index)}: {size} bytes, and a field has at most {self._limits.field}"
        self._fail("xml.field-size", what)

    def _column(self, index: int) -> str:
        return self._record.columns[index] if self._record is not None else ""

    def _fail(self, code: str, what: str) -> None:
        self._fault = self._fault or Fault(code, what)

    def _raw(self, end: int) -> bytes:
        """The record's bytes; the parser says where its end tag begins, or where an empty element ends."""
        first = self._fed - len(self._kept)
        begin, end = self._began - first, end - first
        if self._bare and self._kept[end - 2 : end] == b"/>":
            return self._kept[begin:end]
        return self._kept[begin : self._kept.index(b">", end) + 1]

    def _refuse(self, code: str, what: str, at: int | None = None) -> NoReturn:
        at = (
            max(self._parser.CurrentByteIndex, 0) if at is None else at
        )  # it is -1 before anything was parsed
        raise Refused(code, f"{what}, at byte {at}", record=self._number or None, at=at)


def _family(encoding: str) -> str:
    """An encoding's name, whatever it is called and whether its byte order is a part of it."""
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        return encoding.lower()
    return name.removesuffix("-sig").removesuffix("-le").removesuffix("-be")
