"""The contract of a flow: its grammar in YAML and in Avro schemas, and the columns that a plan holds.

Rule: columns stand in the flow, or in a file of ``schemas/``; an Avro schema says them in its own words, and
how the partner writes them in a property ``ecluse``. What ``formats`` says is meant of every column that has
a use for it and does not say it itself. Every mistake has the place where it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from engine.contract import FILE, PROBLEM, RAW, RECORD, ContractColumn, format_of
from engine.contract.flaws import flaws
from engine.contract.said import Records
from engine.schema import (
    ENGINE_COLUMNS,
    PLAIN_TYPES,
    Date,
    Decimal,
    String,
    Timestamp,
    Type,
    delta,
    from_avro,
    from_delta,
)
from engine.template import nodes
from engine.template.files import File
from engine.template.mistakes import DERIVED, Code, Mistakes, Place, nearest, shown
from engine.template.nodes import Node
from engine.template.reader import Reader
from engine.template.shapes import ABSENT, Choice, Fields, Flag, Key, Many, Named, Text, Whole

_NAME: Final = Text("the name of a column", r"[\s\S]{1,200}")
_WORD: Final = Text("a text", low=0, high=200)
_PATTERN: Final = Text("a pattern such as dd/MM/yyyy", high=100)
_HOW: Final[Mapping[str, Key]] = {
    "decimal": Key(Choice((".", ",")), "the mark before the digits of a fraction", ABSENT),
    "thousands": Key(
        Choice(("", " ", "\u00a0", "\u202f", ".", ",", "'")),
        "what stands between groups of three digits",
        ABSENT,
    ),
    "sign": Key(Choice(("leading", "trailing")), "where the sign of a number stands", ABSENT),
    "zone": Key(Text("a zone such as Europe/Paris", high=64), "where the clock hangs that was read", ABSENT),
    "overlap": Key(
        Choice(("refuse", "earlier", "later")), "which hour is meant, when a clock shows it twice", ABSENT
    ),
    "years_from": Key(Whole(1, 9_899), "the first of the hundred years that yy stands for", ABSENT),
    "yes": Key(Many(_WORD, low=1, high=100), "the words for true", ABSENT),
    "no": Key(Many(_WORD, low=1, high=100), "the words for false", ABSENT),
    "blank": Key(Many(_WORD, high=100), "the texts that stand for no value", ABSENT),
    "trim": Key(
        Choice(("none", "left", "right", "both")), "on which sides spaces are no part of the text", ABSENT
    ),
}
FORMATS: Final = Fields(
    {
        **_HOW,
        "date": Key(_PATTERN, "the pattern of dates", ABSENT),
        "timestamp": Key(_PATTERN, "the pattern of timestamps", ABSENT),
    }
)
_OF_ONE: Final[Mapping[str, Key]] = {
    **_HOW,
    "pattern": Key(_PATTERN, "how a date or a timestamp is written", ABSENT),
    "implied": Key(Whole(0, 38), "digits behind a mark that is not written", ABSENT),
    "length": Key(Whole(1, 1_000_000_000), "the most characters of a text", ABSENT),
}
_TYPE: Final = Key(Text("a type such as bigint or decimal(10,2)"), "the type that it lands as", "string")
_NULLABLE: Final = Key(Flag(), "false: a row without it waits in quarantine", default=True)
_COLUMN: Final = Fields({"type": _TYPE, "nullable": _NULLABLE, **_OF_ONE})
OF_COLUMN: Final[Mapping[str, Key]] = {
    "type": replace(_TYPE, doc="the type that it lands as, else string", default=ABSENT),
    "nullable": replace(_NULLABLE, doc="false: a row without it waits in quarantine", default=ABSENT),
    "format": Key(Fields(_OF_ONE, short="pattern"), "how the partner writes its values", ABSENT),
}
"""What stands beside the place of a column in a layout."""
OF_LAYOUT: Final[Mapping[str, Key]] = {
    "formats": Key(FORMATS, "how the partner writes, where a column does not say it", ABSENT)
}
"""What stands beside the columns of a layout."""
_IN_AVRO: Final = Fields({"name": Key(_NAME, "the column, where Avro has no such name", ABSENT), **_OF_ONE})
CONTRACT: Final = Fields(
    {
        "schema": Key(
            Text("a file such as schemas/payment.avsc", r"schemas/[^/].*\.avsc"), "an Avro schema", ABSENT
        ),
        "columns": Key(Named(_COLUMN, _NAME, low=1), "the columns, in their order", ABSENT),
        "formats": Key(FORMATS, "how the partner writes, where a column does not say it", {}),
    },
    elsewhere=True,
)
_TAKEN: Final = frozenset({*ENGINE_COLUMNS, FILE, RECORD, PROBLEM, RAW})
_REFUSED: Final = re.compile(r"[ ,;{}()\n\t=]")
_SHARED: Final = frozenset({"blank", "trim"})


@dataclass(frozen=True, slots=True)
class Contracted:
    """The columns of a contract, and where each value was written: column and key."""

    columns: tuple[ContractColumn, ...] = ()
    places: Mapping[str, Mapping[str, Place]] = field(default_factory=dict)


NOTHING: Final = Contracted()


@dataclass(frozen=True, slots=True)
class _Said:
    """A column as it was read: ``how`` are the keys of its format."""

    name: str
    place: Place
    type: Type
    nullable: bool
    how: Mapping[str, Node]


@dataclass(frozen=True, slots=True)
class Beside:
    """What a layout says of a column beside its place; ``path`` is where the connector's model has it."""

    name: Node
    path: tuple[str | int, ...]
    said: Node


