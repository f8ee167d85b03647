"""Every PostgreSQL type with the values that break others: the corpus that all tests of types share.

Rule: a case says what the type becomes and never how it is read: what its values are is asked of the server,
by ``expected``. Every value stands in a row of its own beside those of the other columns; a column whose
values have run out is NULL. Types of extensions stand apart: their numbers differ from database to database.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal as Exact
from typing import Any, Final

import psycopg

from connectors.postgres import session
from engine.schema import (
    Binary,
    Boolean,
    Date,
    Decimal,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    Timestamp,
    TimestampNtz,
    Type,
)
from tests.support.services import Database, Services

TEXT: Final = String()


@dataclass(frozen=True, slots=True)
class Case:
    """A type as a column declares it, what it becomes, and its values, NULL left out.

    ``key``: it can be part of a primary key. ``text``: its binary form is left to the server.
    """

    name: str
    declared: str
    type: Type
    values: tuple[str, ...]
    key: bool = True
    text: bool = False


EXTENSIONS: Final = ("citext", "hstore", "ltree", "isn", "cube")
PREPARED: Final = (
    "create type mood as enum ('fine', 'so, so', 'null', '\"odd\"')",
    "create domain amount as numeric(6, 2)",
    "create domain small as amount check (value >= 0)",
    "create domain list_of_small as small[]",
    "create type pair as (a int, b text)",
    "create type words as range (subtype = text)",
    "create type floats as range (subtype = float8)",
)

CASES: Final = (
    Case("i2", "smallint", Int32(), ("-32768", "32767")),
    Case("i4", "integer", Int32(), ("-2147483648", "2147483647")),
    Case("i8", "bigint", Int64(), ("-9223372036854775808", "9223372036854775807")),
    Case("o", "oid", Int64(), ("4294967295", "0")),
    Case("b", "boolean", Boolean(), ("t", "f")),
    Case("f4", "real", Float32(), ("NaN", "-Infinity", "-0", "1e-45", "0.1", "16777216", "3.4028235e38")),
    Case("f8", "double precision", Float64(), ("NaN", "Infinity", "-0", "5e-324", "0.1", "1e23", "1e15")),
    Case("n", "numeric(10,2)", Decimal(10, 2), ("1.10", "-99999999.99", "0")),
    Case("w", "numeric(38,10)", Decimal(38, 10), ("-1234567890123456789012345678.0123456789", "1e-10")),
    Case("nn", "numeric", TEXT, ("1e-20", "1e131", "1.10", "NaN", "Infinity", "-Infinity", "0.000", "-0.5")),
    Case("nw", "numeric(60,2)", TEXT, ("123456789012345678901234567890123456789012.50", "NaN")),
    Case("m", "money", Decimal(19, 2), ("-92233720368547758.08", "92233720368547758.07", "0", "1234.5")),
    Case("t", "text", TEXT, ("", "é日本 😀", "a'b\"c\\d\te\nf", "NULL")),
    Case("v", "character varying(20)", TEXT, ("v", "trailing  ")),
    Case("c", "character(5)", TEXT, ("c", "", "héllo")),
    Case("nm", "name", TEXT, ("a name",)),
    Case("ch", '"char"', TEXT, ("x", "", "\\351")),
    Case("u", "uuid", TEXT, ("11111111-2222-3333-4444-555555555555",)),
    Case("y", "bytea", Binary(), ("", "\\x00ff", "\\x5c78")),
    Case("d", "date", Date(), ("0001-01-01", "9999-12-31", "1582-10-10", "1969-12-31")),
    Case("ts", "timestamp", TimestampNtz(), ("0001-01-01 00:00:00", "9999-12-31 23:59:59.999999")),
    Case("tz", "timestamptz", Timestamp(), ("2026-03-29 02:30:00+15:59", "1900-01-01 00:00:00.000001+00")),
    Case("tm", "time", TEXT, ("24:00:00", "00:00:00", "12:34:56.7")),
    Case("tt", "timetz", TEXT, ("24:00:00+15:59", "00:00:00-15:59:59", "12:34:56.789012+00")),
    Case("iv", "interval", TEXT, ("1 mon 30 days", "-1 year -2 mons +3 days -04:05:06.789", "0", "-1 sec")),
    Case("bt", "bit(3)", TEXT, ("101",)),
    Case("vb", "bit varying", TEXT, ("", "1", "1010101011")),
    Case("j", "json", TEXT, ('{"a" : 1, "a":"\\ud800"}', "null", "1e400"), key=False),
    Case("jb", "jsonb", TEXT, ('{"b": 1, "a": 12345678901234567890.10}', "null", '"x"')),
    Case("jp", "jsonpath", TEXT, ("$.a[*] ? (@ > 1)",), key=False),
    Case("x", "xml", TEXT, ('<?xml version="1.0" encoding="UTF-8"?><a>é</a>', "<b/>", ""), key=False),
    Case(
        "ip", "inet", TEXT, ("1.2.3.4", "10.0.0.1/8", "::ffff:1.2.3.4", "::2", "2001:db8::1/64", "::1.2.3.4")
    ),
    Case("nt", "cidr", TEXT, ("10.0.0.0/8", "1.2.3.4/32", "::/0")),
    Case("ma", "macaddr", TEXT, ("08:00:2b:01:02:03",)),
    Case("m8", "macaddr8", TEXT, ("08:00:2b:01:02:03:04:05",)),
    Case("l", "pg_lsn", TEXT, ("FFFFFFFF/FFFFFFFF", "0/0")),
    Case("xd", "xid", TEXT, ("4294967295",), key=False),
    Case("x8", "xid8", TEXT, ("18446744073709551615",)),
    Case("ti", "tid", TEXT, ("(4294967295,65535)",)),
    Case("e", "mood", TEXT, ("fine", "so, so", "null", '"odd"')),
    Case("dm", "small", Decimal(6, 2), ("3.25",)),
    Case("r", "int4range", TEXT, ("empty", "[1,5)", "(,)", "(,3]")),
    Case("nr", "numrange", TEXT, ("[1.10,2.5]", "(1,2)")),
    Case("zr", "tstzrange", TEXT, ('["2026-01-01 00:00+02",infinity)', "(,)")),
    Case("wr", "words", TEXT, ('["a b","c,d"]', '["",z)', "[é,ü]")),
    Case("mr", "int4multirange", TEXT, ("{}", "{[1,2),[5,9)}")),
    Case(
        "ai",
        "int4[]",
        TEXT,
        ("{}", "{1,NULL,3}", "{{1,2},{3,4}}", "[0:2]={1,2,3}", "[-1:0][2:3]={{1,2},{3,4}}"),
    ),
    Case("at", "text[]", TEXT, ('{"",NULL,"NULL","a,b","{}","\\"","\\\\"," x","x y",é}',)),
    Case("an", "numeric(10,2)[]", TEXT, ("{1.10,NaN}",)),
    Case("az", "timestamptz[]", TEXT, ('{"2026-01-01 00:00+02",infinity,"0044-03-15 00:00 BC"}',)),
    Case("ae", "mood[]", TEXT, ('{fine,"so, so","null",NULL}',)),
    Case("ad", "list_of_small", TEXT, ("{1.5}",)),
    Case("ab", "bytea[]", TEXT, ('{"\\\\x00",""}',)),
    Case("aj", "jsonb[]", TEXT, ('{"{\\"a\\": 1}"}',)),
    Case("ac", "character(3)[]", TEXT, ('{a,"b "}',)),
    Case("ar", "int4range[]", TEXT, ('{"[1,5)",empty}',)),
    Case("am", "money[]", TEXT, ('{"$1,234.00",-1}',)),
    Case("ci", "citext", TEXT, ("Ab", "É")),
    Case("lt", "ltree", TEXT, ("a.b.c", "")),
    Case("hs", "hstore", TEXT, ('a=>1, "b c"=>NULL, "q\\"\\\\"=>""', "")),
    Case("ah", "hstore[]", TEXT, ('{"a=>1"}',)),
    # what only the server writes as text: one such column makes a whole capture read text
    Case("af", "double precision[]", TEXT, ("{0.1,1e23,NaN,-0}",), text=True),
    Case("fr", "floats", TEXT, ("[0.1,1e15)",), text=True),
    Case("p", "point", TEXT, ("(0.1,-0)",), key=False, text=True),
    Case("bx", "box[]", TEXT, ("{(1,2),(0,0);(3,4),(1,1)}",), key=False, text=True),
    Case("po", "polygon", TEXT, ("((0,0),(1,1),(1,0))",), key=False, text=True),
    Case("ci_", "circle", TEXT, ("<(0,0),1.5>",), key=False, text=True),
    Case("tv", "tsvector", TEXT, ("'a''b':1A,2 'c':3",), text=True),
    Case("tq", "tsquery", TEXT, ("'a' & !( 'b' | 'c':*A )",), text=True),
    Case("co", "pair", TEXT, ('(1,"a ""b"", c")', "(,)", '(2,"")'), text=True),
    Case("aco", "pair[]", TEXT, ('{"(1,a)",NULL}',), text=True),
    Case("rc", "regclass", TEXT, ("pg_catalog.pg_class",), text=True),
    Case("iv2", "int2vector", TEXT, ("1 2 3",), key=False, text=True),
    Case("isb", "isbn", TEXT, ("0-393-04002-X",), text=True),
    Case("cu", "cube", TEXT, ("(1, 2),(3, 4.5)",), text=True),
)
BINARY: Final = tuple(case for case in CASES if not case.text)
WRITTEN: Final = tuple(case for case in CASES if case.text)

UNFIT: Final = (
    ("numeric(10,2)", "NaN"),
    ("date", "infinity"),
    ("date", "0044-03-15 BC"),
    ("date", "54321-10-11"),
    ("timestamp", "-infinity"),
    ("timestamptz", "0044-03-15 12:00:00 BC"),
)
"""Values without a place in what their type becomes."""


def prepare(services: Services, database: Database) -> None:
    """What the corpus needs to be in a database before its tables."""
    with services.admin(database.name) as connection:
        for extension in EXTENSIONS:
            connection.execute(f"create extension {extension} schema public".encode())
    database.run(*PREPARED)


def columns(cases: Sequence[Case]) -> str:
    """The columns of these types, as a table declares them."""
    return ", ".join(f'"{case.name}" {case.declared}' for case in cases)


def rows(cases: Sequence[Case]) -> list[tuple[str | None, ...]]:
    """Rows that hold every value of every column once; the last is NULL everywhere."""
    count = max(len(case.values) for case in cases) + 1
    return [tuple(dict(enumerate(case.values)).get(n) for case in cases) for n in range(count)]


def literal(value: str | None) -> str:
    """A value for a statement."""
    return "null" if value is None else psycopg.sql.Literal(value).as_string()


def insert(table: str, cases: Sequence[Case], first: int = 0) -> str:
    """The statement that fills a table whose first column is a number."""
    listed = ", ".join(
        f"({', '.join((str(first + n), *map(literal, row)))})" for n, row in enumerate(rows(cases))
    )
    return f"insert into {table} values {listed}"


def server_texts(
    connection: psycopg.Connection[Any], table: str, cases: Sequence[Case]
) -> dict[int, tuple[str | None, ...]]:
    """What the server writes for each value, by the row's number; the settings are those of a capture."""
    for setting in session.SETTINGS:
        connection.execute(setting.encode())
    listed = ", ".join(["id", *(f'"{case.name}"' for case in cases)])
    found = session.command(connection.pgconn, f"select {listed} from public.{table}")
    return {int(row[0] or 0): tuple(row[1:]) for row in found}


def value(type_: Type, text: str | None) -> Any:
    """What a reader of the lake has to find where the server writes this text."""
    if text is None:
        return None
    match type_:
        case Int32() | Int64():
            return int(text)
        case Boolean():
            return text == "t"
        case Float32():
            return struct.unpack("f", struct.pack("f", float(text)))[0]
        case Float64():
            return float(text)
        case Decimal():
            return Exact(text.replace("$", "").replace(",", ""))
        case Binary():
            return bytes.fromhex(text.removeprefix("\\x"))
        case Date():
            return date.fromisoformat(text)
        case TimestampNtz():
            return datetime.fromisoformat(text)
        case Timestamp():
            return datetime.fromisoformat(text)
        case _:
            return text


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same, NaN and the sign of zero told apart."""
    if isinstance(one, float) and isinstance(other, float):
        return repr(one) == repr(other)
    return bool(one == other)
