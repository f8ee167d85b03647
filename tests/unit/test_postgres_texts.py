"""What is text in the lake: from the binary form, to the character what the server writes.

``golden/postgres_binary.txt`` holds for each value of the corpus its binary form and its text, as a server
gave them; on a real server the same is asked in tests/e2e/test_postgres_types.py.
"""

from __future__ import annotations

import ast
import io
import struct
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.postgres import kinds, texts
from connectors.postgres.cells import cell_of, column_cell, type_of
from connectors.postgres.kinds import Kind, built_in
from engine.schema import Float32, Float64, String, avro
from tests.support import postgres_types as corpus

LINES = (Path(__file__).parent / "golden" / "postgres_binary.txt").read_text(encoding="utf-8").splitlines()
OWN = 20_000  # as a database numbers what it makes itself


def array(of: Kind) -> Kind:
    return Kind(OWN + of.oid, "array", "array", of)


def ranged(of: Kind) -> Kind:
    return Kind(OWN + 2 * of.oid, "range", "range", of)


MOOD = Kind(OWN, "public.mood", "enum")
CITEXT = Kind(OWN + 1, "citext.citext", "base")
HSTORE = Kind(OWN + 2, "hstore.hstore", "base")
LTREE = Kind(OWN + 3, "ltree.ltree", "base")
MADE = {
    "e": MOOD, "ci": CITEXT, "lt": LTREE, "hs": HSTORE, "ah": array(HSTORE), "ae": array(MOOD),
    "r": ranged(built_in(kinds.INT4)), "nr": ranged(built_in(kinds.NUMERIC)),
    "zr": ranged(built_in(kinds.TIMESTAMPTZ)), "wr": ranged(built_in(kinds.TEXT)),
    "mr": Kind(OWN + 4, "multirange", "multirange", ranged(built_in(kinds.INT4))),
    "ai": array(built_in(kinds.INT4)), "at": array(built_in(kinds.TEXT)),
    "an": array(built_in(kinds.NUMERIC)), "az": array(built_in(kinds.TIMESTAMPTZ)),
    "ad": array(built_in(kinds.NUMERIC)), "ab": array(built_in(kinds.BYTEA)),
    "aj": array(built_in(kinds.JSONB)), "ac": array(built_in(kinds.BPCHAR)),
    "ar": array(ranged(built_in(kinds.INT4))), "am": array(built_in(kinds.MONEY)),
}  # fmt: skip
PLAIN = {
    "i2": kinds.INT2, "i4": kinds.INT4, "i8": kinds.INT8, "o": kinds.OID, "b": kinds.BOOL, "f4": kinds.FLOAT4,
    "f8": kinds.FLOAT8, "n": kinds.NUMERIC, "w": kinds.NUMERIC, "nn": kinds.NUMERIC, "nw": kinds.NUMERIC,
    "m": kinds.MONEY, "t": kinds.TEXT, "v": kinds.VARCHAR, "c": kinds.BPCHAR, "nm": kinds.NAME,
    "ch": kinds.CHAR, "u": kinds.UUID, "y": kinds.BYTEA, "d": kinds.DATE, "ts": kinds.TIMESTAMP,
    "tz": kinds.TIMESTAMPTZ, "tm": kinds.TIME, "tt": kinds.TIMETZ, "iv": kinds.INTERVAL, "bt": kinds.BIT,
    "vb": kinds.VARBIT, "j": kinds.JSON, "jb": kinds.JSONB, "jp": kinds.JSONPATH, "x": kinds.XML,
    "ip": kinds.INET, "nt": kinds.CIDR, "ma": kinds.MACADDR, "m8": kinds.MACADDR8, "l": kinds.PG_LSN,
    "xd": kinds.XID, "x8": kinds.XID8, "ti": kinds.TID, "dm": kinds.NUMERIC,
}  # fmt: skip


def recorded(name: str) -> list[tuple[bytes, str]]:
    """Binary form and text of the values of a case."""
    lines = [line.split(" ", 2) for line in LINES]
    return [(bytes.fromhex(wire.strip("-")), ast.literal_eval(text)) for n, wire, text in lines if n == name]


def kind_of(name: str) -> Kind:
    return MADE[name] if name in MADE else built_in(PLAIN[name])


@pytest.mark.parametrize("case", corpus.BINARY, ids=lambda case: case.declared)
def test_both_forms_of_a_type_give_the_same_bytes_and_those_are_avros(case: corpus.Case) -> None:
    kind, found = kind_of(case.name), recorded(case.name)
    binary, text = (column_cell(kind, case.type, form) for form in ("binary", "text"))
    assert binary is not None
    assert text is not None
    assert len(found) == len(case.values)
    for wire, said in found:
        out = io.BytesIO()
        value: Any = corpus.value(case.type, said)
        fastavro.schemaless_writer(out, fastavro.parse_schema(avro(case.type)), value)
        assert binary.encode(wire) == text.encode(said.encode()) == out.getvalue(), said
        assert text.text(said.encode()) == said
        assert isinstance(case.type, Float32 | Float64) or binary.text(wire) == said


@pytest.mark.parametrize("case", corpus.BINARY, ids=lambda case: case.declared)
def test_a_column_that_lands_as_text_has_the_servers_text_in_both_forms(case: corpus.Case) -> None:
    kind = kind_of(case.name)
    for wire, said in recorded(case.name):
        cells = (column_cell(kind, String(), "binary"), column_cell(kind, String(), "text"))
        if isinstance(case.type, Float32 | Float64):
            assert cells[0] is None, "only the server knows the shortest form of a float"
            continue
        for cell, form in zip(cells, (wire, said.encode()), strict=True):
            assert cell is not None
            assert cell.encode(form) == cell_of(kinds.TEXT, String(), "text").encode(said.encode())


@pytest.mark.parametrize(
    "kind",
    [
        array(built_in(kinds.FLOAT8)),
        ranged(array(built_in(kinds.FLOAT4))),
        Kind(600, "pg_catalog.point", "base"),
        Kind(OWN, "public.pair", "composite"),
        array(Kind(OWN, "public.pair", "composite")),
        Kind(OWN, "public.citext", "base"),
        Kind(OWN, "postgis.geometry", "base"),
        Kind(2278, "pg_catalog.void", "pseudo"),
    ],
    ids=lambda kind: kind.name,
)
def test_what_only_the_server_can_write_is_asked_for_as_text(kind: Kind) -> None:
    assert type_of(kind.oid, -1) == String()
    assert texts.reading(kind) is None
    assert column_cell(kind, String(), "binary") is None
    assert column_cell(kind, String(), "text") is not None


@pytest.mark.parametrize("name", [*MADE, "iv", "ip", "vb", "tt"])
@given(data=st.data())
def test_a_value_that_is_cut_or_too_long_is_no_value(name: str, data: st.DataObject) -> None:
    kind, (wire, said) = kind_of(name), data.draw(st.sampled_from(recorded(name)))
    reading = texts.reading(kind)
    assert reading is not None
    if reading is texts.plain or reading is texts.versioned or reading is texts.bits:
        return
    for broken in (wire[: data.draw(st.integers(0, max(len(wire) - 1, 0)))], wire + b"\0"):
        try:
            shown = reading(broken)
        except (ArithmeticError, LookupError, TypeError, ValueError, struct.error):
            continue
        assert shown != said or broken == wire, "half a value is shown as the whole"
