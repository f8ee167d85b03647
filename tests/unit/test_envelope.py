"""The generated encoder and the careful one, byte for byte against fastavro."""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import io
import json
from typing import Any, NamedTuple

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.envelope import (
    Address,
    Encoder,
    Record,
    decode,
    header,
    key_schema,
    leading,
    schema_id,
    value_schema,
)
from engine.errors import ContractBroken
from engine.names import partition
from engine.schema import (
    Binary,
    Boolean,
    Cell,
    Column,
    Date,
    Decimal,
    Float32,
    Float64,
    Identity,
    Int32,
    Int64,
    Relation,
    String,
    Timestamp,
    TimestampNtz,
    Type,
    from_avro,
)
from engine.source import STREAM, UNCHANGED, Row, Rows
from tests.support.cells import NAN, column, field, relation

UTC = dt.UTC
VALUES: dict[type, st.SearchStrategy[Any]] = {
    Boolean: st.booleans(),
    Int32: st.integers(-(2**31), 2**31 - 1),
    Int64: st.integers(-(2**63), 2**63 - 1),
    Float32: st.floats(width=32, allow_nan=False),
    Float64: st.floats(allow_nan=False),
    Decimal: st.integers(-(10**8) + 1, 10**8 - 1).map(lambda n: decimal.Decimal(n).scaleb(-2)),
    String: st.text(max_size=40),
    Binary: st.binary(max_size=40),
    Date: st.dates(),
    Timestamp: st.datetimes(timezones=st.just(UTC)),
    TimestampNtz: st.datetimes(),
}
TYPES: dict[type, Type] = {t: t() for t in VALUES if t is not Decimal} | {Decimal: Decimal(8, 2)}
NO_VALUE, NOT_SENT, NO_PLACE = "null", "unchanged", "unfit"


def address(partitions: int = 4, row_bytes_max: int = 1 << 20) -> Address:
    return Address(
        topic="shop.public.parcel",
        partitions=partitions,
        row_bytes_max=row_bytes_max,
        connector="postgres",
        name="demo.shop",
        database="shop",
        writer=3,
    )


def run_of(rel: Relation, rows: list[Row], *, first_minor: int = 0, major: int = 7_000_000_001) -> Rows:
    return Rows(rel, STREAM, 1, major, first_minor, 1_795_268_280_787_123, 701, rows)


class Made(NamedTuple):
    place: int
    key: bytes | None
    value: bytes


def encoded(
    run: Rows, *, to: Address | None = None, key_id: int | None = 11, value_id: int = 12
) -> list[Made]:
    """Every record, in the order of partitions."""
    to = to or address()
    out: list[Record] = []
    encoder = Encoder(run.relation, to, key_id=key_id if run.relation.key else None, value_id=value_id)
    tally = encoder.encode(run, 1_795_268_290_000, out)
    found = [Made(place, key, value or b"") for topic, value, key, place in out if topic == to.topic]
    assert len(found) == len(out)
    assert tally[0] == sum(len(record.value) for record in found)
    return sorted(found, key=lambda record: record.place)


def wire(kind: object, type_: Type) -> Any:
    match kind:
        case "null":
            return None
        case "unchanged":
            return UNCHANGED
        case "unfit":
            return NAN
        case _:
            return field(type_, kind)


