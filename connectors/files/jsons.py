"""JSON lines: one object a line; and JSON documents: the objects of one array, wherever it stands.

Rule: in lines a line break is always the end of a record, so a bad line is a problem of its own; in a
document nothing after a syntax error has a place, so the file is refused with the byte. A document is read
through a window, never held. Which parser, and why: docs/adr/0031.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from json import JSONDecodeError
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from connectors.files.jsondocument import Document
from connectors.files.jsonvalues import SPACE, Columns, Reader, too_deep
from connectors.files.lots import Fault, Gathering, Unknown
from connectors.files.records import DEFAULTS, DETAIL, DOCUMENT, Limits, Lot, Refused, Text
from engine.source import Typed, TypedLayout

_WIDEST = 4  # bytes of a character in UTF-8


def keys_of(path: str) -> tuple[str, ...]:
    """The keys that a declared path names: with dots between them, or a JSON pointer.

    >>> keys_of("address.city"), keys_of("/a.b/c~1d"), keys_of("")
    (('address', 'city'), ('a.b', 'c/d'), ())
    """
    if path.startswith("/"):
        return tuple(key.replace("~1", "/").replace("~0", "~") for key in path[1:].split("/"))
    return tuple(path.split(".")) if path else ()


def _path(path: str) -> str:
    if not path.startswith("/") and path and not all(path.split(".")):
        raise ValueError("a path names keys with dots between them (address.city), or is a JSON pointer")
    return path


Path = Annotated[str, AfterValidator(_path)]


def _paths(columns: Mapping[str, str | None]) -> dict[str, tuple[str, ...]]:
    return {name: (name,) if path is None else keys_of(path) for name, path in columns.items()}


class _Json(TypedLayout):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    columns: Mapping[str, Annotated[Path | None, Typed("path")]] = Field(min_length=1)
    unknown: Unknown = "problem"

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        paths = _paths(self.columns)
        for name, path in paths.items():
            for other, longer in paths.items():
                if len(longer) > len(path) and longer[: len(path)] == path:
                    raise ValueError(f"{name} is the whole value that {other} is a part of: take one of them")
        return self

    @property
    def kinds(self) -> dict[str, tuple[str, ...]]:
        """The columns of each kind of record."""
        return {DETAIL: tuple(self.columns)}

    def taking(self, limits: Limits) -> Columns:
        """The columns of a record, ready to be taken."""
        return Columns(_paths(self.columns), self.unknown, limits)


class JsonLines(_Json):
    """One JSON object a line.

    ``columns`` maps a column's name to the path of its value in the record; without a path it is the key
    of that name. ``unknown`` says what a key is that no column names.
    """

    format: Literal["jsonl"] = "jsonl"


class JsonDocument(_Json):
    """The objects of one array of a JSON document.

    ``records`` is the array's path; empty: the document is the array. ``document`` names values that stand
    beside the array, such as a count for the controls: they are one last record of the kind ``document``.
    """

    format: Literal["json"] = "json"
    records: Path = ""
    document: Mapping[str, Path | None] = Field(default_factory=dict)

    @property
    def kinds(self) -> dict[str, tuple[str, ...]]:
        """The columns of each kind of record."""
        beside = {DOCUMENT: tuple(self.document)} if self.document else {}
        return {DETAIL: tuple(self.columns), **beside}

    @model_validator(mode="after")
    def _beside(self) -> Self:
        array = keys_of(self.records)
        for name, path in _paths(self.document).items():
            if path[: len(array)] == array or array[: len(path)] == path:
                raise ValueError(
                    f"{name} stands in the array of records, or holds it: it has no value of its own"
                )
        return self


def read_lines(chunks: Iterable[bytes], declared: JsonLines, limits: Limits = DEFAULTS) -> Iterator[Lot]:
    """The records of JSON lines, from chunks of valid UTF-8.

    A record's number is its line; a blank line is no record. Raises Refused for a file that ends inside its
    last line.
    """
    reader, columns = Reader(), declared.taking(limits)
    gathering = Gathering(DETAIL, len(columns.names), 1)
    for number, (line, size, ended) in enumerate(_lines(chunks, limits.record), 1):
        found = None if not line.strip(SPACE.encode()) else _line(line, size, reader, columns, limits)
        if isinstance(found, Fault) and not ended and found.code == "json.syntax":
            raise Refused(
                "json.truncated", f"the file ends inside line {number}: {found.what}", record=number
            )
        match found:
            case None:
                pass
            case Fault():
                gathering.fail(found, line)
            case row:
                gathering.add(row, size)
        if found is None or gathering.full:
            if gathering:
                yield gathering.lot()
            gathering = Gathering(DETAIL, len(columns.names), number + 1)
    if gathering:
        yield gathering.lot()


def _line(line: bytes, size: int, reader: Reader, columns: Columns, limits: Limits) -> Sequence[Text] | Fault:
    if size > limits.record:
        return Fault("json.record-size", f"a line of {size} bytes, and a record has at most {limits.record}")
    text = line.decode()
    if (fault := too_deep(text, limits.depth)) is not None:
        return fault
    try:
        value, end = reader.read(text, len(text) - len(text.lstrip(SPACE)))
    except JSONDecodeError as error:
        return Fault("json.syntax", f"{error.msg} at character {error.pos + 1}")
    except RecursionError:
        return Fault("json.depth", "it nests deeper than a parser goes")
    if text[end:].strip(SPACE):
        return Fault("json.syntax", f"text after the object at character {end + 1}")
    return reader.fault or columns.row(value, size)


def _lines(chunks: Iterable[bytes], longest: int) -> Iterator[tuple[bytes, int, bool]]:
    """Each line, cut at ``longest``, its whole size, and whether a line break ended it."""
    kept, size = b"", 0
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        for part in others:
            yield kept + first[: longest - len(kept)], size + len(first), True
            kept, size, first = b"", 0, part
        kept += first[: longest - len(kept)]
        size += len(first)
    if size:
        yield kept, size, False


def read_document(
    chunks: Iterable[bytes], declared: JsonDocument, limits: Limits = DEFAULTS
) -> Iterator[Lot]:
    """The records of a JSON document, from chunks of valid UTF-8; then what was named beside them.

    A record's number is its place in the array. Raises Refused for what is no JSON, for a record that is
    larger or deeper than ``limits`` allow, and where no array stands at the declared path.
    """
    columns = declared.taking(limits)
    beside = Columns(_paths(declared.document), "ignore", limits)
    document = Document(chunks, limits, tuple(_paths(declared.document).values()))
    gathering = Gathering(DETAIL, len(columns.names), 1)
    for found, raw in document.elements(keys_of(declared.records)):
        taken = found if isinstance(found, Fault) else columns.row(found, _WIDEST * len(raw))
        if isinstance(taken, Fault):
            gathering.fail(taken, raw.encode())
        else:
            gathering.add(taken, len(raw))
        if gathering.full:
            yield gathering.lot()
            gathering = Gathering(DETAIL, len(columns.names), gathering.first + len(gathering))
    if gathering:
        yield gathering.lot()
    if beside.names:
        row = beside.row(document.beside, limits.record)
        if isinstance(row, Fault):
            raise Refused(row.code, f"beside the records: {row.what}")
        last = Gathering(DOCUMENT, len(beside.names), gathering.first + len(gathering))
        last.add(row, 0)
        yield last.lot()
