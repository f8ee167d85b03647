"""From a record's bytes to typed columns, as SQL text.

One ``from_avro`` per writer's schema, into one reader's schema that holds what the table needs. Avro
decoders pass bytes that follow a record, so the value is decoded with a nonce behind it: a field of fixed
size at the end of the writer's schema reads what follows the record, and only a record that ends where its
bytes end reads the nonce. The same field is NULL for every record that does not decode.

Rule: pure; schemas come resolved and quoting is done here. A record is good when its reason is NULL; there
is no filter on decoded columns before ``observe``, because Spark would push it down and decode again.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from engine.envelope import EARLY
from engine.errors import SchemaBlocked
from engine.lake import halt
from engine.lake.halt import Kind
from engine.names import avro_name, namespace
from engine.schema import Shape, String, Type, avro, delta, from_avro
from engine.source import STREAM

if TYPE_CHECKING:
    from engine.lake.texts import Texts

NONCE_BYTES: Final = 16
FLOOR: Final = "'t', 'f'"
"""The ops of rows that are a floor: what stands below their position is gone."""
WITHDRAWAL: Final = "'w'"
"""The op of a row that takes back the transaction which its position names, in a strand of its own."""
CONTROL: Final = f"{FLOOR}, {WITHDRAWAL}"
"""The ops of rows that have no image."""
_HEAD: Final = {"name": "__head", "type": {"type": "fixed", "name": "Head", "size": 5}}
_END: Final = {"name": "__end", "type": {"type": "fixed", "name": "End", "size": NONCE_BYTES}}
_SOURCE: Final = ("ts_us", "snapshot", "strand")
_RECORD: Final = (
    "struct<__end: binary, op: string, writer: bigint, "
    "position: struct<era: bigint, major: bigint, minor: bigint>, "
    "source: struct<ts_us: bigint, snapshot: string, strand: string>, transaction: struct<id: string>, "
    "attempt: struct<run: bigint, range: string, attempt: bigint>, unchanged: array<string>, "
    "unfit: map<string, string>, stub: struct<bytes: bigint, sha256: string>, before: {row}, after: {row}>"
)


@dataclass(frozen=True, slots=True)
class Writer:
    """One schema that records of a topic were written with.

    ``columns`` are the table's own names; ``defaults`` the constants that existing rows got when a column
    was added.
    """

    schema_id: int
    schema: Mapping[str, Any] = field(repr=False)
    columns: Shape
    defaults: Mapping[str, str]
    key: tuple[str, ...]


def parse(schema_id: int, text: str, topic: str) -> Writer | None:
    """The writer that a schema describes; None when the schema is no envelope of ours, or another topic's.

    Raises SchemaBlocked when it is one, with a type that we do not know.
    """
    try:
        schema = json.loads(text)
    except ValueError:
        return None
    origin = schema.get("ecluse") if isinstance(schema, dict) else None
    if not isinstance(origin, dict) or origin.get("version") != 1:
        return None
    if schema.get("namespace") != namespace(topic):
        return None  # a stray record of another table would bring that table's columns
    row = next(f for f in schema["fields"] if f["name"] == "before")["type"][1]
    columns: dict[str, Type] = {}
    defaults: dict[str, str] = {}
    for each in row["fields"]:
        said = each.get("ecluse", {})
        name = said.get("name", each["name"])
        try:
            columns[name] = from_avro(each["type"])
        except ValueError as error:
            where = f"schema {schema_id}, column {name}"
            hint = "upgrade the landing: a newer capture wrote this type"
            raise SchemaBlocked(str(error), where=where, hint=hint) from None
        if said.get("default") is not None:
            defaults[name] = said["default"]
    return Writer(schema_id, schema, columns, defaults, tuple(origin.get("key", ())))


def quote(text: str) -> str:
    r"""A SQL string literal.

    >>> quote("it's \\ here")
    "'it\\'s \\\\ here'"
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def name(column: str) -> str:
    """A SQL identifier.

    >>> name("a`b")
    '`a``b`'
    """
    return "`" + column.replace("`", "``") + "`"