def reference(run: Rows, row: Row, values: Any, minor: int, to: Address) -> bytes:
    """What fastavro writes for the envelope that the contract describes; ``values`` are (before, after)."""
    op, _, _ = row
    before, after = values
    columns = run.relation.columns
    unfit = {
        c.name: "NaN"
        for c, v in zip(columns, after or before or [None] * len(columns), strict=True)
        if v == NO_PLACE and (after is not None or c.name in run.relation.key)
    }

    def image(values: Any) -> Any:
        if values is None:
            return None
        return {
            c.name: None if isinstance(v, str) and v in (NO_VALUE, NOT_SENT, NO_PLACE) else v
            for c, v in zip(columns, values, strict=True)
        }

    new = after or [None] * len(columns)
    record = {
        "source": {
            "version": "ecluse/1",
            "connector": "postgres",
            "name": "demo.shop",
            "ts_ms": run.committed_us // 1000,
            "ts_us": run.committed_us,
            "snapshot": "false",
            "db": "shop",
            "schema": "public",
            "table": "parcel",
            "txId": run.tx,
            "lsn": run.major,
            "strand": STREAM,
        },
        "writer": 3,
        "ts_ms": 1_795_268_290_000,
        "transaction": {
            "id": f"{run.tx}:{run.major}",
            "total_order": None,
            "data_collection_order": None,
        },
        "attempt": None,
        "position": {"era": run.era, "major": run.major, "minor": minor},
        "op": op,
        "before": image(before),
        "after": image(after),
        "unchanged": [c.name for c, v in zip(columns, new, strict=True) if v == NOT_SENT],
        "unfit": unfit,
        "stub": None,
    }  # fmt: skip
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(value_schema(run.relation, to.topic)), record)
    return header(12) + body.getvalue()


@st.composite
def tables(draw: st.DrawFn) -> Relation:
    kinds = draw(st.lists(st.sampled_from(sorted(TYPES, key=lambda t: t.__name__)), min_size=1, max_size=6))
    columns = [column(f"c{n}", TYPES[kind], nullable=draw(st.booleans())) for n, kind in enumerate(kinds)]
    width = draw(st.integers(0, len(columns)))
    return relation(*columns, key=tuple(c.name for c in columns[:width]))


@st.composite
def images(draw: st.DrawFn, rel: Relation) -> list[Any]:
    out: list[Any] = []
    for c in rel.columns:
        # a sentinel must not be mistaken for text of the same letters
        value = VALUES[type(c.type)].filter(lambda v: v not in (NO_VALUE, NOT_SENT, NO_PLACE))
        odd = st.sampled_from([NO_VALUE, NOT_SENT, NO_PLACE])
        out.append(draw(st.one_of(value, value, value, odd)))
    return out


@st.composite
def changes(draw: st.DrawFn) -> tuple[Relation, list[tuple[str, Any, Any]]]:
    rel = draw(tables())
    rows = []
    for op in draw(st.lists(st.sampled_from("cudrtf"), min_size=1, max_size=5)):
        before = draw(images(rel)) if op == "d" or (op == "u" and draw(st.booleans())) else None
        after = draw(images(rel)) if op in "cur" else None
        rows.append((op, before, after))
    return rel, rows


@settings(max_examples=150)
@given(changes(), st.sampled_from([1, 4]), st.integers(0, 1 << 17).map(lambda n: 2 * n))
def test_every_record_is_what_fastavro_writes(
    change: tuple[Relation, list[tuple[str, Any, Any]]], partitions: int, first_minor: int
) -> None:
    rel, described = change
    types = [c.type for c in rel.columns]
    rows: list[Row] = [(op, _fields(types, before), _fields(types, after)) for op, before, after in described]
    to = address(partitions)
    run = run_of(rel, rows, first_minor=first_minor)
    expected: list[list[tuple[bytes | None, bytes]]] = [[] for _ in range(partitions)]
    for n, (row, (_, before, after)) in enumerate(zip(rows, described, strict=True)):
        value = reference(run, row, (before, after), first_minor + 2 * n, to)
        image = after if after is not None else before
        place, key = 0, None
        if image is not None and rel.key:
            values = image[: len(rel.key)]
            if not any(isinstance(v, str) and v in (NO_VALUE, NOT_SENT, NO_PLACE) for v in values):
                body = b"".join(field(t, v) for t, v in zip(types, values, strict=False))
                key, place = header(11) + body, partition(body, partitions)
        elif image is not None:
            place = partition(_image(types, image), partitions)
        expected[place].append((key, value))
    found: list[list[tuple[bytes | None, bytes]]] = [[] for _ in range(partitions)]
    for made in encoded(run, to=to):
        found[made.place].append((made.key, made.value))
    assert found == expected