@dataclass(frozen=True, slots=True)
class Layout:
    """What a layout says of all its columns together, and of each."""

    formats: Node | None = None
    columns: tuple[Beside, ...] = ()

    @property
    def place(self) -> Place | None:
        """Where it says the first of it; None: it says nothing."""
        if self.columns:
            return min(each.said.place for each in self.columns)
        return None if self.formats is None else self.formats.place


NO_LAYOUT: Final = Layout()


def contract_of(
    said: Node | None,
    schemas: Mapping[str, File] | None,
    mistakes: Mistakes,
    *,
    records: Records | None = None,
    layout: Layout = NO_LAYOUT,
) -> Contracted:
    """The contract of a flow. ``schemas`` are the project's files; None: they are not known here.

    ``records`` is None where only the source knows them: else a contract is in the order of their columns,
    and a column that it does not name is text. Where ``layout`` says types, they are the contract.
    """
    columns = records.columns if records is not None else None
    given = said is not None and bool(said.keys)  # a template whose parameter was not given says {}
    if layout.place is not None:
        if said is not None and given:
            text = f"the types of this flow stand in its layout already, at {layout.place}"
            mistakes.add(said.place, Code.BAD_VALUE, text, "one of the two says them")
            return NOTHING
        return _contracted(_beside(layout, records, mistakes), layout.formats, columns, mistakes)
    if said is None or not given:
        return NOTHING
    own, schema = said.get("columns"), said.get("schema")
    if (own is None) == (schema is None):
        text = "a contract names a schema, or its columns"
        mistakes.add(said.place, Code.MISSING_KEY if own is None else Code.BAD_VALUE, text)
        return NOTHING
    common = said["formats"]
    if own is not None:
        found = list(_columns(own, mistakes))
    elif schema is not None and schemas is not None:
        common, found = _avro(schema, common, schemas, mistakes)
    else:
        return NOTHING
    return _contracted(found, common, columns, mistakes)


def _contracted(
    found: list[_Said], common: Node | None, columns: Sequence[str] | None, mistakes: Mistakes
) -> Contracted:
    _check_names(found, mistakes)
    if columns is not None:
        found = _of_records(found, columns, mistakes)
    common = common or Node(DERIVED, {})
    made = [_column(each, common, mistakes) for each in found]
    return Contracted(
        tuple(column for column, _ in made if column is not None),
        {said.name: places for said, (_, places) in zip(found, made, strict=True)},
    )


def _columns(columns: Node, mistakes: Mistakes) -> Iterator[_Said]:
    for name, node in columns.items.items():
        type_ = _type(node["type"], mistakes)
        if type_ is not None:
            how = {key: each for key, each in node.items.items() if key in _OF_ONE}
            yield _Said(name, columns.keys[name], type_, node["nullable"].value is True, how)