def _writer_schema(writer: Writer) -> str:
    schema = dict(writer.schema)
    schema["fields"] = [_HEAD, *schema["fields"], _END]
    return json.dumps(schema)


def _reader_schema(writer: Writer, columns: Shape) -> str:
    """What the table needs of a record; the names of the records are the writer's."""
    schema = copy.deepcopy(dict(writer.schema))
    row = {
        "type": "record",
        "name": "Row",
        "fields": [
            {"name": avro_name(c), "type": ["null", avro(t)], "default": None} for c, t in columns.items()
        ],
    }
    fields = []
    for each in schema["fields"]:
        match each["name"]:
            case "source":
                each["type"]["fields"] = [f for f in each["type"]["fields"] if f["name"] in _SOURCE]
            case "transaction":
                each["type"][1]["fields"] = [f for f in each["type"][1]["fields"] if f["name"] == "id"]
            case "before":
                each["type"] = ["null", row]
            case "ts_ms":
                continue
            case _:
                pass
        fields.append(each)
    schema["fields"] = [*fields, _END]
    return json.dumps(schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """What the driver knows when a batch is planned, and from it the batch's SQL.

    ``foreign`` are ids that the registry does not know or that are not ours; ``blocked`` are ours, and must
    not be passed. ``gap`` is (era, major): nothing from there on may land. ``keys`` are the columns that
    must have a value (scd1). ``stubs``: a stub at such a (partition, offset) is quarantined, because a person
    accepted that; ``aside``: so are the records of such a schema id, with that reason. ``texts``: the records
    are those of a partner's files, and become the table's columns behind decoding.
    """

    columns: Shape
    writers: Sequence[Writer]
    foreign: frozenset[int] = frozenset()
    blocked: frozenset[int] = frozenset()
    gap: tuple[int, int] | None = None
    keys: tuple[str, ...] = ()
    stubs: frozenset[tuple[int, int]] = frozenset()
    aside: Mapping[int, str] = field(default_factory=dict)
    texts: Texts | None = None
    nonce: bytes

    @property
    def read(self) -> Shape:
        """The columns of a record's image, as they are decoded."""
        return self.columns if self.texts is None else self.texts.read

    def record(self) -> str:
        """The decoded record, NULL where no schema fits; raises on an id that the driver does not know."""
        tail = f"X'{self.nonce.hex()}'"
        cases = [
            f"WHEN substring(value, 1, 5) = X'{header(w.schema_id)}' THEN "
            f"from_avro(concat(value, {tail}), {quote(_writer_schema(w))}, map('mode', 'PERMISSIVE', "
            f"'datetimeRebaseMode', 'CORRECTED', 'avroSchema', {quote(_reader_schema(w, self.read))}))"
            for w in self.writers
        ]
        id_ = "cast(conv(hex(substring(value, 2, 4)), 16, 10) as bigint)"
        framed = "length(value) >= 5 AND substring(value, 1, 1) = X'00'"
        known = "".join(f", X'{header(i)}'" for i in sorted({*self.foreign, *self.aside}))
        blocked = [f"WHEN substring(value, 1, 5) = X'{header(i)}' THEN {halt.sql(Kind.BLOCKED, str(i))}"
                   for i in sorted(self.blocked)]  # fmt: skip
        unknown = (
            f"WHEN {framed} AND substring(value, 1, 5) NOT IN (X''{known}) THEN {halt.sql(Kind.SCHEMA, id_)}"
        )
        # before any schema is known nothing else gives the record its type
        typed = [] if cases else [f"ELSE cast(NULL AS {self._type()})"]
        return "CASE " + " ".join([*cases, *blocked, unknown, *typed]) + " END"

    def _type(self) -> str:
        row = ", ".join(f"{name(avro_name(c))}: {delta(t)}" for c, t in self.read.items())
        return _RECORD.format(row=f"struct<{row}>")

    def fields(self) -> list[str]:
        """The record's parts that the row is made of, one struct ``i`` for the image that lands."""
        return [
            "r.__end AS __end",
            "r.op AS op",
            "r.writer AS writer",
            "r.position AS _position",
            "r.source.strand AS strand",
            f"r.source.snapshot = '{EARLY}' AS early",
            "r.source.ts_us AS ts_us",
            "r.transaction.id AS tx",
            "r.attempt AS attempt",
            "r.unchanged AS unchanged",
            "r.unfit AS unfit",
            "r.stub IS NOT NULL AS stubbed",
            "if(r.op = 'd', r.before, r.after) AS i",
        ]

    def values(self) -> list[str]:
        """The table's columns, out of the image."""
        return [f"i.{name(avro_name(c))} AS {name(c)}" for c in self.columns]

    def reason(self) -> str:
        """NULL for a good record, else why it is not; raises on a record that must not be passed."""
        tail = f"X'{self.nonce.hex()}'"
        stops = [
            f"WHEN stubbed AND partition = {p} AND offset = {offset} THEN 'row-too-large'"
            for p, offset in sorted(self.stubs)
        ]
        stops.append(f"WHEN stubbed THEN {halt.sql(Kind.STUB)}")
        if self.gap is not None:
            era, major = self.gap
            at = f"_position.era > {era} OR (_position.era = {era} AND _position.major >= {major})"
            # a withdrawal belongs to the rows that it follows, and waits where they do
            behind = f"op = {WITHDRAWAL} AND try_cast(substring_index(tx, ':', 1) AS bigint) >= {major}"
            stops.insert(0, f"WHEN {at} OR ({behind}) THEN {halt.sql(Kind.GAP)}")
        aside = "".join(
            f"WHEN substring(value, 1, 5) = X'{header(i)}' THEN {quote(reason)} "
            for i, reason in sorted(self.aside.items())
        )
        unreadable = (
            "CASE WHEN value IS NULL THEN 'value-null' WHEN length(value) < 5 THEN 'too-short' "
            f"WHEN substring(value, 1, 1) <> X'00' THEN 'not-framed' {aside}"
            f"WHEN substring(value, 1, 5) NOT IN (X''{self._known()}) THEN 'schema-unknown' "
            "WHEN __end IS NULL THEN 'corrupt' ELSE 'trailing-bytes' END"
        )
        texts = [c for c, t in self.read.items() if isinstance(t, String)]
        bad_text = [
            f"WHEN NOT is_valid_utf8(i.{name(avro_name(c))}) THEN {quote('utf8:' + c)}" for c in texts
        ]
        # the same columns come in the same order; a sort would be a lambda, which Spark does not compile
        unfit = "WHEN size(unfit) > 0 THEN concat('unfit:', array_join(map_keys(unfit), ','))"
        strand = f"WHEN strand <> '{STREAM}' AND attempt IS NULL AND op <> {WITHDRAWAL} THEN 'strand-unknown'"
        ops = f"WHEN op NOT IN ('c', 'u', 'd', 'r', {CONTROL}) THEN 'op-unknown'"
        empty = f"WHEN op NOT IN ({CONTROL}) AND i IS NULL THEN 'image-null'"
        keyless = [
            f"WHEN op NOT IN ({CONTROL}) AND i.{name(avro_name(k))} IS NULL THEN {quote('key-null:' + k)}"
            for k in (self.keys if self.texts is None else ())
        ]
        good = [
            f"WHEN NOT (__end <=> {tail}) THEN {unreadable}",
            *stops,
            strand,
            ops,
            unfit,
            empty,
            *bad_text,
            *keyless,
        ]
        return "CASE " + " ".join(good) + " END"

    def _known(self) -> str:
        return "".join(f", X'{header(w.schema_id)}'" for w in self.writers)


def header(schema_id: int) -> str:
    """The first five bytes of a record of a schema, in hexadecimal."""
    return f"00{schema_id:08x}"
