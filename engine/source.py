"""THE DOOR of connectors: everything a connector's author has to know.

A connector is a name, a strict config model and functions. A source does two things: read and confirm.
Connectors frame, ``envelope`` encodes: a row is data, not an object.

The promises, checked live by the pump and by the conformance suite:

1. Positions strictly increase within a *strand*: the stream is one strand, each snapshot range is one.
   A ``Mark`` names the strands it covers.
2. ``read`` returns at the first ``Mark`` at or after ``limit`` rows, or when nothing came for ``wait_s``.
3. Rows of an open transaction go out as they come; only the ``Mark`` waits for the commit. To abandon a
   group it raises, and the group comes again: in the stream with the same positions.
4. It waits for nothing but its source, and gets a keep-alive (``confirm`` of the same mark) at least every
   10 s while the topic is slow. It does not retry, write to Kafka or keep state outside its Marks.
   Opening may raise ``SourceUnreachable`` or ``SourceRefused`` and their kin; closing never raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from itertools import repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NamedTuple, Protocol, TypeVar, overload

from engine.arrivals import Expected as Expected  # noqa: PLC0414 - a connector sees only this door
from engine.arrivals import Files, Wish
from engine.contract.making import Fate as Fate  # noqa: PLC0414 - a connector sees only this door
from engine.contract.making import Making as Making  # noqa: PLC0414 - the same
from engine.contract.making import Room as Room  # noqa: PLC0414 - the same
from engine.contract.making import Wanted as Wanted  # noqa: PLC0414 - the same
from engine.contract.said import Records as Records  # noqa: PLC0414 - the same
from engine.contract.said import Said as Said  # noqa: PLC0414 - the same
from engine.contract.said import Typed as Typed  # noqa: PLC0414 - the same
from engine.contract.said import TypedColumn as TypedColumn  # noqa: PLC0414 - the same
from engine.contract.said import TypedLayout as TypedLayout  # noqa: PLC0414 - the same
from engine.schema import Relation

if TYPE_CHECKING:
    from engine.lanes import Lane


class Unchanged(Enum):
    """The third state of a field: the source did not send it (TOAST), the old value stands."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED

Field = bytes | None | Literal[Unchanged.UNCHANGED]
"""The wire form that the column's cell understands; None is NULL."""

Row = tuple[str, Sequence[Field] | None, Sequence[Field] | None]
"""(op, before, after), fields in the relation's order. ``before`` of a delete holds at least the key.

Op is create ``c``, update ``u``, delete ``d`` or read by a snapshot ``r``; of a control row, truncate ``t``,
floor ``f`` or withdrawal ``w``.

An update that changes the key is two rows that share an index: ``d`` of the old key, then ``c`` of the new
one at minor + 1; the connector gives the pair as one row with op ``k`` (before: old key, after: new row).
A control row has neither image. ``w`` takes back one transaction of the stream, and nothing that lies before
or behind it: the one that its own era and major name. It comes in a strand of its own, behind what takes the
place of those rows; its ``tx`` is the major of that.
"""

STREAM: Final = "stream"
"""The strand of the change stream."""

_SNAPSHOT: Final = "snapshot"


def snapshot_strand(run: int, part: str) -> str:
    """The strand of one part of a table's snapshot: the rows that were read under one snapshot of the source.

    >>> snapshot_strand(0, "7")
    'snapshot:0:7'
    """
    return f"{_SNAPSHOT}:{run}:{part}"


def snapshot_of(strand: str) -> tuple[int, str] | None:
    """The run and the part of a snapshot's strand; None for any other strand.

    >>> snapshot_of("snapshot:0:7"), snapshot_of(STREAM)
    ((0, '7'), None)
    """
    kind, _, rest = strand.partition(":")
    run, _, part = rest.partition(":")
    return (int(run), part) if kind == _SNAPSHOT else None


Unpack = Callable[[Sequence[Any]], Sequence[Sequence[Field]]]
"""From rows as their source has them to columns of fields, in the relation's order."""
ToLanes = Callable[[Sequence[Any]], "Sequence[Lane]"]  # the same rows to the Avro encoding of each column