def _type(said: Node, mistakes: Mistakes) -> Type | None:
    try:
        return from_delta(said.text)
    except ValueError:
        near = nearest(said.text, (*PLAIN_TYPES, "decimal(10,2)"))
        mistakes.add(said.place, Code.BAD_VALUE, f"{shown(said.text)} is no type of a column", near)
        return None


def _of_records(found: Sequence[_Said], columns: Sequence[str], mistakes: Mistakes) -> list[_Said]:
    """One column for each of the records, in their order; a column of no record would always be empty."""
    given = {each.name: each for each in found}
    for name in sorted(given.keys() - set(columns)):
        text = f"the records of this flow have no column {shown(name)}"
        mistakes.add(given[name].place, Code.UNKNOWN_KEY, text, nearest(name, columns))
    return [given.get(name) or _Said(name, DERIVED, String(), nullable=True, how={}) for name in columns]


def _check_names(found: Sequence[_Said], mistakes: Mistakes) -> None:
    seen: dict[str, str] = {}
    for each in found:
        name = each.name.lower()
        other = seen.get(name)
        seen.setdefault(name, each.name)
        if name in _TAKEN:
            mistakes.add(each.place, Code.BAD_NAME, f"the column name {shown(each.name)} is ours")
        elif not each.name or _REFUSED.search(each.name):
            mistakes.add(each.place, Code.BAD_NAME, f"Delta refuses the column name {shown(each.name)}")
        elif other is not None:
            how = "is given twice" if other == each.name else f"and {shown(other)} differ by case only"
            mistakes.add(each.place, Code.DUPLICATE_NAME, f"{shown(each.name)} {how}")


def _column(
    said: _Said, common: Node, mistakes: Mistakes
) -> tuple[ContractColumn | None, Mapping[str, Place]]:
    """A column with its format, and where its values were written; None when a mistake is in it."""
    made: Any = format_of(said.type)
    if made is None:
        mistakes.add(said.place, Code.BAD_VALUE, f"no text is a value of {delta(said.type)}", "type: string")
        return None, {}
    mine = {each.name for each in fields(made)}
    before = len(mistakes)
    for key, node in said.how.items():
        if key not in mine | _SHARED:
            text = f"{shown(key)} says nothing of a column that is {delta(said.type)}"
            mistakes.add(node.place, Code.UNKNOWN_KEY, text, nearest("", mine | _SHARED))
    how = {**_common(common, said, mine), **{key: node.plain for key, node in said.how.items()}}
    if len(mistakes) > before:
        return None, {}
    plain: dict[str, Any] = {
        key: tuple(each) if isinstance(each, list) else each for key, each in how.items()
    }
    shared = {key: plain.pop(key) for key in _SHARED & plain.keys()}
    column = ContractColumn(said.name, delta(said.type), said.nullable, made(**plain), **shared)
    for flaw in flaws(column):
        mistakes.add(
            _place(flaw.key, said, common),
            Code.BAD_VALUE,
            f"column {shown(said.name)}: {flaw.text}",
            flaw.hint,
        )
    places = {key: place for key in how if (place := _place(key, said, common)) is not said.place}
    return column if len(mistakes) == before else None, {"name": said.place, "type": said.place, **places}


def _place(key: str, said: _Said, common: Node) -> Place:
    """Where a key of a column was written: by itself, for all columns, or not at all."""
    shared = ("date" if isinstance(said.type, Date) else "timestamp") if key == "pattern" else key
    if key in said.how:
        return said.how[key].place
    return common[shared].place if shared in common.items else said.place


def _common(common: Node, said: _Said, mine: set[str]) -> dict[str, Any]:
    """What the contract says of all columns and this one has a use for; of a moment, its pattern too."""
    found = {key: node.plain for key, node in common.items.items() if key in mine | _SHARED}
    if "pattern" in mine:
        kind = "date" if isinstance(said.type, Date) else "timestamp"
        offset = "XXX" if isinstance(said.type, Timestamp) and not {"zone"} & {*found, *said.how} else ""
        usual = "yyyy-MM-dd" if kind == "date" else f"yyyy-MM-dd'T'HH:mm:ss{offset}"
        found["pattern"] = common[kind].plain if kind in common.items else usual
        pattern = said.how["pattern"].plain if "pattern" in said.how else found["pattern"]
        if not isinstance(said.type, Timestamp) or "X" in pattern:
            found = {key: each for key, each in found.items() if key not in ("zone", "overlap")}
        if "yyyy" in pattern:
            found.pop("years_from", None)
    return found