def _fields(types: list[Type], image: list[Any] | None) -> list[Any] | None:
    return None if image is None else [wire(v, t) for v, t in zip(image, types, strict=True)]


def _image(types: list[Type], image: list[Any]) -> bytes:
    fields = [wire(v, t) for v, t in zip(image, types, strict=True)]
    return b"\x02" + b"".join(
        b"\x02" + f if isinstance(f, bytes) and f != NAN else b"\x00" for f in fields
    )  # fmt: skip


def test_the_key_schema_writes_the_key() -> None:
    rel = relation(column("id", Int64(), nullable=False), column("town", String()), key=("id", "town"))
    rows: list[Row] = [("c", None, [field(Int64(), 5), field(String(), "Lyon")])]
    (record,) = encoded(run_of(rel, rows))
    schema = key_schema(rel, "shop.public.parcel")
    assert record.key is not None
    assert decode(record.key, json.dumps(schema)) == {"id": 5, "town": "Lyon"}
    assert schema_id(record.key) == 11


def test_a_key_change_is_a_delete_and_an_insert_with_neighbouring_minors() -> None:
    rel = relation(column("id", Int64(), nullable=False), column("note", String()))
    rows: list[Row] = [
        ("k", [field(Int64(), 1), None], [field(Int64(), 2), UNCHANGED]),
        ("c", None, [field(Int64(), 3), None]),
    ]
    schema = json.dumps(value_schema(rel, "shop.public.parcel"))
    for first in (0, 62, 64, 40_000, 1 << 20):
        found = sorted(
            (decode(r.value, schema) for r in encoded(run_of(rel, rows, first_minor=first))),
            key=lambda e: e["position"]["minor"],
        )
        assert [(e["op"], e["position"]["minor"]) for e in found] == [
            ("d", first),
            ("c", first + 1),
            ("c", first + 2),
        ]
        assert found[0]["before"]["id"] == 1
        assert found[1]["after"] == {"id": 2, "note": None}
        assert found[1]["unchanged"] == ["note"]


def test_a_row_above_the_limit_becomes_a_stub_with_its_key() -> None:
    rel = relation(column("id", Int64(), nullable=False), column("note", String()))
    note = field(String(), "x" * 5000)
    rows: list[Row] = [("c", None, [field(Int64(), 1), note]), ("c", None, [field(Int64(), 2), None])]
    large, small = sorted(
        (r for r in encoded(run_of(rel, rows), to=address(row_bytes_max=1000))),
        key=lambda r: str(r.key),
    )
    schema = json.dumps(value_schema(rel, "shop.public.parcel"))
    stub = decode(large.value, schema)
    image = b"\x00" + b"\x02\x02" + field(Int64(), 1) + b"\x02" + note
    assert stub["after"] is None
    assert stub["stub"] == {
        "bytes": 5000 + len(small.value) + 2,
        "sha256": hashlib.sha256(image).hexdigest(),
    }
    assert large.key == header(11) + field(Int64(), 1)
    assert decode(small.value, schema)["stub"] is None


def test_an_unfit_key_goes_to_partition_0_without_a_key() -> None:
    rel = relation(column("id", Decimal(8, 2), nullable=False), column("note", String()))
    rows: list[Row] = [("d", [NAN, None], None), ("c", None, [NAN, field(String(), "a")])]
    records = encoded(run_of(rel, rows))
    schema = json.dumps(value_schema(rel, "shop.public.parcel"))
    assert [r.place for r in records] == [0, 0]
    assert all(r.key is None for r in records)
    assert all(decode(r.value, schema)["unfit"] == {"id": "NaN"} for r in records)


