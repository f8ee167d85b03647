"""Feeds of every format, with one contract between them: what files are made up for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.contract import ContractColumn, Letters, Moment, Numeric, Truth

FRENCH = Numeric(decimal=",", thousands=" ")
CONTRACT = (
    ContractColumn("id", "bigint", nullable=False, format=Numeric()),
    ContractColumn("customer", nullable=False, format=Letters(30), blank=("-",)),
    ContractColumn("city", blank=("", "n/d")),
    ContractColumn("amount", "decimal(12,2)", nullable=False, format=FRENCH),
    ContractColumn("ordered", "date", format=Moment("dd/MM/yyyy"), blank=("",)),
    ContractColumn("seen", "timestamp", format=Moment("yyyy-MM-dd HH:mm:ss", "Europe/Paris"), blank=("",)),
    ContractColumn("paid", "boolean", format=Truth(("O",), ("N",))),
)
NAMES = [column.name for column in CONTRACT]
SUM = {"field": "trailer.total", "column": "amount", "format": {"decimal": ",", "thousands": " "}}
ENDS = {
    "header": {"literal": "H", "role": "header", "columns": ["kind", "number", "day"]},
    "detail": {"literal": "D", "columns": ["kind", *NAMES]},
    "trailer": {"literal": "T", "role": "trailer", "columns": ["kind", "count", "total"]},
}
ENDS_CONTROLS = {
    "count": {"field": "trailer.count", "of": "records"},
    "sums": {"amount": SUM},
    "sequence": {"field": "header.number"},
    "day": {"field": "header.day", "format": "yyyyMMdd", "back": 3},
}


def field(name: str, at: int, width: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "at": at, "width": width, **more}


FIXED_RECORDS = {
    "header": {
        "literal": "H", "role": "header", "length": 120,
        "fields": [field("number", 2, 6), field("total", 8, 16)],
    },
    "detail": {
        "literal": "D",
        "fields": [
            field("kind", 1, 1), field("id", 2, 8), field("customer", 10, 30, trim="right"),
            field("city", 40, 20, trim="right"), field("amount", 60, 14, trim="both"),
            field("ordered", 74, 10, trim="right"), field("seen", 84, 19, trim="right"),
            field("paid", 103, 1), field("rest", 104, 17),
        ],
    },
    "trailer": {"literal": "T", "role": "trailer", "fields": [field("count", 2, 9)], "length": 120},
}  # fmt: skip
FIXED_CONTROLS = {
    "count": {"field": "trailer.count"},
    "sums": {"amount": {**SUM, "field": "header.total"}},
    "sequence": {"field": "header.number", "gap": "refuse"},
}
PATHS = {"id": "id", "customer": "who.name", "city": "who.address.city", **dict.fromkeys(NAMES[3:])}
JSON_CONTROLS = {"count": {"field": "document.n"}, "sums": {"amount": {**SUM, "field": "document.total"}}}
XML_PATHS = {**dict.fromkeys(NAMES), "id": "@id", "city": "address/city", "customer": "address/@of"}
XML = {
    "record": "a:orders/a:list/a:order",
    "columns": {
        name: None if path is None else path.replace("address", "a:address").replace("/city", "/a:city")
        for name, path in XML_PATHS.items()
    },
    "namespaces": {"a": "urn:acme"},
}
FEEDS: Mapping[str, dict[str, Any]] = {
    "named": {"pattern": "ORD_*.csv", "delimited": {"columns": NAMES}},
    "gz": {"pattern": "ORD_*.csv.gz", "delimited": {"columns": NAMES, "delimiter": "\t"}, "container": "gz"},
    "ends": {
        "pattern": "*.txt", "encoding": "cp1252", "keys": ["id"], "controls": ENDS_CONTROLS,
        "delimited": {"header": "none", "records": ENDS, "quote": None, "line_end": "crlf", "delimiter": "|"},
    },
    "by_name": {
        "pattern": "ORD?_*_[0-9].csv", "encoding": "utf-16", "container": {"kind": "zip", "member": "*.csv"},
        "delimited": {"columns": NAMES, "quote": "'", "escape": "backslash", "last_line_end": "required"},
        "controls": {
            "sequence": {"name": r"_(?P<value>\d+)_\d+\.csv$"},
        },
    },
    "day_in_name": {
        "pattern": "ORD_*.csv", "delimited": {"columns": NAMES, "escape": "none"}, "encoding": "latin-1",
        "controls": {"day": {"name": r"_(?P<value>\d{6})_", "format": "ddMMyy"},
                     "sequence": {"name": r"(?P<value>\d{3})\.csv$", "gap": "refuse"}},
    },
    "fixed": {
        "pattern": "F*", "fixed_width": {"unit": "characters", "records": FIXED_RECORDS},
        "controls": FIXED_CONTROLS, "container": {"kind": "zst"},
    },
    "bytes": {
        "pattern": "F*", "encoding": "utf-8-sig",
        "fixed_width": {"unit": "bytes", "records": FIXED_RECORDS, "line_end": "none"},
        "controls": FIXED_CONTROLS,
    },
    "lines": {"pattern": "*.jsonl", "json_lines": {"columns": PATHS}, "keys": ["id"]},
    "document": {
        "pattern": "*.json", "controls": JSON_CONTROLS,
        "json_document": {
            "columns": PATHS, "records": "made.orders", "document": {"n": "made.count", "total": "sum.of"},
        },
    },
    "xml": {
        "pattern": "*.xml", "controls": {"count": {"field": "header.n"}, "sums": {"amount": SUM}},
        "xml": {**XML, "header": {"record": "a:orders/a:head", "columns": {"n": "@n"}},
                "trailer": {"record": "a:orders/a:foot/a:total", "columns": {"total": "."}}},
    },
    "iso": {"pattern": "*.csv", "delimited": {"columns": NAMES}, "encoding": "iso-8859-15"},
}  # fmt: skip
