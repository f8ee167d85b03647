"""Files as a partner would send them: the format, the controls and the container of one feed.

Rule: what a control says is computed by what holds a file against it, so that a good file is good; a count
or a sum that is wrong is wrong by one. A file is written as it goes, whatever its size; where a header tells
what is behind it, the rows are made twice.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import BinaryIO, Final, Literal, Protocol

from connectors.files.amounts import EXACT, Amounts, DecimalFormat
from connectors.files.controls import Controls, Sum
from connectors.files.encodings import mark_of
from connectors.files.feeds import Feed, columns, declared_of, details
from connectors.files.forms import RAGGED, DelimitedForm, FixedForm, Form
from connectors.files.naming import name_of, written_day
from connectors.files.nested import DocumentForm, LinesForm, XmlForm
from connectors.files.records import DETAIL, HEADER, TRAILER
from engine.source import Fate, Room, Wanted

ENCODING, TRUNCATED = "encoding", "truncated"
COUNT, SUM, DAY, GAP = "wrong_count", "wrong_sum", "wrong_day", "gap"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_NUL: Final = b"\0"
_WRONG: Final = {"utf-8": b"\xff", "utf-8-sig": b"\xff", "ascii": b"\xff", "cp1252": b"\x81"}


class _Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class FilesMaking:
    """Writes the files of a feed."""

    feed: Feed
    form: Form = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "form", _form(self.feed))

    @property
    def encoding(self) -> str:
        """The characters of the feed's files."""
        return codec_of(self.feed)

    @property
    def rooms(self) -> Mapping[str, Room]:
        """The columns of a row, and what each can hold."""
        sums = self.feed.controls.sums.values()
        added = {one.place.partition(".")[2]: one.format.model_dump() for one in sums}
        return {name: replace(room, amount=added.get(name)) for name, room in self.form.rooms.items()}

    @property
    def marker(self) -> str:
        """The suffix of a marker."""
        return self.feed.ready.suffix if self.feed.ready.by == "marker" else ""

    @property
    def numbered(self) -> Literal["", "name", "field"]:
        """Where the number of a file stands."""
        declared = self.feed.controls.sequence
        return "" if declared is None else "field" if declared.name is None else "name"

    @property
    def of_records(self) -> Mapping[str, Fate]:
        """What can be wrong with a record."""
        return {RAGGED: self.form.ragged} if self.form.ragged.code else {}

    @property
    def of_files(self) -> Mapping[str, Fate]:
        """What can be wrong with a file."""
        controls = self.feed.controls
        packed = self.feed.container.kind != "none"
        cut = "container.truncated" if packed else self.form.cut
        wide = self.feed.encoding in ("utf-16", "utf-16-le", "utf-16-be")
        bad = "encoding.undecodable" if self.feed.encoding in _WRONG and not wide else "encoding.nul"
        found = {
            ENCODING: bad,
            TRUNCATED: cut,
            COUNT: "control.count" if controls.count is not None else "",
            SUM: "control.sum" if controls.sums else "",
            DAY: "control.date" if controls.day is not None else "",
        }
        fates = {kind: Fate("refused", code) for kind, code in found.items() if code}
        if controls.sequence is not None:
            refused = controls.sequence.gap == "refuse"
            fates[GAP] = Fate("refused" if refused else "accepted", "control.sequence")
        return fates

    def name(self, file: Wanted) -> str:
        """A name that fits the feed's pattern, and says what controls read there."""
        return name_of(self.feed, file.number, day_of(file, self.feed))

    def write(self, out: BinaryIO, file: Wanted) -> int:
        """A file; gives the number of the record of its first row."""
        controls = self.feed.controls
        first = any(place.startswith(f"{HEADER}.") for place in _told(controls))
        tally = _Tally(controls, list(self.rooms), self.form.before)
        if first:
            for row, defect in file.texts():
                tally.add(row, fit=defect != RAGGED)
        member = self.name(file).removesuffix(f".{self.feed.container.kind}")
        with _packed(out, self.feed, member) as sink:
            self._records(sink, file, tally, again=first)
        if file.defect == TRUNCATED and self.feed.container.kind != "none":
            out.truncate(out.seek(0, 2) * 3 // 5)
        return 1 + self.form.before

    def _records(self, sink: _Sink, file: Wanted, tally: _Tally, *, again: bool) -> None:
        cut = file.count // 2 if file.defect == TRUNCATED and self.feed.container.kind == "none" else None
        form = self.form
        sink.write(mark_of(self.feed.encoding) + form.opening(tally.said(file, self.feed)))
        for n, (row, defect) in enumerate(file.texts()):
            if n == cut:
                sink.write(form.half(row))
                return
            if n == file.count // 2 and file.defect == ENCODING:
                sink.write(_wrong(self.feed.encoding))
            if not again:
                tally.add(row, fit=defect != RAGGED)
            sink.write(form.record(row, ragged=defect == RAGGED))
        sink.write(form.closing(tally.said(file, self.feed)))


def _told(controls: Controls) -> Iterator[str]:
    if controls.count is not None:
        yield controls.count.field
    for one in controls.sums.values():
        yield one.field


class _Tally:
    """What the rows of a file come to."""

    def __init__(self, controls: Controls, columns: list[str], before: int) -> None:
        self._controls, self._rows, self._before = controls, 0, before
        self._sums: list[tuple[str, Sum, int, Amounts]] = []
        self._at = dict[str, Decimal]()
        for name, declared in controls.sums.items():
            kind, _, column = declared.place.partition(".")
            if kind != DETAIL or column not in columns:
                raise ValueError(f"no file is made whose sum {name} is not one of its rows")
            self._sums.append((name, declared, columns.index(column), Amounts(declared.format)))
            self._at[name] = Decimal(0)

    def add(self, row: tuple[str | None, ...], *, fit: bool) -> None:
        """One row more; one that is not fit is counted, and in no sum."""
        self._rows += 1
        if fit:
            for name, _, at, amounts in self._sums:
                text = row[at]
                value = None if text is None else amounts.read(text.encode())
                if value is not None:
                    self._at[name] = EXACT.add(self._at[name], value)

    def said(self, file: Wanted, feed: Feed) -> Mapping[str, str]:
        """What header and trailer say."""
        controls, found = self._controls, dict[str, str]()
        if controls.count is not None:
            beside = {
                "details": 0,
                "records": self._singles(feed),
                "details_and_header": int(HEADER in _singles(feed)),
                "details_and_trailer": int(TRAILER in _singles(feed)),
            }[controls.count.of]
            found[controls.count.field] = str(self._rows + beside + (file.defect == COUNT))
        for n, (name, declared, _, _) in enumerate(self._sums):
            total = self._at[name] + (1 if file.defect == SUM and n == 0 else 0)
            if declared.digits is not None:
                total = EXACT.remainder(total, Decimal(10**declared.digits))
            found[declared.field] = amount(total, declared.total or declared.format)
        if controls.sequence is not None and controls.sequence.field is not None:
            found[controls.sequence.field] = str(file.number)
        if controls.day is not None and controls.day.field is not None:
            found[controls.day.field] = written_day(day_of(file, feed), controls.day.format)
        return found

    def _singles(self, feed: Feed) -> int:
        return len(_singles(feed))


def _singles(feed: Feed) -> set[str]:
    """The records of a file that are no rows, by their kind."""
    form = declared_of(feed)
    return set(columns(form)) - set(details(form))


def day_of(file: Wanted, feed: Feed) -> date:
    """The day that a file says that it is of."""
    declared = feed.controls.day
    if declared is None or file.defect != DAY:
        return file.day
    if declared.back is not None:
        return file.day - timedelta(days=declared.back + 1)
    return file.day + timedelta(days=declared.ahead + 1)


def amount(value: Decimal, form: DecimalFormat) -> str:
    """A number as a format has it.

    >>> amount(Decimal("-1234.5"), DecimalFormat(decimal=",", thousands=" ", sign="trailing"))
    '1 234,5-'
    """
    exact = abs(value).scaleb(form.implied, EXACT)
    text = f"{exact:,f}" if form.thousands and not form.implied else f"{exact:f}"
    if form.implied:
        text = text.partition(".")[0].zfill(form.implied + 1)
    text = text.translate({ord(","): form.thousands, ord("."): form.decimal})
    sign = "-" if value < 0 else ""
    return text + sign if form.sign == "trailing" else sign + text


def codec_of(feed: Feed) -> str:
    """The codec of a feed's texts: without a mark, which stands once."""
    return {"utf-16": "utf-16-le", "utf-8-sig": "utf-8"}.get(feed.encoding, feed.encoding)


def _form(feed: Feed) -> Form:
    codec = codec_of(feed)

    def encode(text: str) -> bytes:
        return text.encode(codec)

    trailer = "control.trailer-missing" if TRAILER in feed.controls.single else ""
    if feed.delimited is not None:
        return DelimitedForm(feed.delimited, encode, trailer)
    if feed.fixed_width is not None:
        return FixedForm(feed.fixed_width, encode, trailer)
    if feed.json_lines is not None:
        return LinesForm(feed.json_lines, encode)
    if feed.json_document is not None:
        return DocumentForm(feed.json_document, encode)
    assert feed.xml is not None  # noqa: S101 - exactly one format is declared
    return XmlForm(feed.xml, encode)


def _wrong(encoding: str) -> bytes:
    wide = encoding in ("utf-16", "utf-16-le", "utf-16-be")
    return _WRONG.get(encoding, _NUL * 2 if wide else _NUL)


@contextmanager
def _packed(out: BinaryIO, feed: Feed, name: str) -> Iterator[_Sink]:
    match feed.container.kind:
        case "none":
            yield out
        case "gz":
            gzip = _Gzip(out)
            yield gzip
            gzip.end()
        case "zst":
            from zstandard import ZstdCompressor

            with ZstdCompressor().stream_writer(out, closefd=False) as zst:
                yield zst
        case "zip":
            named = (feed.container.member or name).replace("*", "1").replace("?", "1")
            entry = zipfile.ZipInfo(named, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with zipfile.ZipFile(out, "w") as archive, archive.open(entry, "w", force_zip64=True) as file:
                yield file


class _Gzip:
    """A gzip file without a time in it."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._pack = out, zlib.compressobj(wbits=31)

    def write(self, data: bytes, /) -> None:
        """More content."""
        self._out.write(self._pack.compress(data))

    def end(self) -> None:
        """Its end."""
        self._out.write(self._pack.flush())