@pytest.mark.parametrize("op", ["t", "f", "w"])
def test_control_records_have_no_key_and_no_image(op: str) -> None:
    rel = relation(column("id", Int64(), nullable=False))
    (record,) = encoded(run_of(rel, [(op, None, None)]))
    envelope = decode(record.value, json.dumps(value_schema(rel, "shop.public.parcel")))
    assert (record.place, record.key, envelope["op"]) == (0, None, op)
    assert envelope["before"] is envelope["after"] is None


def test_a_null_where_the_table_says_not_null_is_still_a_null() -> None:
    rel = relation(column("id", Int64(), nullable=False), column("note", String(), nullable=False))
    (record,) = encoded(run_of(rel, [("u", None, [field(Int64(), 1), None])]))
    assert decode(record.value, json.dumps(value_schema(rel, "shop.public.parcel")))["after"] == {
        "id": 1,
        "note": None,
    }


@pytest.mark.parametrize(
    "row",
    [("c", [b"\x02"], [b"\x02"]), ("x", None, [b"\x02"]), ("d", None, None), ("c", None, [b"\x02", b"\x02"])],
)
def test_a_row_of_no_known_shape_breaks_the_contract(row: Row) -> None:
    rel = relation(column("id", Int64(), nullable=False))
    with pytest.raises(ContractBroken):
        encoded(run_of(rel, [row]))


def test_a_cell_that_takes_null_for_a_value_is_refused() -> None:
    lenient = Cell("lenient", lambda v: v or b"\x00", str, "b'\\x01' if v == b't' else b'\\x00'")
    flag = Column("flag", Boolean(), nullable=True, declared="bool", cell=lenient)
    rel = Relation(1, "public", "parcel", (flag,), (), Identity.FULL)
    with pytest.raises(ContractBroken, match="lenient takes"):
        encoded(run_of(rel, [("c", None, [b"t"])]))


def test_column_names_that_avro_refuses_keep_their_original_as_a_property() -> None:
    rel = relation(column("id", Int64(), nullable=False), column("libellé", String(), default="n/a"))
    schema = value_schema(rel, "shop.public.pièce-jointe")
    row = next(f for f in schema["fields"] if f["name"] == "before")["type"][1]
    assert row["fields"][1]["name"] == "libell_e9_"
    assert row["fields"][1]["ecluse"] == {
        "name": "libellé",
        "declared": "string",
        "nullable": True,
        "default": "n/a",
    }
    assert schema["ecluse"]["key"] == ["id"]
    fastavro.parse_schema(schema)
    assert [from_avro(f["type"]) for f in row["fields"]] == [Int64(), String()]


@pytest.mark.parametrize("cut", [b"", b"\x01\x00\x00\x00\x07", b"\x00\x00\x00\x00\x0c\x02"])
def test_what_is_not_one_whole_record_does_not_decode(cut: bytes) -> None:
    rel = relation(column("id", Int64(), nullable=False))
    with pytest.raises(ValueError, match=r"not in|does not decode"):
        decode(cut, json.dumps(value_schema(rel, "t")))
    (record,) = encoded(run_of(rel, [("t", None, None)]))
    with pytest.raises(ValueError, match="bytes after"):
        decode(record.value + b"\x00", json.dumps(value_schema(rel, "shop.public.parcel")))


def test_the_first_fields_of_a_record_are_read_without_the_rest() -> None:
    fields = [{"name": "a", "type": "long"}, {"name": "b", "type": "string"}]
    text = json.dumps({"type": "record", "name": "r", "fields": fields})
    whole = header(7) + b"\x0e" + b"\x04ok"
    assert leading(whole, text, "a") == 7
    assert leading(whole[:-1], text, "a") == 7
    for value, name in ((whole[:5], "a"), (whole[:-1], "b"), (whole, "c"), (b"none of ours", "a")):
        with pytest.raises(ValueError, match=r".+"):
            leading(value, text, name)