class Packed(Sequence[Row]):
    """New rows as their source has them: they are taken apart when they are asked for.

    Most that takes rows wants them column by column; as a sequence they are rows like any others, all of
    them read by a snapshot (``r``) or created (``c``); ``lanes``: a way to encode many at once.
    """

    __slots__ = ("_raw", "_unpack", "op", "to_lanes")

    def __init__(
        self, raw: Sequence[Any], unpack: Unpack, op: Literal["r", "c"] = "r", lanes: ToLanes | None = None
    ) -> None:
        self._raw, self._unpack, self.op, self.to_lanes = raw, unpack, op, lanes

    def columns(self) -> Sequence[Sequence[Field]]:
        """The fields of each column."""
        return self._unpack(self._raw)

    def lanes(self) -> Sequence[Lane] | None:
        """Each column encoded, if the connector does that; raises one of ``BAD`` for rows that it leaves."""
        return None if self.to_lanes is None else self.to_lanes(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> Iterator[Row]:
        columns = self.columns()
        images = zip(*columns, strict=True) if columns else repeat((), len(self._raw))
        return ((self.op, None, image) for image in images)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> Packed: ...
    def __getitem__(self, at: int | slice) -> Row | Packed:
        if isinstance(at, slice):
            return Packed(self._raw[at], self._unpack, self.op, self.to_lanes)
        return next(iter(Packed([self._raw[at]], self._unpack, self.op)))


class Rows(NamedTuple):
    """Consecutive rows of one relation in one transaction.

    Row i has position (era, major, first_minor + 2·i): minor is even, odd only for the insert half of a
    key change. The index counts all decoded rows of the table in the transaction, before any filter.
    ``committed_us`` is the source's commit time in microseconds since 1970; ``tx`` the transaction's id.
    Rows of a snapshot have op ``r``, the time at which it was taken, and no transaction (0); they may come
    ``Packed``. ``early``:
    updates that leave values out, of rows that a snapshot is yet to read: it brings what they leave out.
    """

    relation: Relation
    strand: str
    era: int
    major: int
    first_minor: int
    committed_us: int
    tx: int
    rows: Sequence[Row]
    early: bool = False


class Mark(NamedTuple):
    """Complete up to here, per strand.

    ``at`` maps a strand to the major of its last complete position. ``resume`` holds bytes that only the
    connector reads: a JSON object, so that people can read the marks topic. What a person accepted since the
    mark was written stands in its key ``accepted``, a list of the (code, what) of the errors that were shown:
    a start goes on over these findings and over no other. ``committed_us`` is the commit
    time of the newest transaction covered (0: none yet). ``barrier``: flush and confirm this one before
    anything more is read. An empty ``at`` covers nothing: what was known is lost and a person accepted that;
    the source is taken as it is found, as at a first start, in ``era``.
    """

    at: Mapping[str, int]
    resume: bytes
    era: int = 0
    committed_us: int = 0
    barrier: bool = False


class TableGap(NamedTuple):
    """A finding that concerns one table: changes of it may be missing from (era, major) on.

    The stream goes on, this table's rows too where there are any; the pump records the gap, and the
    landing stops that flow alone at the first position in doubt. The same gap may be told again.
    ``code`` is an error code of ``engine.errors``; ``text`` says what was seen.
    """

    schema: str
    table: str
    code: str
    era: int
    major: int
    text: str


class Reading(NamedTuple):
    """How far the snapshot of one table is.

    ``rows`` of about ``expected`` (None: nobody knows) are durable with the next mark. ``waits_for`` says
    what it waits for, empty when it does not.
    """

    schema: str
    table: str
    run: int
    rows: int
    expected: int | None
    done: bool = False
    waits_for: str = ""


Item = Rows | Mark | TableGap | Reading
"""What a source gives."""

Kept = Sequence[Mapping[str, Any] | Wish]
"""The rows of the relation that a connector keeps, as its topic holds them: the newest of each key.

In the order in which they were written, those of an older writer before those of a newer one. What people
want of files stands behind them; a wish stays there when it is done, so that the rows have to say that it is.
"""

Ends = Mapping[str, Mapping[int, int]]
"""Where topics end: by table (``schema.table``) and partition, the offset behind the last record."""

NO_ENDS: Final[Ends] = MappingProxyType({})


class Source(Protocol):
    """An open source: one reader, one thread."""

    def read(self, *, limit: int, wait_s: float) -> Iterator[Item]:
        """Give rows, marks, gaps and how far a snapshot is; see the promises above."""
        ...

    def confirm(self, mark: Mark, ends: Ends = NO_ENDS) -> None:
        """Durable up to here: the source may forget it. Again with the same mark: keep-alive.

        A connector that keeps a relation is told where the topics ended when the mark was durable, and a
        mark with a ``barrier`` is confirmed to it only while no newer writer has taken over.
        """
        ...


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table of a capture, as the plan names it.

    ``on_truncate``: a truncate is told as a row, not told, or told as a row behind a ``TableGap`` so that a
    person decides first. Where flows on one table differ, the most careful one rules. ``snapshot``: the rows
    that it holds are read, and again whenever this number is higher than before (``wanted``); None: never.
    ``exclude`` are columns that never leave the source, ``text`` those whose values travel as the source
    writes them, whatever their type is. ``said``: what the flow says in the connector's own model, as plain
    data.
    """

    flow: str
    schema: str
    table: str
    on_truncate: Literal["apply", "ignore", "stop"] = "apply"
    snapshot: int | None = None
    exclude: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    said: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def qualified(self) -> str:
        """Its name with its schema: of a partner's feed, ``partner.feed``."""
        return f"{self.schema}.{self.table}"


_RUN_BITS: Final = 32


def wanted(run: int, asked: int) -> int:
    """The number that says how often a table is to be read: the declared run, and how often a person asked.

    It grows when a person asks, even where the declared run is lowered at the same time.

    >>> wanted(3, 0), declared(wanted(3, 2)), wanted(0, 1) > wanted(7, 0)
    (3, 3, True)
    """
    return asked << _RUN_BITS | run


def declared(wanted: int) -> int:
    """The declared run in such a number."""
    return wanted & (1 << _RUN_BITS) - 1


Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a preflight: what was looked at, how it is, and the fix (SQL or setting) when it is not.

    ``code`` is an error code of ``engine.errors``; ``table`` is ``schema.name`` when one table is meant.
    """

    level: Level
    subject: str
    text: str
    fix: str = ""
    code: str = ""
    table: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """A source's end as seen from outside: what lag is computed from.

    ``end`` and ``confirmed`` are majors; ``retained_bytes`` is what the slot holds back;
    None means unknown, never zero. Of a source without an end, ``waits_bytes`` lie there, the oldest of them
    since ``waits_since_us``; in the state ``there`` it cannot say whether anybody reads it.
    """

    state: str
    end: int | None = None
    confirmed: int | None = None
    retained_bytes: int | None = None
    at_us: int | None = None
    waits_bytes: int | None = None
    waits_since_us: int | None = None


Standing = Literal["there", "missing", "differs", "extra"]


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that the project needs somewhere, and how it stands there; ``extra``: there, and not needed.

    ``statements`` bring it about, as a person would run them; empty where nobody has to.
    """

    kind: str
    name: str
    standing: Standing
    text: str = ""
    statements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableFound:
    """A table that a source holds: about so many rows and bytes (None: not known), and its primary key."""

    schema: str
    table: str
    rows: int | None
    size_bytes: int | None
    key: tuple[str, ...]


def no_needs(config: Any, tables: Sequence[TableSpec]) -> Sequence[Need]:
    """Of a connector that makes nothing in its source."""
    del config, tables
    return ()


def no_tables(config: Any) -> Sequence[TableFound]:
    """Of a connector that cannot say what there is."""
    del config
    return ()


C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Connector(Generic[C]):
    """What a connector registers under the entry point ``ecluse.connectors``.

    ``config`` is a strict, frozen pydantic model (extra keys forbidden); secrets reach it as values at
    open only. Derived names (slot, publication) arrive in the config. ``show`` writes a major of the stream
    as the people of this source know it. ``compare`` says how what ``provision`` would make stands now, and
    ``tables`` which tables there are to be captured; both only read. ``keeps`` is what a connector has to
    know again at its next opening and no mark could hold: a relation of one compacted topic, whose rows leave
    the source like any others (in the schema of the connection's name) and come back to ``open``. ``flow`` is
    the model of what a flow says of its source (``TableSpec.said``), as strict as ``config``; None: a table.
    ``config`` is validated with the project's ``folder`` as its context, for paths of this machine.
    ``files`` is what a connector of files has beside this (``engine.arrivals``).
    """

    name: str
    config: type[C]
    open: Callable[[C, Sequence[TableSpec], Mark | None, Kept], AbstractContextManager[Source]]
    preflight: Callable[[C, Sequence[TableSpec]], Sequence[Finding]]
    provision: Callable[[C, Sequence[TableSpec]], Sequence[str]]
    measure: Callable[[C], Measure]
    show: Callable[[int], str] = str
    compare: Callable[[C, Sequence[TableSpec]], Sequence[Need]] = no_needs
    tables: Callable[[C], Sequence[TableFound]] = no_tables
    keeps: Relation | None = None
    flow: type[Said] | None = None
    files: Files[C, TableSpec] | None = None


AnyConnector = Connector[Any]