# --- a layout --------------------------------------------------------------------------------------------


def _beside(layout: Layout, records: Records | None, mistakes: Mistakes) -> list[_Said]:
    """The columns that a layout types. Several kinds of rows may have one: it has one meaning."""
    found: dict[str, tuple[Beside, _Said]] = {}
    for each in layout.columns:
        name, said = each.name.text, each.said
        if records is not None and not any(each.path[: len(at)] == at for at in records.at):
            text = f"{shown(name)} is of no row here: only the columns of rows have types"
            mistakes.add(said.place, Code.UNKNOWN_KEY, text)
            continue
        first = found.get(name)
        if first is not None:
            if first[0].said.plain != said.plain:
                text = f"{shown(name)} has another type or format at {first[0].said.place}"
                mistakes.add(said.place, Code.DUPLICATE_NAME, text, "say it once, or twice the same")
            continue
        type_ = _type(said["type"], mistakes) if "type" in said.items else String()
        if type_ is not None:
            nullable, how = said.get("nullable"), said.get("format")
            may = nullable is None or nullable.value is True
            found[name] = each, _Said(name, each.name.place, type_, may, how.items if how else {})
    return [said for _, said in found.values()]


# --- Avro ------------------------------------------------------------------------------------------------


def _avro(
    schema: Node, common: Node, schemas: Mapping[str, File], mistakes: Mistakes
) -> tuple[Node, list[_Said]]:
    file = schemas.get(schema.text)
    if file is None or file.raw is None:
        text = f"there is no file {shown(schema.text)} in the project"
        mistakes.add(schema.place, Code.MISSING_FILE, text, nearest(schema.text, schemas))
        return common, []
    documents = nodes.documents(file.raw, file.path, mistakes)  # JSON is YAML, and keeps its places so
    if not documents:
        return common, []
    root = documents[0]
    columns = root.get("fields")
    kind = root.get("type")
    listed = columns.value if columns is not None else None
    if kind is None or kind.value != "record" or not isinstance(listed, tuple) or not listed:
        mistakes.add(root.place, Code.WRONG_TYPE, "a contract is an Avro record: type, name and fields")
        return common, []
    own = root.get("ecluse")
    if own is not None:
        read = Reader(mistakes).read(FORMATS, own, "ecluse")
        if read is not None:  # the flow's own word counts
            common = Node(common.place, {**read.items, **common.items}, {**read.keys, **common.keys})
    found = [_avro_column(each, mistakes) for each in listed]
    return common, [each for each in found if each is not None]


def _avro_column(node: Node, mistakes: Mistakes) -> _Said | None:
    name, said = node.get("name"), node.get("type")
    if name is None or said is None or not isinstance(name.value, str):
        mistakes.add(node.place, Code.MISSING_KEY, "a field of a record has a name and a type")
        return None
    how: Mapping[str, Node] = {}
    own = node.get("ecluse")
    if own is not None:
        read = Reader(mistakes).read(_IN_AVRO, own, "ecluse")
        if read is None:
            return None
        how = read.items
    union = [each.plain for each in said.value] if isinstance(said.value, tuple) else [said.plain]
    plain = [each for each in union if each != "null"]
    try:
        type_ = from_avro(plain[0]) if len(plain) == 1 else None
    except (ValueError, KeyError, TypeError, StopIteration):
        type_ = None
    if type_ is None or (isinstance(type_, Decimal) and not 0 <= type_.scale <= type_.precision <= 38):  # noqa: PLR2004
        hint = "decimals have logicalType, precision and scale; dates and timestamps a logicalType"
        mistakes.add(said.place, Code.BAD_VALUE, "this is no type of a column", hint)
        return None
    written = how["name"].text if "name" in how else name.value
    return _Said(written, name.place, type_, "null" in union, {k: n for k, n in how.items() if k != "name"})
