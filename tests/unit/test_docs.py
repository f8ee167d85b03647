"""What the reference pages say is what the code does."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import connectors
import engine
from connectors.postgres import cells
from engine import errors, schema

DOCS = Path(__file__).parents[2] / "docs" / "reference"
# name → (base type's oid, modifier)
POSTGRES = {
    "boolean": (cells.BOOL, -1),
    "smallint": (cells.INT2, -1),
    "integer": (cells.INT4, -1),
    "bigint": (cells.INT8, -1),
    "real": (cells.FLOAT4, -1),
    "double precision": (cells.FLOAT8, -1),
    "numeric(12,2)": (cells.NUMERIC, (12 << 16 | 2) + 4),
    "text": (cells.TEXT, -1),
    "character varying(20)": (cells.VARCHAR, 24),
    "character(4)": (cells.BPCHAR, 8),
    "uuid": (cells.UUID, -1),
    "json": (cells.JSON, -1),
    "jsonb": (cells.JSONB, -1),
    "bytea": (cells.BYTEA, -1),
    "date": (cells.DATE, -1),
    "timestamp without time zone": (cells.TIMESTAMP, -1),
    "timestamp with time zone": (cells.TIMESTAMPTZ, -1),
}


def rows(page: str) -> list[list[str]]:
    text = (DOCS / page).read_text(encoding="utf-8")
    lines = [line.strip("|").strip() for line in text.splitlines() if line.startswith("| `")]
    found = [re.split(r" ?\| ?", line) for line in lines]
    return [[cell.strip("` ") for cell in row] for row in found]


def avro_text(type_: schema.Type) -> str:
    said = schema.avro(type_)
    if isinstance(said, str):
        return said
    logical = said["logicalType"]
    numbers = f" {said['precision']},{said['scale']}" if logical == "decimal" else ""
    return f"{said['type']} ({logical}{numbers})"


def test_the_page_of_types_names_every_type_that_is_captured_and_no_other() -> None:
    said = {row[0]: (row[1], row[2]) for row in rows("types.md")}
    done = {}
    for name, (oid, modifier) in POSTGRES.items():
        type_ = cells.type_of(oid, modifier)
        assert type_ is not None, name
        done[name] = (avro_text(type_), schema.delta(type_))
    assert said == done
    covered = {oid for oid, _ in POSTGRES.values()}
    assert {oid for oid in range(1, 10_000) if cells.type_of(oid, -1) is not None} <= covered


@pytest.mark.parametrize("modifier", [-1, (39 << 16 | 2) + 4, (2 << 16 | 0x7FF) + 4])
def test_a_numeric_without_a_place_is_refused(modifier: int) -> None:
    assert cells.type_of(cells.NUMERIC, modifier) is None


def test_the_page_of_errors_is_what_the_code_declares() -> None:
    for package in (engine, connectors):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    assert page.endswith(errors.reference()), "make docs"
